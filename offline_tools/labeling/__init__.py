"""CT-derived bone labels: poses refined to the echo, the visible contour, every frame's fate.

Method: Wu et al. 2025 (UltraBones100k), section 3.1, with exact mesh-plane sections instead of
sampled points; see docs/adr/0016.
"""
