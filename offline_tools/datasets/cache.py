"""Examples on disk, mapped into memory: made once for the same data and contract.

A cache is one folder, named by the hash of all that decides its content: the sources, the
contract's input and normalisation, the target band, the rule for flanks and `_VERSION`. It appears
under that name when it is whole. Its arrays are float32, exactly what `make_example` gives: about
as large as the recorded images themselves (0.46 MB each at 224 x 256; half as much again with a
rule for flanks), and ready to be used without a conversion.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from inference.contract import ModelContract
from offline_tools.datasets.examples import (
    BAND_END_PX,
    BAND_FULL_PX,
    LARGEST_STEP_MM,
    OPEN_END_PX,
    OPEN_FULL_PX,
    Example,
    Examples,
    make_example,
)
from offline_tools.datasets.flanks import FlankRule
from offline_tools.datasets.images import ImageSource, images_of
from offline_tools.errors import InputError, WorkError

# Of what `make_example` does beyond its parameters: a change there makes old caches wrong.
_VERSION = 1
_MAPPED = ("images", "targets")
_SMALL = ("lines", "line_ends", "network_spacing_mm")
_NAMES = "names.json"


def cached_examples(
    sources: Sequence[ImageSource],
    contract: ModelContract,
    cache: Path,
    on_image: Callable[[int, int], None] = lambda n_done, n_total: None,
    flanks: FlankRule | None = None,
) -> Examples:
    """Examples of all images of the sources, from `cache` where they were made before.

    The arrays are mapped: only what is looked at is read, and writing to them changes no file.
    Another process that makes the same examples is waited for.

    Parameters
    ----------
    on_image : called with how many images are done, and of how many, while they are made.
    flanks : see `make_example`.

    Raises
    ------
    InputError : the sources hold no image, or one name twice.
    WorkError : the cache cannot be written (no space left); nothing of it stays.
    """
    names = [name for source in sources for name in source.names]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{len(set(names))} different images of {len(names)}, expected each once")
    key = _key(sources, contract, flanks)
    folder = cache / key
    size = (2 if flanks is None else 3) * len(names) * 4 * int(np.prod(contract.input.size_px))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache / f".{key}.lock"):
            found = _opened(folder)
            if found is not None:
                return found
            shutil.rmtree(folder, ignore_errors=True)
            partial = cache / f".{key}.part"
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            if shutil.disk_usage(cache).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            try:
                _write(partial, sources, names, contract, on_image, flanks)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise WorkError(
            f"{cache}: cannot keep {len(names)} examples ({size / 1e6:.0f} MB): "
            f"{error.strerror or error}; nothing was kept, choose another folder"
        ) from None
    made = _opened(folder)
    if made is None:
        raise WorkError(f"{folder}: was written but cannot be read back")
    return made


def _key(sources: Sequence[ImageSource], contract: ModelContract, flanks: FlankRule | None) -> str:
    content = {
        "version": _VERSION,
        "sources": [source.sha256 for source in sources],
        "input": asdict(contract.input),
        "normalisation": asdict(contract.normalisation),
        "target": [BAND_FULL_PX, BAND_END_PX, LARGEST_STEP_MM],
        **({} if flanks is None else {"flanks": [asdict(flanks), OPEN_FULL_PX, OPEN_END_PX]}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Only one process at a time; the system frees the lock of one that dies."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _opened(folder: Path) -> Examples | None:
    """The cache in a folder; None where there is none, or one that a crash cut short."""
    try:
        names = tuple(json.loads((folder / _NAMES).read_text(encoding="utf-8")))
        # Copy on write: torch warns of arrays that cannot be written to.
        mapped = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in _MAPPED}
        small = {name: np.load(folder / f"{name}.npy") for name in _SMALL}
    except (OSError, ValueError, EOFError):
        return None
    return Examples(names=names, **mapped, **small)


def _write(
    folder: Path,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    contract: ModelContract,
    on_image: Callable[[int, int], None],
    flanks: FlankRule | None,
) -> None:
    folder.mkdir()
    n_channels = {"images": 1, "targets": 1 if flanks is None else 2}
    lines: list[NDArray[np.float64]] = [np.empty((0, 2))]
    spacing_mm = []
    with contextlib.ExitStack() as stack:
        # Plain writes: a full disk under a map would be a signal, not an error.
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in _MAPPED}
        for name, file in files.items():
            _write_head(file, (len(names), n_channels[name], *contract.input.size_px))
        for n_done, image in enumerate(images_of(sources), start=1):
            example = make_example(image, contract, flanks)
            _append(files["images"], files["targets"], example)
            lines.append(example.line)
            spacing_mm.append(example.network_spacing_mm)
            on_image(n_done, len(names))
    np.save(folder / "lines.npy", np.concatenate(lines))
    np.save(folder / "line_ends.npy", np.cumsum([len(line) for line in lines]))
    np.save(folder / "network_spacing_mm.npy", np.array(spacing_mm))
    (folder / _NAMES).write_text(json.dumps(list(names)), encoding="utf-8")


def _write_head(file: IO[bytes], shape: tuple[int, ...]) -> None:
    head = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, head)


def _append(images: IO[bytes], targets: IO[bytes], example: Example) -> None:
    images.write(np.ascontiguousarray(example.image, dtype="<f4").data)
    targets.write(np.ascontiguousarray(example.answer, dtype="<f4").data)
