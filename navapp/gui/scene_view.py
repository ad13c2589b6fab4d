"""The 3D scene: the growing cloud, the live image where it lies, and the CT surface."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from pyqtgraph import Vector
from pyqtgraph.opengl import GLViewWidget
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QLabel

from navapp.gui import camera, style
from navapp.gui.doors import reports_errors
from navapp.gui.draw_budget import DrawBudget
from navapp.gui.gl_items import CloudItem, PlaneItem, SurfaceItem
from navapp.state import LiveView
from recon.surface import TriangleMesh
from tracking.transforms import Matrix, apply

_MIN_PERIOD_S = 1 / 30
# However slow a paint is, at most a third of the time is spent painting.
_REST = 3.0
_FIELD_OF_VIEW_DEG = 30.0

# The camera's direction in the live image: along columns, along rows (down, so from above), and
# into it. Oblique, so that both the image and the bone that runs through it are seen.
_DIRECTION_UVN = np.array((0.55, 0.45, 0.7))

# Before the first pose: across, a little from above, as most frames have their z axis upwards.
_FIRST_DIRECTION_AND_UP = (np.array((0.0, 1.0, -0.3)), np.array((0.0, 0.0, 1.0)))
_EMPTY_SCENE_MM = np.array(((-100.0, -100.0, -100.0), (100.0, 100.0, 100.0)))

# Without a CT surface nobody knows how far the scan will go: the camera leaves this much room, and
# steps back when something leaves it.
_ROOM_TO_GROW = 1.25
_MAX_FIT_POINTS = 2000

# Colour table of the CT surface: a single colour until there is something to show on it.
_SURFACE_RGBA = (*bytes.fromhex(style.BONE_CT.removeprefix("#")), 230)


class SceneView(GLViewWidget):
    """Mouse: left drag turns, right or middle drag moves, wheel zooms."""

    mousePos: QPointF  # pyqtgraph's: where the drag was last  # noqa: N815

    def __init__(self) -> None:
        super().__init__(rotationMethod="quaternion")
        # A native window of its own: else Qt composes the WHOLE window through OpenGL for each
        # new live image, which in software costs 20 ms of CPU every time.
        self.setAttribute(Qt.WidgetAttribute.WA_DontCreateNativeAncestors)
        self.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)
        self.setMinimumSize(320, 240)
        self.setBackgroundColor(QColor(style.VIEW))
        self.opts["fov"] = _FIELD_OF_VIEW_DEG
        self.budget = DrawBudget()
        self.cloud = CloudItem()
        self.plane = PlaneItem()
        self.addItem(self.cloud)
        self.addItem(self.plane)
        self._surface: TriangleMesh | None = None
        self._view: LiveView | None = None
        self._is_changed = False
        self._is_camera_ours = True
        self._has_seen_pose = False
        self._R_camera_scene = camera.rotation_towards(*_FIRST_DIRECTION_AND_UP)
        self._t_next_paint_s = -np.inf
        self._paint_s = 0.0
        self._note = QLabel(self)
        self._note.setStyleSheet(f"color: {style.MUTED}; background: transparent;")
        self._note.setFont(style.font(style.SMALL_PX))
        self._frame = ""
        self._fit()

    def show_view(self, view: LiveView) -> None:
        """Show `view` at the next refresh that is due."""
        self._view = view
        self._is_changed = True

    def set_surface(self, surface: TriangleMesh | None) -> None:
        """Show the CT surface; it is given once, when the scene is known to be in CT space."""
        if surface is None or surface is self._surface:
            return
        self._surface = surface
        scalars = np.zeros(len(surface.vertices_mm), dtype=np.float32)
        colours = np.array((_SURFACE_RGBA, _SURFACE_RGBA), dtype=np.uint8)
        self.makeCurrent()
        self.addItem(SurfaceItem(surface, scalars, colours))  # translucent, so last
        self.doneCurrent()
        if self._is_camera_ours:
            self._fit()

    def set_stale(self, is_stale: bool) -> None:
        """Dim the live image where it is no longer live."""
        if is_stale != self.plane.is_stale:
            self.plane.is_stale = is_stale
            self._is_changed = True

    def set_frame(self, frame: str) -> None:
        """Name the frame that the scene is drawn in."""
        if frame != self._frame:
            self._frame = frame
            self._update_note()

    def refresh(self, now_s: float) -> None:
        """Upload what is new and ask for a paint, if there is something and a paint is due."""
        if not self._is_changed or now_s < self._t_next_paint_s or not self.isValid():
            return
        self._is_changed = False
        self._t_next_paint_s = now_s + max(_MIN_PERIOD_S, _REST * self._paint_s)
        if self._view is not None:
            self._follow(self._view, self._upload(self._view))
        self.update()

    def fit_camera(self) -> None:
        """Look at the CT surface, else at cloud and live image, with the skin of the image up."""
        self._is_camera_ours = True
        if self._view is not None and self._view.A_target_pixel is not None:
            self._R_camera_scene = _rotation_to_see(self._view.A_target_pixel)
            self._has_seen_pose = True
        self._fit()

    def release(self) -> None:
        """Give the GPU's memory back; call before the window goes."""
        self.makeCurrent()
        for item in self.items:
            item.release()
        self.clear()
        self.doneCurrent()

    def drawItemTree(self, item: None = None, useItemNames: bool = False) -> None:
        """As pyqtgraph, which draws on after an item has failed: here the error is raised."""
        for each in self.items:
            if each.visible():
                each.paint()

    @reports_errors
    def initializeGL(self) -> None:
        super().initializeGL()

    @reports_errors
    def paintGL(self) -> None:
        start_s = time.perf_counter()
        self.cloud.stride = self.budget.stride
        super().paintGL()
        GL.glFinish()  # OpenGL draws later than it is told to: wait, to measure the drawing
        self._paint_s = time.perf_counter() - start_s
        self.budget.note_paint(self._paint_s, self.cloud.n_points)
        if self.budget.stride != self.cloud.stride:
            self._update_note()

    @reports_errors
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._is_camera_ours:
            self._fit()
        self._update_note()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._is_camera_ours = False
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        buttons = event.buttons()
        if buttons & (Qt.MouseButton.RightButton | Qt.MouseButton.MiddleButton):
            moved = event.position() - self.mousePos
            self.mousePos = event.position()
            self.pan(moved.x(), moved.y(), 0, relative="view")
        else:
            super().mouseMoveEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._is_camera_ours = False
        super().wheelEvent(event)

    def _upload(self, view: LiveView) -> NDArray[np.float32]:
        """Bring the view to the GPU; returns the points that were new."""
        n_before = self.cloud.n_points
        self.makeCurrent()
        self.cloud.upload(view.cloud_points_mm)
        self.plane.setVisible(view.A_target_pixel is not None)
        if view.A_target_pixel is not None:
            self.plane.upload(view.frame.pixels, view.A_target_pixel)
        self.doneCurrent()
        return view.cloud_points_mm[n_before:]

    def _follow(self, view: LiveView, new_points_mm: NDArray[np.float32]) -> None:
        """Until somebody takes the mouse, keep in view what the scene is about."""
        if not self._is_camera_ours:
            return
        if not self._has_seen_pose and view.A_target_pixel is not None:
            self.fit_camera()
        elif self._surface is None and len(new_points_mm):
            low_mm, high_mm = self._fitted_mm
            if (new_points_mm < low_mm).any() or (new_points_mm > high_mm).any():
                self._fit()

    def _fit(self) -> None:
        """Move the camera, without turning it, to where all that matters is seen."""
        points_mm = self._points_to_fit()
        self._fitted_mm = np.stack((points_mm.min(axis=0), points_mm.max(axis=0)))
        tangents = camera.tan_half_fov(self.opts["fov"], self.width(), self.height())
        centre_mm, distance_mm = camera.fitting_camera(points_mm, self._R_camera_scene, tangents)
        self.setCameraPosition(
            pos=Vector(*centre_mm),
            distance=distance_mm,
            rotation=camera.quaternion(self._R_camera_scene),
        )

    def _points_to_fit(self) -> NDArray[np.float64]:
        if self._surface is not None:
            return self._surface.vertices_mm
        parts = [np.empty((0, 3))]
        if self._view is not None:
            cloud_mm = self._view.cloud_points_mm
            every = len(cloud_mm) // _MAX_FIT_POINTS + 1
            parts.append(cloud_mm[::every].astype(np.float64))
            if self._view.A_target_pixel is not None:
                parts.append(_image_corners(self._view.A_target_pixel, self._view.frame.pixels))
        points_mm = np.concatenate(parts)
        if len(points_mm) == 0:
            return _EMPTY_SCENE_MM
        centre_mm = 0.5 * (points_mm.min(axis=0) + points_mm.max(axis=0))
        return centre_mm + _ROOM_TO_GROW * (points_mm - centre_mm)

    def _update_note(self) -> None:
        stride = self.budget.stride
        drawn = "" if stride == 1 else f"   1 of {stride} points drawn"
        self._note.setText(f"frame {self._frame}, mm{drawn}" if self._frame else "")
        self._note.adjustSize()
        self._note.move(12, self.height() - self._note.height() - 8)


def _rotation_to_see(A_scene_pixel: Matrix) -> Matrix:
    """Camera rotation that shows the image from its front, obliquely, with the skin up."""
    u, v = (A_scene_pixel[:3, k] / np.linalg.norm(A_scene_pixel[:3, k]) for k in range(2))
    axes = np.stack((u, v, np.cross(u, v)))
    return camera.rotation_towards(_DIRECTION_UVN @ axes, -v)


def _image_corners(A_scene_pixel: Matrix, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = pixels.shape
    corners_px = np.array([(u, v, 0.0) for u in (-0.5, columns - 0.5) for v in (-0.5, rows - 0.5)])
    return apply(A_scene_pixel, corners_px)
