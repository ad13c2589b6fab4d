"""Simulated images with the simulator's own truth, as a source like any other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence

from offline_tools.datasets.images import LabelledImage
from recon.simulator import SimulatedSweep, SimulatorSettings

# Seeds of simulated sweeps; those below 500 are left for tests and the demo.
FIRST_TRAINING_SEED = 1000
FIRST_VALIDATION_SEED = 500
_IMAGES_PER_BONE = 5
_ONE_WAY_S = 6.0  # time in which a simulated probe passes its bone once


class SimulatedImages:
    """Images from all over many simulated bones, a few of each. An `ImageSource`.

    Every bone is a donor of its own; names are simulated/SEED/INDEX.
    """

    specimen = record = donor = "simulated"
    problems: Sequence[str] = ()

    def __init__(self, first_seed: int, n_images: int) -> None:
        self._first_seed = first_seed
        self.names = tuple("simulated/{}/{}".format(*self._place(k)) for k in range(n_images))

    @functools.cached_property
    def sha256(self) -> str:
        """Of the names and of the first image, which another simulator would paint otherwise."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        if self.names:
            first = self.load(0)
            digest.update(first.pixels.tobytes() + first.line.points_px.tobytes())
        return digest.hexdigest()

    def load(self, index: int) -> LabelledImage:
        """Paint one image; neighbours are of one bone and faster in order."""
        seed, k = self._place(index)
        sweep = _sweep(seed)
        return LabelledImage(
            name=self.names[index],
            pixels=sweep.render(k),
            spacing_mm=sweep.settings.spacing_mm,
            roi_px=None,
            line=sweep.truth_line(k),
        )

    def position_mm(self, index: int) -> float | None:
        """None: these bones have no anatomy to be split by."""
        return None

    def _place(self, index: int) -> tuple[int, int]:
        """Seed of the bone and number of its image."""
        return self._first_seed + index // _IMAGES_PER_BONE, index % _IMAGES_PER_BONE


def simulated_images(first_seed: int, n_images: int) -> Iterator[LabelledImage]:
    """Images from all over many simulated bones, a few of each, with the simulator's own truth."""
    source = SimulatedImages(first_seed, n_images)
    return (source.load(index) for index in range(n_images))


@functools.lru_cache(maxsize=1)
def _sweep(seed: int) -> SimulatedSweep:
    return SimulatedSweep(
        SimulatorSettings(
            seed=seed, n_images=_IMAGES_PER_BONE, image_rate_hz=_IMAGES_PER_BONE / _ONE_WAY_S
        )
    )
