"""Ultrasound image orientations of IGSIO, brought to MF: row 0 at the transducer.

A code says where each axis of the image runs, columns first: to the Marked or Unmarked side of the
probe, Far from the transducer or Near to it, and for volumes Ascending or Descending. MF is what
PLUS holds in memory and what calibrations are made in. A code that begins with F or N is
transposed: its first axis runs along the scan lines.

Source: PLUS Toolkit, "Ultrasound image orientation"; IGSIO, igsioVideoFrame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A volume's third letter says nothing about a single slice.
CODES = tuple(
    pair + third
    for pair in ("MF", "UF", "MN", "UN", "FM", "FU", "NM", "NU")
    for third in ("", "A", "D")
)


def is_transposed(code: str) -> bool:
    """Whether columns and rows are exchanged on the way to MF."""
    return code[0] in "FN"


def to_mf(pixels: NDArray[np.uint8], code: str) -> NDArray[np.uint8]:
    """Pixels (rows, columns) in orientation MF; contiguous, and the same array where it is MF."""
    letters = code[:2]
    if is_transposed(code):
        pixels, letters = pixels.T, letters[::-1]
    if letters[0] == "U":
        pixels = pixels[:, ::-1]
    if letters[1] == "N":
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
