"""What makes the picture unsafe, in words: judged from what the engine says of itself.

Every alarm goes with insertion that holds by itself: an image without a pose, of another depth,
too old, or never arrived, gives no points. Here is only decided what a person is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from navapp.state import DropReason, LiveView, SessionState, SessionStatus, ToolState


class AlarmKind(Enum):
    """The headline of each alarm."""

    SESSION_ENDED = "SESSION ENDED"
    NO_CONNECTION = "NO CONNECTION"
    DEPTH_CHANGED = "IMAGE DOES NOT FIT"
    MODEL_SLOW = "MODEL TOO SLOW"
    NO_IMAGE = "NO NEW IMAGE"
    PROBE_LOST = "PROBE LOST"
    REFERENCE_HIDDEN = "REFERENCE HIDDEN"
    NO_POSE = "NO POSE"


_POSE_SENTENCES = {
    DropReason.NO_POSE: "no pose near the image's time",
    DropReason.POSE_GAP: "poses around it are too far apart",
    DropReason.POSE_INVALID: "the tracker marks it unusable",
}


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong and why; nothing goes into the cloud meanwhile."""

    kind: AlarmKind
    reason: str

    @property
    def text(self) -> str:
        """In one line, for a banner."""
        return f"{self.kind.value}: {self.reason}" if self.reason else self.kind.value


def judge(
    status: SessionStatus,
    view: LiveView | None,
    view_age_s: float | None,
    tools: Sequence[ToolState],
    max_age_s: float = 1.0,
) -> Alarm | None:
    """The one alarm that explains the others; None while the picture can be trusted.

    Parameters
    ----------
    view, view_age_s : the newest view and how long ago its image came; None before the first
    tools : the streams on the way of the probe's pose, the probe's own first
    max_age_s : an older image no longer shows what the probe sees, and gives no points
    """
    is_stale = view_age_s is not None and view_age_s > max_age_s
    has_ended = is_stale and status.state is SessionState.IDLE
    if has_ended or status.state is SessionState.FAILED:
        return Alarm(AlarmKind.SESSION_ENDED, "" if has_ended else status.detail)
    if status.misfit is not None:
        return Alarm(AlarmKind.DEPTH_CHANGED, status.misfit)
    if view is None or view_age_s is None:
        return None  # nothing is shown that could be mistaken
    if is_stale and status.tracking == "no connection":
        return Alarm(AlarmKind.NO_CONNECTION, f"for {view_age_s:.0f} s; {status.detail}")
    if is_stale:
        # A rate would say "arriving" for a while after the last image, and at once after a pause.
        on_its_way_s = view.t_integrated_s - view.frame.stamps.t_arrival_s
        is_slow = max(status.unanswered_s, on_its_way_s) > 0.5 * max_age_s
        kind = AlarmKind.MODEL_SLOW if is_slow else AlarmKind.NO_IMAGE
        what = "no result" if is_slow else "nothing"
        return Alarm(kind, f"{what} for {view_age_s:.0f} s")
    return _pose_alarm(view, tools)


def _pose_alarm(view: LiveView, tools: Sequence[ToolState]) -> Alarm | None:
    for k, tool in enumerate(tools):
        if not tool.is_visible:
            kind = AlarmKind.PROBE_LOST if k == 0 else AlarmKind.REFERENCE_HIDDEN
            return Alarm(kind, f"{tool.tool} not seen for {tool.age_s:.1f} s")
    if view.dropped in _POSE_SENTENCES:
        return Alarm(AlarmKind.NO_POSE, _POSE_SENTENCES[view.dropped])
    return None


class AlarmBell:
    """One sound when an alarm begins and one when all is well again, however it flickers between.

    Parameters
    ----------
    quiet_s : all must be well for so long before the return is told
    """

    def __init__(self, quiet_s: float = 0.5) -> None:
        self._quiet_s = quiet_s
        self._is_ringing = False
        self._t_well_s: float | None = None

    def sound_for(self, alarm: Alarm | None, now_s: float) -> str | None:
        """ "loss", "return", or None where nothing is to be heard."""
        if alarm is not None:
            self._t_well_s = None
            if self._is_ringing:
                return None
            self._is_ringing = True
            return "loss"
        if not self._is_ringing:
            return None
        if self._t_well_s is None:
            self._t_well_s = now_s
        if now_s - self._t_well_s < self._quiet_s:
            return None
        self._is_ringing, self._t_well_s = False, None
        return "return"
