"""Write a labelled record: again a record, with every frame's fate beside it."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from scipy.spatial.transform import Rotation

from offline_tools.labeling.frame import FrameLabel, Status
from offline_tools.labeling.job import Inputs, LabelJob
from recon.mesh_io import write_mesh
from tracking.calibration import ProbeCalibration
from tracking.transforms import Matrix
from tracking.whole_files import write_whole

JOURNAL = "frames.jsonl"
LABELS = "Labels"
IMAGES = "UltrasoundImages"

_POSE_COLUMNS = ("x", "y", "z", "euler_x", "euler_y", "euler_z")
_FATE_COLUMNS = (
    "timestamp", "status", "reason", "mean_fiducial_correction_mm", "objective_start",
    "objective_end", "seeds_disagree_mm", "at_bound", "n_points", "seconds",
    "echo_offset_start_mm", "echo_offset_mm", "repaired",
)  # fmt: skip


def write_record(
    job: LabelJob, inputs: Inputs, labels: Sequence[FrameLabel], seconds: Mapping[int, float]
) -> None:
    """All files of a labelled record but the masks in `Labels`, each whole or not at all.

    `tracking.csv` has one row per frame with a pose; its refined columns are empty where a frame
    has no label.
    """
    out = job.out
    stamps_ms = [plan.timestamp_ms for plan in inputs.frames]
    write_whole(out / "tracking.csv", _tracking_table(inputs, labels))
    write_whole(out / "labels.csv", _fate_table(stamps_ms, labels, seconds))
    contours: dict[str, Any] = {
        str(stamp_ms): label.contour
        for stamp_ms, label in zip(stamps_ms, labels, strict=True)
        if label.status is Status.LABELLED
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **contours)
    write_whole(out / "contours.npz", buffer.getvalue())
    _write_companions(job, inputs)
    for stamp_ms, label in zip(stamps_ms, labels, strict=True):
        if label.status is not Status.LABELLED:  # of an earlier run with other code
            (out / LABELS / f"{stamp_ms}.png").unlink(missing_ok=True)


def _tracking_table(inputs: Inputs, labels: Sequence[FrameLabel]) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    optimized = [f"{name}_optimized" for name in _POSE_COLUMNS]
    rows.writerow(
        ["timestamp", "space_factor", *_POSE_COLUMNS, *optimized, "distance_optimized_fiducials"]
    )
    column_mm, row_mm = inputs.calibration.spacing_mm
    space_factor = f"{column_mm:.9g}" if np.isclose(column_mm, row_mm) else ""
    for plan, label in zip(inputs.frames, labels, strict=True):
        if plan.T_ct_probe is None:
            continue
        refined: list[str] = [""] * 7
        if label.status is Status.LABELLED and label.T_ct_probe is not None and label.refinement:
            moved_mm = label.refinement.mean_fiducial_correction_mm
            refined = [*_pose_numbers(label.T_ct_probe), f"{moved_mm:.6f}"]
        rows.writerow([plan.timestamp_ms, space_factor, *_pose_numbers(plan.T_ct_probe), *refined])
    return table.getvalue()


def _fate_table(
    stamps_ms: Sequence[int], labels: Sequence[FrameLabel], seconds: Mapping[int, float]
) -> str:
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_FATE_COLUMNS)
    for stamp_ms, label in zip(stamps_ms, labels, strict=True):
        found = label.refinement
        numbers = ("", "", "")
        if found is not None:
            numbers = (
                f"{found.mean_fiducial_correction_mm:.4f}",
                f"{found.score_start:.4f}",
                f"{found.score_end:.4f}",
            )
        rows.writerow(
            [
                stamp_ms,
                label.status,
                label.reason or "",
                *numbers,
                _number(label.seeds_disagree_mm),
                " ".join(found.at_bound) if found is not None else "",
                len(label.contour) if label.status is Status.LABELLED else 0,
                f"{seconds[stamp_ms]:.4f}",
                _number(label.echo_offset_start_mm),
                _number(label.echo_offset_mm),
                label.repaired or "",
            ]
        )
    return table.getvalue()


def _number(value: float) -> str:
    """Empty where there is none."""
    return f"{value:.4f}" if np.isfinite(value) else ""


def _pose_numbers(T_ct_probe: Matrix) -> list[str]:
    """x, y, z in mm and extrinsic xyz angles in degrees, as the layout has them."""
    angles_deg = Rotation.from_matrix(T_ct_probe[:3, :3]).as_euler("xyz", degrees=True)
    return [f"{number:.12g}" for number in (*T_ct_probe[:3, 3], *angles_deg)]


def _write_companions(job: LabelJob, inputs: Inputs) -> None:
    """Surface and calibration beside the table, and the images as a link to where they are."""
    write_mesh(job.out / "CT_bone_model.stl", inputs.mesh)
    source = inputs.calibration.source
    if source.suffix == ".json":
        shutil.copyfile(source, job.out / "calibration.json")
    else:
        write_whole(job.out / "calibration.toml", _calibration_toml(inputs.calibration))
    images, linked = job.record / IMAGES, job.out / IMAGES
    if images.is_dir() and not linked.exists():
        linked.symlink_to(images.resolve(), target_is_directory=True)


def _calibration_toml(calibration: ProbeCalibration) -> str:
    probe: dict[str, object] = {"A_probe_pixel": calibration.A_probe_pixel.tolist()}
    for name in ("image_size_px", "roi_px"):
        if (value := getattr(calibration, name)) is not None:
            probe[name] = list(value)
    return tomli_w.dumps(
        {
            "probe": probe,
            "temporal": {"image_lag_s": 0.0},  # the table's poses are those of the images
            "provenance": {**calibration.provenance, "from": calibration.source.name},
        }
    )


def write_summary(out: Path, summary: dict[str, object]) -> None:
    """`label.json`: how the record was made and how its frames fared."""
    write_whole(out / "label.json", json.dumps(summary, indent=2) + "\n")
