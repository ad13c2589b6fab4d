"""Who holds the camera of the scene, and where it goes: fitted, following, a preset, or free."""

from __future__ import annotations

from enum import Enum

import numpy as np
from numpy.typing import NDArray
from pyqtgraph import Vector
from pyqtgraph.opengl import GLViewWidget

from navapp.gui import camera
from navapp.state import LiveView
from tracking.transforms import Matrix, apply

# The camera's direction in the live image: along columns, along rows (down, so from above), and
# into it. Oblique, so that both the image and the bone that runs through it are seen.
_DIRECTION_UVN = np.array((0.55, 0.45, 0.7))

# Before the first pose: across, a little from above, as most frames have their z axis upwards.
_FIRST_DIRECTION_AND_UP = (np.array((0.0, 1.0, -0.3)), np.array((0.0, 0.0, 1.0)))
_EMPTY_SCENE_MM = np.array(((-100.0, -100.0, -100.0), (100.0, 100.0, 100.0)))

# Direction of looking and upwards, in the axes of CT: x to the left, y to the back, z to the head.
PRESETS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "A": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "P": ((0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "L": ((-1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "R": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
    "S": ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0)),
    "I": ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
}

# Without a CT surface nobody knows how far the scan will go: the camera leaves this much room, and
# steps back when something leaves it.
_ROOM_TO_GROW = 1.25
_MAX_FIT_POINTS = 2000


class Holder(Enum):
    """Who moves the camera."""

    SCENE = "scene"  # it stays where all that matters is seen
    PROBE = "probe"  # it goes where the live image goes
    USER = "free"


class CameraPilot:
    """Moves the camera of one view. Whoever takes the mouse has it until told otherwise."""

    def __init__(self, view: GLViewWidget) -> None:
        self._view = view
        self._R_camera_scene = camera.rotation_towards(*_FIRST_DIRECTION_AND_UP)
        self._has_seen_pose = False
        self._fitted_mm = _EMPTY_SCENE_MM
        self.holder = Holder.SCENE
        self.surface_mm: NDArray[np.float64] | None = None
        self.newest: LiveView | None = None

    def take(self, holder: Holder) -> None:
        """Give the camera to somebody."""
        self.holder = holder
        if holder is Holder.PROBE:
            self._follow_probe()

    def look_from(self, side: str) -> None:
        """One of `PRESETS`; from then on the camera is the user's."""
        direction, up = PRESETS[side]
        self._R_camera_scene = camera.rotation_towards(np.array(direction), np.array(up))
        self._fit()
        self.holder = Holder.USER

    def fit_to_scene(self) -> None:
        """Look at the CT surface, else at cloud and live image, with the skin of the image up."""
        self.holder = Holder.SCENE
        A_scene_pixel = self._A_scene_pixel
        if A_scene_pixel is not None:
            self._R_camera_scene = _rotation_to_see(A_scene_pixel)
            self._has_seen_pose = True
        self._fit()

    def refit(self) -> None:
        """The view, or what it holds, has another size."""
        if self.holder is Holder.SCENE:
            self._fit()

    def follow(self, view: LiveView, new_points_mm: NDArray[np.float32]) -> None:
        """There is something new in the scene."""
        self.newest = view
        if self.holder is Holder.PROBE:
            self._follow_probe()
        elif self.holder is Holder.SCENE and not self._has_seen_pose:
            if self._A_scene_pixel is not None:
                self.fit_to_scene()
        elif self.holder is Holder.SCENE and self.surface_mm is None and len(new_points_mm):
            low_mm, high_mm = self._fitted_mm
            if (new_points_mm < low_mm).any() or (new_points_mm > high_mm).any():
                self._fit()

    @property
    def _A_scene_pixel(self) -> Matrix | None:
        return None if self.newest is None else self.newest.A_target_pixel

    def _follow_probe(self) -> None:
        """Keep the live image where it is on the screen, at the distance that the user chose."""
        A_scene_pixel = self._A_scene_pixel
        if A_scene_pixel is None or self.newest is None:
            return
        self._R_camera_scene = _rotation_to_see(A_scene_pixel)
        centre_mm = _image_corners(A_scene_pixel, self.newest.frame.pixels).mean(axis=0)
        self._view.setCameraPosition(
            pos=Vector(*centre_mm), rotation=camera.quaternion(self._R_camera_scene)
        )

    def _fit(self) -> None:
        """Move the camera, without turning it, to where all that matters is seen."""
        points_mm = self._points_to_fit()
        self._fitted_mm = np.stack((points_mm.min(axis=0), points_mm.max(axis=0)))
        view = self._view
        tangents = camera.tan_half_fov(view.opts["fov"], view.width(), view.height())
        centre_mm, distance_mm = camera.fitting_camera(points_mm, self._R_camera_scene, tangents)
        view.setCameraPosition(
            pos=Vector(*centre_mm),
            distance=distance_mm,
            rotation=camera.quaternion(self._R_camera_scene),
        )

    def _points_to_fit(self) -> NDArray[np.float64]:
        if self.surface_mm is not None:
            return self.surface_mm
        parts = [np.empty((0, 3))]
        if self.newest is not None:
            cloud_mm = self.newest.cloud.points_mm
            every = len(cloud_mm) // _MAX_FIT_POINTS + 1
            parts.append(cloud_mm[::every].astype(np.float64))
            if self.newest.A_target_pixel is not None:
                pixels = self.newest.frame.pixels
                parts.append(_image_corners(self.newest.A_target_pixel, pixels))
        points_mm = np.concatenate(parts)
        if len(points_mm) == 0:
            return _EMPTY_SCENE_MM
        centre_mm = 0.5 * (points_mm.min(axis=0) + points_mm.max(axis=0))
        return centre_mm + _ROOM_TO_GROW * (points_mm - centre_mm)


def _rotation_to_see(A_scene_pixel: Matrix) -> Matrix:
    """Camera rotation that shows the image from its front, obliquely, with the skin up."""
    u, v = (A_scene_pixel[:3, k] / np.linalg.norm(A_scene_pixel[:3, k]) for k in range(2))
    axes = np.stack((u, v, np.cross(u, v)))
    return camera.rotation_towards(_DIRECTION_UVN @ axes, -v)


def _image_corners(A_scene_pixel: Matrix, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = pixels.shape
    corners_px = np.array([(u, v, 0.0) for u in (-0.5, columns - 0.5) for v in (-0.5, rows - 0.5)])
    return apply(A_scene_pixel, corners_px)
