"""Run a network in ONNX Runtime: on CUDA when its session can be created, else on the CPU."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.contract import open_model, quiet_options, read_model
from inference.errors import InferenceError, ModelError

PROVIDERS = ("auto", "cuda", "cpu")
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4  # ONNX Runtime's log level above errors: they come as exceptions instead


class NetworkSession:
    """One loaded network, its contract, and where it runs.

    `provider` is ONNX Runtime's name of what runs it, `provider_reason` a sentence that says why,
    `sha256` that of the very bytes that were loaded. `run` may be called from any one thread.

    Raises
    ------
    ModelError : the file cannot be honoured, see `inference.contract`.
    InferenceError : CUDA was asked for and cannot be had.
    """

    def __init__(self, path: Path, provider: str = "auto", n_threads: int | None = None) -> None:
        if provider not in PROVIDERS:
            raise InferenceError(f"provider is {provider!r}, expected one of {PROVIDERS}")
        content = read_model(path)
        options = quiet_options()
        options.intra_op_num_threads = n_threads or default_threads()
        # Idle workers would otherwise spin and take the cores from the other threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        obstacle = "the CPU was asked for" if provider == "cpu" else cuda_obstacle()
        if obstacle is None:
            obstacle = self._open_on_cuda(path, content, options)
        if obstacle is None:
            self.provider_reason = "CUDA session created"
        elif provider == "cuda":
            raise InferenceError(f"CUDA was asked for and cannot be used: {obstacle}")
        else:
            self._session, self.contract = open_model(path, content, [_CPU], options)
            self.provider_reason = f"CUDA not used: {obstacle}"
        self.path = path
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.provider: str = self._session.get_providers()[0]

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of bone (rows, columns) for one prepared image, (1, 1, rows, columns).

        Raises
        ------
        InferenceError : ONNX Runtime could not run it.
        """
        try:
            (out,) = self._session.run(
                [self.contract.output.name], {self.contract.input.name: tensor}
            )
        except Exception as error:
            raise InferenceError(f"network {self.path.name} did not run: {error}") from error
        values: NDArray[np.float32] = out[0, 0]
        if self.contract.output.activation == "sigmoid":
            return np.float32(1.0) / (np.float32(1.0) + np.exp(-values))
        return values

    def warm_up(self) -> None:
        """Run once on an empty image, so that the first real one meets its budget."""
        self.run(np.zeros((1, 1, *self.contract.input.size_px), dtype=np.float32))

    def _open_on_cuda(
        self, path: Path, content: bytes, options: onnxruntime.SessionOptions
    ) -> str | None:
        """Open the session on CUDA; what stood in the way, None if nothing did."""
        onnxruntime.set_default_logger_severity(_FATAL)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):  # it prints what it does not find
            onnxruntime.preload_dlls()
        try:
            self._session, self.contract = open_model(path, content, [_CUDA, _CPU], options)
        except ModelError as error:
            return str(error)
        if self._session.get_providers()[0] == _CUDA:
            return None
        missing = said.getvalue().partition("Failed to load ")[2].partition(":")[0]
        return f"{missing} not found" if missing else "ONNX Runtime could not create its session"


def cuda_obstacle() -> str | None:
    """What rules CUDA out before a session is tried, None if nothing does."""
    if _CUDA not in onnxruntime.get_available_providers():
        return "this ONNX Runtime was built without it"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine"
    return None


def default_threads() -> int:
    """Physical cores minus one, which the receive, reconstruction and window threads share."""
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    n_cores = len({path.read_text() for path in siblings}) or (os.cpu_count() or 1)
    return max(1, n_cores - 1)
