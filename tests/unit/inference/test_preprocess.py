"""The way into the network and back: area averages, padding, coordinates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import ModelContract
from inference.errors import InferenceError
from inference.preprocess import AxisWeights, InputPlan

ULTRABONES_ROI = (0, 0, 936, 811)


def ultrabones_plan(
    contract: ModelContract, roi_px: tuple[int, int, int, int] = ULTRABONES_ROI
) -> InputPlan:
    return InputPlan.for_image(contract, (950, 811), (0.05392, 0.05392), roi_px)


def dense(axis: AxisWeights, n_source: int) -> NDArray[np.float64]:
    """The slow twin: the same weights as a full matrix."""
    matrix = np.zeros((len(axis.first), n_source + axis.weights.shape[1]))
    for k, first in enumerate(axis.first):
        matrix[k, first : first + axis.weights.shape[1]] = axis.weights[k]
    assert (matrix[:, n_source:] == 0.0).all()
    return matrix[:, :n_source]


@pytest.mark.parametrize(
    ("size_px", "spacing_mm", "roi_px"),
    [
        ((950, 811), (0.05392, 0.05392), ULTRABONES_ROI),
        ((640, 480), (0.08, 0.08), None),
        ((101, 57), (0.31, 0.47), (3, 5, 90, 50)),  # coarser than the network, unequal spacing
        ((1000, 900), (0.1, 0.1), None),  # larger than the network's field
    ],
)
def test_kernel_equals_matrix_product(
    contract: ModelContract,
    size_px: tuple[int, int],
    spacing_mm: tuple[float, float],
    roi_px: tuple[int, int, int, int] | None,
) -> None:
    plan = InputPlan.for_image(contract, size_px, spacing_mm, roi_px)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, size_px[::-1], dtype=np.uint8)
    u0, v0, width, height = plan.roi_px
    region = pixels[v0 : v0 + height, u0 : u0 + width].astype(np.float64)
    expected = dense(plan.rows, height) @ region @ dense(plan.columns, width).T / 255.0
    np.testing.assert_allclose(plan.prepare(pixels)[0, 0], expected, atol=2e-6)


def test_grey_is_kept_inside_and_padding_is_black(contract: ModelContract) -> None:
    plan = InputPlan.for_image(
        contract, (640, 480), (0.08, 0.08)
    )  # 51.2 x 38.4 mm: full width, 192 of 224 rows
    image = plan.prepare(np.full((480, 640), 255, dtype=np.uint8))[0, 0]
    np.testing.assert_allclose(image[:192], 1.0, atol=1e-5)
    np.testing.assert_allclose(image[192:], 0.0, atol=1e-5)


def test_normalisation_of_the_contract_is_applied(contract: ModelContract) -> None:
    shifted = replace(contract.normalisation, mean=0.25, std=0.5)
    contract = replace(contract, normalisation=shifted)
    plan = InputPlan.for_image(contract, (640, 480), (0.08, 0.08))
    image = plan.prepare(np.full((480, 640), 255, dtype=np.uint8))[0, 0]
    assert image[0, 0] == pytest.approx((1.0 - 0.25) / 0.5, abs=1e-5)
    assert image[-1, 0] == pytest.approx((0.0 - 0.25) / 0.5, abs=1e-5)


def test_coordinates_survive_the_round_trip(contract: ModelContract) -> None:
    plan = ultrabones_plan(contract, (40, 13, 800, 700))
    points_px = np.random.default_rng(2).uniform(0, 800, (50, 2))
    back = plan.pixel_from_network(plan.network_from_pixel(points_px))
    np.testing.assert_allclose(back, points_px, atol=1e-9)


def test_region_lies_at_the_top_and_centred(contract: ModelContract) -> None:
    plan = ultrabones_plan(contract)
    edges_px = np.array([(-0.5, -0.5), (935.5, 810.5)])
    (left, top), (right, bottom) = plan.network_from_pixel(edges_px) + 0.5
    assert top == pytest.approx(0.0)
    assert left == pytest.approx(256 - right)
    assert right - left == pytest.approx(936 * 0.05392 / 0.2)
    assert bottom == pytest.approx(811 * 0.05392 / 0.2)


def test_a_bright_square_lands_where_the_coordinates_say(contract: ModelContract) -> None:
    plan = ultrabones_plan(contract)
    pixels = np.zeros((811, 950), dtype=np.uint8)
    pixels[300:321, 500:531] = 200  # centred on u = 515, v = 310
    image = plan.prepare(pixels)[0, 0]
    row, column = np.indices(image.shape)
    centre = np.array([(column * image).sum(), (row * image).sum()]) / image.sum()
    expected = plan.network_from_pixel(np.array([(515.0, 310.0)]))[0]
    np.testing.assert_allclose(centre, expected, atol=0.02)  # a share of an edge pixel


def test_a_larger_region_is_seen_coarser_and_far_coarser_warns(contract: ModelContract) -> None:
    slightly = InputPlan.for_image(contract, (600, 400), (0.1, 0.1))
    assert slightly.network_spacing_mm == pytest.approx(60.0 / 256)
    assert slightly.warning is None
    far = InputPlan.for_image(contract, (900, 400), (0.1, 0.1))
    assert far.network_spacing_mm == pytest.approx(90.0 / 256)
    assert far.warning is not None
    assert "76% coarser" in far.warning


@pytest.mark.parametrize(
    ("size_px", "spacing_mm", "roi_px", "text"),
    [
        ((640, 480), None, None, "pixel spacing of the images is unknown"),
        ((640, 480), (0.1, 0.0), None, "expected two positive numbers"),
        ((640, 480), (float("nan"), 0.1), None, "expected two positive numbers"),
        ((640, 480), (0.1, 0.1), (0, 0, 641, 480), "does not lie in an image of 640 x 480"),
        ((640, 480), (0.1, 0.1), (-1, 0, 10, 10), "does not lie in an image"),
        ((640, 480), (0.1, 0.1), (0, 0, 0, 10), "does not lie in an image"),
    ],
)
def test_wrong_geometry_is_refused(
    contract: ModelContract,
    size_px: tuple[int, int],
    spacing_mm: tuple[float, float] | None,
    roi_px: tuple[int, int, int, int] | None,
    text: str,
) -> None:
    with pytest.raises(InferenceError, match=text):
        InputPlan.for_image(contract, size_px, spacing_mm, roi_px)


@pytest.mark.parametrize(
    "pixels", [np.zeros((480, 641), dtype=np.uint8), np.zeros((480, 640), dtype=np.uint16)]
)
def test_another_image_than_planned_is_refused(
    contract: ModelContract, pixels: NDArray[np.generic]
) -> None:
    plan = InputPlan.for_image(contract, (640, 480), (0.08, 0.08))
    with pytest.raises(InferenceError, match=r"expected \(480, 640\) uint8"):
        plan.prepare(pixels)  # type: ignore[arg-type]
