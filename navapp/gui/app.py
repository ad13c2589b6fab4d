"""Opens the window over a session and runs it until one of the two ends."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType

from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtGui import QImage, QSurfaceFormat
from PySide6.QtWidgets import QApplication

from navapp.config import Settings, WindowSettings
from navapp.desk.desk import Desk
from navapp.desk.navigation import Plan
from navapp.desk.session_folder import set_closed
from navapp.errors import ConfigError
from navapp.gui import style
from navapp.gui.actions import remapped
from navapp.gui.bridge import Bridge
from navapp.gui.commands import Commands
from navapp.gui.doors import open_doors
from navapp.gui.main_window import MainWindow
from navapp.gui.message_box import ask_to_begin, offer_crashed
from navapp.gui.opening import Opening
from navapp.gui.picture import Display
from navapp.gui.saving_jobs import SavingJobs

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
    app.setStyleSheet(style.style_sheet())
    return app


def open_window(
    desk: Desk,
    *,
    title: str,
    after_tick: Callable[[], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    beep: Callable[[str], None] | None = None,
) -> tuple[MainWindow, Bridge]:
    """Show the window over `desk` and start its timer; `application()` exists already.

    The desk and its session go on when the window is closed, and another may be opened on them.
    """
    settings = desk.session.settings
    specs = remapped(settings.window.keys)
    window = MainWindow(title, desk.session.spacing_mm, specs, clock)
    display = Display(opacity=settings.window.overlay_percent / 100.0)
    in_use = settings.window

    def show_settings(settings: Settings) -> None:
        nonlocal in_use
        window.prepare_page.show_settings(settings)
        window.settings_drawer.show_settings(settings)
        problem = _use(settings.window, in_use, window, display)
        in_use, desk.message = settings.window, problem or desk.message

    def taken_over() -> None:
        window.review_page.forget()
        window.image_view.forget()
        window.scene_view.forget()

    def set_plan(plan: Plan | None) -> None:
        desk.plan = plan
        desk.message = "no target" if plan is None else f"target: {plan.name}"

    def ask_to_begin_or_begin() -> None:
        if not saving.n_unsaved:
            opening.begin()
            return
        box = ask_to_begin(window, saving.n_unsaved, desk.folder.path)
        box.accepted.connect(lambda: saving.save(desk, on_saved=begin_or_stay))
        box.rejected.connect(opening.stay)

    def begin_or_stay(is_saved: bool) -> None:
        (opening.begin if is_saved else opening.stay)()

    show_settings(settings)
    opening = Opening(
        desk,
        desk.folder.path.parent,
        taken_over,
        show_settings,
        set_plan,
        ask_to_begin_or_begin,
    )
    saving = SavingJobs(desk)
    commands = Commands(desk, window, display, opening, saving)

    def sound(what: str) -> None:
        if beep is not None:
            beep(what)
        elif desk.session.settings.window.has_sound:
            beep_aloud()

    bridge = Bridge(
        desk, window, display, commands, opening, beep=sound, after_tick=after_tick, clock=clock
    )
    for close in (bridge.stop, opening.close, saving.close):
        window.closing.connect(close)
    if settings.window.is_full_screen:
        window.showFullScreen()
    else:
        window.show()
    window.setFocus()
    _offer_crashed(window, opening)
    bridge.start()
    return window, bridge


def _use(
    settings: WindowSettings, before: WindowSettings, window: MainWindow, display: Display
) -> str:
    """Apply what is another setting than before; what a person chose since stays elsewhere.

    Returns
    -------
    What is wrong with the keys, of a file that was not checked; else nothing.
    """
    if settings.overlay_percent != before.overlay_percent:
        display.opacity = settings.overlay_percent / 100.0
    if settings.is_full_screen != before.is_full_screen:
        (window.showFullScreen if settings.is_full_screen else window.showNormal)()
    try:
        window.show_keys(remapped(settings.keys))
    except ConfigError as error:
        return str(error)
    return ""


def beep_aloud() -> None:
    """The system's sound; the words are on the screen."""
    QApplication.beep()


def _offer_crashed(window: MainWindow, opening: Opening) -> None:
    saved = opening.crashed()
    if saved is None:
        return
    set_closed(saved)  # offered once
    if saved.recordings:
        box = offer_crashed(window, saved)
        box.accepted.connect(lambda: opening.open(saved.folder))


def close_window(window: MainWindow) -> None:
    """Close the window, and free it and its memory on the GPU now rather than at some time."""
    window.close()
    window.scene_view.release()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def run_window(
    desk: Desk,
    *,
    title: str,
    on_open: Callable[[], None] | None = None,
    close_when: Callable[[], bool] | None = None,
    screenshots: Path | None = None,
) -> int:
    """Run the window in this thread, the main one, until it is closed.

    Needs a display (`virtual_display` makes one). A QApplication that it had to make is gone
    when it returns, so that the display may go then too.

    Parameters
    ----------
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
        run.window, _ = open_window(desk, title=title, after_tick=run.after_tick)
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
