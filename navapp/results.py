"""What a session finds goes out as OpenIGTLink, for Slicer and others to show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine
from navapp.config import ResultSettings
from navapp.state import LiveView
from tracking.server import Server
from tracking.transforms import Matrix, apply
from tracking.wire import encode_image, encode_points, encode_transform

MASK_DEVICE, POINTS_DEVICE = "BoneMask", "BonePoints"
_BONE = 255


class ResultSender:
    """A server for results; listens from construction until `close`.

    Every view gives an IMAGE of the bone line's pixels, and where the probe's pose was known also
    the line's POINTs and the probe's TRANSFORM in the cloud's frame. All carry the image's own
    stamp, so that a receiver can put them beside the image they were found in. A client that is
    too slow misses some; nobody waits for it.

    Raises
    ------
    LinkError : if it cannot listen there.
    """

    def __init__(self, settings: ResultSettings, A_probe_pixel: Matrix) -> None:
        self._server = Server(settings.host, settings.port or 0)
        self._A_pixel_probe = np.linalg.inv(A_probe_pixel)
        self.port = self._server.port

    def send(self, view: LiveView, target: str) -> None:
        """Hand one view to every client; `target` is the cloud's frame, "ct" or "reference"."""
        if self._server.n_clients == 0:
            return
        t_s = view.frame.stamps.t_sender_s
        mask = _mask(view.line, view.frame.pixels.shape)
        self._server.send(encode_image(MASK_DEVICE, mask, t_s, view.frame.spacing_mm))
        if view.A_target_pixel is None:
            return
        T_target_probe = view.A_target_pixel @ self._A_pixel_probe
        self._server.send(encode_transform(f"ProbeTo{target.capitalize()}", T_target_probe, t_s))
        points_px = view.line.points_px
        points_mm = apply(view.A_target_pixel, np.pad(points_px, ((0, 0), (0, 1))))
        self._server.send(
            encode_points(POINTS_DEVICE, points_mm, t_s, group=target, owner=view.frame.name)
        )

    def close(self) -> None:
        """Stop listening, close every connection."""
        self._server.close()


def _mask(line: BoneLine, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """White where the line passes, black elsewhere; (rows, columns)."""
    mask = np.zeros(shape, np.uint8)
    columns, rows = np.rint(line.points_px).astype(np.intp).T
    mask[np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)] = _BONE
    return mask
