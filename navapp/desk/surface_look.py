"""The newest look at how the cloud lies on the CT surface, made beside the window."""

from __future__ import annotations

from navapp.desk.live_session import LiveSession
from navapp.desk.newest_job import NewestJob
from navapp.desk.surface_watch import SurfaceState, SurfaceWatch

_PERIOD_S = 0.25


class SurfaceLook:
    """Looks again where `is_due` says that the scene changed, or points wait for their look.

    One thread asks; another, of this object's own, looks.
    """

    def __init__(self) -> None:
        self.is_due = True
        self._t_asked_s = float("-inf")
        self._watch: SurfaceWatch | None = None
        self._job: NewestJob[LiveSession, tuple[LiveSession, SurfaceState | None]]
        self._job = NewestJob("surface", self._look)

    def state(self, session: LiveSession, now_s: float) -> SurfaceState | None:
        """The newest look at this session; None before there is one, or without a CT surface."""
        seen, state = self._job.result or (None, None)
        is_due = self.is_due or (state is not None and not state.is_complete)
        if is_due and now_s - self._t_asked_s >= _PERIOD_S:
            self._t_asked_s, self.is_due = now_s, False
            self._job.ask(session)
        return state if seen is session and session.surface is not None else None

    def close(self) -> None:
        """Let the look under way end."""
        self._job.close()

    def _look(self, session: LiveSession) -> tuple[LiveSession, SurfaceState | None]:
        mesh = session.surface
        if mesh is None:
            return session, None
        if self._watch is None or self._watch.mesh is not mesh:
            self._watch = SurfaceWatch(mesh)
        return session, self._watch.look(session.scene)
