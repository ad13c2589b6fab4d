"""How one session is run: through numpy on the CPU, through bound buffers on a GPU."""

from __future__ import annotations

import ctypes
import weakref
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.contract import ModelContract


class Runner(Protocol):
    """Runs one prepared image after the other, in one thread at a time.

    `input`, (1, 1, rows, columns) float32, is the place from which an image goes in with the
    fewest copies; its content counts until `run` returns.
    """

    input: NDArray[np.float32]

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network returns, (1, 1, rows, columns), in memory of its own."""


class CpuRunner:
    """The network reads `tensor` where it lies."""

    def __init__(self, session: onnxruntime.InferenceSession, contract: ModelContract) -> None:
        self.input = np.zeros((1, 1, *contract.input.size_px), dtype=np.float32)
        self._session = session
        self._names = contract.input.name, contract.output.name

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        name_in, name_out = self._names
        (out,) = self._session.run([name_out], {name_in: tensor})
        return np.asarray(out)


class GpuRunner:
    """Buffers on the device are bound once: their addresses stay, as a CUDA graph demands.

    An image goes from `input`, which is page-locked, straight to the device. What comes out is a
    new array each time, so that no later image writes into it.
    """

    def __init__(self, session: onnxruntime.InferenceSession, contract: ModelContract) -> None:
        shape = (1, 1, *contract.input.size_px)
        self.input = page_locked(np.zeros(shape, dtype=np.float32))
        self._session = session
        self._device_in, self._device_out = (
            onnxruntime.OrtValue.ortvalue_from_numpy(self.input, "cuda", 0) for _ in range(2)
        )
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(contract.input.name, self._device_in)
        self._binding.bind_ortvalue_output(contract.output.name, self._device_out)

    def run(self, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        if tensor is not self.input:
            np.copyto(self.input, tensor)
        self._device_in.update_inplace(self.input)
        self._session.run_with_iobinding(self._binding)
        return np.asarray(self._device_out.numpy())


def page_locked(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same array, whose memory a GPU can read without a copy in between from here on.

    Stays as it is where CUDA cannot do so: copies from it are slower then, not different.
    """
    major = onnxruntime.cuda_version.partition(".")[0]
    try:
        cudart = ctypes.CDLL(f"libcudart.so.{major}")
    except OSError:
        return array
    address = ctypes.c_void_p(array.ctypes.data)
    if cudart.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), ctypes.c_uint(0)) == 0:
        # numpy calls this before it gives the memory back.
        release = weakref.finalize(array, cudart.cudaHostUnregister, address)
        release.atexit = False  # the driver may be gone by then
    return array
