"""A recorded sweep served on a port of this computer, as long as somebody wants to see it."""

from __future__ import annotations

import threading

from tracking.faults import Faults
from tracking.replay import Replay, ReplayState
from tracking.sequences import Sweep
from tracking.sequences.sweep import SweepImage
from tracking.server import Server

_JOIN_S = 5.0
_POLL_S = 0.05
_END_S = 0.05  # a position this near the end is the end

# Poses further apart than this are a tool that was not seen.
_HIDDEN_FROM_S = 0.25


class ReplayServer:
    """Serves from construction until `close`; at the end it stays, and waits to be sought.

    Parameters
    ----------
    stays : False ends the server with the sweep, which tells a client that nothing more comes
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        speed: float | None = 1.0,
        loop: bool = False,
        stays: bool = True,
        faults: Faults | None = None,
    ) -> None:
        self.sweep = sweep
        self.failure: Exception | None = None
        self._stays = stays
        self._stop = threading.Event()
        self._server = Server(port=0)
        self.port = self._server.port
        self.replay = Replay(sweep, self._server, speed=speed, loop=loop, faults=faults)
        self._thread = threading.Thread(target=self._run, name="replay")
        self._thread.start()

    @property
    def state(self) -> ReplayState:
        return self.replay.state

    def close(self) -> None:
        """End it, however far it is."""
        self._stop.set()
        self._thread.join(_JOIN_S)
        self._server.close()

    def _run(self) -> None:
        try:
            self.replay.run(self._stop)
            while self._stays and not self._stop.is_set():
                self._wait_for_seek()
                if not self._stop.is_set():
                    self.replay.run(self._stop)
        except Exception as error:  # noqa: BLE001  the top of a worker
            self.failure = error
        finally:
            self._server.close()

    def _wait_for_seek(self) -> None:
        """At the end: paused until somebody plays, or goes elsewhere."""
        self.replay.pause()
        end_s = self.state.position_s
        while not self._stop.wait(_POLL_S):
            if abs(self.state.position_s - end_s) > _END_S:
                return
            if not self.state.is_paused:
                self.replay.seek(0.0)
                return


def visible_spans_s(sweep: Sweep) -> tuple[tuple[float, float], ...]:
    """From when to when poses came, in seconds after the sweep's first stamp.

    A tool that is silent for longer than a quarter of a second was not seen; with several pose
    streams, all of them must have been.
    """
    begin_s, _ = sweep.span_s
    times_s: dict[str, list[float]] = {}
    for event in sweep.events():
        if not isinstance(event, SweepImage):
            times_s.setdefault(event.name, []).append(event.t_s - begin_s)
    spans = [_spans(stamps_s) for stamps_s in times_s.values()]
    if not spans:
        return ()
    common = spans[0]
    for other in spans[1:]:
        common = _common(common, other)
    return tuple(common)


def _spans(times_s: list[float]) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    for t_s in sorted(times_s):
        if spans and t_s - spans[-1][1] <= _HIDDEN_FROM_S:
            spans[-1] = (spans[-1][0], t_s)
        else:
            spans.append((t_s, t_s))
    return spans


def _common(
    first: list[tuple[float, float]], second: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    pairs = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return [(begin_s, end_s) for begin_s, end_s in pairs if begin_s <= end_s]
