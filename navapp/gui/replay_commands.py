"""The actions of a recording that plays into the window."""

from __future__ import annotations

from collections.abc import Callable

from navapp.desk.desk import Desk
from navapp.errors import ConfigError
from navapp.gui.replay_bar import next_speed
from tracking.replay import Replay

_JUMP_S = 2.0


class ReplayCommands:
    """Each does nothing but say so while images are live."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def actions(self) -> dict[str, Callable[[], object]]:
        """By the names of the table."""
        return {
            "play": self._play,
            "step": self._step,
            "back": lambda: self._jump(-_JUMP_S),
            "forward": lambda: self._jump(_JUMP_S),
            "slower": lambda: self._change_speed(-1),
            "faster": lambda: self._change_speed(1),
            "loop": lambda: self._replay.set_loop(not self._replay.state.loop),
        }

    def seek(self, position_s: float) -> None:
        """Go elsewhere in the recording; the timeline asks for it."""
        self._desk.seek(position_s)

    @property
    def _replay(self) -> Replay:
        if self._desk.replay is None:
            raise ConfigError("nothing is being replayed: the images are live")
        return self._desk.replay.replay

    def _play(self) -> None:
        if self._replay.state.is_paused:
            self._replay.play()
        else:
            self._replay.pause()

    def _step(self) -> None:
        self._replay.step()

    def _jump(self, by_s: float) -> None:
        self.seek(self._replay.state.position_s + by_s)

    def _change_speed(self, direction: int) -> None:
        self._replay.set_speed(next_speed(self._replay.state.speed, direction))
