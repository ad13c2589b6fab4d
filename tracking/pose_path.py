"""The way from the probe to the cloud's frame through the streams that a server sends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tracking.pose_buffer import PoseBuffer, PoseOutcome, PoseRead
from tracking.transforms import invert
from tracking.wire import parse_transform_name

CT_TOOL = "Ct"


@dataclass(frozen=True, slots=True)
class PosePath:
    """T_target_probe as one stream, or as inv(ReferenceToTracker) * ProbeToTracker.

    `target` is "ct" where the probe's poses are given in CT space, else "reference".
    """

    target: str
    probe_stream: str
    reference_stream: str | None = None

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that a pose needs."""
        if self.reference_stream is None:
            return (self.probe_stream,)
        return self.probe_stream, self.reference_stream

    def read(self, poses: PoseBuffer, t_s: float, *, max_gap_s: float) -> PoseRead:
        """T_target_probe at `t_s` on the sender's clock; the worst outcome on the way counts."""
        probe = poses.read(self.probe_stream, t_s, max_gap_s=max_gap_s)
        if self.reference_stream is None or probe.matrix is None:
            return probe
        reference = poses.read(self.reference_stream, t_s, max_gap_s=max_gap_s)
        if reference.matrix is None:
            return reference
        T_reference_tracker = invert(reference.matrix)
        T_tracker_probe = probe.matrix
        return PoseRead(PoseOutcome.FOUND, T_reference_tracker @ T_tracker_probe)


def find_path(names: Collection[str], probe: str, reference: str) -> PosePath | None:
    """The path that these streams allow, None where they allow none (yet).

    `probe` and `reference` are tools (Probe), or streams (ProbeToTracker) whose tool is meant.
    In this order: poses in CT space, poses in the reference's space, both in a third space.
    A `probe` that is the name of a stream outside IGSIO's rule is taken as T_reference_probe.
    """
    probe_tool, reference_tool = tool_of(probe), tool_of(reference)
    if f"{probe_tool}To{CT_TOOL}" in names:
        return PosePath("ct", f"{probe_tool}To{CT_TOOL}")
    if f"{probe_tool}To{reference_tool}" in names:
        return PosePath("reference", f"{probe_tool}To{reference_tool}")
    for name in names:
        parsed = parse_transform_name(name)
        if parsed is not None and parsed.source == probe_tool:
            reference_stream = f"{reference_tool}To{parsed.target}"
            if reference_stream in names:
                return PosePath("reference", name, reference_stream)
    if probe in names and parse_transform_name(probe) is None:
        return PosePath("reference", probe)
    return None


def tool_of(name: str) -> str:
    """What moves: Probe of the stream ProbeToTracker; any other name is itself."""
    parsed = parse_transform_name(name)
    return name if parsed is None else parsed.source
