"""PLUS recordings as the tests need them: all pixels, stamps and poses as arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracking.calibration.track import Track, read_recorded
from tracking.sequences import open_sweep


class PlusRecording:
    """One `.igs.mha` file."""

    def __init__(self, path: Path) -> None:
        self._recorded = read_recorded(open_sweep(path))

    @property
    def pixels(self) -> Iterator[np.ndarray]:
        return (image.load() for image in self._recorded.images)

    @property
    def image_t_s(self) -> np.ndarray:
        return np.array([image.t_s for image in self._recorded.images])

    def track(self, tool: str) -> Track:
        """T_reference_tool of every frame."""
        return self._recorded.relative(tool, "Reference")
