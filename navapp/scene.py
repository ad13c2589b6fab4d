"""What a session builds: the cloud, and where each frame that went into it was."""

from __future__ import annotations

import threading
from array import array
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from navapp.state import DrawnCloud
from recon.back_projection import back_project
from recon.coverage import SurfaceCoverage
from recon.point_cloud import CloudChanges, CloudSnapshot, PointCloud
from recon.scan_speed import ScanSpeed, SpeedGauge
from recon.surface import SurfaceDistance, TriangleMesh
from tracking.calibration import Registration
from tracking.transforms import Matrix, apply, invert

# No two clouds of a program are taken for one another: a window outlives its sessions.
_GENERATIONS = count(1)

_PLACED = 15  # numbers that say where an image was: 12 of its affine, width, height, points


@dataclass(frozen=True, slots=True)
class Insertion:
    """What became of a line: where its image lies in the scene, the sweep that its points went
    into, None where insertion was off, and the cloud after it: all of one moment."""

    A_scene_pixel: Matrix
    sweep: int | None
    cloud: DrawnCloud


# A bone's points lie within some millimetres of its own surface, or the surface is another one's.
FAR_FROM_CT_MM = 10.0


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """An integrated image: `A_scene_pixel` (4, 4) mm per pixel, its size, its points."""

    A_scene_pixel: Matrix
    image_size_px: tuple[int, int]
    n_points: int


class Scene:
    """The cloud in one frame: "ct" where a way from the probe to CT is known, else "reference".

    One thread inserts; any thread reads, starts and stops sweeps, and undoes them. A sweep is the
    time from insertion on to insertion off. Insertion is on from the beginning: that is sweep 1.
    The number of a sweep that was undone is not given again.
    """

    def __init__(
        self,
        voxel_size_mm: float,
        registration: Registration | None,
        surface: TriangleMesh | None = None,
    ) -> None:
        self.voxel_size_mm = voxel_size_mm
        self._cloud = PointCloud(voxel_size_mm)
        self._registration = registration
        self._surface = surface
        self._distance = SurfaceDistance(surface) if surface else None
        self._coverage = SurfaceCoverage(surface) if surface else None
        self._speed = SpeedGauge()
        # Where every integrated image was. Flat, because a session of hours has hundreds of
        # thousands of them; and where in it each sweep began that holds an image.
        self._placed = array("d")
        self._sweep_starts: list[tuple[int, int]] = []
        self._frame: str | None = None
        self._sweep = 1
        self._is_inserting = True
        self._generation = next(_GENERATIONS)
        self._lock = threading.Lock()

    def insert(
        self,
        line: BoneLine,
        A_target_pixel: Matrix,
        target: str,
        image_shape: tuple[int, ...],
        t_s: float = float("nan"),
    ) -> Insertion:
        """Put a line into the cloud, unless insertion is off.

        Parameters
        ----------
        t_s : when the image was taken, for the speed of the scan; any clock, always the same
        """
        height, width = image_shape
        with self._lock:
            # Placed under the lock: a registration meanwhile would leave points where none are.
            A_scene_pixel, frame = self.place(A_target_pixel, target)
            if not self._is_inserting:
                return Insertion(A_scene_pixel, None, self._drawn())
            points_mm = back_project(line.points_px, A_scene_pixel)
            towards_probe = _towards_probe(line, points_mm, A_scene_pixel)
            self._cloud.insert(
                points_mm,
                line.confidence,
                self._sweep,
                towards_probe=towards_probe,
                surface=self._distance if frame == "ct" else None,
            )
            if not self._sweep_starts or self._sweep_starts[-1][0] != self._sweep:
                self._sweep_starts.append((self._sweep, len(self._placed)))
                if self._coverage is not None:
                    self._coverage.begin_sweep()
            if self._coverage is not None and frame == "ct":
                self._coverage.add(points_mm, towards_probe)
            self._speed.add(t_s, A_scene_pixel, (width, height))
            self._frame = frame
            self._placed.extend(A_scene_pixel[:3].ravel())
            self._placed.extend((width, height, len(points_mm)))
            return Insertion(A_scene_pixel, self._sweep, self._drawn())

    def place(self, A_target_pixel: Matrix, target: str) -> tuple[Matrix, str]:
        """A_scene_pixel of an image, and the scene's frame: "ct" or "reference"."""
        if target == "reference" and self._registration is not None:
            A_reference_pixel = A_target_pixel
            return self._registration.T_ct_reference @ A_reference_pixel, "ct"
        return A_target_pixel, target

    @property
    def is_inserting(self) -> bool:
        return self._is_inserting

    @property
    def sweep(self) -> int:
        """Number of the sweep that is running, or that ran last."""
        return self._sweep

    def start_sweep(self) -> int:
        """Insertion on; returns the new sweep's number. While one is running, it is that one."""
        with self._lock:
            if not self._is_inserting:
                self._sweep += 1
                self._is_inserting = True
                self._speed.clear()
            return self._sweep

    def stop_sweep(self) -> None:
        """Insertion off."""
        with self._lock:
            self._is_inserting = False

    def undo_sweep(self) -> int | None:
        """Take the last sweep that holds an image away: cloud, coverage and frames are as if it
        had never been. Repeated, the one before. While a sweep is running, a new one goes on.

        Returns
        -------
        The number of that sweep, None where there is none.
        """
        with self._lock:
            if not self._sweep_starts:
                return None
            sweep, start = self._sweep_starts.pop()
            self._cloud.undo()
            if self._coverage is not None:
                self._coverage.undo()
            del self._placed[start:]
            self._speed.clear()
            if self._is_inserting and sweep == self._sweep:
                self._sweep += 1
            return sweep

    def clear(self) -> None:
        """Begin anew with an empty cloud; what goes in next is a new sweep."""
        with self._lock:
            self._begin_anew()

    @property
    def registration(self) -> Registration | None:
        """What leads from the reference to CT, where that is not in the poses."""
        return self._registration

    def register(self, registration: Registration) -> Matrix:
        """From here on the scene is in CT space, and what was built elsewhere moves there.

        Every voxel moves as the one point that it holds; a later registration moves the scene
        again, from where the earlier one had put it.

        Returns
        -------
        T_new_old of the scene, to move what lies elsewhere along.
        """
        with self._lock:
            T_ct_scene = registration.T_ct_reference
            if self._frame == "ct" and self._registration is not None:
                T_ct_scene = T_ct_scene @ invert(self._registration.T_ct_reference)
            old, placed = self._cloud.snapshot(), np.array(self._placed).reshape(-1, _PLACED)
            self._begin_anew()
            self._registration, self._frame = registration, "ct"
            for sweep in np.unique(old.sweep):
                rows = old.sweep == sweep
                points_ct_mm = apply(T_ct_scene, old.points_mm[rows])
                towards = old.towards_probe[rows] @ T_ct_scene[:3, :3].T.astype(np.float32)
                self._cloud.insert(
                    points_ct_mm,
                    old.confidence[rows],
                    int(sweep),
                    towards_probe=towards,
                    surface=self._distance,
                )
                self._sweep_starts.append((int(sweep), 0))
                if self._coverage is not None:
                    self._coverage.begin_sweep()
                    self._coverage.add(points_ct_mm, towards)
            if len(placed):
                A_old = np.tile(np.eye(4), (len(placed), 1, 1))
                A_old[:, :3] = placed[:, :12].reshape(-1, 3, 4)
                placed[:, :12] = (T_ct_scene @ A_old)[:, :3].reshape(-1, 12)
                self._placed = array("d", placed.ravel())
            return T_ct_scene

    def _begin_anew(self) -> None:
        self._cloud = PointCloud(self.voxel_size_mm)
        self._coverage = SurfaceCoverage(self._surface) if self._surface else None
        self._speed.clear()
        self._placed = array("d")
        self._sweep_starts = []
        self._sweep += 1
        self._generation = next(_GENERATIONS)

    @property
    def generation(self) -> int:
        """Grows when all rows of `first_points_mm` are gone, or are elsewhere."""
        return self._generation

    def row_sweeps(self) -> NDArray[np.int32]:
        """(n,), the sweep that found each row of `first_points_mm`."""
        return self._cloud.snapshot().sweep

    def sweep_counts(self) -> dict[int, int]:
        """How many voxels each sweep found first."""
        sweeps, counts = np.unique(self.row_sweeps(), return_counts=True)
        return dict(zip(sweeps.tolist(), counts.tolist(), strict=True))

    @property
    def frame(self) -> str:
        """The frame of every point: "ct" or "reference"; before the first one, what it will be."""
        if self._frame is not None:
            return self._frame
        return "ct" if self._registration is not None else "reference"

    @property
    def first_points_mm(self) -> NDArray[np.float32]:
        """(n, 3), the first point of every voxel; read-only, for drawing. Rows are only added,
        but for an undo: see `undone`."""
        return self._cloud.first_points_mm

    @property
    def first_distances_mm(self) -> NDArray[np.float32]:
        """(n,), their distance to the CT surface; NaN where the scene is not in its space."""
        return self._cloud.first_distances_mm

    def drawn(self) -> DrawnCloud:
        """The cloud for drawing, all of it of one moment."""
        with self._lock:
            return self._drawn()

    def _drawn(self) -> DrawnCloud:
        return DrawnCloud(self.first_points_mm, self.undone, self._generation)

    @property
    def undone(self) -> tuple[int, ...]:
        """How many rows of `first_points_mm` each undo so far left standing, in their order."""
        return self._cloud.undone

    def changes_since(self, revision: int) -> CloudChanges:
        """What a copy of the cloud as of `revision` lacks; fetch its chunks with `rows`."""
        return self._cloud.changes_since(revision)

    def rows(self, first: int, last: int) -> CloudSnapshot:
        """Some voxels as they are now: counts, confidences, sweeps, distances."""
        return self._cloud.rows(first, last)

    @property
    def n_voxels(self) -> int:
        return self._cloud.n_voxels

    @property
    def coverage(self) -> SurfaceCoverage | None:
        """Of the CT surface; None without one, or where the cloud is not in its space."""
        return self._coverage if self.frame == "ct" else None

    @property
    def to_ct(self) -> SurfaceDistance | None:
        """Distances to the CT surface; None without one, or where the cloud is not in its space."""
        return self._distance if self.frame == "ct" else None

    @property
    def speed(self) -> ScanSpeed | None:
        """Of the last half second of insertion."""
        with self._lock:
            return self._speed.reading() if self._is_inserting else None

    @property
    def placed_frames(self) -> tuple[PlacedFrame, ...]:
        with self._lock:
            rows = np.array(self._placed).reshape(-1, _PLACED)
        return tuple(_placed_frame(row) for row in rows)

    def snapshot(self) -> CloudSnapshot:
        """The cloud now; insertion goes on while it is copied."""
        return self._cloud.snapshot()


def _towards_probe(
    line: BoneLine, points_mm: NDArray[np.float64], A_scene_pixel: Matrix
) -> NDArray[np.float64]:
    """Unit vectors against the beam, (3,) where it runs along the image's columns, or (N, 3)."""
    if line.apex_px is None:
        return -A_scene_pixel[:3, 1] / np.linalg.norm(A_scene_pixel[:3, 1])
    towards_mm = back_project(np.array((line.apex_px,)), A_scene_pixel) - points_mm
    return towards_mm / np.linalg.norm(towards_mm, axis=1, keepdims=True)


def _placed_frame(row: NDArray[np.float64]) -> PlacedFrame:
    A_scene_pixel = np.eye(4)
    A_scene_pixel[:3] = row[:12].reshape(3, 4)
    width, height, n_points = (int(number) for number in row[12:])
    return PlacedFrame(A_scene_pixel, (width, height), n_points)
