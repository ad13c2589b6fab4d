"""Where the probe's plane or the stylus's tip is, seen from a target or a planned line in CT."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from navapp.errors import ConfigError
from tracking.transforms import Matrix

Array = NDArray[np.float64]

IMAGE_PLANE = "image plane"
_SHORTEST_LINE_MM = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A point to reach, `target_ct_mm` (3,), and where a line leads to it, its `entry_ct_mm`."""

    name: str
    target_ct_mm: Array
    entry_ct_mm: Array | None = None

    @property
    def direction_ct(self) -> Array | None:
        """Unit vector from the entry to the target; None without a line."""
        if self.entry_ct_mm is None:
            return None
        way_mm = self.target_ct_mm - self.entry_ct_mm
        return way_mm / np.linalg.norm(way_mm)


@dataclass(frozen=True, slots=True)
class Guidance:
    """Numbers for a hand.

    `distance_mm` from the pointer (tip, or plane) to the target. `depth_mm` is what is left along
    the planned line (along the pointer's own axis without one), negative beyond the target;
    `off_line_mm` the tip's distance from the line, None without a line or for a plane.
    `angle_rad` is between line and pointer's axis, or between line and image plane; None without
    a line.
    """

    pointer: str
    distance_mm: float
    depth_mm: float
    off_line_mm: float | None
    angle_rad: float | None


def guide_tip(plan: Plan, T_ct_tip: Matrix) -> Guidance:
    """A stylus: its tip at the origin of `T_ct_tip`, its shaft along z towards the tip."""
    tip_mm, axis = T_ct_tip[:3, 3], T_ct_tip[:3, 2]
    to_target_mm = plan.target_ct_mm - tip_mm
    distance_mm = float(np.linalg.norm(to_target_mm))
    line = plan.direction_ct
    if line is None:
        return Guidance("stylus tip", distance_mm, float(to_target_mm @ axis), None, None)
    depth_mm = float(to_target_mm @ line)
    off_line_mm = float(np.linalg.norm(to_target_mm - depth_mm * line))
    cosine = float(np.clip(axis @ line, -1.0, 1.0))
    return Guidance("stylus tip", distance_mm, depth_mm, off_line_mm, math.acos(cosine))


def guide_plane(plan: Plan, A_ct_pixel: Matrix) -> Guidance:
    """The image plane: distance of the target from it, depth of the target in the image.

    Depth is measured along the image's rows from its first row, in mm; the angle is between the
    planned line and the plane, 0 where the line lies in the image.
    """
    u, v = A_ct_pixel[:3, 0], A_ct_pixel[:3, 1]
    normal = np.cross(u, v)
    normal = normal / np.linalg.norm(normal)
    to_target_mm = plan.target_ct_mm - A_ct_pixel[:3, 3]
    depth_mm = float(to_target_mm @ (v / np.linalg.norm(v)))
    line = plan.direction_ct
    angle_rad = None
    if line is not None:
        angle_rad = math.asin(min(1.0, abs(float(normal @ line))))
    return Guidance(IMAGE_PLANE, abs(float(to_target_mm @ normal)), depth_mm, None, angle_rad)


def pixel_of(plan: Plan, A_ct_pixel: Matrix) -> tuple[float, float]:
    """Where the target lies in the image, projected along the plane's normal: (u, v)."""
    columns = np.column_stack((A_ct_pixel[:3, 0], A_ct_pixel[:3, 1]))
    u, v = np.linalg.lstsq(columns, plan.target_ct_mm - A_ct_pixel[:3, 3], rcond=None)[0]
    return float(u), float(v)


def plan_from(tree: dict[str, Any], where: str) -> Plan:
    """A plan from its TOML table: `name`, `target_ct_mm`, and `entry_ct_mm` for a line.

    Raises
    ------
    ConfigError : naming the value that is missing or wrong.
    """
    target = _point(tree.get("target_ct_mm"), f"{where}: target_ct_mm")
    entry = tree.get("entry_ct_mm")
    entry_mm = None if entry is None else _point(entry, f"{where}: entry_ct_mm")
    if entry_mm is not None and np.linalg.norm(target - entry_mm) < _SHORTEST_LINE_MM:
        raise ConfigError(
            f"{where}: entry and target are {np.linalg.norm(target - entry_mm):.2f} mm apart, "
            f"expected at least {_SHORTEST_LINE_MM:g} mm"
        )
    return Plan(str(tree.get("name", "target")), target, entry_mm)


def load_plan(path: Path) -> Plan:
    """The `[plan]` of a TOML file.

    Raises
    ------
    ConfigError : if it cannot be read or holds no plan.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    table = tree.get("plan")
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: has no [plan] with target_ct_mm = [x, y, z]")
    return plan_from(table, f"{path}: plan")


def _point(value: Any, where: str) -> Array:
    numbers = np.asarray(value if isinstance(value, list) else [], dtype=object)
    is_point = len(numbers) == 3 and all(
        isinstance(n, int | float) and math.isfinite(n) for n in numbers
    )
    if not is_point:
        raise ConfigError(f"{where} = {value!r}, expected three numbers in mm")
    return numbers.astype(np.float64)
