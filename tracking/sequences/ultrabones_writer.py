"""Writes a sweep as an UltraBones100k record: PNG images and `tracking.csv`.

A record holds one pose for each image, that of the probe in CT space at the moment the image
shows. It has no place for a pose that is invalid, so an image without a good one is left out.
"""

from __future__ import annotations

import csv
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import TextIO

from PIL import Image

from tracking.errors import SequenceError, WriteError
from tracking.messages import PoseSample, Stamps
from tracking.pose_buffer import PoseBuffer, PoseOutcome
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose
from tracking.sequences.ultrabones import UltraBonesRecord
from tracking.sequences.written import Written
from tracking.transforms import to_euler_xyz_deg

_HEADER = ("timestamp", "space_factor", "x", "y", "z", "euler_x", "euler_y", "euler_z")
_REASONS = {
    PoseOutcome.MISSING: "no pose near their time",
    PoseOutcome.GAP: "a gap in the poses at their time",
    PoseOutcome.INVALID: "an invalid pose at their time",
}
# Pixels count as square where the two spacings differ by less than a micrometre in a pixel.
_SQUARE_MM = 1e-6


def write_record(
    folder: Path, sweep: Sweep, *, image_lag_s: float = 0.0, max_pose_gap_s: float = 0.1
) -> Written:
    """Write a new record; the pose of an image is read at its stamp minus the lag.

    On an error nothing is left at `folder`.

    Raises
    ------
    SequenceError : the folder exists, the sweep has no ProbeToCt or no image with such a pose, an
        image cannot be read, or two images fall on one millisecond.
    """
    if folder.exists():
        raise SequenceError(f"{folder}: exists already, expected a new name")
    poses = _poses_in_ct(sweep)
    try:
        (folder / "UltrasoundImages").mkdir(parents=True)
        with (folder / "tracking.csv").open("w", newline="", encoding="utf-8") as table:
            writer = _Writer(folder, table, sweep)
            for event in sweep.events():
                if isinstance(event, SweepImage):
                    writer.add(event, poses, event.t_s - image_lag_s, max_pose_gap_s)
            return writer.written()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise WriteError(f"{folder}: cannot be written: {error.strerror}") from None
    except SequenceError:
        shutil.rmtree(folder)
        raise


def _poses_in_ct(sweep: Sweep) -> PoseBuffer:
    poses, others = PoseBuffer(span_s=math.inf), set()
    for event in sweep.events():
        if isinstance(event, SweepPose) and event.name == UltraBonesRecord.pose_name:
            stamps = Stamps(event.t_s, event.t_s)
            poses.add(PoseSample(event.name, event.matrix, event.status, stamps))
        elif isinstance(event, SweepPose):
            others.add(event.name)
    if not poses.names:
        raise SequenceError(
            f"{sweep.name}: has no {UltraBonesRecord.pose_name}, which a record needs; "
            f"its poses are {', '.join(sorted(others)) or 'none'}"
        )
    return poses


class _Writer:
    """One record in the making."""

    def __init__(self, folder: Path, table: TextIO, sweep: Sweep) -> None:
        self._images = folder / "UltrasoundImages"
        self._sweep = sweep
        self._rows = csv.writer(table)
        self._rows.writerow(_HEADER)
        self._left_out: Counter[PoseOutcome] = Counter()
        self._t_last_ms = -1
        self._n_images = self._n_rounded = 0

    def add(
        self, image: SweepImage, poses: PoseBuffer, t_pose_s: float, max_pose_gap_s: float
    ) -> None:
        read = poses.read(UltraBonesRecord.pose_name, t_pose_s, max_gap_s=max_pose_gap_s)
        if read.matrix is None:
            self._left_out[read.outcome] += 1
            return
        t_ms = round(image.t_s * 1e3)
        if t_ms <= self._t_last_ms:
            raise SequenceError(f"{self._sweep.name}: two images at {t_ms} ms, expected one")
        self._t_last_ms = t_ms
        self._n_rounded += t_ms / 1e3 != image.t_s
        Image.fromarray(image.load()).save(self._images / f"{t_ms}.png")
        numbers = (*read.matrix[:3, 3], *to_euler_xyz_deg(read.matrix))
        self._rows.writerow((t_ms, self._spacing, *(repr(float(x)) for x in numbers)))
        self._n_images += 1

    @property
    def _spacing(self) -> str:
        """One number for both directions, empty where it is unknown or there are two."""
        spacing_mm = self._sweep.spacing_mm
        if spacing_mm is None or abs(spacing_mm[0] - spacing_mm[1]) > _SQUARE_MM:
            return ""
        return repr(spacing_mm[0])

    def written(self) -> Written:
        if not self._n_images:
            raise SequenceError(f"{self._sweep.name}: no image has a pose, expected one at least")
        notes = [f"images left out for {_REASONS[why]}: {n}" for why, n in self._left_out.items()]
        if self._n_rounded:
            notes.append(f"{self._n_rounded} stamps are rounded to milliseconds")
        if self._sweep.spacing_mm is not None and not self._spacing:
            notes.append("the pixel spacing is left out: a record has one for both directions")
        notes.append("a record holds no other poses and no fields")
        return Written(self._n_images, self._n_images, tuple(notes))
