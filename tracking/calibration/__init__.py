"""Calibrations: measured transforms with their provenance."""
