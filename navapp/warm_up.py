"""Compile every kernel and run the network once, so that the first real frame is as fast."""

from __future__ import annotations

import numpy as np

from inference.postprocess import bone_line
from navapp.equipment import Equipment
from recon.back_projection import back_project
from recon.point_cloud import PointCloud


def warm_up(equipment: Equipment) -> None:
    """One frame's journey on a blank image and a drawn line, with nothing kept."""
    plan = equipment.plan_for(_image_size_px(equipment))
    segmenter = equipment.segmenter
    segmenter.warm_up(plan)
    probability = np.zeros(segmenter.contract.input.size_px, dtype=np.float32)
    probability[probability.shape[0] // 2] = 1.0
    line = bone_line(probability, plan, segmenter.contract)
    points_mm = back_project(line.points_px, equipment.calibration.A_probe_pixel)
    cloud = PointCloud(voxel_size_mm=1.0)
    cloud.insert(points_mm, line.confidence, sweep=1)
    cloud.snapshot()


def _image_size_px(equipment: Equipment) -> tuple[int, int]:
    """The size that images will have, or one that the region of interest fits into."""
    if equipment.calibration.image_size_px is not None:
        return equipment.calibration.image_size_px
    column, row, width, height = equipment.roi_px or (0, 0, 640, 480)
    return column + width, row + height
