"""Which streams a server sends, and whether the ones that were asked for are among them."""

from __future__ import annotations

from collections import deque

from navapp.config import StreamSettings
from navapp.state import StreamState
from tracking.pose_path import find_path

_RATE_OVER_S = 2.0
_KEPT = 1024  # two seconds at 500 Hz


class StreamWatch:
    """Remembers every stream's name; says in a sentence what is missing.

    One thread reports what arrives, any thread asks.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._image_names: tuple[str, ...] = ()
        self._pose_seen_s: dict[str, float] = {}
        self._seen_s: dict[str, deque[float]] = {}
        self._sizes_px: dict[str, tuple[int, int]] = {}
        self._since_s: float | None = None
        self._is_settled = False

    def connected(self, now_s: float) -> None:
        """From here on streams are due."""
        if self._since_s is None:
            self._since_s = now_s

    def image_seen(
        self, name: str, t_arrival_s: float | None = None, shape: tuple[int, ...] = ()
    ) -> None:
        """An image of `shape` (rows, columns) arrived; neither is known of one that is damaged."""
        if name not in self._image_names:
            self._image_names += (name,)
            self._is_settled = False
        if t_arrival_s is not None:
            self._seen_s.setdefault(name, deque(maxlen=_KEPT)).append(t_arrival_s)
            self._sizes_px[name] = (shape[1], shape[0])

    def pose_seen(self, name: str, t_arrival_s: float) -> None:
        if name not in self._pose_seen_s:
            self._is_settled = False
        self._pose_seen_s[name] = t_arrival_s
        self._seen_s.setdefault(name, deque(maxlen=_KEPT)).append(t_arrival_s)

    def states(self, now_s: float) -> tuple[StreamState, ...]:
        """Every stream with its rate, images first."""
        images = [
            StreamState(name, "image", self._rate_hz(name, now_s), self._sizes_px.get(name))
            for name in self._image_names
        ]
        poses = [
            StreamState(name, "pose", self._rate_hz(name, now_s))
            for name in tuple(self._pose_seen_s)
        ]
        return (*images, *poses)

    def _rate_hz(self, name: str, now_s: float) -> float:
        recent_s = [t_s for t_s in tuple(self._seen_s.get(name, ())) if t_s > now_s - _RATE_OVER_S]
        span_s = min(_RATE_OVER_S, now_s - recent_s[0]) if recent_s else _RATE_OVER_S
        return len(recent_s) / max(span_s, 0.1)

    def is_chosen(self, image_name: str) -> bool:
        """Is this the session's image stream: the one named, or else the only one there is?"""
        return (self._settings.image or image_name) == image_name and not self._is_ambiguous

    def pose_age_s(self, name: str, now_s: float) -> float:
        """Seconds since the last pose of a stream; infinite where none came."""
        return now_s - self._pose_seen_s.get(name, float("-inf"))

    def problem(self, now_s: float) -> str | None:
        """What is wrong with the streams; None while all is well or it is too early to tell.

        At the end of a session nothing more can come: ask for infinity then.
        """
        if self._is_settled or self._since_s is None:
            return None
        if self._is_ambiguous:
            return f"the server sends {len(self._image_names)} images, name one: {self._listing}"
        has_image = bool(self._image_names) and (
            self._settings.image is None or self._settings.image in self._image_names
        )
        probe, reference = self._settings.probe, self._settings.reference
        has_path = find_path(tuple(self._pose_seen_s), probe, reference) is not None
        self._is_settled = has_image and has_path
        if self._is_settled or now_s - self._since_s < self._settings.wait_s:
            return None
        if not has_image:
            wanted = f"image stream {self._settings.image}" if self._settings.image else "images"
        else:
            wanted = f"poses that lead from {probe} to {reference} or to CT"
        return f"no {wanted} came; the server sends {self._listing or 'neither images nor poses'}"

    @property
    def _is_ambiguous(self) -> bool:
        return self._settings.image is None and len(self._image_names) > 1

    @property
    def _listing(self) -> str:
        images = [f"{name} (image)" for name in self._image_names]
        poses = [f"{name} (pose)" for name in tuple(self._pose_seen_s)]
        return ", ".join(images + poses)
