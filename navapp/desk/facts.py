"""What the window shows beside the pictures: one frozen look at the desk."""

from __future__ import annotations

from dataclasses import dataclass

from navapp.desk.alarms import Alarm
from navapp.desk.navigation import Guidance
from navapp.desk.surface_watch import SurfaceState
from navapp.desk.takes import TakeState
from navapp.insertion import Hold
from navapp.scene import FAR_FROM_CT_MM
from navapp.state import SessionState, SessionStatus, StreamState, ToolState, VolumeState
from recon.scan_speed import ScanSpeed
from tracking.replay import ReplayState

# A replay rests at its last message, which may come this much before the end of the last image.
_END_S = 0.05
_JUDGED_FROM = 300  # points; fewer may be strays


@dataclass(frozen=True, slots=True)
class Facts:
    """One look. `free_gb` is the disk that recordings go to; `replay_speed` is set while the
    images are a recording's, `replay` while it is this window that plays it. `surface` is None
    while nothing leads to the CT's space, `has_ct` says whether there is a CT at all."""

    status: SessionStatus
    alarm: Alarm | None
    tools: tuple[ToolState, ...]
    streams: tuple[StreamState, ...]
    holds: tuple[Hold, ...]
    sweep: int
    take: TakeState
    free_gb: float
    speed: ScanSpeed | None
    has_ct: bool
    surface: SurfaceState | None
    volume: VolumeState | None
    guidance: Guidance | None
    plan_name: str
    replay: ReplayState | None
    replay_speed: str | None
    busy: str
    message: str

    @property
    def misplacement(self) -> str:
        """Why the cloud hardly lies on its CT; empty where it may."""
        if self.surface is None or self.status.n_points < _JUDGED_FROM:
            return ""
        median_mm = self.surface.median_mm
        is_far = median_mm > FAR_FROM_CT_MM
        return f"{median_mm:.0f} mm off the CT: wrong bone or registration?" if is_far else ""

    @property
    def ct_gap(self) -> str:
        """Why nothing is known against the CT, in two words; empty where it is, or soon will be."""
        if not self.has_ct:
            return "no CT"
        return "" if self.status.frame == "ct" else "not registered"

    @property
    def standstill(self) -> str:
        """Why nothing comes although nothing is wrong: "paused" or "ended"; empty otherwise."""
        if self.status.state is SessionState.IDLE and self.status.n_received:
            return "ended"
        if self.replay is None or not self.replay.is_paused:
            return ""
        is_at_end = self.replay.position_s >= self.replay.duration_s - _END_S
        return "ended" if is_at_end else "paused"
