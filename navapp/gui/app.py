"""Opens the window over a session and runs it until one of the two ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

# Before PySide6: a bare pydantic that Open3D loads after it ends in a circular import.
from pydantic import BaseModel as _BaseModel  # noqa: F401
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QImage, QSurfaceFormat
from PySide6.QtWidgets import QApplication

from navapp.gui import style
from navapp.gui.bridge import Bridge, Engine
from navapp.gui.doors import open_doors
from navapp.gui.main_window import MainWindow

_log = logging.getLogger(__name__)

# Python's default of 5 ms lets a busy thread delay the GUI and the receiver by that much.
_SWITCH_INTERVAL_S = 0.0005

# Exit codes of `run_window`, as of the commands.
DONE, FAILED, INTERRUPTED = 0, 1, 130

_FIRST_SCREENSHOT_S = 0.5


def application() -> QApplication:
    """The QApplication of this process, made on the first call with what the 3D view needs."""
    existing = QApplication.instance()
    if isinstance(existing, QApplication):
        return existing
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # pyqtgraph keeps its shaders per class: without sharing a second window would stay black.
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    gl_format = QSurfaceFormat()
    gl_format.setVersion(3, 3)
    gl_format.setProfile(QSurfaceFormat.OpenGLContextProfile.CoreProfile)
    gl_format.setDepthBufferSize(24)
    QSurfaceFormat.setDefaultFormat(gl_format)
    app = QApplication(["navapp"])
    app.setStyle("Fusion")
    app.setPalette(style.dark_palette())
    app.setStyleSheet(style.STYLE_SHEET)
    return app


def open_window(
    engine: Engine,
    *,
    title: str,
    spacing_mm: tuple[float, float],
    after_tick: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[MainWindow, Bridge]:
    """Show the window over `engine` and start its timer; `application()` exists already."""
    window = MainWindow(title, spacing_mm)
    bridge = Bridge(engine, window, after_tick, clock)
    window.closing.connect(bridge.stop)
    window.show()
    bridge.start()
    return window, bridge


def close_window(window: MainWindow) -> None:
    """Close the window, and free it and its memory on the GPU now rather than at some time."""
    window.close()
    window.scene_view.release()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def run_window(
    engine: Engine,
    *,
    title: str,
    spacing_mm: tuple[float, float],
    on_open: Callable[[], None] | None = None,
    close_when: Callable[[], bool] | None = None,
    screenshots: Path | None = None,
) -> int:
    """Run the window in this thread, the main one, until it is closed.

    Needs a display (`virtual_display` makes one). A QApplication that it had to make is gone
    when it returns, so that the display may go then too.

    Parameters
    ----------
    spacing_mm : pixel spacing (column, row) of the calibration
    on_open : called once, when the window is on the screen
    close_when : asked at every tick; the window closes when it says so
    screenshots : folder for `window.png` (the end) and `window-midway.png`

    Returns
    -------
    DONE after closing, INTERRUPTED after Ctrl-C, FAILED after an error in the window (logged).
    """
    is_app_ours = QApplication.instance() is None
    app = application()
    run = _Run(on_open, close_when, screenshots)
    with open_doors(run.fail, run.interrupt):
        run.window, _ = open_window(
            engine, title=title, spacing_mm=spacing_mm, after_tick=run.after_tick
        )
        run.window.closing.connect(run.before_close)
        app.exec()
        close_window(run.window)
    if is_app_ours:
        app.shutdown()
    return run.exit_code


class _Run:
    """What may end a running window, and the pictures taken of it."""

    window: MainWindow

    def __init__(
        self,
        on_open: Callable[[], None] | None,
        close_when: Callable[[], bool] | None,
        screenshots: Path | None,
    ) -> None:
        self.exit_code = DONE
        self._on_open = on_open
        self._close_when = close_when
        self._folder = screenshots
        self._t_first_view_s: float | None = None
        self._pictures: list[tuple[float, QImage]] = []

    def after_tick(self) -> None:
        if self._on_open is not None:
            on_open, self._on_open = self._on_open, None
            on_open()
        if self._folder is not None:
            self._take_picture_if_due()
        if self._close_when is not None and self._close_when():
            self.window.close()

    def before_close(self) -> None:
        if self._folder is not None and self.exit_code != FAILED:
            self._save_pictures(self._folder)

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C. The timer lets Python notice it within a tick."""
        self.exit_code = INTERRUPTED
        self.window.close()

    def fail(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """An error in a callback: Qt would go on as if nothing had happened."""
        _log.critical("the window failed and is closed: %s", error, exc_info=(kind, error, trace))
        self.exit_code = FAILED
        QCoreApplication.exit(FAILED)

    def _take_picture_if_due(self) -> None:
        """At 0.5, 1, 2, 4 ... s: where the middle will have been is only known at the end."""
        now_s = time.perf_counter()
        if self._t_first_view_s is None:
            self._t_first_view_s = now_s if self.window.image_view.has_view else None
        elif now_s - self._t_first_view_s >= _FIRST_SCREENSHOT_S * 2 ** len(self._pictures):
            self._pictures.append((now_s, self.window.grab().toImage()))

    def _save_pictures(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.window.scene_view.refresh(float("inf"))  # the last state, due or not
        _save(self.window.grab().toImage(), folder / "window.png")
        if self._t_first_view_s is not None and self._pictures:
            middle_s = (self._t_first_view_s + time.perf_counter()) / 2
            _, picture = min(self._pictures, key=lambda taken: abs(taken[0] - middle_s))
            _save(picture, folder / "window-midway.png")


def _save(picture: QImage, path: Path) -> None:
    if not picture.save(str(path)):
        raise OSError(f"{path}: the picture of the window cannot be written")
