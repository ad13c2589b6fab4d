"""What is visible: the first surface on each scan line, not too steep, where the image shows it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offline_tools.labeling.visibility import Fate, ScanLines, seen_section, visible_band_mask
from recon.section import surface_band_mask, visible_line
from recon.surface import TriangleMesh
from tests.support.bones import SIZE_PX, SPACING_MM, shifted, tube

ROI_PX = (0, 0, *SIZE_PX)
LINES = ScanLines((SPACING_MM, SPACING_MM), SIZE_PX)
RIGHT_ANGLE_RAD = math.radians(89.99)


@pytest.fixture
def A_ct_pixel(T_ct_probe, A_probe_pixel):
    return T_ct_probe @ A_probe_pixel


def together(*meshes: TriangleMesh) -> TriangleMesh:
    firsts = np.cumsum([0, *(len(mesh.vertices_mm) for mesh in meshes[:-1])])
    return TriangleMesh(
        np.concatenate([mesh.vertices_mm for mesh in meshes]),
        np.concatenate([mesh.faces + first for mesh, first in zip(meshes, firsts, strict=True)]),
    )


def test_linear_probe_sees_the_line_that_recon_draws(A_ct_pixel, simulated) -> None:
    for mesh, A, size_px in (
        (tube(6.0), A_ct_pixel, SIZE_PX),
        (simulated.mesh, simulated.A_ct_pixel(2), simulated.settings.image_size_px),
    ):
        lines = ScanLines((SPACING_MM, SPACING_MM), size_px)
        seen = seen_section(mesh, A, lines, (0, 0, *size_px), RIGHT_ANGLE_RAD)
        line = visible_line(mesh, A, size_px, RIGHT_ANGLE_RAD)
        np.testing.assert_allclose(seen.line_px, line.points_px, atol=1e-9)


def test_cylinder_is_cut_at_its_incidence(A_ct_pixel) -> None:
    seen = seen_section(tube(6.0), A_ct_pixel, LINES, ROI_PX, math.radians(60.0))
    x_mm = (seen.line_px[:, 0] - 199.5) * SPACING_MM
    analytic_deg = np.degrees(np.arcsin(np.abs(x_mm) / 6.0))
    np.testing.assert_allclose(np.degrees(seen.incidence_rad), analytic_deg, atol=1.0)
    assert 59.0 < analytic_deg.max() < 61.0
    grazing = seen.pieces_px[seen.fates == Fate.GRAZING]
    grazing_deg = np.degrees(np.arcsin(np.abs((grazing[:, 0] - 199.5) * SPACING_MM / 6.0)))
    assert grazing_deg.min() > 59.0


def test_of_two_stacked_bones_only_the_upper_one_remains(A_ct_pixel) -> None:
    mesh = together(shifted(tube(4.0), 0.0, -6.0), shifted(tube(3.5), 0.0, 6.0))
    seen = seen_section(mesh, A_ct_pixel, LINES, ROI_PX, math.radians(85.0))
    middle = np.abs(seen.line_px[:, 0] - 199.5) * SPACING_MM < 3.9
    depth_mm = seen.line_px[middle, 1] * SPACING_MM
    assert depth_mm.max() < 9.0  # the lower one begins 17.5 mm deep
    lower = seen.pieces_px[:, 1] * SPACING_MM > 16.5
    assert (seen.fates[lower] == Fate.SHADOWED).all()


def test_back_of_a_bone_is_in_its_own_shadow(A_ct_pixel) -> None:
    seen = seen_section(tube(6.0), A_ct_pixel, LINES, ROI_PX, math.radians(85.0))
    y_mm = seen.pieces_px[:, 1] * SPACING_MM - 15.0
    assert (seen.fates[y_mm > 0.3] == Fate.SHADOWED).all()
    assert (seen.fates[y_mm < -1.0] == Fate.VISIBLE).all()  # 80 degrees and less


def test_a_column_that_begins_inside_bone_sees_nothing(A_ct_pixel) -> None:
    seen = seen_section(shifted(tube(6.0), 0.0, -15.5), A_ct_pixel, LINES, ROI_PX, RIGHT_ANGLE_RAD)
    assert len(seen.line_px) == 0
    inside = (seen.pieces_px[:, 1] >= 0.0) & (seen.fates != Fate.OUTSIDE)
    assert (seen.fates[inside] == Fate.SHADOWED).all()


def test_graphics_are_masked(A_ct_pixel) -> None:
    seen = seen_section(tube(6.0), A_ct_pixel, LINES, (0, 0, 220, 300), math.radians(85.0))
    assert seen.line_px[:, 0].max() <= 219.0
    assert (seen.fates[seen.pieces_px[:, 0] > 219.5] == Fate.OUTSIDE).all()


def test_curved_probe_sees_along_its_own_lines(A_ct_pixel) -> None:
    """From an apex 30 mm above the image, tangents touch a circle before its widest part."""
    apex_px = (199.5, -300.0)
    lines = ScanLines((SPACING_MM, SPACING_MM), SIZE_PX, apex_px)
    seen = seen_section(tube(6.0), A_ct_pixel, lines, ROI_PX, RIGHT_ANGLE_RAD)
    offset_mm = (seen.line_px - (199.5, 150.0)) * SPACING_MM
    np.testing.assert_allclose(np.linalg.norm(offset_mm, axis=1), 6.0, atol=0.002)
    # Distance 45 mm from apex to centre: the tangent point is at sin = 6 / 45 above the middle.
    deepest_mm = -6.0 * 6.0 / 45.0
    assert deepest_mm - 1.2 < offset_mm[:, 1].max() < deepest_mm
    np.testing.assert_allclose(lines.to_px(lines.to_scan(seen.line_px)), seen.line_px, atol=1e-9)
    beam = lines.directions_mm(seen.line_px)
    cosine = -(offset_mm / 6.0 * beam).sum(axis=1)
    np.testing.assert_allclose(np.cos(seen.incidence_rad), cosine, atol=0.02)


def test_band_of_the_visible_part(A_ct_pixel) -> None:
    mesh = tube(6.0)
    seen = seen_section(mesh, A_ct_pixel, LINES, ROI_PX, math.radians(85.0))
    mask = visible_band_mask(mesh, A_ct_pixel, SIZE_PX, 0.2, seen)
    whole = surface_band_mask(mesh, A_ct_pixel, SIZE_PX, 0.2)
    assert (mask & ~whole).sum() == 0
    rows = np.nonzero(mask)[0]
    assert rows.max() * SPACING_MM < 15.0 + 0.1  # nothing of the back
    upper = whole[:140]
    assert mask[:140].sum() > 0.97 * upper.sum()


def test_no_bone_no_line(A_ct_pixel) -> None:
    far = shifted(tube(6.0), 0.0, 0.0, 200.0)
    seen = seen_section(far, A_ct_pixel, LINES, ROI_PX, math.radians(85.0))
    assert len(seen.line_px) == len(seen.pieces_px) == 0
    assert not visible_band_mask(far, A_ct_pixel, SIZE_PX, 0.2, seen).any()
