"""What each action of the table does: a call of the desk, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QFileDialog

from navapp.config import Settings, changed_settings
from navapp.desk.desk import EXPECTED, Desk
from navapp.desk.navigation import Plan, load_plan
from navapp.errors import ConfigError
from navapp.gui.about import KeySheet
from navapp.gui.actions import PRESET_ACTIONS
from navapp.gui.camera_pilot import Holder
from navapp.gui.main_window import MainWindow
from navapp.gui.message_box import show_about
from navapp.gui.opening import Opening
from navapp.gui.picture import Display
from navapp.gui.registration_commands import RegistrationCommands
from navapp.gui.replay_commands import ReplayCommands
from navapp.gui.saving_jobs import SavingJobs
from navapp.gui.settings_drawer import changes_window_alone
from navapp.gui.steps import Step

_OPACITY_STEP = 0.1
_LEAST_OPACITY = 0.1


class Commands:
    """Binds the actions of a window to a desk; expected errors become a message in the window."""

    def __init__(
        self, desk: Desk, window: MainWindow, display: Display, opening: Opening, saving: SavingJobs
    ) -> None:
        self._desk, self._window, self._display = desk, window, display
        self._opening, self._saving = opening, saving
        self._problem = ""  # of the last opening, as Prepare shows it
        self._registration = RegistrationCommands(desk, window)
        replay = ReplayCommands(desk)
        window.book.connect(
            {
                name: self._guarded(do)
                for name, do in {
                    **self._scan_actions(),
                    **self._view_actions(),
                    **self._registration.actions(),
                    **replay.actions(),
                }.items()
            }
        )
        window.replay_bar.timeline.sought.connect(replay.seek)
        window.dropped.connect(lambda path: self._guarded(lambda: opening.open(Path(path)))())
        window.prepare_page.on_connect = self._connect_with_overrides
        window.settings_drawer.on_apply = self._connect
        window.review_page.on_hidden = desk.hide_sweeps
        window.review_page.on_open = lambda saved: self._guarded(
            lambda: opening.open(saved.folder)
        )()

    def refresh(self) -> None:
        """What follows the state rather than an action; five times a second."""
        self._registration.refresh()
        self._saving.poll()
        if self._opening.problem != self._problem:
            self._problem = self._opening.problem
            self._window.prepare_page.problem.setText(self._problem)
        book, desk = self._window.book, self._desk
        book.show_checked("record", desk.takes.state.is_recording)
        book.show_checked("freeze", desk.is_frozen)
        book.show_checked("insert", desk.is_inserting)
        book.show_checked("overlay", self._display.has_overlay)
        book.show_checked("follow", self._window.scene_view.pilot.holder is Holder.PROBE)
        book.show_checked("full_screen", self._window.isFullScreen())
        book.show_checked("settings", self._window.settings_dock.isVisible())
        book.show_checked("log", self._window.log_dock.isVisible())

    def show_step(self, step: Step) -> None:
        """Go to a step, and do what entering it needs."""
        self._window.show_step(step)
        self._registration.enter(step is Step.REGISTER)
        if step is Step.REVIEW:
            self._window.review_page.show_sessions(self._opening.sessions())

    # -- scan -------------------------------------------------------------------------------------

    def _scan_actions(self) -> dict[str, Callable[[], object]]:
        desk, window = self._desk, self._window
        return {
            "record": desk.toggle_recording,
            "freeze": desk.toggle_freeze,
            "insert": desk.toggle_insertion,
            "mark": desk.mark,
            "snapshot": self._snapshot,
            "undo": desk.undo_sweep,
            "clear": desk.clear,
            "save": lambda: self._saving.save(desk),
            "save_all": lambda: self._saving.save(desk, has_mesh=True, has_volume=True),
            "open": self._ask_and_open,
            "quit": window.close,
            **{step.value: partial(self.show_step, step) for step in Step},
            "plan": self._ask_and_load_plan,
            "target": self._target_here,
            "no_plan": lambda: self._set_plan(None),
            "keys": lambda: KeySheet(window, window.book.specs).show(),
            "settings": lambda: window.settings_dock.setVisible(window.settings_dock.isHidden()),
            "log": lambda: window.log_dock.setVisible(window.log_dock.isHidden()),
            "about": lambda: show_about(window),
        }

    def _snapshot(self) -> None:
        path = self._desk.folder.next_name("snapshot", ".png")
        if not self._window.grab().toImage().save(str(path)):
            raise ConfigError(f"{path}: the picture cannot be written")
        self._desk.note("snapshot", path.name)
        self._desk.message = f"saved {path.name}"

    def _ask_and_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window,
            "Open a recording, a session's report, a model, a surface, or a plan",
            str(self._opening.root),
            "All that can be opened (*.mcap *.mha *.nrrd *.json *.onnx *.stl *.ply *.obj *.toml)",
        )
        if path:
            self._opening.open(Path(path))

    def _connect_with_overrides(self, overrides: dict[str, Any]) -> None:
        def connect() -> None:
            self._opening.connect(changed_settings(self._desk.session.settings, overrides))

        self._guarded(connect)()

    def _connect(self, settings: Settings) -> None:
        if changes_window_alone(self._desk.session.settings, settings):
            self._desk.use_window(settings.window)
        else:
            self._guarded(lambda: self._opening.connect(settings))()

    # -- navigation -------------------------------------------------------------------------------

    def _ask_and_load_plan(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window, "Target or planned line", "", "Plan (*.toml)"
        )
        if path:
            self._set_plan(load_plan(Path(path)))

    def _target_here(self) -> None:
        self._set_plan(self._desk.target_here())

    def _set_plan(self, plan: Plan | None) -> None:
        self._desk.plan = plan
        self._desk.message = "no target" if plan is None else f"target: {plan.name}"

    # -- view -------------------------------------------------------------------------------------

    def _view_actions(self) -> dict[str, Callable[[], object]]:
        scene = self._window.scene_view
        presets = {
            name: partial(scene.pilot.look_from, side) for name, side in PRESET_ACTIONS.items()
        }
        return {
            "fit": scene.fit_camera,
            "follow": self._toggle_follow,
            **presets,
            "colours": lambda: scene.show_colours(scene.colours.next),
            "overlay": lambda: self._flip("has_overlay"),
            "flip_x": lambda: self._flip("is_flipped_x"),
            "flip_y": lambda: self._flip("is_flipped_y"),
            "fainter": lambda: self._change_opacity(-_OPACITY_STEP),
            "stronger": lambda: self._change_opacity(_OPACITY_STEP),
            "full_screen": self._toggle_full_screen,
        }

    def _flip(self, name: str) -> None:
        setattr(self._display, name, not getattr(self._display, name))

    def _change_opacity(self, by: float) -> None:
        opacity = self._display.opacity + by
        self._display.opacity = round(min(1.0, max(_LEAST_OPACITY, opacity)), 2)

    def _toggle_follow(self) -> None:
        pilot = self._window.scene_view.pilot
        is_following = pilot.holder is Holder.PROBE
        pilot.take(Holder.USER if is_following else Holder.PROBE)

    def _toggle_full_screen(self) -> None:
        if self._window.isFullScreen():
            self._window.showNormal()
        else:
            self._window.showFullScreen()

    def _guarded(self, do: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                do()
            except EXPECTED as error:
                self._desk.message = str(error)

        return run
