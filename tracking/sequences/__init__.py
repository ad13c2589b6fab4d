"""Recorded sweeps: one module per format behind one reader protocol."""

from tracking.sequences.open import open_sweep
from tracking.sequences.save import save_sweep
from tracking.sequences.sweep import Sweep, SweepImage, SweepPose

__all__ = ["Sweep", "SweepImage", "SweepPose", "open_sweep", "save_sweep"]
