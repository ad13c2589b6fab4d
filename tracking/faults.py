"""Faults that a replay can add, drawn from a seed: what real servers and networks do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tracking.framing import HEADER_BYTES, Parts
from tracking.sequences.sweep import SweepImage, SweepPose


@dataclass(frozen=True, slots=True)
class Faults:
    """How much of what goes wrong; all zero is a perfect server.

    `loss` and `damage` are fractions of all messages: never sent, or sent with a flipped bit.
    `jitter_s` delays each message by up to so much, `image_lag_s` stamps images later than the
    moment they show. For `occlusion_s` out of every `occlusion_every_s` the poses are not sent; for
    `stall_s` out of every `stall_every_s` nothing is, and then all of it at once.
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
    stall_s: float = 0.0
    stall_every_s: float = 5.0

    def __post_init__(self) -> None:
        fractions = {"loss": self.loss, "damage": self.damage}
        times = {
            "jitter_s": self.jitter_s,
            "occlusion_s": self.occlusion_s,
            "stall_s": self.stall_s,
        }
        for name, value in fractions.items():
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}, expected 0 to 1")
        for name, value in times.items():
            if not value >= 0.0:
                raise ValueError(f"{name} is {value}, expected 0 or more")


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one message: its stamp, how much later it goes, and how it looks then."""

    t_s: float
    delay_s: float = 0.0
    is_sent: bool = True
    flipped_bit: int | None = None  # counted over all bits, modulo the length of the body


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
        is_image = isinstance(event, SweepImage)
        fate = Fate(
            t_s=stamp_s + (faults.image_lag_s if is_image else 0.0),
            delay_s=late * faults.jitter_s
            + _rest_s(elapsed_s, faults.stall_s, faults.stall_every_s),
            flipped_bit=int(bit * 2**31) if damaged < faults.damage else None,
        )
        is_hidden = _rest_s(elapsed_s, faults.occlusion_s, faults.occlusion_every_s) > 0.0
        if lost < faults.loss or (is_hidden and not is_image):
            return replace(fate, is_sent=False)
        return fate


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
