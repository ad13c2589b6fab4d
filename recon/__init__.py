"""Geometry: back-projection, cloud, sections, simulator, metrics."""
