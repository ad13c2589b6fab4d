"""Equation 3 against slow twins, and the laws that it has to keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from offline_tools.labeling.objective import (
    correction_matrix,
    make_problem,
    mean_fiducial_correction_mm,
    score,
)
from offline_tools.labeling.values import Objective, mean_below, smoothed, value_image
from recon.section import surface_band_mask
from tests.support.bones import (
    FIDUCIALS_MM,
    SIZE_PX,
    SPACING_MM,
    placed,
    tube,
)
from tracking.transforms import from_rotation_vector

ROI_PX = (0, 0, *SIZE_PX)
SOME = np.array((0.4, -0.7, 0.2, 0.5, -0.3, 0.8))


def problem_of(frame, mesh, objective, weight=0.0, half_width_mm=0.5, roi_px=ROI_PX, lead_mm=0.0):
    return make_problem(
        mesh,
        frame.T_ct_probe,
        frame.A_probe_pixel,
        value_image(frame.pixels, objective, SPACING_MM),
        roi_px,
        FIDUCIALS_MM,
        is_mean=objective is Objective.MEAN,
        half_width_mm=half_width_mm,
        lead_mm=lead_mm,
        weight=weight,
        bound=1.0,
    )


def test_correction_is_a_translation_and_a_rotation_vector() -> None:
    T = correction_matrix(SOME)
    np.testing.assert_allclose(T[:3, 3], SOME[:3])
    expected = Rotation.from_rotvec(SOME[3:], degrees=True).as_matrix()
    np.testing.assert_allclose(T[:3, :3], expected, atol=1e-12)
    tiny = 1e-4 * SOME
    expected = Rotation.from_rotvec(tiny[3:], degrees=True).as_matrix()
    np.testing.assert_allclose(correction_matrix(tiny)[:3, :3], expected, atol=1e-13)


def test_translation_moves_all_fiducials_alike() -> None:
    moved_mm = mean_fiducial_correction_mm(np.array((0.3, 0.4, 0, 0, 0, 0)), FIDUCIALS_MM)
    assert moved_mm == pytest.approx(0.5)


def test_penalty_is_the_weight_times_the_mean_fiducial_correction(ring_frame) -> None:
    mesh = tube(6.0)
    free = problem_of(ring_frame, mesh, Objective.MEAN)
    paid = problem_of(ring_frame, mesh, Objective.MEAN, weight=7.0)
    cost = 7.0 * mean_fiducial_correction_mm(SOME, FIDUCIALS_MM)
    assert score(free, SOME) - score(paid, SOME) == pytest.approx(cost, rel=1e-9)
    assert score(free, np.zeros(6)) == score(paid, np.zeros(6))


@pytest.mark.parametrize("correction", [np.zeros(6), SOME])
def test_mean_is_that_of_the_pixels_in_the_band(ring_frame, correction) -> None:
    """The slow twin: pixels whose centre is within the half width of the surface, in space."""
    mesh = tube(6.0)
    A_ct_pixel = ring_frame.corrected(correction)
    band = surface_band_mask(mesh, A_ct_pixel, SIZE_PX, 0.5)
    found = score(problem_of(ring_frame, mesh, Objective.MEAN), correction)
    assert found == pytest.approx(ring_frame.pixels[band].mean(), abs=1.5)


def test_sum_is_that_of_the_pixels_in_the_band(ring_frame) -> None:
    mesh = tube(6.0)
    band = surface_band_mask(mesh, ring_frame.corrected(SOME), SIZE_PX, 0.5)
    grey = ring_frame.pixels[band].astype(float)
    values = np.where(grey < 10, 0.0, np.exp(5.0 * grey / 255.0))
    twin = values.sum() * SPACING_MM**2 / 0.10784**2
    assert score(problem_of(ring_frame, mesh, Objective.EXP_SUM), SOME) == pytest.approx(
        twin, rel=0.02
    )


def test_best_where_the_ring_is(ring_frame) -> None:
    problem = problem_of(ring_frame, tube(6.0), Objective.EXP_SUM)
    at_ring = score(problem, np.zeros(6))
    for axis in range(6):
        for sign in (-1.0, 1.0):
            assert score(problem, sign * 0.8 * np.eye(6)[axis]) <= at_ring * (1.0 + 1e-3)


def test_lead_gathers_inside_the_surface(ring_frame) -> None:
    """A surface 0.3 mm larger than the echo's middle fits best with a lead of 0.3 mm."""
    scores = [
        score(problem_of(ring_frame, tube(6.3), Objective.EXP_SUM, lead_mm=lead), np.zeros(6))
        for lead in (-0.3, 0.0, 0.3)
    ]
    assert scores[0] < scores[1] < scores[2]


def test_it_does_not_matter_where_ct_space_lies(ring_frame) -> None:
    T_elsewhere_ct = from_rotation_vector((0.3, -1.9, 0.7), (500.0, -40.0, 1600.0))
    moved = replace(ring_frame, T_ct_probe=T_elsewhere_ct @ ring_frame.T_ct_probe)
    here = score(problem_of(ring_frame, tube(6.0), Objective.EXP_SUM, 3000.0), SOME)
    mesh = placed(tube(6.0), T_elsewhere_ct)
    there = score(problem_of(moved, mesh, Objective.EXP_SUM, 3000.0), SOME)
    assert there == pytest.approx(here, rel=1e-9)


def test_what_is_outside_the_region_of_interest_does_not_count(ring_frame) -> None:
    mesh = tube(6.0)
    left = problem_of(ring_frame, mesh, Objective.EXP_SUM, roi_px=(0, 0, 200, 300))
    right = problem_of(ring_frame, mesh, Objective.EXP_SUM, roi_px=(200, 0, 200, 300))
    whole = score(problem_of(ring_frame, mesh, Objective.EXP_SUM), np.zeros(6))
    parts = score(left, np.zeros(6)) + score(right, np.zeros(6))
    assert parts == pytest.approx(whole, rel=0.02)
    nothing = problem_of(ring_frame, mesh, Objective.MEAN, roi_px=(0, 250, 400, 50))
    assert score(nothing, np.zeros(6)) == -np.inf


def test_the_local_part_of_the_mesh_is_enough(ring_frame) -> None:
    problem = problem_of(ring_frame, tube(6.0), Objective.EXP_SUM)
    assert len(problem.faces) < 0.6 * len(tube(6.0).faces)
    everything = problem._replace(
        vertices_mm=(tube(6.0).vertices_mm - ring_frame.T_ct_probe[:3, 3])
        @ ring_frame.T_ct_probe[:3, :3],
        faces=np.array(tube(6.0).faces),
    )
    triangles = everything.vertices_mm[everything.faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    everything = everything._replace(
        normals=normals / np.linalg.norm(normals, axis=1, keepdims=True)
    )
    corner = np.ones(6)
    assert score(problem, corner) == pytest.approx(score(everything, corner), rel=1e-9)


def test_values_of_each_form() -> None:
    pixels = np.full((40, 40), 51, dtype=np.uint8)
    pixels[:20] = 9
    assert value_image(pixels, Objective.MEAN, 0.1)[15, 3] == 51.0
    exp_sum = value_image(pixels, Objective.EXP_SUM, 0.1)
    assert exp_sum.shape == (20, 20)
    assert exp_sum[15, 3] == pytest.approx(np.e, rel=1e-6)
    assert exp_sum[5, 3] == 0.0  # dark pixels are shadow
    echo = np.full((300, 40), 5, dtype=np.uint8)
    echo[50:60] = 200
    shadow = value_image(echo, Objective.SHADOW, 0.1)
    assert shadow[27, 10] == pytest.approx(np.expm1(5.0 * (200.0 - 1.2 * 5.0) / 235.0), rel=1e-3)
    assert shadow[22, 10] == 0.0 and shadow[40, 10] < 0.1


def test_smoothing_and_means_against_twins() -> None:
    grey = np.random.default_rng(1).uniform(0, 255, (30, 7)).astype(np.float32)
    kernel = np.outer((1, 2, 1), (1, 2, 1)) / 16.0
    assert smoothed(grey)[9, 3] == pytest.approx((grey[8:11, 2:5] * kernel).sum(), rel=1e-5)
    below = mean_below(grey, 3, 8)
    assert below[4, 2] == pytest.approx(grey[7:13, 2].mean(), rel=1e-4)
    assert below[25, 2] == pytest.approx(grey[28:, 2].mean(), rel=1e-4)
    assert below[28, 2] == 255.0
