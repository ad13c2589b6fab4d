"""All that a desk knows of a session: `navapp.session.Session` has it, and so do made-up ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from navapp.channels import Source
from navapp.config import Settings
from navapp.equipment import Equipment
from navapp.insertion import InsertionGate
from navapp.live_volume import LiveVolume
from navapp.scene import Scene
from navapp.state import LiveView, SessionStatus, StreamState, ToolState
from recon.surface import TriangleMesh
from tracking.transforms import Matrix
from tracking.wire import RawMessage


class LiveSession(Protocol):
    """A session that runs, seen from a desk."""

    settings: Settings
    gate: InsertionGate
    scene: Scene
    volume: LiveVolume | None
    on_raw: Callable[[RawMessage], None] | None

    @property
    def equipment(self) -> Equipment | None:
        """What it measures with; None of a session that is made up."""

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(column, row) pixel spacing by which images are drawn."""

    @property
    def views(self) -> Source[LiveView]:
        """The newest frame that went through; read without waiting."""

    @property
    def surface(self) -> TriangleMesh | None:
        """The CT surface in the frame of the cloud; None until that frame is known to be CT's."""

    def status(self) -> SessionStatus:
        """A consistent look at the session; cheap enough for 10 calls a second."""

    def note_shown(self, view: LiveView, t_shown_s: float) -> None:
        """`view` was painted at `t_shown_s` (`perf_counter()`)."""

    def tools(self) -> tuple[ToolState, ...]:
        """The streams on the way of the probe's pose."""

    def streams(self) -> tuple[StreamState, ...]:
        """Every stream that came."""

    def undo_sweep(self) -> int | None:
        """Take the last sweep away; its number, None where there is none."""

    def newest_pose(self, tool: str) -> Matrix | None:
        """T_scene_tool as last seen; None where it is not."""

    def touched_mm(self, tool: str, T_tool_tip: Matrix) -> NDArray[np.float64]:
        """Where a tip that is held still is in the scene; an error says why it is not known."""
