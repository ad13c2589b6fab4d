"""Faults that a replay can add, drawn from a seed: what real servers and networks do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tracking.framing import HEADER_BYTES, Parts
from tracking.pose_path import tool_of
from tracking.sequences.sweep import SweepImage, SweepPose


@dataclass(frozen=True, slots=True)
class Faults:
    """How much of what goes wrong; all zero is a perfect server.

    `loss` and `damage` are fractions of all messages: never sent, or sent with a flipped bit.
    `jitter_s` delays each message by up to so much, `image_lag_s` stamps images later than the
    moment they show. Each of the others lasts its `_s` at the end of every `_every_s`: `occlusion`,
    the poses are not sent; `invalid`, they are sent and marked as unusable (both of the tool `tool`
    alone where one is named); `stall`, nothing is sent, and then all of it at once; `depth`, the
    images state `depth_scale` times their spacing, as after a turn of the scanner's depth knob.
    """

    seed: int = 0
    jitter_s: float = 0.0
    loss: float = 0.0
    damage: float = 0.0
    clock_offset_s: float = 0.0
    clock_skew_ppm: float = 0.0
    image_lag_s: float = 0.0
    occlusion_s: float = 0.0
    occlusion_every_s: float = 5.0
    invalid_s: float = 0.0
    invalid_every_s: float = 5.0
    tool: str = ""
    stall_s: float = 0.0
    stall_every_s: float = 5.0
    depth_s: float = 0.0
    depth_every_s: float = 5.0
    depth_scale: float = 1.5

    def __post_init__(self) -> None:
        fractions = {"loss": self.loss, "damage": self.damage}
        times = {
            "jitter_s": self.jitter_s,
            "occlusion_s": self.occlusion_s,
            "invalid_s": self.invalid_s,
            "stall_s": self.stall_s,
            "depth_s": self.depth_s,
        }
        periods = {
            "occlusion_every_s": self.occlusion_every_s,
            "invalid_every_s": self.invalid_every_s,
            "stall_every_s": self.stall_every_s,
            "depth_every_s": self.depth_every_s,
            "depth_scale": self.depth_scale,
        }
        for name, value in fractions.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, expected 0 to 1")
        for name, value in times.items():
            if not value >= 0.0:
                raise ValueError(f"{name} is {value}, expected 0 or more")
        for name, value in periods.items():
            if not value > 0.0:
                raise ValueError(f"{name} is {value}, expected more than 0")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one message: its stamp, how much later it goes, and how it looks then.

    `spacing_scale` is of an image, `is_usable` of a pose: the tracker vouches for it.
    """

    t_s: float
    delay_s: float = 0.0
    is_sent: bool = True
    flipped_bit: int | None = None  # counted over all bits, modulo the length of the body
    spacing_scale: float = 1.0
    is_usable: bool = True


class FaultInjector:
    """Decides about message after message; the same seed and sweep give the same fates."""

    def __init__(self, faults: Faults, t_begin_s: float) -> None:
        self._faults = faults
        self._t_begin_s = t_begin_s
        self._random = np.random.default_rng(faults.seed)

    def fate_of(self, event: SweepImage | SweepPose, t_s: float) -> Fate:
        """`t_s` is the stamp that the event would have without faults."""
        faults = self._faults
        # All are drawn for every message, so that one fault does not change another's.
        lost, damaged, late, bit = self._random.random(4)
        elapsed_s = t_s - self._t_begin_s
        stamp_s = t_s + faults.clock_offset_s + elapsed_s * faults.clock_skew_ppm * 1e-6
        fate = Fate(
            t_s=stamp_s,
            delay_s=late * faults.jitter_s
            + _rest_s(elapsed_s, faults.stall_s, faults.stall_every_s),
            is_sent=lost >= faults.loss,
            flipped_bit=int(bit * 2**31) if damaged < faults.damage else None,
        )
        if isinstance(event, SweepImage):
            is_deeper = _rest_s(elapsed_s, faults.depth_s, faults.depth_every_s) > 0.0
            scale = faults.depth_scale if is_deeper else 1.0
            return replace(fate, t_s=stamp_s + faults.image_lag_s, spacing_scale=scale)
        if faults.tool not in ("", tool_of(event.name)):
            return fate
        is_hidden = _rest_s(elapsed_s, faults.occlusion_s, faults.occlusion_every_s) > 0.0
        is_bad = _rest_s(elapsed_s, faults.invalid_s, faults.invalid_every_s) > 0.0
        return replace(fate, is_sent=fate.is_sent and not is_hidden, is_usable=not is_bad)


def _rest_s(elapsed_s: float, length_s: float, every_s: float) -> float:
    """How long the fault that ends each period still lasts; 0 outside of it."""
    phase_s = elapsed_s % every_s
    return every_s - phase_s if phase_s > every_s - length_s else 0.0


def with_flipped_bit(parts: Parts, bit: int) -> Parts:
    """The message with one bit of its body changed; its length stays right."""
    data = bytearray(b"".join(parts))
    byte, place = divmod(bit % (8 * (len(data) - HEADER_BYTES)), 8)
    data[HEADER_BYTES + byte] ^= 1 << place
    return (bytes(data),)
