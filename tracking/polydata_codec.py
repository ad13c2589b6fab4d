"""POLYDATA: points and the cells between them, without attributes."""

from __future__ import annotations

import itertools
import struct

import numpy as np
from numpy.typing import NDArray

from tracking.errors import WireError
from tracking.framing import Body, Message
from tracking.messages import PolyData

POLYDATA = "POLYDATA"

# Points; then cells and their bytes for vertices, lines, polygons and strips; attributes.
_HEADER = struct.Struct(">I 8I I")
_POINT_BYTES = 12  # three float32


def decode_polydata(message: Message) -> PolyData:
    """Points and cells; attributes (colours, normals) at the end are left unread.

    Raises
    ------
    WireError : if sizes do not fit into the body, or a cell names a point that is not there.
    """
    content = message.content
    if content.size < _HEADER.size:
        raise WireError(
            f"POLYDATA {message.name}: the body has {content.size} bytes, "
            f"expected at least {_HEADER.size}"
        )
    n_points, *sizes, _ = _HEADER.unpack_from(content.data)
    n_bytes = [n_points * _POINT_BYTES, *sizes[1::2]]
    if _HEADER.size + sum(n_bytes) > content.size or any(n % 4 for n in n_bytes):
        raise WireError(
            f"POLYDATA {message.name}: {content.size} bytes came, "
            f"{_HEADER.size + sum(n_bytes)} were announced"
        )
    ends = np.cumsum([_HEADER.size, *n_bytes])
    points, *cells = (content[a:b] for a, b in itertools.pairwise(ends))
    points_mm = np.frombuffer(points.tobytes(), ">f4").reshape(-1, 3).astype(np.float64)
    return PolyData(
        message.name,
        points_mm,
        *(_cells(message.name, data, n_cells, n_points)
          for data, n_cells in zip(cells, sizes[::2], strict=True)),
    )  # fmt: skip


def _cells(name: str, data: Body, n_cells: int, n_points: int) -> tuple[NDArray[np.int64], ...]:
    """Cells follow one another, each with the number of its points before it."""
    numbers = np.frombuffer(data.tobytes(), ">u4").astype(np.int64)
    cells, begin = list[NDArray[np.int64]](), 0
    while begin < len(numbers):
        end = begin + 1 + int(numbers[begin])
        cell = numbers[begin + 1 : end]
        if end > len(numbers) or np.any(cell >= n_points):
            raise WireError(
                f"POLYDATA {name}: cell {len(cells)} is not made of its {n_points} points"
            )
        cells.append(cell)
        begin = end
    if len(cells) != n_cells:
        raise WireError(f"POLYDATA {name}: {len(cells)} cells came, {n_cells} were announced")
    return tuple(cells)
