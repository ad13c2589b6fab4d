"""Numba kernels of the voxel cloud, each with a slow, plain twin in the tests.

Voxels are kept in blocks of 2 x 2 x 2: a surface fills about half of each, and neighbouring points
mostly find their voxel in the block of the point before, without a search. Where they do not, a
bucket names the newest of its blocks, and each block the next older one. So what was added last is
found first in every chain, and taking it away again is exact.

A voxel's row and a block are one cache line of 64 bytes each, seen as numbers of several types.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Words = NDArray[np.int32]
Keys = NDArray[np.int64]

LINE_BYTES = 64

# A block's three indices share one key, 20 bits each: with its two voxels along an axis 1,048,576
# voxels to either side of the origin, half a kilometre at 0.5 mm.
_BLOCK_BITS = 20
INDEX_LIMIT = (1 << _BLOCK_BITS) - 1

# Blocks of a cube of 4 x 4 x 4, and what is left of a key without its place in the cube.
BUCKETS_PER_CUBE = 64
_CUBES = ~(3 | 3 << _BLOCK_BITS + 1 | 3 << 2 * (_BLOCK_BITS + 1))

# Columns of `Table.sums` (x, y, z, confidence come first), `towards` and `numbers`.
_CONFIDENCE = 3
TOWARDS = 8  # and two more
COUNT, FIRST_SWEEP, LAST_SWEEP, _EPOCH, _PLACE = range(11, 16)
# Columns of `Table.block`, after the key: the next older block of the bucket, then eight voxels.
# Both are numbers plus one, 0 is none.
_OLDER, _VOXEL = 2, 3

# Rows that share a version number: what a viewer fetches anew when one of them has changed.
CHUNK_BITS = 12

FINE, NOT_FINITE, TOO_FAR = range(3)


class Table(NamedTuple):
    """All that is known; a tuple because Numba takes it whole. Rows are in order of first hit."""

    heads: Words  # (n_buckets,), a power of two
    block_key: Keys  # (n_blocks, 8), the key in column 0
    block: Words  # (n_blocks, 16), the same memory
    sums: Array  # (n_rows, 8)
    towards: Floats  # (n_rows, 16), the same memory
    numbers: Words  # (n_rows, 16), the same memory
    bits: Keys  # (n_rows, 8), the same memory
    first_mm: Floats  # (n_rows, 3)
    versions: Keys  # revision in which a row of the chunk last changed


class Journal(NamedTuple):
    """Rows as they were before they were touched, oldest first."""

    row: Words
    bits: Keys  # (n, 8)


class Fill(NamedTuple):
    """How much of table and journal is in use."""

    n_rows: int
    n_blocks: int
    n_saved: int


class Stamp(NamedTuple):
    """What an insertion writes into the rows it touches.

    A row whose epoch is older than `saved_since` goes to the journal first.
    """

    sweep: int
    epoch: int
    saved_since: int
    revision: int


@numba.njit(cache=True, nogil=True)
def _bucket_of(key: int, n_buckets: int) -> np.int64:
    """Blocks that share a cube of 4 x 4 x 4 have buckets side by side, four cache lines in all;
    the cube's place is its key's bits, mixed so that neighbouring cubes lie far apart.

    Source: finaliser of splitmix64, S. Vigna, 2015.
    """
    x, y, z = key >> 2 * (_BLOCK_BITS + 1), key >> (_BLOCK_BITS + 1), key
    within = (x & 3) << 4 | (y & 3) << 2 | (z & 3)
    mixed = np.uint64(key & _CUBES)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = (mixed ^ (mixed >> np.uint64(31))) & np.uint64(n_buckets - BUCKETS_PER_CUBE)
    return np.int64(mixed) | within


@numba.njit(cache=True, nogil=True, error_model="numpy")
def find_places(
    points_mm: Array, confidence: Array, voxel_size_mm: float, keys: Keys, cells: Words
) -> int:
    """Key of the block of each point, and which of its eight voxels; or what is wrong."""
    for i in range(len(points_mm)):
        key = 0
        cell = 0
        for axis in range(3):
            index = np.floor(points_mm[i, axis] / voxel_size_mm)
            if not np.isfinite(index):
                return NOT_FINITE
            if abs(index) > INDEX_LIMIT:
                return TOO_FAR
            voxel = int(index) + INDEX_LIMIT + 1
            key = (key << _BLOCK_BITS + 1) | (voxel >> 1)
            cell = (cell << 1) | (voxel & 1)
        if not np.isfinite(confidence[i]):
            return NOT_FINITE
        keys[i] = key
        cells[i] = cell
    return FINE


@numba.njit(cache=True, nogil=True)
def find_rows(table: Table, keys: Keys, cells: Words, rows: Words) -> int:
    """Row of each point's voxel as the table is now, -1 for none yet.

    One loop per look into memory that is not in the cache: the looks of one loop do not wait for
    each other, those of one search would. Returns a sum that keeps the last loop alive.
    """
    n = len(keys)
    for i in range(n):
        if i > 0 and keys[i] == keys[i - 1]:
            rows[i] = rows[i - 1]
        else:
            rows[i] = table.heads[_bucket_of(keys[i], len(table.heads))]
    for i in range(n):
        block = rows[i] - 1
        while block >= 0 and table.block_key[block, 0] != keys[i]:
            block = table.block[block, _OLDER] - 1
        rows[i] = table.block[block, _VOXEL + cells[i]] - 1 if block >= 0 else -1
    total = 0
    for i in range(n):
        if rows[i] >= 0:
            total += table.numbers[rows[i], COUNT]
    return total


@numba.njit(cache=True, nogil=True)
def _block_of(table: Table, key: int) -> int:
    block = table.heads[_bucket_of(key, len(table.heads))] - 1
    while block >= 0 and table.block_key[block, 0] != key:
        block = table.block[block, _OLDER] - 1
    return block


@numba.njit(cache=True, nogil=True)
def _link(table: Table, block: int) -> None:
    """Make a block the newest of its bucket."""
    bucket = _bucket_of(table.block_key[block, 0], len(table.heads))
    table.block[block, _OLDER] = table.heads[bucket]
    table.heads[bucket] = block + 1


@numba.njit(cache=True, nogil=True)
def merge(
    table: Table,
    journal: Journal,
    fill: Fill,
    keys: Keys,
    cells: Words,
    rows: Words,
    points_mm: Array,
    confidence: Array,
    towards: Floats,
    first: int,
    stamp: Stamp,
) -> tuple[int, Fill]:
    """Merge the points from number `first` on into their voxels.

    `rows` holds what `find_rows` found and is completed. `towards` is (N, 3) or (1, 3) for all.
    Returns the number of the first point that needs a longer table or journal, and the new fill.
    """
    n_rows, n_blocks, n_saved = fill
    sums, numbers = table.sums, table.numbers
    block, block_key = -1, np.int64(-1)  # of the last search; no key is negative
    for i in range(first, len(keys)):
        row = rows[i]
        if row < 0:
            if keys[i] != block_key:
                block, block_key = _block_of(table, keys[i]), keys[i]
            if n_rows == len(sums) or (block < 0 and n_blocks == len(table.block)):
                return i, Fill(n_rows, n_blocks, n_saved)
            if block < 0:
                block = n_blocks
                n_blocks += 1
                table.block_key[block, 0] = keys[i]
                table.block[block, _VOXEL : _VOXEL + 8] = 0
                _link(table, block)
            row = table.block[block, _VOXEL + cells[i]] - 1
            if row < 0:
                row = n_rows
                n_rows += 1
                table.block[block, _VOXEL + cells[i]] = row + 1
                table.bits[row] = 0
                numbers[row, FIRST_SWEEP] = stamp.sweep
                numbers[row, _EPOCH] = stamp.epoch
                numbers[row, _PLACE] = (block << 3) | cells[i]
                for axis in range(3):
                    table.first_mm[row, axis] = points_mm[i, axis]
            rows[i] = row
        if numbers[row, _EPOCH] < stamp.saved_since:
            if n_saved == len(journal.row):
                return i, Fill(n_rows, n_blocks, n_saved)
            journal.row[n_saved] = row
            journal.bits[n_saved] = table.bits[row]
            n_saved += 1
        numbers[row, _EPOCH] = stamp.epoch
        numbers[row, LAST_SWEEP] = stamp.sweep
        numbers[row, COUNT] += 1
        k = i if len(towards) > 1 else 0
        for axis in range(3):
            sums[row, axis] += points_mm[i, axis]
            table.towards[row, TOWARDS + axis] += towards[k, axis]
        sums[row, _CONFIDENCE] += confidence[i]
        table.versions[row >> CHUNK_BITS] = stamp.revision
    return len(keys), Fill(n_rows, n_blocks, n_saved)


@numba.njit(cache=True, nogil=True)
def restore(bits: Keys, journal: Journal, first: int, last: int) -> None:
    """Put saved rows `first` to `last` of a journal back, newest first; longer ones are left out.

    A row beyond `bits` did not exist when they were taken.
    """
    for k in range(last - 1, first - 1, -1):
        if journal.row[k] < len(bits):
            bits[journal.row[k]] = journal.bits[k]


@numba.njit(cache=True, nogil=True)
def take_away(table: Table, fill: Fill, kept: Fill) -> None:
    """Forget the rows and blocks beyond those that are kept, newest first."""
    for row in range(fill.n_rows - 1, kept.n_rows - 1, -1):
        place = table.numbers[row, _PLACE]
        table.block[place >> 3, _VOXEL + (place & 7)] = 0
    for block in range(fill.n_blocks - 1, kept.n_blocks - 1, -1):
        bucket = _bucket_of(table.block_key[block, 0], len(table.heads))
        table.heads[bucket] = table.block[block, _OLDER]


@numba.njit(cache=True, nogil=True)
def link_all(table: Table, n_blocks: int) -> None:
    """Enter the blocks into empty buckets, oldest first."""
    for block in range(n_blocks):
        _link(table, block)
