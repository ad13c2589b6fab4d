"""What a network sees of a labelled image, and what it should answer."""

from __future__ import annotations

import numpy as np
import pytest

from inference.contract import ModelContract
from inference.postprocess import bone_line
from inference.preprocess import InputPlan
from offline_tools.datasets.examples import Examples, make_example, target_band
from offline_tools.datasets.images import images_of
from offline_tools.datasets.simulated import SimulatedImages, simulated_images
from offline_tools.errors import InputError
from tests.support.datasets import FakeSource


@pytest.fixture
def plan(contract: ModelContract) -> InputPlan:
    return InputPlan.for_image(contract, (640, 480), (0.08, 0.08), (100, 0, 400, 480))


def test_band_is_three_pixels_wide_around_the_line(plan: InputPlan) -> None:
    row = 90.0
    v = plan.pixel_from_network(np.array([(0.0, row)]))[0, 1]
    u = np.arange(150.0, 450.0)
    target = target_band(np.column_stack((u, np.full_like(u, v))), plan)
    column = int(plan.network_from_pixel(np.array([(300.0, v)]))[0, 0])
    np.testing.assert_allclose(target[87:94, column], [0, 0, 1, 1, 1, 0, 0], atol=0.02)
    assert target[:, :60].max() == 0.0


def test_band_and_bone_line_are_inverse(plan: InputPlan, contract: ModelContract) -> None:
    u = np.arange(150.0, 450.0)
    line_px = np.column_stack((u, 200.0 + 40.0 * np.sin(u / 60.0)))
    found = bone_line(target_band(line_px, plan), plan, contract).points_px
    inner = found[(found[:, 0] > 155) & (found[:, 0] < 445)]
    v = np.interp(inner[:, 0], line_px[:, 0], line_px[:, 1])
    assert len(inner) == 289
    assert np.abs(inner[:, 1] - v).max() * 0.08 < 0.05  # mm


def test_two_bones_are_not_joined(plan: InputPlan) -> None:
    u = np.arange(150.0, 450.0)
    v = np.where(u < 300.0, 120.0, 300.0)
    target = target_band(np.column_stack((u, v)), plan)
    assert target[65:110].max() == 0.0  # between them


def test_points_outside_the_region_are_left_out(plan: InputPlan) -> None:
    line_px = np.array([(50.0, 100.0), (620.0, 100.0)])
    assert target_band(line_px, plan).max() == 0.0
    assert target_band(np.empty((0, 2)), plan).max() == 0.0


def test_examples_keep_names_lines_and_scale_and_give_subsets(contract: ModelContract) -> None:
    source = FakeSource(positions_mm=[0.0] * 5)
    examples = Examples.of(images_of([source]), contract)
    assert len(examples) == 5
    assert examples.images.dtype == examples.targets.dtype == np.float32
    assert examples.images.shape == examples.targets.shape == (5, 1, 224, 256)
    plan = source.load(3).plan(contract)
    np.testing.assert_array_equal(
        examples.line(3), plan.network_from_pixel(source.load(3).line.points_px)
    )
    assert examples.network_spacing_mm.tolist() == [plan.network_spacing_mm] * 5
    # The band lies where the line says.
    column, row = examples.line(3).mean(axis=0).round().astype(int)
    assert examples.targets[3, 0, row, column] == 1.0
    for wanted in ([1, 2, 3], [4, 0]):  # neighbours, and others
        part = examples.subset([source.names[k] for k in wanted])
        kept = sorted(wanted)
        assert part.names == tuple(source.names[k] for k in kept)
        np.testing.assert_array_equal(part.images, examples.images[kept])
        np.testing.assert_array_equal(part.targets, examples.targets[kept])
        for place, k in enumerate(kept):
            np.testing.assert_array_equal(part.line(place), examples.line(k))
    assert len(examples.subset([])) == 0


def test_subset_refuses_names_that_are_not_there(contract: ModelContract) -> None:
    examples = Examples.of(images_of([FakeSource(positions_mm=[0.0])]), contract)
    with pytest.raises(InputError, match=r"1 of 1 names are of no image here, such as a/b/1"):
        examples.subset(["a/b/1"])


def test_simulated_images_are_repeatable_and_differ_by_seed(contract: ModelContract) -> None:
    first, again = (next(simulated_images(700, 1)) for _ in range(2))
    other = next(simulated_images(701, 1))
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert (first.pixels != other.pixels).mean() > 0.3
    example = make_example(first, contract)
    assert example.image.shape == example.target.shape == (224, 256)
    assert 0.001 < example.target.mean() < 0.05
    assert example.target.max() == pytest.approx(1.0, abs=0.01)


def test_simulated_images_are_a_source_in_any_order() -> None:
    source = SimulatedImages(700, 7)
    assert source.names[4:6] == ("simulated/700/4", "simulated/701/0")
    late, early = source.load(5), source.load(0)
    in_order = list(simulated_images(700, 6))
    np.testing.assert_array_equal(late.pixels, in_order[5].pixels)
    np.testing.assert_array_equal(early.line.points_px, in_order[0].line.points_px)
    hashes = {s.sha256 for s in (source, SimulatedImages(701, 7), SimulatedImages(700, 6))}
    assert len(hashes) == 3
    assert SimulatedImages(700, 7).sha256 == source.sha256
