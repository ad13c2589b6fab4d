"""A session that is made up, a desk on it, and a window whose time and ticks are the test's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QWidget

from inference.postprocess import BoneLine
from navapp.channels import LatestSlot
from navapp.config import Settings
from navapp.desk.desk import Desk
from navapp.desk.session_folder import SessionFolder
from navapp.errors import ConfigError
from navapp.gui.app import close_window, open_window
from navapp.gui.bridge import Bridge
from navapp.gui.main_window import MainWindow
from navapp.insertion import InsertionGate
from navapp.live_volume import LiveVolume
from navapp.scene import Scene
from navapp.state import (
    DrawnCloud,
    DropReason,
    LiveView,
    SessionState,
    SessionStatus,
    StreamState,
    ToolState,
)
from recon.surface import TriangleMesh
from tracking.messages import ImageFrame, Stamps
from tracking.transforms import Matrix
from tracking.wire import RawMessage

COLUMNS, ROWS = 400, 320
SPACING_MM = (0.1, 0.15)
NO_LINE = BoneLine(np.empty((0, 2)), *2 * [np.empty(0, dtype=np.float32)])
RUNNING = SessionStatus(
    state=SessionState.RUNNING,
    detail="all is well",
    image_rate_hz=20.0,
    pose_rate_hz=100.0,
    is_tracking_ok=True,
    tracking="tracking OK",
    provider="CPUExecutionProvider",
    provider_reason="CUDA: no driver",
    infer_p50_ms=5.0,
    end_to_end_p95_ms=float("nan"),
    n_received=10,
    n_processed=9,
    skipped={DropReason.NO_POSE: 1},
    n_points=12,
    frame="ct",
)
SEEN = (
    ToolState("ProbeToTracker", "Probe", 0.01, True),
    ToolState("ReferenceToTracker", "Reference", 0.01, True),
)


class MadeUpSession:
    """A session whose state the test sets."""

    def __init__(
        self, surface: TriangleMesh | None = None, settings: Settings | None = None
    ) -> None:
        self.settings = settings or Settings()
        self.scene = Scene(0.5, None, surface)
        self.gate = InsertionGate(self.scene)
        self.volume: LiveVolume | None = None
        self.on_raw: Callable[[RawMessage], None] | None = None
        self.equipment = None
        self.spacing_mm = SPACING_MM
        self.views: LatestSlot[LiveView] = LatestSlot()
        self.surface = surface
        self.state = RUNNING
        self.seen: tuple[ToolState, ...] = SEEN
        self.poses: dict[str, Matrix] = {}
        self.shown: list[tuple[LiveView, float]] = []

    def status(self) -> SessionStatus:
        return self.state

    def note_shown(self, view: LiveView, t_shown_s: float) -> None:
        self.shown.append((view, t_shown_s))

    def tools(self) -> tuple[ToolState, ...]:
        return self.seen

    def streams(self) -> tuple[StreamState, ...]:
        image = StreamState("Image", "image", self.state.image_rate_hz, (COLUMNS, ROWS))
        return (image, *(StreamState(tool.stream, "pose", 100.0) for tool in self.seen))

    def undo_sweep(self) -> int | None:
        return self.scene.undo_sweep()

    def touched_mm(self, tool: str, T_tool_tip: Matrix) -> NDArray[np.float64]:
        raise ConfigError(f"the {tool.lower()} is not seen")

    def newest_pose(self, tool: str) -> Matrix | None:
        return self.poses.get(tool)

    def lose(self, k: int, age_s: float) -> None:
        """The k-th tool is not seen."""
        tools = list(self.seen)
        tools[k] = replace(tools[k], age_s=age_s, is_visible=False)
        self.seen = tuple(tools)


class Stage:
    """A window whose time and ticks are the test's."""

    def __init__(self, app: QApplication, session: MadeUpSession, folder: Path) -> None:
        self.now_s = 100.0
        self.app = app
        self.session = session
        self.sounds: list[str] = []
        self.desk = Desk(session, SessionFolder(folder / "session"), clock=lambda: self.now_s)
        self.window: MainWindow
        self.bridge: Bridge
        self.window, self.bridge = open_window(
            self.desk, title="test", clock=lambda: self.now_s, beep=self.sounds.append
        )
        self.bridge.stop()
        app.processEvents()

    def show(self, view: LiveView, later_s: float = 10.0) -> None:
        self.session.views.put(view)
        self.tick(later_s)

    def tick(self, later_s: float = 10.0) -> None:
        self.now_s += later_s
        self.bridge.tick()
        self.app.processEvents()

    def do(self, name: str) -> None:
        """Trigger an action of the table, and let the window follow."""
        self.window.book[name].trigger()
        self.app.processEvents()
        self.tick(0.3)


@contextmanager
def open_stage(app: QApplication, session: MadeUpSession, folder: Path) -> Iterator[Stage]:
    stage = Stage(app, session, folder)
    try:
        yield stage
    finally:
        close_window(stage.window)
        stage.desk.close()


def view(
    pixels: NDArray[np.uint8] | None = None,
    line: BoneLine = NO_LINE,
    A_target_pixel: Matrix | None = None,
    cloud_points_mm: NDArray[np.float32] | None = None,
    dropped: DropReason | None = None,
    cloud_undone: tuple[int, ...] = (),
    cloud_generation: int = 0,
) -> LiveView:
    if pixels is None:
        pixels = np.full((ROWS, COLUMNS), 120, dtype=np.uint8)
    if cloud_points_mm is None:
        cloud_points_mm = np.empty((0, 3), dtype=np.float32)
    for array in (pixels, cloud_points_mm):
        array.setflags(write=False)
    frame = ImageFrame("Image", pixels, Stamps(0.0, 0.0), 0.0)
    cloud = DrawnCloud(cloud_points_mm, cloud_undone, cloud_generation)
    return LiveView(frame, line, A_target_pixel, dropped, cloud, 0.0)


def pose(z_mm: float = 0.0) -> Matrix:
    A_target_pixel = np.diag((*SPACING_MM, 1.0, 1.0))
    A_target_pixel[:3, 3] = (-20.0, -24.0, z_mm)
    return A_target_pixel


def grab(widget: QWidget) -> NDArray[np.int_]:
    """(rows, columns, RGB) of what the widget shows."""
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(int)
