"""The growing cloud: one entry per voxel, found through a hash table."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recon import cloud_kernels as kernels
from recon.cloud_kernels import INDEX_LIMIT, Fill, Journal, Stamp, Table
from recon.errors import ReconError
from recon.reserved_memory import Ahead, reserved
from recon.surface import SurfaceDistance

# Address space is taken for so many voxels at once, so that nothing is ever moved while a session
# grows: a cloud of 17 million voxels, 4 square metres of surface at 0.5 mm. The system gives the
# memory, page by page, when it is first written to. Beyond it the tables double, which stalls.
_RESERVED_VOXELS = 1 << 24
_VOXELS_PER_BUCKET = 4  # a surface fills about half of a block of eight voxels

_SAVED_ROWS = 1 << 12  # of one piece of the journal

_T = TypeVar("_T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class CloudSnapshot:
    """The cloud at one moment, one row per voxel in order of first hit; arrays are read-only.

    `points_mm` (N, 3) float64, `confidence` (N,) float64 and `towards_probe` (N, 3) float32 are
    means over all points in the voxel, `count` (N,) int64 says how many; the last one is shorter
    than 1 where the probe came from several sides, and 0 where nobody said from where. `sweep` and
    `last_sweep` (N,) int32 are the sweeps that hit the voxel first and last. `distance_mm` (N,)
    float32 is how far its first point lies from the CT surface, NaN where that was not asked for.
    """

    points_mm: NDArray[np.float64]
    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    sweep: NDArray[np.int32]
    last_sweep: NDArray[np.int32]
    towards_probe: NDArray[np.float32]
    distance_mm: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CloudChanges:
    """What happened to a cloud after an earlier revision, for one who keeps a copy of it.

    Of the first points known then, the first `n_kept` stand; those that follow, to `n_voxels`, are
    new. Counts and means may have changed in the rows of `chunks`: chunk k is rows k to k + 1
    times `CHUNK_ROWS`.
    """

    revision: int
    n_kept: int
    n_voxels: int
    chunks: NDArray[np.int64]


CHUNK_ROWS = 1 << kernels.CHUNK_BITS


class _Columns(NamedTuple):
    """The first point of each voxel and its distance: written once, in the order of the rows."""

    first_mm: NDArray[np.float32]
    distance_mm: NDArray[np.float32]


class _SweepStart(NamedTuple):
    """Where a sweep began: what undo goes back to."""

    sweep: int
    epoch: int
    fill: Fill
    n_saved: int  # in the whole journal


class PointCloud:
    """Points merged by voxel: index k along an axis holds k to k + 1 times `voxel_size_mm`.

    An insertion costs the same however large the cloud is. One thread inserts and undoes; any
    thread reads, and never makes the writer wait longer than a reader's look at a few numbers.

    A row is saved in a journal before a sweep, or a snapshot that is being taken, sees it change
    for the first time. Undo plays the journal back; a snapshot copies the rows while they change,
    and then puts the saved ones over its copy (docs/adr/0026).
    """

    def __init__(
        self, voxel_size_mm: float = 0.5, *, reserved_voxels: int = _RESERVED_VOXELS
    ) -> None:
        if not voxel_size_mm > 0.0:
            raise ReconError(f"voxel size is {voxel_size_mm} mm, expected more than 0 mm")
        self.voxel_size_mm = voxel_size_mm
        self._lock = threading.Lock()
        self._table, self._distance_mm = _new_table(reserved_voxels, reserved_voxels)
        self._fill = Fill(0, 0, 0)
        self._rows_ahead, self._blocks_ahead = self._new_ahead()
        self._revision = self._epoch = 0
        self._journal: list[Journal] = []
        self._sweeps: list[_SweepStart] = []
        self._snapshot_epochs: list[int] = []  # of those being taken
        self._undone: list[tuple[int, int]] = []  # revision, rows left

    @property
    def n_voxels(self) -> int:
        """How many voxels hold a point."""
        return self._fill.n_rows

    @property
    def revision(self) -> int:
        """Goes up with every insertion and undo."""
        return self._revision

    @property
    def undone(self) -> tuple[int, ...]:
        """How many voxels each undo so far left, in their order."""
        return tuple(n_left for _, n_left in self._undone)

    @property
    def first_points_mm(self) -> NDArray[np.float32]:
        """The first point of each voxel, (n_voxels, 3), a read-only view.

        Rows never change and keep their number, so that a viewer uploads only the new ones; a
        view taken earlier stays valid for its own length, also after an undo.
        """
        with self._lock:
            return _read_only(self._table.first_mm[: self._fill.n_rows])

    @property
    def first_distances_mm(self) -> NDArray[np.float32]:
        """How far each of the first points lies from the CT surface, (n_voxels,); likewise."""
        with self._lock:
            return _read_only(self._distance_mm[: self._fill.n_rows])

    def insert(
        self,
        points_mm: ArrayLike,
        confidence: ArrayLike,
        sweep: int,
        *,
        towards_probe: ArrayLike = (0.0, 0.0, 0.0),
        surface: SurfaceDistance | None = None,
    ) -> int:
        """Merge points into the cloud and return how many voxels are new.

        Parameters
        ----------
        points_mm : (N, 3), frame of the cloud
        confidence : (N,), averaged per voxel
        sweep : number of the sweep that the points come from; another one begins a new sweep
        towards_probe : (3,) or (N, 3) unit vectors from the points to the transducer
        surface : where given, the distance of each new voxel's first point is measured and kept

        Raises
        ------
        ReconError : if a value is not finite, a point lies beyond the voxels that a key can name,
            or the sweep is an earlier one than the last; nothing is inserted then.
        """
        points = np.ascontiguousarray(points_mm, dtype=np.float64).reshape(-1, 3)
        trust = np.ascontiguousarray(confidence, dtype=np.float64).reshape(-1)
        towards = np.ascontiguousarray(towards_probe, dtype=np.float32).reshape(-1, 3)
        n = len(points)
        if len(trust) != n or len(towards) not in (1, n):
            raise ReconError(
                f"point cloud: {n} points with {len(trust)} confidences and {len(towards)} "
                f"directions, expected {n} and 1 or {n}"
            )
        keys, cells, rows = np.empty(n, np.int64), np.empty(n, np.int32), np.empty(n, np.int32)
        state = kernels.find_places(points, trust, self.voxel_size_mm, keys, cells)
        if state != kernels.FINE:
            raise self._refusal(state, points)
        with self._lock:
            self._begin(sweep)
            n_before = self._fill.n_rows
            self._revision += 1
            kernels.find_rows(self._table, keys, cells, rows)
            self._merge((keys, cells, rows, points, trust, towards))
            is_new = slice(n_before, self._fill.n_rows)
            self._distance_mm[is_new] = (
                np.nan if surface is None else surface.distances_mm(self._table.first_mm[is_new])
            )
            self._rows_ahead.reach(self._fill.n_rows)
            self._blocks_ahead.reach(self._fill.n_blocks)
            return self._fill.n_rows - n_before

    def undo(self) -> int | None:
        """Take the last sweep away: the cloud is as if it had never been inserted.

        Returns
        -------
        The number of that sweep; None where there is none (left). Repeated, the one before.
        """
        with self._lock:
            if not self._sweeps:
                return None
            start = self._sweeps.pop()
            self._revision += 1
            for journal, first, last in self._pieces(start.n_saved):
                kernels.restore(self._table.bits[: start.fill.n_rows], journal, first, last)
                changed = journal.row[first:last] >> kernels.CHUNK_BITS
                self._table.versions[changed] = self._revision
            kernels.take_away(self._table, self._fill, start.fill)
            n_left = start.fill.n_rows
            n_pieces = -(-start.n_saved // _SAVED_ROWS)
            del self._journal[n_pieces:]
            n_in_last = start.n_saved - (n_pieces - 1) * _SAVED_ROWS if n_pieces else 0
            self._fill = Fill(n_left, start.fill.n_blocks, n_in_last)
            self._undone.append((self._revision, n_left))
            # New arrays for what others look at without a lock: what they see must not change.
            first_mm = _lengthened(self._table.first_mm, n_left, len(self._table.first_mm))
            self._table = self._table._replace(first_mm=first_mm)
            self._distance_mm = _lengthened(self._distance_mm, n_left, len(self._distance_mm))
            self._rows_ahead, self._blocks_ahead = self._new_ahead()
            return start.sweep

    def snapshot(self) -> CloudSnapshot:
        """A copy of the cloud as it is now; the writer goes on while it is made."""
        while True:
            with self._lock:
                self._epoch += 1
                epoch, n_undone = self._epoch, len(self._undone)
                n_rows, n_saved = self._fill.n_rows, self._n_saved
                bits = self._table.bits[:n_rows]
                distance_mm = _read_only(self._distance_mm[:n_rows])
                self._snapshot_epochs.append(epoch)
            copy = bits.copy()
            with self._lock:
                self._snapshot_epochs.remove(epoch)
                if len(self._undone) != n_undone:
                    continue  # an undo in between took the journal away: once more
                for journal, first, last in self._pieces(n_saved):
                    kernels.restore(copy, journal, first, last)
            return _as_snapshot(copy, distance_mm)

    def changes_since(self, revision: int) -> CloudChanges:
        """What a viewer that knows the cloud as of `revision` has to fetch; 0 knows nothing."""
        with self._lock:
            n_rows = self._fill.n_rows
            n_chunks = -(-n_rows // CHUNK_ROWS)
            left = [n_left for since, n_left in self._undone if since > revision]
            return CloudChanges(
                revision=self._revision,
                n_kept=min(left, default=n_rows),
                n_voxels=n_rows,
                chunks=np.flatnonzero(self._table.versions[:n_chunks] > revision),
            )

    def rows(self, first: int, last: int) -> CloudSnapshot:
        """Rows `first` to `last` as they are now; the writer waits, so take a few thousand."""
        with self._lock:
            rows = slice(first, min(last, self._fill.n_rows))
            copy, distance_mm = self._table.bits[rows].copy(), self._distance_mm[rows]
        return _as_snapshot(copy, _read_only(distance_mm))

    @property
    def _n_saved(self) -> int:
        """Rows in the whole journal."""
        return max(len(self._journal) - 1, 0) * _SAVED_ROWS + self._fill.n_saved

    def _pieces(self, n_kept: int) -> list[tuple[Journal, int, int]]:
        """The journal beyond its first rows, newest piece first: (piece, first, last)."""
        n_saved = self._n_saved
        starts = range(0, len(self._journal) * _SAVED_ROWS, _SAVED_ROWS)
        return [
            (journal, max(n_kept - start, 0), min(n_saved - start, _SAVED_ROWS))
            for start, journal in zip(reversed(starts), reversed(self._journal), strict=True)
            if start + _SAVED_ROWS > n_kept
        ]

    def _begin(self, sweep: int) -> None:
        last = self._sweeps[-1].sweep if self._sweeps else sweep
        if sweep < last:
            raise ReconError(f"point cloud: sweep {sweep} after sweep {last}, expected it or later")
        if sweep > last or not self._sweeps:
            self._epoch += 1
            self._sweeps.append(_SweepStart(sweep, self._epoch, self._fill, self._n_saved))

    def _merge(self, points: tuple[NDArray[Any], ...]) -> None:
        start = self._sweeps[-1]
        saved_since = max((start.epoch, *self._snapshot_epochs))
        stamp = Stamp(start.sweep, self._epoch, saved_since, self._revision)
        if not self._journal:
            self._add_to_journal()
        n_done, n = 0, len(points[0])
        while True:
            n_done, fill = kernels.merge(
                self._table, self._journal[-1], self._fill, *points, n_done, stamp
            )
            self._fill = Fill(*fill)
            if n_done == n:
                return
            if self._fill.n_saved == _SAVED_ROWS:
                self._add_to_journal()
            else:
                self._grow()

    def _add_to_journal(self) -> None:
        row = np.empty(_SAVED_ROWS, np.int32)
        self._journal.append(Journal(row, np.empty((_SAVED_ROWS, 8), np.int64)))
        self._fill = self._fill._replace(n_saved=0)

    def _grow(self) -> None:
        """Double what is full, in new arrays: views of the old ones stay as they are."""
        old, (n_rows, n_blocks, _) = self._table, self._fill
        table, distance_mm = _new_table(
            len(old.bits) << (n_rows == len(old.bits)),
            len(old.block) << (n_blocks == len(old.block)),
        )
        table.bits[:n_rows] = old.bits[:n_rows]
        table.first_mm[:n_rows] = old.first_mm[:n_rows]
        table.versions[: len(old.versions)] = old.versions
        table.block[:n_blocks] = old.block[:n_blocks]
        distance_mm[:n_rows] = self._distance_mm[:n_rows]
        kernels.link_all(table, n_blocks)
        self._table, self._distance_mm = table, distance_mm
        self._rows_ahead, self._blocks_ahead = self._new_ahead()

    def _new_ahead(self) -> tuple[Ahead, Ahead]:
        """For the arrays as they are now: after an undo or a growth they are others."""
        rows = Ahead(self._table.bits, self._table.first_mm, self._distance_mm)
        return rows, Ahead(self._table.block)

    def _refusal(self, state: int, points_mm: NDArray[np.float64]) -> ReconError:
        if state == kernels.NOT_FINITE:
            return ReconError("point cloud: a point or its confidence is not finite")
        return ReconError(
            f"point cloud: a coordinate is {np.abs(points_mm).max():.0f} mm, expected at most "
            f"{INDEX_LIMIT * self.voxel_size_mm:.0f} mm"
        )


def _new_table(n_rows: int, n_blocks: int) -> tuple[Table, NDArray[np.float32]]:
    """Empty arrays of so many rows and blocks, and the rows' distances."""
    n_buckets = max(
        1 << max(n_rows // _VOXELS_PER_BUCKET - 1, 1).bit_length(), kernels.BUCKETS_PER_CUBE
    )
    rows, blocks = _lines(n_rows), _lines(n_blocks)
    heads = reserved((n_buckets,), np.int32)
    heads.fill(0)  # written to now, and not by the first images of a session
    table = Table(
        heads=heads,
        block_key=blocks,
        block=blocks.view(np.int32),
        sums=rows.view(np.float64),
        towards=rows.view(np.float32),
        numbers=rows.view(np.int32),
        bits=rows,
        first_mm=reserved((n_rows, 3), np.float32),
        versions=np.zeros(-(-n_rows // CHUNK_ROWS), np.int64),
    )
    return table, reserved((n_rows,), np.float32)


def _lines(n: int) -> NDArray[np.int64]:
    """Memory for `n` cache lines, (n, 8), each beginning where one of the processor's begins."""
    return reserved((n, kernels.LINE_BYTES // 8), np.int64)


def _lengthened(column: NDArray[_T], n_kept: int, n_rows: int) -> NDArray[_T]:
    longer = reserved((n_rows, *column.shape[1:]), column.dtype.type)
    longer[:n_kept] = column[:n_kept]
    return longer


def _as_snapshot(bits: NDArray[np.int64], distance_mm: NDArray[np.float32]) -> CloudSnapshot:
    """Rows, a copy that nobody else has, as means."""
    numbers = bits.view(np.int32)
    count = numbers[:, kernels.COUNT].astype(np.int64)
    means = bits.view(np.float64)[:, :4] / count[:, None]
    towards = bits.view(np.float32)[:, kernels.TOWARDS : kernels.TOWARDS + 3]
    return CloudSnapshot(
        points_mm=_read_only(means[:, :3].copy()),
        count=_read_only(count),
        confidence=_read_only(means[:, 3].copy()),
        sweep=_read_only(numbers[:, kernels.FIRST_SWEEP].copy()),
        last_sweep=_read_only(numbers[:, kernels.LAST_SWEEP].copy()),
        towards_probe=_read_only((towards / count[:, None]).astype(np.float32)),
        distance_mm=distance_mm,
    )


def _read_only(array: NDArray[_T]) -> NDArray[_T]:
    array.setflags(write=False)
    return array
