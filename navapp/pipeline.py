"""The live loop: one frame's journey from the newest image to the grown cloud.

Two workers, each in a thread of the session: `infer_frames` finds the bone line in the image,
`reconstruct_frames` finds the pose that belongs to it and puts the line into the cloud.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from inference.errors import OutputError
from inference.line_support import LineSupport
from inference.postprocess import BoneLine
from navapp.channels import Sink, Source
from navapp.equipment import Equipment
from navapp.latency import LatencyLog, Stage
from navapp.live_volume import LiveVolume
from navapp.matching import Match, PoseMatcher
from navapp.scene import Insertion, Scene
from navapp.state import DropReason, LiveView
from navapp.tally import Tally
from tracking.messages import ImageFrame


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """An image with the bone line that the network found in it."""

    frame: ImageFrame
    line: BoneLine


@dataclass(slots=True)
class Pipeline:
    """The steps and what they share; `max_age_s` is None where no frame is ever too old.

    `equipment` may be replaced between two frames by one with another network. `note_output` hears
    of each image whether the network's output was of use: None, or what was wrong with it.
    Without `support` all of a line goes into the cloud; without `volume` there is none.
    """

    equipment: Equipment
    matcher: PoseMatcher
    scene: Scene
    tally: Tally
    latency: LatencyLog
    max_age_s: float | None
    note_output: Callable[[str | None], None]
    support: LineSupport | None = None
    volume: LiveVolume | None = None

    def infer_frames(self, frames: Source[ImageFrame], masks: Sink[SegmentedFrame]) -> None:
        """Worker: images in, bone lines out. A line that finds no room is a superseded image."""
        for frame in frames:
            with self._counted_if_it_fails():
                segmented = self._segmented(frame)
                if isinstance(segmented, DropReason):
                    self.tally.image_skipped(segmented)
                elif masks.put(segmented) is not None:
                    self.tally.image_skipped(DropReason.SUPERSEDED)

    def reconstruct_frames(
        self, masks: Source[SegmentedFrame], publish: Callable[[LiveView], None]
    ) -> None:
        """Worker: bone lines in, points into the cloud, the newest state out; then the volume."""
        for segmented in masks:
            with self._counted_if_it_fails():
                view = self.integrate(segmented)
                publish(view)
            self._compound(view)

    def segment(self, frame: ImageFrame) -> SegmentedFrame:
        """Crop, resample, run the network, and find the line in the image's own pixels."""
        t_start_s = time.perf_counter()
        equipment = self.equipment  # one network for the whole frame
        height, width = frame.pixels.shape
        plan = equipment.plan_for((width, height))
        line = equipment.segmenter.segment(frame.pixels, plan).line
        self.latency.add(Stage.INFER, t_start_s, time.perf_counter())
        return SegmentedFrame(frame, line)

    def _segmented(self, frame: ImageFrame) -> SegmentedFrame | DropReason:
        """The frame with its line, or why it gives none."""
        if self._is_stale(frame):
            return DropReason.STALE
        try:
            segmented = self.segment(frame)
        except OutputError as error:
            self.note_output(str(error))
            return DropReason.FAILED
        self.note_output(None)
        return segmented

    def integrate(self, segmented: SegmentedFrame) -> LiveView:
        """Match the pose, keep what is borne out, back-project it, grow the cloud."""
        t_start_s = time.perf_counter()
        match = self.matcher.match(segmented.frame)
        t_matched_s = time.perf_counter()
        self.latency.add(Stage.MATCH, t_start_s, t_matched_s)
        line = self._borne_out(segmented)
        if isinstance(match, DropReason):
            return self._dropped(segmented, match)
        return self._inserted(segmented, line, match, t_matched_s)

    def _borne_out(self, segmented: SegmentedFrame) -> BoneLine:
        """What the lines before bear out; lines without a pose count as seen before, too."""
        line = segmented.line
        if self.support is None:
            return line
        spacing_mm = self.equipment.calibration.spacing_mm
        return self.support.borne_out(line, spacing_mm, segmented.frame.stamps.t_match_s)

    def _inserted(
        self, segmented: SegmentedFrame, line: BoneLine, match: Match, t_matched_s: float
    ) -> LiveView:
        frame = segmented.frame
        if self._is_stale(frame):  # a network that is too slow: the window says so, and no point
            return self._dropped(segmented, DropReason.STALE)
        A_target_pixel = match.T_target_probe @ self.equipment.calibration.A_probe_pixel
        inserted = self.scene.insert(
            line, A_target_pixel, match.target, frame.pixels.shape, frame.stamps.t_match_s
        )
        if inserted.sweep is None:
            return self._dropped(segmented, DropReason.HELD, inserted)
        self.tally.points_left_out(len(segmented.line.points_px) - len(line.points_px))
        t_integrated_s = time.perf_counter()
        self.latency.add(Stage.RECONSTRUCT, t_matched_s, t_integrated_s)
        self.tally.image_processed(t_integrated_s)
        return LiveView(
            frame=frame,
            line=segmented.line,
            A_target_pixel=inserted.A_scene_pixel,
            dropped=None,
            cloud=inserted.cloud,
            t_integrated_s=t_integrated_s,
            sweep=inserted.sweep,
        )

    def _compound(self, view: LiveView) -> None:
        """Put an image whose points are in the cloud into the volume; nobody waits for that."""
        if self.volume is None or view.sweep is None or view.A_target_pixel is None:
            return
        self.volume.insert(
            view.frame.pixels, view.A_target_pixel, view.sweep, view.cloud.generation
        )

    def _dropped(
        self, segmented: SegmentedFrame, reason: DropReason, inserted: Insertion | None = None
    ) -> LiveView:
        self.tally.image_skipped(reason)
        return LiveView(
            frame=segmented.frame,
            line=segmented.line,
            A_target_pixel=None if inserted is None else inserted.A_scene_pixel,
            dropped=reason,
            cloud=self.scene.drawn() if inserted is None else inserted.cloud,
            t_integrated_s=time.perf_counter(),
        )

    @contextmanager
    def _counted_if_it_fails(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.tally.image_skipped(DropReason.FAILED)
            raise

    def _is_stale(self, frame: ImageFrame) -> bool:
        age_s = time.perf_counter() - frame.stamps.t_arrival_s
        return self.max_age_s is not None and age_s > self.max_age_s
