from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from navapp.desk.navigation import Plan, guide_plane, guide_tip, load_plan, pixel_of
from navapp.errors import ConfigError

_PLAN = Plan("screw", np.array((10.0, 0.0, 50.0)), np.array((10.0, 0.0, 0.0)))


def test_a_tip_on_the_line_has_its_depth_and_no_angle() -> None:
    T_ct_tip = np.eye(4)
    T_ct_tip[:3, 3] = (10.0, 0.0, 20.0)
    guidance = guide_tip(_PLAN, T_ct_tip)
    assert (guidance.distance_mm, guidance.depth_mm) == (30.0, 30.0)
    assert (guidance.off_line_mm, guidance.angle_rad) == (0.0, 0.0)


def test_a_tip_beside_the_line_and_tilted() -> None:
    T_ct_tip = np.eye(4)
    T_ct_tip[:3, :3] = ((1, 0, 0), (0, 0, 1), (0, -1, 0))  # its shaft along y
    T_ct_tip[:3, 3] = (13.0, 4.0, 60.0)
    guidance = guide_tip(_PLAN, T_ct_tip)
    assert guidance.off_line_mm == pytest.approx(5.0)
    assert guidance.depth_mm == pytest.approx(-10.0)  # beyond the target
    assert guidance.angle_rad == pytest.approx(math.pi / 2)


def test_a_plane_has_distance_depth_and_angle() -> None:
    A_ct_pixel = np.diag((0.1, 0.2, 1.0, 1.0))  # in the xy plane, rows along y
    A_ct_pixel[:3, 3] = (0.0, -30.0, 42.0)
    guidance = guide_plane(_PLAN, A_ct_pixel)
    assert guidance.distance_mm == pytest.approx(8.0)
    assert guidance.depth_mm == pytest.approx(30.0)
    assert guidance.angle_rad == pytest.approx(math.pi / 2)  # the line pierces it
    assert pixel_of(_PLAN, A_ct_pixel) == pytest.approx((100.0, 150.0))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[plan]\ntarget_ct_mm = [1, 2]", "expected three numbers"),
        ("[plan]\ntarget_ct_mm = [1, 2, nan]", "expected three numbers"),
        ("[plan]\ntarget_ct_mm = [1, 2, 3]\nentry_ct_mm = [1, 2, 3]", "0.00 mm apart"),
        ("[other]", "has no [plan]"),
        ("[plan", "not TOML"),
    ],
)
def test_a_bad_plan_is_told(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"plan\.toml") as refused:
        load_plan(path)
    assert said in str(refused.value)
