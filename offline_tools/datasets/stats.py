"""What a dataset holds, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offline_tools.datasets.images import ImageSource, LabelledImage
from offline_tools.errors import InputError

_INCIDENCE_STEP_DEG = 10
_GREY_STEP = 16
_LARGEST_STEP_MM = 1.0  # points of a label further apart are not joined by bone

Array = NDArray[np.float64]


def dataset_stats(
    sources: Sequence[ImageSource], images: Iterable[LabelledImage]
) -> dict[str, Any]:
    """Counts, spacing, grey values, and where and how long the labels are.

    Grey values are those of the region of interest. Lengths are along the line in mm, depths from
    the image's first row; the incidence of masks is not known and is counted apart.

    Parameters
    ----------
    images : all of the sources' images, in any order.

    Raises
    ------
    InputError : there is no image.
    """
    grey = np.zeros(256, dtype=np.int64)
    incidence_rad: list[Array] = []
    depth_mm: list[Array] = []
    length_mm: list[float] = []
    covered: list[float] = []
    spacings: set[tuple[float, float]] = set()
    sizes: set[tuple[int, int]] = set()
    for image in images:
        u0, v0, width, height = image.roi_px or (0, 0, *image.pixels.shape[::-1])
        grey += np.bincount(image.pixels[v0 : v0 + height, u0 : u0 + width].ravel(), minlength=256)
        points_px = image.line.points_px
        incidence_rad.append(image.line.incidence_rad)
        depth_mm.append(points_px[:, 1] * image.spacing_mm[1])
        length_mm.append(line_length_mm(points_px, image.spacing_mm))
        covered.append(len(points_px) / width)
        spacings.add(image.spacing_mm)
        sizes.add((image.pixels.shape[1], image.pixels.shape[0]))
    if not covered:
        raise InputError("no labelled image to describe")
    return {
        "n_frames": len(covered),
        "n_left_out": sum(len(source.problems) for source in sources),
        "donors": sorted({source.donor for source in sources}),
        "records": {f"{source.specimen}/{source.record}": len(source.names) for source in sources},
        "image_size_px": [list(size) for size in sorted(sizes)],
        "spacing_mm": [list(spacing) for spacing in sorted(spacings)],
        "grey": _grey(grey),
        "label_length_mm": _summary(np.array(length_mm)),
        "label_depth_mm": _summary(np.concatenate(depth_mm)),
        "columns_with_label": _summary(np.array(covered)),
        "n_without_bone": sum(share == 0.0 for share in covered),
        "incidence": _incidence(np.concatenate(incidence_rad)),
    }


def line_length_mm(points_px: Array, spacing_mm: tuple[float, float]) -> float:
    """Along a label's points (N, 2), by ascending u; gaps of more than 1 mm are not bridged."""
    steps_mm = np.linalg.norm(np.diff(points_px, axis=0) * spacing_mm, axis=1)
    across_mm = np.diff(points_px[:, 0]) * spacing_mm[0]
    return float(steps_mm[across_mm <= _LARGEST_STEP_MM].sum())


def _grey(counts: NDArray[np.int64]) -> dict[str, Any]:
    value = np.arange(256)
    mean = float(np.average(value, weights=counts))
    return {
        "mean": mean,
        "std": float(np.sqrt(np.average((value - mean) ** 2, weights=counts))),
        "max": int(np.flatnonzero(counts)[-1]),
        "histogram_step": _GREY_STEP,
        "histogram": (counts.reshape(-1, _GREY_STEP).sum(axis=1) / counts.sum()).tolist(),
    }


def _incidence(incidence_rad: Array) -> dict[str, Any]:
    known_deg = np.degrees(incidence_rad[np.isfinite(incidence_rad)])
    edges_deg = np.arange(0, 91, _INCIDENCE_STEP_DEG)
    return {
        "edges_deg": edges_deg.tolist(),
        "n": np.histogram(known_deg, edges_deg)[0].tolist(),
        "n_unknown": len(incidence_rad) - len(known_deg),
    }


def _summary(values: Array) -> dict[str, float | None]:
    if len(values) == 0:
        return dict.fromkeys(("min", "p5", "median", "mean", "p95", "max"))
    low, p5, median, p95, high = np.percentile(values, (0, 5, 50, 95, 100)).tolist()
    return {
        "min": low, "p5": p5, "median": median, "mean": float(values.mean()), "p95": p95,
        "max": high,
    }  # fmt: skip
