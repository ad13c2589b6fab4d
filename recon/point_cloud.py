"""The growing cloud: one entry per voxel, found through a hash table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon.errors import ReconError

# A voxel's three indices share one 63-bit key, 21 bits each: 1,048,575 voxels to either side of
# the origin, half a kilometre at 0.5 mm.
_INDEX_BITS = 21
_INDEX_LIMIT = (1 << (_INDEX_BITS - 1)) - 1
_FREE = -1  # no key is negative

_FIRST_SLOTS = 1 << 14  # a power of two; doubles when 60 % are taken
_MAX_LOAD = 0.6
# A search that passes this many slots makes the table grow early, so that none takes long. Linear
# probing at 60 % needs it about once in a table of a million.
_MAX_PROBES = 128

_T = TypeVar("_T", bound=np.generic)


class _Rows(NamedTuple):
    """What is known of each voxel, in order of first hit; a tuple because Numba takes it whole."""

    key: NDArray[np.int64]
    sums: NDArray[np.float64]  # (n, 4): x, y, z in mm and confidence
    n_points: NDArray[np.int64]
    sweep: NDArray[np.int32]
    first_mm: NDArray[np.float32]  # (n, 3)


@dataclass(frozen=True, slots=True)
class CloudSnapshot:
    """The cloud at one moment, one row per voxel in order of first hit; arrays are read-only.

    `points_mm` (N, 3) float64 and `confidence` (N,) float64 are means over all points in the
    voxel, `count` (N,) int64 says how many, `sweep` (N,) int32 which sweep hit it first.
    """

    points_mm: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    sweep: NDArray[np.int32]


class PointCloud:
    """Points merged by voxel: index k along an axis holds k to k + 1 times `voxel_size_mm`.

    An insertion costs the same however large the cloud is, but for the doubling of the tables now
    and then. Not for several threads at once.
    """

    def __init__(self, voxel_size_mm: float = 0.5) -> None:
        if not voxel_size_mm > 0.0:
            raise ReconError(f"voxel size is {voxel_size_mm} mm, expected more than 0 mm")
        self.voxel_size_mm = voxel_size_mm
        n_rows = int(_FIRST_SLOTS * _MAX_LOAD)
        self._n = 0
        self._slots = np.full(_FIRST_SLOTS, _FREE, dtype=np.int32)
        self._rows = _Rows(
            key=np.empty(n_rows, dtype=np.int64),
            sums=np.empty((n_rows, 4)),
            n_points=np.empty(n_rows, dtype=np.int64),
            sweep=np.empty(n_rows, dtype=np.int32),
            first_mm=np.empty((n_rows, 3), dtype=np.float32),
        )

    @property
    def n_voxels(self) -> int:
        """How many voxels hold a point."""
        return self._n

    @property
    def first_points_mm(self) -> NDArray[np.float32]:
        """The first point of each voxel, (n_voxels, 3), a read-only view.

        Rows never change and keep their number, so that a viewer uploads only the new ones; a
        view taken earlier stays valid for its own length.
        """
        view = self._rows.first_mm[: self._n]
        view.setflags(write=False)
        return view

    def insert(self, points_mm: ArrayLike, confidence: ArrayLike, sweep: int) -> int:
        """Merge points into the cloud and return how many voxels are new.

        Parameters
        ----------
        points_mm : (N, 3), frame of the cloud
        confidence : (N,), averaged per voxel
        sweep : number of the sweep that the points come from

        Raises
        ------
        ReconError : if a value is not finite or a point lies beyond the voxels that a key can
            name; nothing is inserted then.
        """
        points = np.asarray(points_mm, dtype=np.float64).reshape(-1, 3)
        values = np.column_stack((points, np.asarray(confidence, dtype=np.float64)))
        if not np.isfinite(values).all():
            raise ReconError("point cloud: a point or its confidence is not finite")
        keys = self._keys_of(points)
        n_before, n_done = self._n, 0
        while True:
            n_done, self._n = _insert(self._slots, self._rows, self._n, keys, values, n_done, sweep)
            if n_done == len(keys):
                return self._n - n_before
            self._grow()

    def snapshot(self) -> CloudSnapshot:
        """A copy of the cloud as it is now."""
        count = self._rows.n_points[: self._n].copy()
        means = self._rows.sums[: self._n] / count[:, None]
        snapshot = CloudSnapshot(
            points_mm=means[:, :3].copy(),
            count=count,
            confidence=means[:, 3].copy(),
            sweep=self._rows.sweep[: self._n].copy(),
        )
        for array in (snapshot.points_mm, count, snapshot.confidence, snapshot.sweep):
            array.setflags(write=False)
        return snapshot

    def _keys_of(self, points_mm: NDArray[np.float64]) -> NDArray[np.int64]:
        index = np.floor(points_mm / self.voxel_size_mm)
        if np.abs(index).max(initial=0.0) > _INDEX_LIMIT:
            raise ReconError(
                f"point cloud: a coordinate is {np.abs(points_mm).max():.0f} mm, expected at most "
                f"{_INDEX_LIMIT * self.voxel_size_mm:.0f} mm"
            )
        x, y, z = (index.astype(np.int64) + _INDEX_LIMIT).T
        return (x << 2 * _INDEX_BITS) | (y << _INDEX_BITS) | z

    def _grow(self) -> None:
        """Double the tables into new arrays: views of the old ones stay as they are."""
        n_slots = 2 * len(self._slots)
        self._slots = np.full(n_slots, _FREE, dtype=np.int32)
        _fill_slots(self._slots, self._rows.key[: self._n])
        n_rows = int(n_slots * _MAX_LOAD)
        rows = self._rows
        self._rows = _Rows(
            key=_lengthened(rows.key, n_rows),
            sums=_lengthened(rows.sums, n_rows),
            n_points=_lengthened(rows.n_points, n_rows),
            sweep=_lengthened(rows.sweep, n_rows),
            first_mm=_lengthened(rows.first_mm, n_rows),
        )


def _lengthened(column: NDArray[_T], n_rows: int) -> NDArray[_T]:
    longer = np.empty((n_rows, *column.shape[1:]), dtype=column.dtype)
    longer[: len(column)] = column
    return longer


@numba.njit(cache=True, nogil=True)
def _slot_of(key: int, n_slots: int) -> np.int64:
    """Where the search for a key begins: its bits, mixed so that neighbours lie far apart.

    Source: finaliser of splitmix64, S. Vigna, 2015.
    """
    mixed = np.uint64(key)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((mixed ^ (mixed >> np.uint64(31))) & np.uint64(n_slots - 1))


@numba.njit(cache=True, nogil=True)
def _fill_slots(slots: NDArray[np.int32], row_keys: NDArray[np.int64]) -> None:
    """Enter the rows of different keys into free slots."""
    last_slot = len(slots) - 1
    for row in range(len(row_keys)):
        slot = _slot_of(row_keys[row], len(slots))
        while slots[slot] != _FREE:
            slot = (slot + 1) & last_slot
        slots[slot] = row


@numba.njit(cache=True, nogil=True)
def _insert(
    slots: NDArray[np.int32],
    rows: _Rows,
    n: int,
    keys: NDArray[np.int64],
    values: NDArray[np.float64],
    first: int,
    sweep: int,
) -> tuple[int, int]:
    """Insert from number `first` on; returns (number of the first that needs larger tables, n)."""
    last_slot = len(slots) - 1
    for i in range(first, len(keys)):
        slot = _slot_of(keys[i], len(slots))
        n_probes = 1
        while slots[slot] != _FREE and rows.key[slots[slot]] != keys[i]:
            if n_probes == _MAX_PROBES:
                return i, n
            slot = (slot + 1) & last_slot
            n_probes += 1
        if slots[slot] == _FREE:
            if n == len(rows.key):
                return i, n
            slots[slot] = n
            rows.key[n], rows.n_points[n], rows.sweep[n] = keys[i], 0, sweep
            rows.sums[n] = 0.0
            rows.first_mm[n] = values[i, :3]
            n += 1
        row = slots[slot]
        rows.n_points[row] += 1
        rows.sums[row] += values[i]
    return len(keys), n
