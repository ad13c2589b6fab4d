"""The 3D scene: the growing cloud, the live image where it lies, probe, stylus, CT and plan."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from pyqtgraph.opengl import GLViewWidget
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QMouseEvent, QResizeEvent, QWheelEvent

from navapp.desk.navigation import Plan
from navapp.desk.surface_watch import SurfaceState
from navapp.gui import style
from navapp.gui.camera_pilot import CameraPilot, Holder
from navapp.gui.doors import reports_errors
from navapp.gui.draw_budget import DrawBudget
from navapp.gui.gl_items import CloudItem, PlaneItem
from navapp.gui.gl_solids import (
    SolidItem,
    ball_triangles,
    placed_on_image,
    probe_triangles,
    rod_triangles,
    stylus_triangles,
)
from navapp.gui.gl_surface import SurfaceItem
from navapp.gui.picking import pixel_ray
from navapp.gui.scene_notes import SceneNotes
from navapp.gui.surface_colours import SurfaceColours, colour_table, scalars
from navapp.state import DrawnCloud, LiveView
from recon.surface import TriangleMesh
from tracking.transforms import Matrix

_MIN_PERIOD_S = 1 / 30
# However slow a paint is, at most a third of the time is spent painting.
_REST = 3.0
_FIELD_OF_VIEW_DEG = 30.0
_TARGET_RADIUS_MM, _LANDMARK_RADIUS_MM = 2.5, 2.0
_PROBE_OPACITY = 0.4
_CLICK_PX = 4.0  # a mouse that moved less was clicked, not dragged


class SceneView(GLViewWidget):
    """Mouse: left drag turns, right or middle drag moves, wheel zooms, a click picks."""

    mousePos: QPointF  # pyqtgraph's: where the drag was last  # noqa: N815

    def __init__(self) -> None:
        super().__init__(rotationMethod="quaternion")
        # A native window of its own: else Qt composes the WHOLE window through OpenGL for each
        # new live image, which in software costs 20 ms of CPU every time.
        self.setAttribute(Qt.WidgetAttribute.WA_DontCreateNativeAncestors)
        self.setAttribute(Qt.WidgetAttribute.WA_NativeWindow)
        self.setMinimumSize(240, 200)
        self.setBackgroundColor(QColor(style.VIEW))
        self.opts["fov"] = _FIELD_OF_VIEW_DEG
        self.on_ray: Callable[[NDArray[np.float64], NDArray[np.float64]], None] | None = None
        self.is_surface_alone = False  # while nobody knows where the rest lies from it
        self.colours = SurfaceColours.PLAIN
        self.budget = DrawBudget()
        self.pilot = CameraPilot(self)
        self.notes = SceneNotes(self)
        self.cloud, self.plane = CloudItem(), PlaneItem()
        self.stylus = SolidItem(stylus_triangles(), style.TEXT)
        self.stylus.setVisible(False)
        self.probe: SolidItem | None = None
        for item in (self.cloud, self.plane, self.stylus):
            self.addItem(item)
        self._plan: Plan | None = None
        self._plan_items: list[SolidItem] = []
        self._landmark_items: list[SolidItem] = []
        self._surface: TriangleMesh | None = None
        self._surface_item: SurfaceItem | None = None
        self._surface_state: SurfaceState | None = None
        self._view: LiveView | None = None
        self._is_changed = False
        self._t_next_paint_s = -np.inf
        self._paint_s = 0.0
        self._pressed_at: QPointF | None = None
        self.pilot.refit()

    # -- what it shows ----------------------------------------------------------------------------

    def show_view(self, view: LiveView) -> None:
        """Show `view` at the next refresh that is due."""
        self._view = view
        self._is_changed = True

    def forget(self) -> None:
        """Another session begins: neither its cloud nor its images are here yet."""
        self._view = None
        self.makeCurrent()
        self.cloud.upload(DrawnCloud(np.empty((0, 3), dtype=np.float32)))
        self.doneCurrent()
        self.plane.setVisible(False)
        if self.probe is not None:
            self.probe.setVisible(False)
        self.set_surface(None)
        self._is_changed = True

    def set_surface(self, surface: TriangleMesh | None) -> None:
        """Show the CT surface, or another one, or none."""
        if surface is self._surface:
            return
        self._surface = surface
        self.makeCurrent()
        if self._surface_item is not None:
            self._surface_item.release()
            self.removeItem(self._surface_item)
            self._surface_item = None
        self.pilot.surface_mm = None
        if surface is not None:
            zeros = np.zeros(len(surface.vertices_mm), dtype=np.float32)
            self._surface_item = SurfaceItem(surface, zeros, colour_table(self.colours))
            self.addItem(self._surface_item)
            self.pilot.surface_mm = surface.vertices_mm
        self.doneCurrent()
        self._surface_state = None
        self.pilot.refit()
        self._is_changed = True

    def show_surface_state(self, state: SurfaceState | None) -> None:
        """Colour the CT surface by what is known of it."""
        if state is not None and state is not self._surface_state:
            self._surface_state = state
            self._recolour()

    def show_colours(self, mode: SurfaceColours) -> None:
        """Let the colours of the CT surface mean something else."""
        self.colours = mode
        if self._surface_item is not None:
            self.makeCurrent()
            self._surface_item.upload_colours(colour_table(mode))
            self.doneCurrent()
        self.notes.show_legend(mode if self._surface_item is not None else SurfaceColours.PLAIN)
        self._recolour()

    def show_plan(self, plan: Plan | None) -> None:
        """The target as a ball, its line as a rod; a repetition costs nothing."""
        if plan is self._plan:
            return
        self._plan = plan
        self._plan_items = self._replaced(self._plan_items, _plan_solids(plan))

    def show_landmarks(self, places_mm: NDArray[np.float64], colour: str) -> None:
        """Balls at (N, 3), in place of the earlier ones."""
        balls = [_ball(place_mm, _LANDMARK_RADIUS_MM, colour) for place_mm in places_mm]
        self._landmark_items = self._replaced(self._landmark_items, balls)

    def show_stylus(self, T_scene_tip: Matrix | None) -> None:
        """The stylus where it is seen."""
        if T_scene_tip is None and not self.stylus.visible():
            return
        self.stylus.setVisible(T_scene_tip is not None)
        if T_scene_tip is not None:
            self.stylus.T_scene_solid = T_scene_tip
        self._is_changed = True

    def set_stale(self, is_stale: bool) -> None:
        """Dim the live image where it is no longer live."""
        if is_stale != self.plane.is_stale:
            self.plane.is_stale = is_stale
            self._is_changed = True

    def set_frame(self, frame: str) -> None:
        """Name the frame that the scene is drawn in."""
        self.notes.show_frame(frame, self.budget.stride)

    def fit_camera(self) -> None:
        """See all that matters, from the front of the live image."""
        self.pilot.newest = self._view
        self.pilot.fit_to_scene()

    def refresh(self, now_s: float) -> None:
        """Upload what is new and ask for a paint, if there is something and a paint is due."""
        if not self._is_changed or now_s < self._t_next_paint_s or not self.isValid():
            return
        self._is_changed = False
        self._t_next_paint_s = now_s + max(_MIN_PERIOD_S, _REST * self._paint_s)
        if self._view is not None:
            self.pilot.follow(self._view, self._upload(self._view))
        self.update()

    def release(self) -> None:
        """Give the GPU's memory back; call before the window goes."""
        self.makeCurrent()
        for item in self.items:
            item.release()
        self.clear()
        self.doneCurrent()

    # -- drawing ----------------------------------------------------------------------------------

    def drawItemTree(self, item: None = None, useItemNames: bool = False) -> None:
        """As pyqtgraph, which draws on after an item has failed: here the error is raised.

        What is translucent is drawn over what lies behind or in it: late.
        """
        for each in sorted(self.items, key=_drawn_after):
            is_of_surface = isinstance(each, SurfaceItem) or each in self._landmark_items
            if each.visible() and (is_of_surface or not self.is_surface_alone):
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

    @reports_errors
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.pilot.refit()
        self.notes.place()

    # -- mouse ------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._pressed_at = event.position()
        super().mousePressEvent(event)
        if self.on_ray is None:
            self.pilot.take(Holder.USER)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.pilot.take(Holder.USER)
        buttons = event.buttons()
        if buttons & (Qt.MouseButton.RightButton | Qt.MouseButton.MiddleButton):
            moved = event.position() - self.mousePos
            self.mousePos = event.position()
            self.pan(moved.x(), moved.y(), 0, relative="view")
        else:
            super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if self.on_ray is None or self._pressed_at is None:
            return
        moved = event.position() - self._pressed_at
        if moved.manhattanLength() <= _CLICK_PX:
            self.on_ray(*pixel_ray(self, event.position()))

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.pilot.holder is not Holder.PROBE:
            self.pilot.take(Holder.USER)
        super().wheelEvent(event)

    # -- to the GPU -------------------------------------------------------------------------------

    def _upload(self, view: LiveView) -> NDArray[np.float32]:
        """Bring the view to the GPU; returns the points that were new."""
        self.makeCurrent()
        n_kept = self.cloud.upload(view.cloud)
        self.plane.setVisible(view.A_target_pixel is not None)
        if view.A_target_pixel is not None:
            self.plane.upload(view.frame.pixels, view.A_target_pixel)
            self._place_probe(view.A_target_pixel, view.frame.pixels.shape[1])
        self.doneCurrent()
        if self.probe is not None:
            self.probe.setVisible(view.A_target_pixel is not None)
        return view.cloud.points_mm[n_kept:]

    def _place_probe(self, A_scene_pixel: Matrix, columns: int) -> None:
        T_scene_probe, width_mm = placed_on_image(A_scene_pixel, columns)
        if self.probe is None:
            self.probe = SolidItem(probe_triangles(width_mm), style.PROBE, _PROBE_OPACITY)
            self.addItem(self.probe)
        self.probe.T_scene_solid = T_scene_probe

    def _recolour(self) -> None:
        if self._surface_item is None or self._surface_state is None:
            return
        self.makeCurrent()
        self._surface_item.upload_scalars(scalars(self.colours, self._surface_state))
        self.doneCurrent()
        self._is_changed = True

    def _replaced(self, old: list[SolidItem], new: list[SolidItem]) -> list[SolidItem]:
        self.makeCurrent()
        for item in old:
            self.removeItem(item)
        for item in new:
            self.addItem(item)
        self.doneCurrent()
        self._is_changed = True
        self.update()
        return new


def _drawn_after(item: object) -> int:
    """0 for what is opaque, 1 for the surface, 2 for the probe."""
    if isinstance(item, SurfaceItem):
        return 1
    return 2 if isinstance(item, SolidItem) and item.opacity < 1.0 else 0


def _ball(place_mm: NDArray[np.float64], radius_mm: float, colour: str) -> SolidItem:
    ball = SolidItem(ball_triangles(radius_mm), colour)
    ball.T_scene_solid = np.eye(4)
    ball.T_scene_solid[:3, 3] = place_mm
    return ball


def _plan_solids(plan: Plan | None) -> list[SolidItem]:
    if plan is None:
        return []
    solids = [_ball(plan.target_ct_mm, _TARGET_RADIUS_MM, style.TARGET)]
    if plan.entry_ct_mm is not None:
        rod = rod_triangles(plan.entry_ct_mm, plan.target_ct_mm)
        solids.append(SolidItem(rod, style.TARGET))
    return solids
