"""How a session is: what was noticed on the way, and the one sentence that explains its state."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from navapp.recorder import Recorder
from navapp.state import DropReason, SessionState
from navapp.stream_watch import StreamWatch
from tracking.clock import Clocks
from tracking.pose_path import PosePath, tool_of

logger = logging.getLogger(__name__)

# A tracker at 20 Hz is silent for 50 ms between two poses; half a second is a lost tool.
POSE_LOST_AFTER_S = 0.5

# One image whose output is no number may be chance; so many in a row are told on screen.
_BAD_OUTPUTS = 3

_POSE_REASONS = {
    DropReason.NO_POSE: "no pose at the image's time",
    DropReason.POSE_GAP: "gap in the poses at the image's time",
    DropReason.POSE_INVALID: "pose marked invalid by the tracker",
}


class Health:
    """Each note is one thread's own, and any thread reads; a look at a running session.

    `misfit` is why the newest image does not fit the calibration, None where it does.
    """

    def __init__(self, streams: StreamWatch, clocks: Clocks, recorder: Recorder | None) -> None:
        self.misfit: str | None = None
        self._streams, self._clocks, self._recorder = streams, clocks, recorder
        # By server: the sentence about its connection, and whether that is up.
        self._links: dict[str, tuple[str, bool]] = {}
        self._was_connected = False
        self._is_depth_told = True  # until an image says nothing about it
        self._scale_warning: str | None = None
        self._n_bad_outputs = 0  # in a row
        self._output_problem: str | None = None
        self._last_drop: DropReason | None = None
        self._unanswered_since_s: float | None = None
        self._warnings: dict[str, None] = {}  # in order of appearance

    # -- what was noticed -------------------------------------------------------------------------

    def note_link(self, server: str, sentence: str, *, is_up: bool) -> bool:
        """A connection came about, or was lost; True where that is news."""
        is_news = self._links.get(server) != (sentence, is_up)
        self._links[server] = (sentence, is_up)
        self._was_connected = self._was_connected or is_up
        return is_news

    def note_misfit(self, sentence: str | None) -> None:
        """The newest image fits the calibration (None), or why it does not."""
        self.misfit = sentence
        self.warn(sentence)

    def note_scale(self, sentence: str | None) -> None:
        """The newest image has the scale that the network knows (None), or what is odd of it."""
        self._scale_warning = sentence
        self.warn(sentence)

    def note_spacing(self, spacing_mm: tuple[float, float] | None) -> None:
        """What the newest image says of its spacing; (1, 1) is what says nothing."""
        self._is_depth_told = spacing_mm not in (None, (1.0, 1.0))

    def note_output(self, problem: str | None) -> None:
        """The network's output for an image was of use (None), or what was wrong with it."""
        self._n_bad_outputs = 0 if problem is None else self._n_bad_outputs + 1
        is_lasting = self._n_bad_outputs >= _BAD_OUTPUTS
        self._output_problem = (
            f"{problem}: {self._n_bad_outputs} images in a row" if is_lasting else None
        )
        self.warn(problem)

    def note_image(self, t_arrival_s: float) -> None:
        """An image goes on its way: it wants a result."""
        if self._unanswered_since_s is None:
            self._unanswered_since_s = t_arrival_s

    def note_result(self, dropped: DropReason | None) -> None:
        """An image came to its end: with points, or why without."""
        self._last_drop = dropped
        self._unanswered_since_s = None

    def warn(self, sentence: str | None) -> None:
        """Say a sentence in the log, once."""
        if sentence is not None and sentence not in self._warnings:
            self._warnings[sentence] = None
            logger.warning("%s", sentence)

    # -- what follows from it ---------------------------------------------------------------------

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong on the way, each sentence once."""
        return tuple(self._warnings)

    @property
    def unreached(self) -> str | None:
        """Why no connection ever came about; None where one did."""
        if self._was_connected:
            return None
        return "; ".join(sentence for sentence, _ in self._links.values()) or None

    def unanswered_s(self, now_s: float) -> float:
        """For how long images have been arriving of which none gave a result yet."""
        since_s = self._unanswered_since_s
        return 0.0 if since_s is None else now_s - since_s

    def running_state(self, n_received: int, now_s: float) -> tuple[SessionState, str]:
        """Of a session that was started and has not ended: the worst thing first."""
        links = tuple(self._links.values())
        down = [sentence for sentence, is_up in links if not is_up]
        if down or not links:
            state = SessionState.DEGRADED if n_received > 0 else SessionState.CONNECTING
            return state, "; ".join(down) or "not connected"
        problem = next(self._problems(now_s), None)
        if problem is not None:
            return SessionState.DEGRADED, problem
        sentences = [sentence for sentence, _ in links]
        if not self._is_depth_told:
            sentences.append("depth unverified: the images do not state their spacing")
        return SessionState.RUNNING, "; ".join(sentences)

    def tracking(self, path: PosePath | None, probe: str, now_s: float) -> tuple[bool, str]:
        """Whether the probe's pose is known, and a sentence."""
        links = tuple(self._links.values())
        if not links or not all(is_up for _, is_up in links):
            return False, "no connection"
        if path is None:
            return False, f"no poses of {probe} yet"
        for name in path.streams:
            age_s = self._streams.pose_age_s(name, now_s)
            if age_s > POSE_LOST_AFTER_S:
                return False, f"{tool_of(name)} lost {age_s:.1f} s"
        if self._last_drop in _POSE_REASONS:
            return False, _POSE_REASONS[self._last_drop]
        return True, "tracking OK"

    def _problems(self, now_s: float) -> Iterator[str]:
        found = (
            self._streams.problem(now_s),
            self.misfit,
            self._output_problem,
            self._scale_warning,
            None if self._recorder is None else self._recorder.problem,
            self._clocks.problem,
        )
        return (problem for problem in found if problem is not None)
