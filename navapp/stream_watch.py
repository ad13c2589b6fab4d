"""Which streams a server sends, and whether the ones that were asked for are among them."""

from __future__ import annotations

from navapp.config import StreamSettings
from tracking.pose_path import find_path


class StreamWatch:
    """Remembers every stream's name; says in a sentence what is missing.

    One thread reports what arrives, any thread asks.
    """

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._image_names: tuple[str, ...] = ()
        self._pose_seen_s: dict[str, float] = {}
        self._since_s: float | None = None
        self._is_settled = False

    def connected(self, now_s: float) -> None:
        """From here on streams are due."""
        if self._since_s is None:
            self._since_s = now_s

    def image_seen(self, name: str) -> None:
        if name not in self._image_names:
            self._image_names += (name,)
            self._is_settled = False

    def pose_seen(self, name: str, t_arrival_s: float) -> None:
        if name not in self._pose_seen_s:
            self._is_settled = False
        self._pose_seen_s[name] = t_arrival_s

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
