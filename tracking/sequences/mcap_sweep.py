"""A recording of raw messages as a sweep, and any sweep as such a recording."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracking.errors import SequenceError, WireError
from tracking.messages import ImageFrame, PoseSample
from tracking.sequences.igs import ORIENTATION, IgsSweep
from tracking.sequences.recording import Recording, RecordingWriter
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose
from tracking.sequences.written import Written
from tracking.wire import (
    IMAGE,
    POSE_TYPES,
    decode,
    encode_image,
    encode_transform,
    open_message,
    parse_raw,
)

_logger = logging.getLogger(__name__)

# Messages of one sender may overtake each other a little; further back, its clock began anew.
_STEP_BACK_NS = 1_000_000_000
_NS = 1e9


class McapSweep:
    """The images and poses of a recording, by the sender's stamps.

    Where a stream has no stamps, or they step back by more than a second (a server that was
    started again), the arrivals are the only common clock: `clock` is then "arrival". Of several
    image streams the one with the most images is taken.

    Raises
    ------
    SequenceError : if there are neither images nor poses in it.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.path = recording.path
        self.name = recording.path.name
        index = recording.index
        images = recording.channels(IMAGE)
        n_images = {channel: int(np.sum(index.channel == channel)) for channel in images}
        self._image_channel = max(images, key=lambda channel: n_images[channel], default=-1)
        self._n_images = n_images.get(self._image_channel, 0)
        self.image_name = images.get(self._image_channel, "Image")
        self.other_images = tuple(images[c] for c in images if c != self._image_channel)
        poses = [channel for kind in sorted(POSE_TYPES) for channel in recording.channels(kind)]
        channels = [self._image_channel, *poses]
        used = np.flatnonzero(np.isin(index.channel, channels))
        if not used.size:
            raise SequenceError(f"{self.path}: holds neither images nor poses")
        self.clock = "sender" if self._has_good_stamps(channels) else "arrival"
        times_ns = index.stamp_ns if self.clock == "sender" else index.arrival_ns
        is_pose = index.channel != self._image_channel
        order = np.lexsort((is_pose[used], times_ns[used]))
        self._order = used[order]
        self._t_s = times_ns[self._order] / _NS
        if not recording.is_closed:
            n_messages = len(index.offset)
            _logger.warning("%s: was cut after %d messages", self.path, n_messages)
        if self.clock == "arrival":
            _logger.warning("%s: stamps are missing or step back, arrivals are used", self.path)
        if self.other_images:
            _logger.warning("%s: %s is not used", self.path, ", ".join(self.other_images))

    @property
    def n_images(self) -> int:
        return self._n_images

    @property
    def span_s(self) -> tuple[float, float]:
        return float(self._t_s[0]), float(self._t_s[-1])

    @functools.cached_property
    def spacing_mm(self) -> tuple[float, float] | None:
        """Of the first image that can be read."""
        for k in filter(self._is_image, map(int, self._order)):
            try:
                return self._image(k).spacing_mm
            except SequenceError:
                continue
        return None

    def events(self) -> Iterator[SweepImage | SweepPose]:
        n_images = n_broken = 0
        with self.path.open("rb") as file:
            for k, t_s in zip(map(int, self._order), map(float, self._t_s), strict=True):
                try:
                    records = self._decode(k, file)
                except SequenceError as error:
                    _logger.debug("%s", error)
                    records = ()
                if self._is_image(k):
                    fields = next((r.metadata for r in records if isinstance(r, ImageFrame)), {})
                    yield SweepImage(n_images, t_s, functools.partial(self._load, k), fields)
                    n_images += 1
                    continue
                poses = [r for r in records if isinstance(r, PoseSample)]
                n_broken += not poses
                for pose in poses:
                    yield SweepPose(pose.name, t_s, pose.matrix, pose.status)
        if n_broken:
            _logger.warning("%s: %d poses cannot be read and are left out", self.path, n_broken)

    def _is_image(self, k: int) -> bool:
        return bool(self.recording.index.channel[k] == self._image_channel)

    def _has_good_stamps(self, channels: list[int]) -> bool:
        index = self.recording.index
        stamps_ns = [index.stamp_ns[index.channel == channel] for channel in channels]
        return all(
            bool((stamps > 0).all() and (np.diff(stamps) >= -_STEP_BACK_NS).all())
            for stamps in stamps_ns
        )

    def _load(self, k: int) -> NDArray[np.uint8]:
        return self._image(k).pixels.copy()  # the view is read-only

    def _image(self, k: int) -> ImageFrame:
        with self.path.open("rb") as file:
            for record in self._decode(k, file):
                if isinstance(record, ImageFrame):
                    return record
        raise SequenceError(f"{self.path}: message {k} is no image")

    def _decode(self, k: int, file: BinaryIO) -> tuple[ImageFrame | PoseSample, ...]:
        raw = self.recording.read(file, k)
        try:
            records = decode(open_message(raw))
        except WireError as error:
            raise SequenceError(f"{self.path}: message {k}: {error}") from None
        return tuple(r for r in records if isinstance(r, (ImageFrame, PoseSample)))


def write_mcap(path: Path, sweep: Sweep) -> Written:
    """Write a sweep as if it had been recorded from our own replay, its stamps as arrivals.

    Raises
    ------
    SequenceError : the file exists or cannot be written, an image of the sweep cannot be read, or
        a stamp cannot be carried by the wire.
    """
    if not sweep.span_s[0] > 0.0:
        raise SequenceError(
            f"{sweep.name}: its first stamp is {sweep.span_s[0]:g} s, expected above 0 "
            "(in a recorded message 0 means that there is no stamp)"
        )
    writer = RecordingWriter(path, arrival_origin_ns=0)
    is_written = False
    try:
        written = _write_events(writer, sweep)
        writer.close({"source": sweep.name})
        is_written = True
    except ValueError as error:  # a stamp or a size that the protocol has no room for
        raise SequenceError(f"{sweep.name}: cannot be recorded: {error}") from None
    finally:
        writer.abandon()
        if not is_written:
            path.unlink()
    return written


def _write_events(writer: RecordingWriter, sweep: Sweep) -> Written:
    n_images = n_poses = n_fields = 0
    fields_of_s = math.nan  # the stamp whose fields have gone out with its image
    for event in sweep.events():
        if isinstance(event, SweepImage):
            parts = encode_image(
                sweep.image_name, event.load(), event.t_s, sweep.spacing_mm, event.fields
            )
            fields_of_s = event.t_s
            n_images += 1
        else:
            parts = encode_transform(event.name, event.matrix, event.t_s, event.status)
            n_poses += 1
            n_fields += bool(event.fields) and event.t_s != fields_of_s
        writer.add(parse_raw(b"".join(parts), event.t_s))
    notes = ["poses are single precision, as on the wire", "stamps stand in for arrival times"]
    if n_fields:
        notes.append(f"fields of {n_fields} poses between the images are left out")
    if isinstance(sweep, IgsSweep) and set(sweep.fields) - {ORIENTATION}:
        notes.append(f"fields of the whole sweep are left out: {', '.join(sweep.fields)}")
    return Written(n_images, n_poses, tuple(notes))
