"""Compile every kernel and run the network once, so that the first real frame is as fast."""

from __future__ import annotations

import numpy as np

from inference.line_support import LineSupport
from inference.postprocess import bone_line
from navapp.equipment import Equipment
from recon.back_projection import back_project
from recon.coverage import SurfaceCoverage
from recon.point_cloud import PointCloud
from recon.surface import SurfaceDistance, TriangleMesh

_TRIANGLE = TriangleMesh(np.eye(3), np.array(((0, 1, 2),), np.int32))


def warm_up(equipment: Equipment) -> None:
    """One frame's journey on a blank image and a drawn line, with nothing kept."""
    plan = equipment.plan_for(_image_size_px(equipment))
    segmenter = equipment.segmenter
    segmenter.warm_up(plan)
    probability = np.zeros(segmenter.contract.input.size_px, dtype=np.float32)
    probability[probability.shape[0] // 2] = 1.0
    line = bone_line(probability, plan, segmenter.contract)
    support = LineSupport()
    for t_s in 0.1 * np.arange(4.0):  # the first ones have too few before them
        support.borne_out(line, equipment.calibration.spacing_mm, t_s)
    points_mm = back_project(line.points_px, equipment.calibration.A_probe_pixel)
    towards_probe = np.array((0.0, 0.0, 1.0))
    cloud = PointCloud(voxel_size_mm=1.0, reserved_voxels=1 << 12)
    cloud.insert(
        points_mm,
        line.confidence,
        sweep=1,
        towards_probe=towards_probe,
        surface=SurfaceDistance(_TRIANGLE),
    )
    cloud.snapshot()
    cloud.undo()
    SurfaceCoverage(_TRIANGLE).add(points_mm, towards_probe)


def _image_size_px(equipment: Equipment) -> tuple[int, int]:
    """The size that images will have, or one that the region of interest fits into."""
    if equipment.calibration.image_size_px is not None:
        return equipment.calibration.image_size_px
    column, row, width, height = equipment.roi_px or (0, 0, 640, 480)
    return column + width, row + height
