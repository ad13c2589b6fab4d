"""Residuals of a calibration, over all samples: nothing is trimmed before it is reported."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Residuals:
    """Statistics of error lengths. The unit is that of the errors: mm unless a name says else."""

    mean: float
    rms: float
    median: float
    p95: float
    max: float
    n: int

    @classmethod
    def of(cls, errors: ArrayLike) -> Residuals:
        """Of all errors (any shape); NaN throughout where there is none."""
        lengths = np.abs(np.asarray(errors, dtype=np.float64)).ravel()
        if not len(lengths):
            return cls(*(np.nan,) * 5, n=0)
        return cls(
            mean=float(lengths.mean()),
            rms=float(np.sqrt(np.mean(lengths**2))),
            median=float(np.median(lengths)),
            p95=float(np.percentile(lengths, 95.0)),
            max=float(lengths.max()),
            n=len(lengths),
        )

    def as_section(self, unit: str) -> dict[str, float | int]:
        """For a calibration file, the unit at the end of each name."""
        return {key if key == "n" else f"{key}_{unit}": v for key, v in asdict(self).items()}
