"""What an audit finds: near copies across subsets, shared donors, sizes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from offline_tools.datasets.audit import audited, image_hash, near_copies
from offline_tools.datasets.images import LabelledImage
from offline_tools.datasets.split import Split
from recon.section import VisibleLine


def picture(seed: int) -> NDArray[np.uint8]:
    noise = gaussian_filter(np.random.default_rng(seed).random((256, 288)), 16)
    return np.interp(noise, (noise.min(), noise.max()), (10, 220)).astype(np.uint8)


def hash_of(pixels: NDArray[np.uint8], roi_px: tuple[int, int, int, int] | None = None) -> int:
    line = VisibleLine(np.empty((0, 2)), np.empty(0))
    return image_hash(LabelledImage("a/b/1", pixels, (0.1, 0.1), roi_px, line))


def distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_gain_hardly_change_the_hash_another_image_does(seed: int) -> None:
    pixels = picture(seed)
    noise = np.random.default_rng(seed).integers(-4, 5, pixels.shape)
    assert distance(hash_of(pixels), hash_of((pixels + noise).astype(np.uint8))) <= 4
    assert distance(hash_of(pixels), hash_of((pixels * 0.8).astype(np.uint8))) <= 4
    assert distance(hash_of(pixels), hash_of(picture(seed + 100))) > 10


def test_only_the_region_of_interest_counts() -> None:
    pixels = picture(0)
    marked = pixels.copy()
    marked[:, 250:] = 255 - marked[:, 250:]
    roi_px = (0, 0, 250, 256)
    assert hash_of(marked, roi_px) == hash_of(pixels, roi_px)
    assert hash_of(marked) != hash_of(pixels)


def test_near_copies_are_those_of_a_plain_search() -> None:
    rng = np.random.default_rng(0)
    others = rng.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = rng.integers(0, 2**63, 2000, dtype=np.uint64)
    hashes[:40] = others ^ np.uint64(0b1111)  # 4 bits off
    hashes[40:80] = others ^ np.uint64(0b11111)
    found = near_copies(hashes, others)
    assert found[:40].tolist() == list(range(40))
    expected = [
        next((k for k, o in enumerate(others.tolist()) if distance(h, o) <= 4), -1)
        for h in hashes.tolist()
    ]
    assert found.tolist() == expected
    assert near_copies(hashes[:2], others[:0]).tolist() == [-1, -1]


def test_audit_names_copies_donors_and_sizes() -> None:
    subsets = {
        "train": ("cadaver05_S232132L/r/1", "cadaver05_S232132L/r/2"),
        "val": (),
        "test": ("cadaver07_S232132R/r/1", "cadaver02_F231218/r/1"),
    }
    hashes = {
        "cadaver05_S232132L/r/1": hash_of(picture(1)),
        "cadaver05_S232132L/r/2": hash_of(picture(2)),
        "cadaver07_S232132R/r/1": hash_of(picture(3)),
        "cadaver02_F231218/r/1": hash_of(picture(2)),
    }
    split = audited(Split("specimen", 0, subsets, ("made by hand",)), hashes)
    assert split.notes == (
        "made by hand",
        "train has 2 images of 1 donor (S232132)",
        "val has 0 images of 0 donors (none)",
        "test has 2 images of 2 donors (F231218, S232132)",
        "donor S232132 is in train, test: scores say little about other donors",
        "1 of 2 images in test have a near copy in train, such as cadaver02_F231218/r/1 and "
        "cadaver05_S232132L/r/2",
    )
