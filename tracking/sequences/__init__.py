"""Recorded sweeps: one module per format behind one reader protocol."""
