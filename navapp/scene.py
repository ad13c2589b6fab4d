"""What a session builds: the cloud, and where each frame that went into it was."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from recon.back_projection import back_project
from recon.point_cloud import CloudSnapshot, PointCloud
from tracking.calibration import Registration
from tracking.transforms import Matrix, apply, invert


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """An integrated image: `A_scene_pixel` (4, 4) mm per pixel, its size, its points."""

    A_scene_pixel: Matrix
    image_size_px: tuple[int, int]
    n_points: int


class Scene:
    """The cloud in one frame: "ct" where a way from the probe to CT is known, else "reference".

    One thread inserts; any thread reads.
    """

    def __init__(self, voxel_size_mm: float, registration: Registration | None) -> None:
        self.voxel_size_mm = voxel_size_mm
        self._cloud = PointCloud(voxel_size_mm)
        self._registration = registration
        # Where every integrated image was: 12 numbers of its affine, then width, height, points.
        # Flat, because a session of hours has hundreds of thousands of them.
        self._placed = array("d")
        self._frame: str | None = None
        self._generation = 0
        self._lock = threading.Lock()

    def insert(
        self,
        line: BoneLine,
        A_target_pixel: Matrix,
        target: str,
        image_shape: tuple[int, ...],
        sweep: int = 1,
    ) -> Matrix:
        """Put a line into the cloud; returns A_scene_pixel, where the image lies in the scene."""
        height, width = image_shape
        with self._lock:
            A_scene_pixel, frame = self._to_scene(A_target_pixel, target)
            points_mm = back_project(line.points_px, A_scene_pixel)
            self._cloud.insert(points_mm, line.confidence, sweep)
            self._frame = frame
            self._placed.extend(A_scene_pixel[:3].ravel())
            self._placed.extend((width, height, len(points_mm)))
        return A_scene_pixel

    def clear(self) -> None:
        """Begin anew with an empty cloud; where the images were is forgotten too."""
        with self._lock:
            self._cloud = PointCloud(self.voxel_size_mm)
            self._placed = array("d")
            self._generation += 1

    def undo_last_sweep(self) -> int | None:
        """Take the newest sweep away, as if it had never been; its number, None of none."""
        with self._lock:
            sweep = self._cloud.undo()
            self._generation += sweep is not None
            return sweep

    def register(self, registration: Registration) -> None:
        """From here on the scene is in CT space, and what was built in the reference's moves there.

        A later registration moves the scene again, from where the earlier one had put it.
        """
        with self._lock:
            T_ct_scene = registration.T_ct_reference
            if self._frame == "ct" and self._registration is not None:
                T_ct_scene = T_ct_scene @ invert(self._registration.T_ct_reference)
            old = self._cloud.snapshot()
            self._cloud = PointCloud(self.voxel_size_mm)
            for sweep in np.unique(old.sweep):
                rows = old.sweep == sweep
                points_ct_mm = apply(T_ct_scene, old.points_mm[rows])
                self._cloud.insert(points_ct_mm, old.confidence[rows], int(sweep))
            placed = np.array(self._placed).reshape(-1, 15)
            if len(placed):
                A_old = np.tile(np.eye(4), (len(placed), 1, 1))
                A_old[:, :3] = placed[:, :12].reshape(-1, 3, 4)
                placed[:, :12] = (T_ct_scene @ A_old)[:, :3].reshape(-1, 12)
                self._placed = array("d", placed.ravel())
            self._registration = registration
            self._frame = "ct"
            self._generation += 1

    @property
    def generation(self) -> int:
        """Grows when rows of `first_points_mm` that were there are no more, or are elsewhere."""
        with self._lock:
            return self._generation

    def place(self, A_target_pixel: Matrix, target: str) -> Matrix:
        """A_scene_pixel of an image that gives no points."""
        return self._to_scene(A_target_pixel, target)[0]

    @property
    def frame(self) -> str:
        """The frame of every point: "ct" or "reference"; before the first one, what it will be."""
        if self._frame is not None:
            return self._frame
        return "ct" if self._registration is not None else "reference"

    @property
    def first_points_mm(self) -> NDArray[np.float32]:
        """(n, 3), the first point of every voxel; read-only and append-only, for drawing."""
        with self._lock:
            return self._cloud.first_points_mm

    def row_sweeps(self) -> NDArray[np.int32]:
        """(n,), the sweep that found each row of `first_points_mm`."""
        with self._lock:
            return self._cloud.snapshot().sweep

    def sweep_counts(self) -> dict[int, int]:
        """How many voxels each sweep found first."""
        sweeps, counts = np.unique(self.row_sweeps(), return_counts=True)
        return dict(zip(sweeps.tolist(), counts.tolist(), strict=True))

    @property
    def n_voxels(self) -> int:
        with self._lock:
            return self._cloud.n_voxels

    @property
    def placed_frames(self) -> tuple[PlacedFrame, ...]:
        with self._lock:
            rows = np.array(self._placed).reshape(-1, 15)
        return tuple(_placed_frame(row) for row in rows)

    def snapshot(self) -> CloudSnapshot:
        with self._lock:
            return self._cloud.snapshot()

    def _to_scene(self, A_target_pixel: Matrix, target: str) -> tuple[Matrix, str]:
        if target == "reference" and self._registration is not None:
            A_reference_pixel = A_target_pixel
            return self._registration.T_ct_reference @ A_reference_pixel, "ct"
        return A_target_pixel, target


def _placed_frame(row: NDArray[np.float64]) -> PlacedFrame:
    A_scene_pixel = np.eye(4)
    A_scene_pixel[:3] = row[:12].reshape(3, 4)
    width, height, n_points = (int(number) for number in row[12:])
    return PlacedFrame(A_scene_pixel, (width, height), n_points)
