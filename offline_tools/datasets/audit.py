"""What a reader must know of a split: sizes, donors, and images that are nearly the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.datasets.images import LabelledImage
from offline_tools.datasets.split import Split, donors, shared_donors

Hashes = NDArray[np.uint64]

_SIDE = 8  # of the strongly reduced image: 64 bits
# Of 64 bits. In real sweeps 3 of 4 images taken 50 ms apart differ by no more, images taken 1 s
# apart by 7 or more, images of other places by 11 or more; noise and gain change up to 5.
_NEAR_BITS = 4
_CHUNK = 64  # against 100,000 others that is 50 MB
_N_NAMED_DONORS = 12


def image_hash(image: LabelledImage) -> int:
    """Difference hash: of an image reduced to 9 x 8 pixels, where it grows brighter to the right.

    Source: N. Krawetz 2013, "Kind of like that".
    """
    u0, v0, width, height = image.roi_px or (0, 0, *image.pixels.shape[::-1])
    region = Image.fromarray(image.pixels[v0 : v0 + height, u0 : u0 + width])
    small = np.asarray(region.resize((_SIDE + 1, _SIDE), Image.Resampling.BOX))
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes())


def image_hashes(images: Iterable[LabelledImage]) -> dict[str, int]:
    """Hashes by name; reads every image."""
    return {image.name: image_hash(image) for image in images}


def near_copies(hashes: Hashes, others: Hashes) -> NDArray[np.intp]:
    """For each hash (N,) the index of a nearly equal one among `others` (M,), -1 for none."""
    found = np.full(len(hashes), -1, dtype=np.intp)
    if len(others) == 0:
        return found
    for first in range(0, len(hashes), _CHUNK):
        bits = np.bitwise_count(hashes[first : first + _CHUNK, None] ^ others)
        nearest = bits.argmin(axis=1)
        is_near = bits[np.arange(len(bits)), nearest] <= _NEAR_BITS
        found[first : first + _CHUNK][is_near] = nearest[is_near]
    return found


def audited(split: Split, hashes: Mapping[str, int]) -> Split:
    """The split with notes on its sizes, its donors, and near copies across its subsets."""
    notes = [_size_note(name, names) for name, names in split.subsets.items()]
    for donor, subsets in shared_donors(split).items():
        where = ", ".join(subsets)
        notes.append(f"donor {donor} is in {where}: scores say little about other donors")
    for a, b in combinations(split.subsets, 2):
        notes += _copy_notes(split, hashes, a, b)
    return replace(split, notes=(*split.notes, *notes))


def _size_note(subset: str, names: tuple[str, ...]) -> str:
    found = donors(names)
    named = ", ".join(found[:_N_NAMED_DONORS]) + (", ..." if len(found) > _N_NAMED_DONORS else "")
    plural = "s" * (len(found) != 1)
    return f"{subset} has {len(names)} images of {len(found)} donor{plural} ({named or 'none'})"


def _copy_notes(split: Split, hashes: Mapping[str, int], a: str, b: str) -> list[str]:
    """How many images of `b` have a near copy in `a`, with one example."""
    ours, theirs = split.subsets[b], split.subsets[a]
    mine = np.array([hashes[name] for name in ours], dtype=np.uint64)
    copies = near_copies(mine, np.array([hashes[name] for name in theirs], dtype=np.uint64))
    found = np.flatnonzero(copies >= 0)
    if len(found) == 0:
        return []
    return [
        f"{len(found)} of {len(ours)} images in {b} have a near copy in {a}, such as "
        f"{ours[found[0]]} and {theirs[copies[found[0]]]}"
    ]
