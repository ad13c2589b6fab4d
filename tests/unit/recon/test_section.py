"""Sections and visible lines of shapes whose answer is known, and kernels against slow twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recon.errors import ReconError
from recon.kernels import squared_distance_to_triangle
from recon.phantom_bone import long_bone_mesh
from recon.section import first_surface, section_segments_px, surface_band_mask, visible_line
from recon.surface import TriangleMesh
from tracking.transforms import apply, from_rotation_vector

SIZE_PX = (200, 160)


def box(low_mm, high_mm) -> TriangleMesh:
    corners_mm = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    faces = [
        (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
        (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
    ]  # fmt: skip
    low_mm, high_mm = np.array(low_mm, float), np.array(high_mm, float)
    return TriangleMesh(low_mm + corners_mm * (high_mm - low_mm), faces)


def image_affine(spacing_mm=(0.1, 0.1), skew=0.0) -> np.ndarray:
    """Image plane z = 0 with u along x and v along y, origin in the corner."""
    A = np.diag((*spacing_mm, 1.0, 1.0))
    A[0, 1] = skew * spacing_mm[1]
    return A


def tilted() -> np.ndarray:
    A = from_rotation_vector((0.3, -0.2, 0.5), (40.0, -70.0, 900.0)) @ image_affine(
        (0.1, 0.12), 0.05
    )
    return A


def bone_in_view() -> tuple[TriangleMesh, np.ndarray]:
    """A bone far from the origin, across an image that looks at it obliquely."""
    mesh = long_bone_mesh(seed=1, length_mm=60.0, edge_mm=2.0)
    centre_ct_mm = mesh.vertices_mm.mean(axis=0)
    A_ct_image = from_rotation_vector((0.9, -0.4, 0.8), (0.0, 0.0, 0.0))
    A_ct_image[:3, 3] = centre_ct_mm - apply(A_ct_image, np.array([(11.0, 14.0, 0.0)]))[0]
    return mesh, A_ct_image @ image_affine((0.11, 0.14), 0.03)


def section_twin_px(mesh, A_ct_pixel) -> np.ndarray:
    """Each cut face on its own, in pixel coordinates, in no particular direction."""
    pixels = apply(np.linalg.inv(A_ct_pixel), mesh.vertices_mm)[mesh.faces]
    segments = []
    for face in pixels:
        ends = [
            (p[:2] * q[2] - q[:2] * p[2]) / (q[2] - p[2])
            for p, q in zip(face, np.roll(face, -1, axis=0), strict=True)
            if (p[2] >= 0.0) != (q[2] >= 0.0)
        ]
        if ends:
            segments.append(ends)
    return np.array(segments)


def test_section_equals_twin():
    mesh, A_ct_pixel = bone_in_view()
    # The twin needs a third column that is the normal: the plane's coordinates are then the same.
    normal = np.cross(A_ct_pixel[:3, 0], A_ct_pixel[:3, 1])
    A_ct_pixel[:3, 2] = normal / np.linalg.norm(normal)
    segments_px = section_segments_px(mesh, A_ct_pixel)
    twin_px = section_twin_px(mesh, A_ct_pixel)
    assert len(segments_px) > 40
    np.testing.assert_allclose(np.sort(segments_px, axis=1), np.sort(twin_px, axis=1), atol=1e-8)


def test_section_is_closed_and_turns_its_left_outside():
    mesh, A_ct_pixel = bone_in_view()
    starts, ends = np.moveaxis(section_segments_px(mesh, A_ct_pixel), 1, 0)
    order = np.lexsort(starts.round(6).T), np.lexsort(ends.round(6).T)
    np.testing.assert_allclose(starts[order[0]], ends[order[1]], atol=1e-6)
    # Shoelace: with v down, clockwise on screen encloses a positive area.
    assert 0.5 * np.sum(starts[:, 0] * ends[:, 1] - ends[:, 0] * starts[:, 1]) > 100.0


def test_side_that_lies_in_the_plane_counts_once():
    ending = section_segments_px(box((2, 3, -4), (12, 9, 0)), image_affine())
    starts, ends = np.moveaxis(ending, 1, 0)
    np.testing.assert_allclose(np.sort(starts, axis=0), np.sort(ends, axis=0), atol=1e-9)
    np.testing.assert_allclose(starts.min(axis=0), (20, 30), atol=1e-9)
    np.testing.assert_allclose(starts.max(axis=0), (120, 90), atol=1e-9)
    assert len(section_segments_px(box((2, 3, 0), (12, 9, 4)), image_affine())) == 0


def test_section_beside_the_mesh_is_empty():
    mesh = box((2, 3, 5), (12, 9, 8))
    assert section_segments_px(mesh, image_affine()).shape == (0, 2, 2)
    assert len(visible_line(mesh, image_affine(), SIZE_PX).points_px) == 0
    assert not surface_band_mask(mesh, image_affine(), SIZE_PX).any()


def test_third_column_does_not_matter():
    mesh, A_ct_pixel = bone_in_view()
    other = A_ct_pixel.copy()
    other[:3, 2] = (0.3, -2.0, 0.1)
    np.testing.assert_array_equal(
        section_segments_px(mesh, A_ct_pixel), section_segments_px(mesh, other)
    )


def test_image_without_a_plane_is_refused():
    A_ct_pixel = image_affine()
    A_ct_pixel[:3, 1] = A_ct_pixel[:3, 0]
    with pytest.raises(ReconError, match="span no plane"):
        section_segments_px(box((2, 3, -1), (12, 9, 4)), A_ct_pixel)


def test_visible_line_of_a_box_is_its_top():
    line = visible_line(box((2, 3, -1), (12, 9, 4)), image_affine(), SIZE_PX)
    np.testing.assert_array_equal(line.points_px[:, 0], np.arange(20, 120))
    np.testing.assert_allclose(line.points_px[:, 1], 30.0, atol=1e-9)
    np.testing.assert_allclose(line.incidence_rad, 0.0, atol=1e-9)


def test_only_the_first_surface_is_visible():
    mesh = box((2, 3, -1), (8, 5, 4))
    deeper = box((4, 9, -1), (14, 12, 4))
    both = TriangleMesh(
        np.concatenate((mesh.vertices_mm, deeper.vertices_mm)),
        np.concatenate((mesh.faces, deeper.faces + len(mesh.vertices_mm))),
    )
    line = visible_line(both, image_affine(), SIZE_PX)
    expected = np.where(np.arange(20, 140) < 80, 30.0, 90.0)
    np.testing.assert_allclose(line.points_px[:, 1], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("low_y_mm", "high_y_mm", "n_expected"),
    [
        (-4.0, 5.0, 0),  # the transducer is inside: the far side is no bone surface to it
        (-9.0, -2.0, 0),  # behind the transducer
        (17.0, 20.0, 0),  # below the image
        (15.9, 20.0, 100),  # in the last row
    ],
)
def test_what_lies_outside_the_image_is_not_visible(low_y_mm, high_y_mm, n_expected):
    mesh = box((2, low_y_mm, -1), (12, high_y_mm, 4))
    assert len(visible_line(mesh, image_affine(), SIZE_PX).points_px) == n_expected


def test_bone_behind_the_transducer_hides_nothing():
    behind = box((0, -9, -1), (15, -2, 4))
    ahead = box((2, 3, -1), (12, 9, 4))
    both = TriangleMesh(
        np.concatenate((behind.vertices_mm, ahead.vertices_mm)),
        np.concatenate((behind.faces, ahead.faces + len(behind.vertices_mm))),
    )
    line = visible_line(both, image_affine(), SIZE_PX)
    np.testing.assert_allclose(line.points_px[:, 1], np.full(100, 30.0), atol=1e-9)


@pytest.mark.parametrize("spacing_mm", [(0.1, 0.1), (0.05, 0.2)])
def test_incidence_is_the_slope_in_mm(spacing_mm):
    angle_rad = math.radians(35.0)
    mesh = box((-6, 0, -1), (6, 5, 4))
    T_ct_box = from_rotation_vector((0.0, 0.0, angle_rad), (10.0, 12.0, 0.0))
    turned = TriangleMesh(apply(T_ct_box, mesh.vertices_mm), mesh.faces)
    v_px, incidence_rad = first_surface(turned, image_affine(spacing_mm), (400, 200))
    is_met = np.isfinite(v_px)
    shares = np.unique(incidence_rad[is_met].round(9), return_counts=True)
    np.testing.assert_allclose(shares[0], (angle_rad, math.pi / 2 - angle_rad), atol=1e-8)


def test_incidence_is_measured_from_a_skewed_scan_line():
    mesh = box((-50, 6, -1), (50, 9, 4))
    _, incidence_rad = first_surface(mesh, image_affine(skew=0.2), SIZE_PX)
    np.testing.assert_allclose(incidence_rad, math.atan(0.2), atol=1e-9)


def test_steep_surface_is_left_out_beyond_the_limit():
    mesh, A_ct_pixel = bone_in_view()
    everything = visible_line(mesh, A_ct_pixel, SIZE_PX, max_incidence_rad=math.pi / 2)
    some = visible_line(mesh, A_ct_pixel, SIZE_PX, max_incidence_rad=math.radians(40.0))
    is_kept = everything.incidence_rad <= math.radians(40.0)
    assert 0 < len(some.points_px) < len(everything.points_px)
    np.testing.assert_array_equal(some.points_px, everything.points_px[is_kept])


def test_points_of_the_line_lie_on_the_surface():
    mesh, A_ct_pixel = bone_in_view()
    line = visible_line(mesh, A_ct_pixel, SIZE_PX)
    assert len(line.points_px) > 50
    points_ct_mm = line.points_px @ A_ct_pixel[:3, :2].T + A_ct_pixel[:3, 3]
    for point in points_ct_mm[::7]:
        squared = min(squared_distance_to_triangle(point, t) for t in mesh.triangles_mm())
        assert math.sqrt(squared) < 1e-8


def test_band_equals_twin():
    mesh, A_ct_pixel = bone_in_view()
    mask = surface_band_mask(mesh, A_ct_pixel, (60, 50), half_width_mm=0.3)
    triangles_mm = mesh.triangles_mm()
    twin = np.zeros((50, 60), dtype=bool)
    for v, u in np.ndindex(twin.shape):
        point = A_ct_pixel[:3] @ (u, v, 0.0, 1.0)
        is_near = (np.abs(triangles_mm - point) < 6.0).all(axis=2).any(axis=1)  # edges: 2 to 4 mm
        twin[v, u] = any(
            squared_distance_to_triangle(point, t) < 0.3**2 for t in triangles_mm[is_near]
        )
    assert twin.sum() > 50
    np.testing.assert_array_equal(mask, twin)
