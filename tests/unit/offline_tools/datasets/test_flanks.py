"""Ends of labels without an echo, on a round bone whose echo is painted as far as we choose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import ModelContract
from offline_tools.datasets.examples import Examples, make_example
from offline_tools.datasets.flanks import FlankRule, unseen_mm
from offline_tools.datasets.images import LabelledImage
from recon.section import VisibleLine

SPACING_MM = 0.08
CENTRE_PX, RADIUS_PX = (320.0, 260.0), 150.0
RULE = FlankRule(steeper_than_deg=50.0, fainter_than=0.25, open_mm=0.0)


def round_bone(seen_deg: tuple[float, float], hidden_deg: float = 0.0) -> LabelledImage:
    """A dark disc in dim tissue, labelled to 80 degrees; its echo goes from one angle to another
    (left is negative), but not within `hidden_deg` of the top."""
    v, u = np.indices((480, 640)) - np.array(CENTRE_PX[::-1])[:, None, None]
    radius, angle_deg = np.hypot(u, v), np.degrees(np.arctan2(u, -v))
    pixels = np.full(radius.shape, 20.0)
    pixels[(np.abs(u) < RADIUS_PX) & ((radius < RADIUS_PX) | (v > 0))] = 5.0
    is_echo = (angle_deg >= seen_deg[0]) & (angle_deg <= seen_deg[1])
    is_echo &= np.abs(angle_deg) >= hidden_deg
    pixels[is_echo & (radius < RADIUS_PX) & (radius > RADIUS_PX - 6.0)] = 220.0
    at_u = np.arange(-147.0, 148.0)
    line_px = np.column_stack((at_u, -np.sqrt(RADIUS_PX**2 - at_u**2))) + CENTRE_PX
    incidence_rad = np.arcsin(np.abs(at_u) / RADIUS_PX)
    return LabelledImage(
        name="a/b/1",
        pixels=pixels.astype(np.uint8),
        spacing_mm=(SPACING_MM, SPACING_MM),
        roi_px=None,
        line=VisibleLine(line_px, incidence_rad),
    )


def angles_deg(points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    offset = points_px - CENTRE_PX
    return np.degrees(np.arctan2(offset[:, 0], -offset[:, 1]))


@pytest.mark.parametrize("seen_deg", [(-80.0, 80.0), (-60.0, 70.0), (-72.0, 55.0)])
def test_a_label_ends_where_its_echo_ends(seen_deg: tuple[float, float]) -> None:
    image = round_bone(seen_deg)
    past_mm = unseen_mm(image, RULE)
    is_unseen = past_mm > 0.0
    kept_deg = angles_deg(image.line.points_px[~is_unseen])
    # An echo is averaged over 1 mm, 5 degrees here.
    assert kept_deg[0] == pytest.approx(seen_deg[0], abs=5.0)
    assert kept_deg[-1] == pytest.approx(seen_deg[1], abs=5.0)
    first, last = np.flatnonzero(~is_unseen)[[0, -1]]
    assert not is_unseen[first : last + 1].any()  # ends alone
    # Along the label, farther with every point, up to its end.
    assert (np.diff(past_mm[last + 1 :]) > 0.0).all()
    end_deg = angles_deg(image.line.points_px)[-1]
    arc_mm = np.radians(end_deg - kept_deg[-1]) * RADIUS_PX * SPACING_MM
    assert past_mm[-1] == pytest.approx(arc_mm, abs=0.3)


def test_what_is_level_or_lies_between_echoes_stays() -> None:
    level = round_bone((-40.0, 40.0))
    kept_deg = angles_deg(level.line.points_px[unseen_mm(level, RULE) == 0.0])
    assert np.abs(kept_deg).max() == pytest.approx(RULE.steeper_than_deg, abs=2.0)
    assert not unseen_mm(round_bone((-80.0, 80.0), hidden_deg=60.0), RULE).any()


def test_nothing_is_unseen_without_incidence_or_by_a_rule_that_nothing_meets() -> None:
    image = round_bone((-30.0, 30.0))
    assert unseen_mm(image, RULE).any()
    assert not unseen_mm(image, replace(RULE, fainter_than=0.0)).any()
    unknown = VisibleLine(image.line.points_px, np.full(len(image.line.points_px), np.nan))
    assert not unseen_mm(replace(image, line=unknown), RULE).any()
    nothing = VisibleLine(np.empty((0, 2)), np.empty(0))
    assert unseen_mm(replace(image, line=nothing), RULE).shape == (0,)


def test_each_piece_of_a_label_has_its_own_ends() -> None:
    """Without its top the label is two pieces; a side without any echo is unseen where steep."""
    image = round_bone((-80.0, 0.0))
    is_side = np.abs(angles_deg(image.line.points_px)) > 55.0
    sides = VisibleLine(image.line.points_px[is_side], image.line.incidence_rad[is_side])
    past_mm = unseen_mm(replace(image, line=sides), RULE)
    is_right = sides.points_px[:, 0] > CENTRE_PX[0]
    assert np.isinf(past_mm[is_right]).all()
    assert not past_mm[~is_right].any()


def test_a_target_leaves_unseen_flanks_out_and_the_line_keeps_them(contract: ModelContract) -> None:
    image = round_bone((-60.0, 60.0))
    whole, seen = make_example(image, contract), make_example(image, contract, RULE)
    np.testing.assert_array_equal(seen.image, whole.image)
    np.testing.assert_array_equal(seen.line, whole.line)
    plan = image.plan(contract)
    row, column = np.nonzero(whole.target - seen.target > 0.5)
    lost_px = plan.pixel_from_network(np.column_stack((column, row)).astype(np.float64))
    assert len(lost_px) > 50
    assert np.abs(angles_deg(lost_px)).min() > 55.0
    assert (seen.target <= whole.target).all()
    assert whole.left_open is None
    assert seen.left_open is not None
    assert not seen.left_open.any()  # 0 mm: background at once


def test_past_its_last_echo_a_flank_is_left_open_and_then_background(
    contract: ModelContract,
) -> None:
    image = round_bone((-60.0, 60.0))
    whole = make_example(image, contract)
    n_open = []
    for open_mm in (1.0, 2.0, 99.0):
        rule = replace(RULE, open_mm=open_mm)
        found = Examples.of([image], contract, rule).targets
        assert found.shape == (1, 2, 224, 256)
        target, left_open = found[0]
        np.testing.assert_array_equal(target, make_example(image, contract, RULE).target)
        assert not (target * left_open).any()
        n_open.append(int(left_open.sum()))
    assert 0 < n_open[0] < n_open[1] < n_open[2]
    assert (left_open[(whole.target > 0.0) & (target == 0.0)] == 1.0).all()
    nothing = make_example(round_bone((-90.0, 90.0)), contract, rule)
    assert nothing.left_open is not None
    assert not nothing.left_open.any()
