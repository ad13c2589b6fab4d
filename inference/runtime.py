"""Run a network in ONNX Runtime: on TensorRT or CUDA where that can be had, else on the CPU."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.contract import open_model, quiet_options, read_model
from inference.errors import InferenceError, OutputError
from inference.providers import (
    CPU,
    LABELS,
    PROVIDERS,
    is_built_in,
    obstacle,
    preload_cuda,
    provider_list,
    why_not,
)
from inference.runners import CpuRunner, GpuRunner, Runner

logger = logging.getLogger(__name__)

# A network slower than the fastest streams (60 Hz) has the CPU to itself most of the time: what
# the other threads need for one image is a millisecond.
_SLOW_RUN_S = 1.0 / 60.0


class NetworkSession:
    """One loaded network, its contract, and where it runs.

    `provider` is ONNX Runtime's name of what runs it, `provider_reason` a sentence that says why,
    `sha256` that of the very bytes that were loaded. A GPU that fails in a run hands over to the
    CPU, and both change. `n_threads` are those of the CPU; without a number, `warm_up` may take
    all. `run` may be called from any one thread.

    Raises
    ------
    ModelError : the file cannot be honoured, see `inference.contract`.
    InferenceError : TensorRT or CUDA was asked for and cannot be had.
    """

    def __init__(self, path: Path, provider: str = "auto", n_threads: int | None = None) -> None:
        if provider not in PROVIDERS:
            raise InferenceError(f"provider is {provider!r}, expected one of {tuple(PROVIDERS)}")
        self.path = path
        self._content = read_model(path)
        self.n_threads = n_threads or default_threads()
        self._may_grow = n_threads is None
        self.sha256 = hashlib.sha256(self._content).hexdigest()
        self._runner: Runner
        self.provider = ""
        self.provider_reason = ""
        obstacles = self._open_fastest(provider)
        if self.provider:
            self.provider_reason = "; ".join(
                filter(None, (f"{LABELS[self.provider]} session created", why_not(obstacles)))
            )
        elif provider in ("auto", "cpu"):
            self._open_on_cpu()
            self.provider_reason = _why_cpu(provider, obstacles)
        else:
            ((asked, what),) = obstacles.items()
            raise InferenceError(f"{LABELS[asked]} was asked for and cannot be used: {what}")

    @property
    def input(self) -> NDArray[np.float32]:
        """Where `run` takes an image from with the fewest copies, (1, 1, rows, columns)."""
        return self._runner.input

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probability of bone (rows, columns) for one prepared image, (1, 1, rows, columns).

        Raises
        ------
        OutputError : the network returned what is not a number.
        InferenceError : ONNX Runtime could not run it, on the CPU neither.
        """
        expected = self._runner.input
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            raise InferenceError(
                f"network {self.path.name} did not run: input is {tensor.shape} {tensor.dtype}, "
                f"expected {expected.shape} {expected.dtype}"
            )
        values = self._run_somewhere(tensor)[0, 0]
        if not np.isfinite(values).all():
            raise OutputError(f"network {self.path.name} returned values that are NaN or infinite")
        if self.contract.output.activation == "sigmoid":
            with np.errstate(over="ignore"):  # exp(-x) of a large negative x: 1 / inf is 0
                return np.float32(1.0) / (np.float32(1.0) + np.exp(-values))
        return values

    def warm_up(self) -> None:
        """Run on an empty image, so that the first real one meets its budget: once for what is
        allocated and chosen on first use, once more for what is recorded then.

        A network that is slow on the CPU gets every core from here on.
        """
        took_s = self._two_runs_s()
        if self.provider == CPU and self._may_grow and took_s > _SLOW_RUN_S:
            self._may_grow = False
            if self.n_threads < physical_cores():
                self.n_threads = physical_cores()
                self._open_on_cpu()
                self._two_runs_s()

    def _two_runs_s(self) -> float:
        """How long the second of two runs takes."""
        for _ in range(2):
            begin_s = time.perf_counter()
            self.run(np.zeros_like(self.input))
        return time.perf_counter() - begin_s

    def _run_somewhere(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return self._runner.run(tensor)
        except Exception as error:
            if self.provider == CPU:
                raise InferenceError(f"network {self.path.name} did not run: {error}") from error
            self._leave_gpu(_first_line(error))
            return self._run_somewhere(tensor)

    def _leave_gpu(self, reason: str) -> None:
        failed = LABELS[self.provider]
        self._open_on_cpu()
        self.provider_reason = f"{failed} failed in mid-session: {reason}"
        logger.warning(
            "network %s: %s failed (%s); from here on it runs on the CPU",
            self.path.name, failed, reason,
        )  # fmt: skip

    def _open_fastest(self, asked: str) -> dict[str, str]:
        """Open the first provider on a GPU that can be had; what stood in the way of each."""
        candidates = PROVIDERS[asked]
        if asked == "auto":
            candidates = tuple(filter(is_built_in, candidates))
        obstacles: dict[str, str] = {}
        for candidate in candidates:
            problem = obstacle(candidate) or self._open_on_gpu(candidate)
            if problem is None:
                break
            obstacles[candidate] = problem
        return obstacles

    def _open_on_gpu(self, provider: str) -> str | None:
        """Open the session there and run it once; what stood in the way, None if nothing did."""
        missing = preload_cuda()
        problem = None
        for has_graph in (True, False):  # not every network can be recorded as a graph
            try:
                session, self.contract = open_model(
                    self.path,
                    self._content,
                    provider_list(provider, self.sha256, has_graph=has_graph),
                    self._options(),
                )
                if session.get_providers()[0] != provider:
                    return f"{missing} not found" if missing else "it did not load"
                runner = GpuRunner(session, self.contract)
                runner.run(runner.input)
            except Exception as error:  # noqa: BLE001  whatever it is, the next provider is tried
                problem = problem or _first_line(error)
                continue
            self._runner, self.provider = runner, provider
            return None
        return problem

    def _open_on_cpu(self) -> None:
        session, self.contract = open_model(self.path, self._content, [CPU], self._options())
        self._runner, self.provider = CpuRunner(session, self.contract), CPU

    def _options(self) -> onnxruntime.SessionOptions:
        options = quiet_options()
        options.intra_op_num_threads = self.n_threads
        # Idle workers would otherwise spin and take the cores from the other threads.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


def default_threads() -> int:
    """Physical cores minus one, which the receive, reconstruction and window threads share."""
    return max(1, physical_cores() - 1)


def physical_cores() -> int:
    """Cores of this machine; two threads of one core count once."""
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    return len({path.read_text() for path in siblings}) or (os.cpu_count() or 1)


def _why_cpu(asked: str, obstacles: dict[str, str]) -> str:
    if asked == "cpu":
        return "the CPU was asked for"
    return why_not(obstacles) or "this ONNX Runtime was built without TensorRT and CUDA"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
