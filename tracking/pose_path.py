"""The way from the probe to the cloud's frame through the streams that the servers send."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tracking.pose_buffer import PoseBuffer, PoseOutcome, PoseRead
from tracking.transforms import Matrix, invert
from tracking.wire import parse_transform_name

CT_TOOL = "Ct"

# From harmless to bad: the worst one on the way is the way's.
_WORSE = (PoseOutcome.FOUND, PoseOutcome.GAP, PoseOutcome.MISSING, PoseOutcome.INVALID)


@dataclass(frozen=True, slots=True)
class PoseStep:
    """One stream on the way, walked against its direction where `is_inverted`."""

    stream: str
    is_inverted: bool = False


@dataclass(frozen=True, slots=True)
class PosePath:
    """T_target_probe as a product of streams, the probe's own first.

    `target` is "ct" where the way leads to CT space, else "reference".
    """

    target: str
    steps: tuple[PoseStep, ...]

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams that a pose needs."""
        return tuple(step.stream for step in self.steps)

    def read(
        self, poses: PoseBuffer, times_s: Mapping[str, float], *, max_gap_s: float
    ) -> PoseRead:
        """T_target_probe, each stream read at its time (on its own clock).

        The worst outcome on the way counts.
        """
        reads = [poses.read(name, times_s[name], max_gap_s=max_gap_s) for name in self.streams]
        T_here_probe = np.eye(4)
        for step, read in zip(self.steps, reads, strict=True):
            if read.matrix is None:
                return PoseRead(max((r.outcome for r in reads), key=_WORSE.index))
            T_next_here = invert(read.matrix) if step.is_inverted else read.matrix
            T_here_probe = T_next_here @ T_here_probe
        return PoseRead(PoseOutcome.FOUND, T_here_probe)

    def read_newest(self, poses: PoseBuffer, *, max_age_s: float) -> Matrix | None:
        """T_target_probe of the newest sample of each stream: for pointing, not for measuring.

        None where a stream's last sample is invalid, missing, or arrived `max_age_s` ago.
        """
        T_here_probe = np.eye(4)
        for step in self.steps:
            matrix = poses.newest(step.stream, max_age_s=max_age_s)
            if matrix is None:
                return None
            T_here_probe = (invert(matrix) if step.is_inverted else matrix) @ T_here_probe
        return T_here_probe


def find_path(names: Collection[str], probe: str, reference: str) -> PosePath | None:
    """The shortest way that these streams allow, None where they allow none (yet).

    `probe` and `reference` are tools (Probe), or streams (ProbeToTracker) whose tool is meant.
    A way to CT space is preferred to one to the reference. A `probe` that is the name of a
    stream outside IGSIO's rule is taken as T_reference_probe.
    """
    probe_tool, reference_tool = tool_of(probe), tool_of(reference)
    for target, tool in (("ct", CT_TOOL), ("reference", reference_tool)):
        steps = _shortest(names, probe_tool, tool)
        if steps:
            return PosePath(target, steps)
    if probe in names and parse_transform_name(probe) is None:
        return PosePath("reference", (PoseStep(probe),))
    return None


def _shortest(names: Collection[str], source: str, target: str) -> tuple[PoseStep, ...] | None:
    """Breadth first through the graph whose edges are streams, in both directions."""
    ways: dict[str, tuple[PoseStep, ...]] = {source: ()}
    waiting = deque([source])
    while waiting:
        here = waiting.popleft()
        if here == target:
            return ways[here]
        for there, step in _edges(names, here):
            if there not in ways:
                ways[there] = (*ways[here], step)
                waiting.append(there)
    return None


def _edges(names: Collection[str], here: str) -> Iterator[tuple[str, PoseStep]]:
    for name in names:
        parsed = parse_transform_name(name)
        if parsed is not None and parsed.source == here:
            yield parsed.target, PoseStep(name)
        elif parsed is not None and parsed.target == here:
            yield parsed.source, PoseStep(name, is_inverted=True)


def tool_of(name: str) -> str:
    """What moves: Probe of the stream ProbeToTracker; any other name is itself."""
    parsed = parse_transform_name(name)
    return name if parsed is None else parsed.source
