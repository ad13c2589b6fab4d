"""Every action in one table: menus, buttons, keys and the key sheet are made of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from navapp.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """`name` is what settings call it. `needs_hold`: destructive, the key is held for a second.
    `rests`: for a foot, which presses once where a pedal that bounces or repeats sends many."""

    name: str
    text: str
    key: str
    menu: str
    needs_hold: bool = False
    is_checkable: bool = False
    rests: bool = False


# A press so soon after the last one of the same action is no press of its own.
REST_S = 0.15

ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec("record", "Record", "F9", "Session", is_checkable=True, rests=True),
    ActionSpec("freeze", "Freeze", "Space", "Session", is_checkable=True, rests=True),
    ActionSpec("insert", "Insert points", "I", "Session", is_checkable=True, rests=True),
    ActionSpec("mark", "Mark", "M", "Session", rests=True),
    ActionSpec("snapshot", "Snapshot", "S", "Session", rests=True),
    ActionSpec("undo", "Undo sweep", "Ctrl+Z", "Session", rests=True),
    ActionSpec("clear", "Clear", "Delete", "Session", needs_hold=True),
    ActionSpec("save", "Save everything", "Ctrl+S", "Session"),
    ActionSpec("save_all", "Save with mesh and volume", "Ctrl+Shift+S", "Session"),
    ActionSpec("open", "Open...", "Ctrl+O", "Session"),
    ActionSpec("quit", "Close", "Ctrl+Q", "Session"),
    ActionSpec("prepare", "Prepare", "1", "Step"),
    ActionSpec("register", "Register", "2", "Step"),
    ActionSpec("scan", "Scan", "3", "Step"),
    ActionSpec("review", "Review", "4", "Step"),
    ActionSpec("fit", "Fit camera to the scene", "Home", "View"),
    ActionSpec("follow", "Camera follows the probe", "V", "View", is_checkable=True),
    ActionSpec("view_a", "From anterior", "Shift+A", "View"),
    ActionSpec("view_p", "From posterior", "Shift+P", "View"),
    ActionSpec("view_l", "From left", "Shift+L", "View"),
    ActionSpec("view_r", "From right", "Shift+R", "View"),
    ActionSpec("view_s", "From superior", "Shift+S", "View"),
    ActionSpec("view_i", "From inferior", "Shift+I", "View"),
    ActionSpec("colours", "Next colours of the CT", "C", "View"),
    ActionSpec("overlay", "Bone line and CT outline", "O", "View", is_checkable=True),
    ActionSpec("fainter", "Overlay fainter", "Ctrl+Down", "View"),
    ActionSpec("stronger", "Overlay stronger", "Ctrl+Up", "View"),
    ActionSpec("flip_x", "Flip display left-right", "X", "View", is_checkable=True),
    ActionSpec("flip_y", "Flip display up-down", "Y", "View", is_checkable=True),
    ActionSpec("full_screen", "Full screen", "F11", "View", is_checkable=True),
    ActionSpec("play", "Play or pause", "P", "Replay"),
    ActionSpec("step", "Step", ".", "Replay"),
    ActionSpec("back", "Back 2 s", "Left", "Replay"),
    ActionSpec("forward", "Forward 2 s", "Right", "Replay"),
    ActionSpec("slower", "Slower", "-", "Replay"),
    ActionSpec("faster", "Faster", "+", "Replay"),
    ActionSpec("loop", "Loop", "L", "Replay", is_checkable=True),
    ActionSpec("touch", "Take landmark", "T", "Register"),
    ActionSpec("choose", "Choose landmark", "N", "Register"),
    ActionSpec("remove", "Remove landmark", "Ctrl+Backspace", "Register"),
    ActionSpec("fit_landmarks", "Fit landmarks", "Ctrl+L", "Register"),
    ActionSpec("refine", "Refine with the surface", "Ctrl+R", "Register"),
    ActionSpec("accept", "Accept registration", "Ctrl+Return", "Register"),
    ActionSpec("redo", "Register anew", "Ctrl+D", "Register"),
    ActionSpec("plan", "Load target or line...", "Ctrl+T", "Navigation"),
    ActionSpec("target", "Target at the image's middle", "G", "Navigation"),
    ActionSpec("no_plan", "Forget the target", "Ctrl+G", "Navigation"),
    ActionSpec("keys", "Keys", "F1", "Help"),
    ActionSpec("settings", "Settings", "F2", "Help", is_checkable=True),
    ActionSpec("log", "Log", "F3", "Help", is_checkable=True),
    ActionSpec("about", "About navapp", "F4", "Help"),
)

# Which side of the body each of these looks from.
PRESET_ACTIONS = {f"view_{side.lower()}": side for side in "APLRSI"}


def remapped(keys: Mapping[str, str]) -> tuple[ActionSpec, ...]:
    """The table with other keys for some actions.

    Raises
    ------
    ConfigError : an action that does not exist, a key that is none, or a key with two actions.
    """
    names = {spec.name for spec in ACTIONS}
    problems = [f"window.keys.{name} is not an action" for name in keys if name not in names]
    for name, key in keys.items():
        if key and not QKeySequence(key).toString():
            problems.append(f"window.keys.{name} = {key!r} is not a key")
    specs = tuple(replace(spec, key=keys.get(spec.name, spec.key)) for spec in ACTIONS)
    seen: dict[str, str] = {}
    for spec in specs:
        key = QKeySequence(spec.key).toString()
        if key and key in seen:
            problems.append(f"{key} is the key of {seen[key]} and of {spec.name}")
        seen[key] = spec.name
    if problems:
        raise ConfigError("; ".join(problems))
    return specs


class ActionBook:
    """The QActions of a window, by name; `do` maps names to what happens.

    Actions that need a hold have no shortcut: `HoldKeys` watches their key.
    """

    def __init__(
        self,
        owner: QWidget,
        specs: tuple[ActionSpec, ...] = ACTIONS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._actions: dict[str, QAction] = {}
        for spec in specs:
            action = QAction(spec.text, owner)
            action.setCheckable(spec.is_checkable)
            action.setAutoRepeat(False)
            owner.addAction(action)  # keys work with the menu bar hidden, too
            self._actions[spec.name] = action
        self.remap(specs)

    def remap(self, specs: tuple[ActionSpec, ...]) -> None:
        """Give every action the key of its spec; who shows keys hears of it by `changed`."""
        self.specs = {spec.name: spec for spec in specs}
        for spec in specs:
            key = "" if spec.needs_hold else spec.key
            self._actions[spec.name].setShortcut(QKeySequence(key))

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def connect(self, do: Mapping[str, Callable[[], object]]) -> None:
        """Say what each action does; every one of the table must be there.

        Raises
        ------
        KeyError : naming an action that nothing was said about.
        """
        for name, action in self._actions.items():
            run = _rested(do[name], self._clock) if self.specs[name].rests else do[name]
            action.triggered.connect(_without_state(run))

    def menus(self) -> dict[str, list[QAction]]:
        """The actions by menu, in the order of the table; without those that need a hold, which
        a click on a menu cannot give."""
        result: dict[str, list[QAction]] = {}
        for name, spec in self.specs.items():
            if spec.needs_hold:
                continue
            result.setdefault(spec.menu, []).append(self._actions[name])
        return result

    def show_checked(self, name: str, is_on: bool) -> None:
        """Let a checkable action show the state of what it switches."""
        if self._actions[name].isChecked() != is_on:
            self._actions[name].setChecked(is_on)


def _rested(do: Callable[[], object], clock: Callable[[], float]) -> Callable[[], None]:
    last_s = -float("inf")

    def run() -> None:
        nonlocal last_s
        before_s, last_s = last_s, clock()
        if last_s - before_s >= REST_S:
            do()

    return run


def _without_state(do: Callable[[], object]) -> Callable[[bool], None]:
    def run(is_checked: bool = False) -> None:
        do()

    return run
