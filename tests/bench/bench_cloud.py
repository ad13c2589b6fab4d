"""The cloud: insertion at every size, against other ways to do it; distance to CT; coverage.

    python tests/bench/bench_cloud.py [--voxels N] [--images N] [--json]

An image is 5,000 points along 51 mm of a wavy surface, as a bone line five pixels thick gives
them, at a random place of a surface that was scanned before; `all new` is 5,000 points in 5,000
voxels that none has hit, the worst case for memory; `scattered` is 5,000 points anywhere on the
surface, the worst case for the cache. Times are of the thread (CPU), beside them wall time; sizes
and peers alternate within one run. Quote the ratios.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon.coverage import SurfaceCoverage
from recon.phantom_bone import long_bone_mesh
from recon.point_cloud import PointCloud
from recon.surface import SurfaceDistance

Array = NDArray[np.float64]

_N_POINTS = 5_000
_PERIOD_S = 1.0 / 60.0
_VOXEL_MM = 0.5
_PIXEL_MM = 0.054
_LINE_PIXELS = 5
_UP = (0.0, 0.0, 1.0)
_SMALL, _MIDDLE = 10_000, 1_000_000


class _Scan:
    """A cloud of so many voxels on a wavy surface, and further images of it."""

    def __init__(self, n_voxels: int) -> None:
        self.cloud = PointCloud(_VOXEL_MM)
        self._width_mm = max(80.0, 0.3 * n_voxels**0.5)
        self._end_mm = 0.0
        x_mm = np.arange(0.0, self._width_mm, 0.4)
        while self.cloud.n_voxels < n_voxels:
            strip_mm = np.concatenate([self._at(x_mm, self._end_mm + d) for d in (0.0, 0.4, 0.8)])
            self.cloud.insert(strip_mm, np.ones(len(strip_mm)), 1, towards_probe=_UP)
            self._end_mm += 1.2

    def image(self, rng: np.random.Generator) -> Array:
        n = _N_POINTS // _LINE_PIXELS
        x_mm = rng.uniform(0.0, self._width_mm - n * _PIXEL_MM) + np.arange(n) * _PIXEL_MM
        line_mm = np.repeat(self._at(x_mm, rng.uniform(0.0, self._end_mm)), _LINE_PIXELS, axis=0)
        line_mm[:, 2] += np.tile(np.arange(_LINE_PIXELS) * _PIXEL_MM, n)
        return line_mm

    def all_new(self, rng: np.random.Generator) -> Array:
        n = np.arange(_N_POINTS) * _VOXEL_MM + 0.1
        points_mm = self._at(n % self._width_mm, self._end_mm + n // self._width_mm * _VOXEL_MM)
        self._end_mm = points_mm[:, 1].max() + 1.0
        return points_mm

    def scattered(self, rng: np.random.Generator) -> Array:
        x_mm, y_mm = rng.uniform(0.0, (self._width_mm, self._end_mm), (_N_POINTS, 2)).T
        return self._at(x_mm, y_mm)

    def insert(self, points_mm: Array) -> None:
        self.cloud.insert(points_mm, np.ones(len(points_mm)), 2, towards_probe=_UP)

    @staticmethod
    def _at(x_mm: Array, y_mm: Array | float) -> Array:
        y_mm = np.broadcast_to(y_mm, x_mm.shape)
        z_mm = 30.0 * np.sin(x_mm / 40.0) + 20.0 * np.cos(y_mm / 55.0)
        return np.column_stack((x_mm, y_mm, z_mm))


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall time, ms."""
    cpu_s, wall_s = time.thread_time(), time.perf_counter()
    work()
    return (time.thread_time() - cpu_s) * 1e3, (time.perf_counter() - wall_s) * 1e3


def insertion(scans: dict[int, _Scan], n_images: int) -> dict[str, Any]:
    """Percentiles by kind of image and size, ms; sizes alternate image by image, at 60 Hz, the
    pace at which the memory for new voxels is asked for ahead (docs/adr/0026)."""
    rng = np.random.default_rng(0)
    figures: dict[str, Any] = {}
    for kind in ("image", "scattered", "all_new"):
        costs: dict[int, list[tuple[float, float]]] = {n: [] for n in scans}
        for _ in range(n_images):
            for n, scan in scans.items():
                points_mm = getattr(scan, kind)(rng)
                costs[n].append(_timed(lambda s=scan, p=points_mm: s.insert(p)))
            time.sleep(_PERIOD_S)
        p95 = {n: np.percentile(costs[n], 95, axis=0) for n in scans}
        figures[kind] = {
            f"{n:,} voxels": {
                "cpu_p50_ms": float(np.median(costs[n], axis=0)[0]),
                "cpu_p95_ms": float(p95[n][0]),
                "wall_p95_ms": float(p95[n][1]),
            }
            for n in scans
        }
        figures[kind]["largest_over_smallest_cpu_p95"] = float(p95[max(scans)][0] / p95[_SMALL][0])
    return {**figures, "goal_p95_ms": 1.5, "goal_largest_over_smallest": 2.5}


def against_others(scan: _Scan, n_images: int) -> dict[str, Any]:
    """At a million voxels: an image into our cloud, and into what else one could keep it in.

    Ours keeps means, directions, sweeps and what undo needs; Open3D's set keeps indices, which it
    gets ready-made. It works on several threads: wall times count for both.
    """
    rng = np.random.default_rng(1)
    all_mm = scan.cloud.snapshot().points_mm
    ours = _costs_ms(scan.insert, [scan.image(rng) for _ in range(n_images)])
    images = [scan.image(rng) for _ in range(3)]
    rebuilt = _costs_ms(lambda p: np.unique(_voxels(all_mm, p), axis=0, return_index=True), images)
    packed = _costs_ms(
        lambda p: np.unique((_voxels(all_mm, p) << (42, 21, 0)).sum(axis=1), return_index=True),
        images,
    )
    figures: dict[str, Any] = {
        "voxels": len(all_mm),
        "ours_image_ms": ours,
        "np_unique_ms": rebuilt,
        "np_unique_over_ours": rebuilt / ours,
        "np_unique_of_packed_keys_ms": packed,
        "np_unique_of_packed_keys_over_ours": packed / ours,
        "goal_np_unique_over_ours": 500.0,
    }
    try:
        import open3d.core as o3c
    except ImportError:
        return {**figures, "open3d": "left out: not installed"}
    known = np.floor(all_mm / _VOXEL_MM).astype(np.int32)
    table = o3c.HashSet(2 * len(known), o3c.int32, o3c.SizeVector([3]), o3c.Device("CPU:0"))
    table.insert(o3c.Tensor(known))
    for kind in ("image", "all_new"):
        images = [getattr(scan, kind)(rng) for _ in range(n_images)]
        indices = [np.floor(points_mm / _VOXEL_MM).astype(np.int32) for points_mm in images]
        mine, theirs = [], []
        for points_mm, index in zip(images, indices, strict=True):
            mine.append(_timed(lambda p=points_mm: scan.insert(p))[1])
            theirs.append(_timed(lambda i=index: table.insert(o3c.Tensor(i)))[1])
            time.sleep(_PERIOD_S)
        figures |= {
            f"ours_beside_open3d_{kind}_ms": float(np.median(mine)),
            f"open3d_hashset_{kind}_ms": float(np.median(theirs)),
            f"open3d_over_ours_{kind}": float(np.median(theirs) / np.median(mine)),
        }
    return {**figures, "goal_open3d_over_ours": 8.0}


def _costs_ms(work: Callable[[Array], object], images: list[Array]) -> float:
    return float(np.median([_timed(lambda p=image: work(p))[1] for image in images]))


def _voxels(all_mm: Array, points_mm: Array) -> NDArray[np.int64]:
    """Of the whole cloud, with an image more: what a rebuild starts from."""
    return np.floor(np.concatenate((all_mm, points_mm)) / _VOXEL_MM).astype(np.int64)


def to_ct(n_images: int) -> dict[str, Any]:
    """5,000 points of one image, 0.3 mm off the surface, to a bone; and its coverage."""
    rng = np.random.default_rng(2)
    mesh = long_bone_mesh(1, length_mm=240.0, edge_mm=1.0)
    surface, coverage = SurfaceDistance(mesh), SurfaceCoverage(mesh)
    images = [_across(mesh.vertices_mm, rng) for _ in range(n_images + 1)]
    surface.distances_mm(images[0])
    coverage.add(images[0], _UP)
    distance = [_timed(lambda p=image: surface.distances_mm(p))[0] for image in images[1:]]
    covered = [_timed(lambda p=image: coverage.add(p, _UP))[0] for image in images[1:]]
    return {
        "triangles": len(mesh.faces),
        "distance_p50_ms": float(np.median(distance)),
        "distance_p95_ms": float(np.percentile(distance, 95)),
        "goal_distance_ms": 2.0,
        "coverage_p50_ms": float(np.median(covered)),
    }


def _across(vertices_mm: Array, rng: np.random.Generator) -> Array:
    """A closed line around a bone along z, in order, as a whole off by 0.3 mm."""
    low_mm, high_mm = vertices_mm[:, 2].min(), vertices_mm[:, 2].max()
    z_mm = rng.uniform(low_mm + 10.0, high_mm - 10.0)
    near_mm = vertices_mm[np.abs(vertices_mm[:, 2] - z_mm) < 0.7]
    centred_mm = near_mm - near_mm.mean(axis=0)
    angle = np.arctan2(centred_mm[:, 1], centred_mm[:, 0])
    order = np.argsort(angle)
    at = np.linspace(-np.pi, np.pi, _N_POINTS)
    x_mm, y_mm = (np.interp(at, angle[order], near_mm[order, k], period=2 * np.pi) for k in (0, 1))
    return np.column_stack((x_mm, y_mm, np.full(_N_POINTS, z_mm))) + rng.normal(0.0, 0.17, 3)


def while_watched(scan: _Scan, n_images: int) -> dict[str, float]:
    """Wall time of insertions into a cloud that another thread takes snapshots of."""
    rng = np.random.default_rng(3)
    is_over, n_taken = threading.Event(), 0

    def watch() -> None:
        nonlocal n_taken
        while not is_over.is_set():
            scan.cloud.snapshot()
            n_taken += 1

    watcher = threading.Thread(target=watch)
    watcher.start()
    costs = []
    for _ in range(3 * n_images):
        time.sleep(0.005)  # images come at some rate
        points_mm = scan.image(rng)
        costs.append(_timed(lambda p=points_mm: scan.insert(p)))
    is_over.set()
    watcher.join()
    cpu_ms, wall_ms = np.percentile(costs, 95, axis=0)
    return {"cpu_p95_ms": float(cpu_ms), "wall_p95_ms": float(wall_ms), "snapshots": n_taken}


def main() -> None:
    parser = argparse.ArgumentParser(description="The voxel cloud.")
    parser.add_argument("--voxels", type=int, default=10_000_000, help="of the largest cloud")
    parser.add_argument("--images", type=int, default=200, help="of each kind")
    parser.add_argument("--json", action="store_true", help="one line")
    arguments = parser.parse_args()
    _Scan(100).insert(np.zeros((2, 3)))  # compiles
    scans = {n: _Scan(n) for n in (_SMALL, _MIDDLE, arguments.voxels)}
    figures = {
        "insertion": insertion(scans, arguments.images),
        "at_a_million": against_others(_Scan(_MIDDLE), arguments.images),
        "to_ct": to_ct(min(arguments.images, 50)),
        "while_snapshots_are_taken": while_watched(scans[_MIDDLE], arguments.images),
    }
    print(json.dumps(figures, indent=None if arguments.json else 2))


if __name__ == "__main__":
    main()
