"""Whole records: what is written, what is repeated after an interruption, what is not."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline_tools.errors import InputError
from offline_tools.labeling.baseline import correction_of, global_registration, weigh
from offline_tools.labeling.frame import LabelSettings, Reason, Status
from offline_tools.labeling.job import LabelJob, load_inputs
from offline_tools.labeling.journal import Journal
from offline_tools.labeling.objective import correction_matrix
from offline_tools.labeling.refine import RefineSettings, default_settings
from offline_tools.labeling.report import STAGES, write_report
from offline_tools.labeling.run import label_record, sampled_frames
from offline_tools.labeling.search import SearchBudget
from offline_tools.labeling.values import Objective
from recon.mesh_io import read_mesh
from tests.support.records import write_record
from tracking.calibration import load_calibration
from tracking.sequences import SweepPose, open_sweep
from tracking.transforms import from_rotation_vector

N_IMAGES = 5
QUICK = LabelSettings(refine=RefineSettings(budget=SearchBudget(12, 8, 60)))


def silent(*_: int) -> None:
    """No progress shown."""


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five simulated images, one of them dark: its echo is gone."""
    folder = tmp_path_factory.mktemp("record")
    write_record(folder, n_images=N_IMAGES)
    dark = folder / "UltrasoundImages" / "1100.png"
    Image.fromarray(np.array(Image.open(dark)) // 40).save(dark)
    return folder


@pytest.fixture(scope="module")
def labelled(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("labelled")
    label_record(job(record, out), n_workers=1, on_progress=silent)
    return out


def job(record: Path, out: Path) -> LabelJob:
    return LabelJob(record, (record / "bone.ply",), out, settings=QUICK)


def fates(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["seconds"]
    return rows


def test_every_frame_has_its_fate(labelled: Path) -> None:
    rows = fates(labelled)
    assert [row["timestamp"] for row in rows] == ["1000", "1050", "1100", "1150", "1200"]
    assert (rows[2]["status"], rows[2]["reason"]) == ("rejected", "no echo")
    others = rows[:2] + rows[3:]
    assert {row["status"] for row in others} == {"labelled"}
    for row in others:
        assert float(row["objective_end"]) >= float(row["objective_start"])
        assert float(row["mean_fiducial_correction_mm"]) <= 1.0
        assert int(row["n_points"]) > 50


def test_contours_and_masks_agree(labelled: Path) -> None:
    contours = np.load(labelled / "contours.npz")
    assert sorted(contours.files) == ["1000", "1050", "1150", "1200"]
    assert sorted(path.stem for path in (labelled / "Labels").iterdir()) == contours.files
    for stamp in contours.files:
        points = contours[stamp]
        mask = np.array(Image.open(labelled / "Labels" / f"{stamp}.png"))
        assert points.shape[1] == 4
        assert set(np.unique(mask)) == {0, 255}
        u, v = np.rint(points[points[:, 2] < 60, :2]).astype(int).T
        assert (mask[v, u] == 255).mean() > 0.97
        assert points[:, 2].max() <= 85.0
        assert 0.0 <= points[:, 3].min() <= points[:, 3].max() <= 1.0


def test_the_result_is_a_record_again(labelled: Path, record: Path) -> None:
    original = [e.matrix for e in open_sweep(labelled).events() if isinstance(e, SweepPose)]
    optimized = {
        e.t_s: e.matrix
        for e in open_sweep(labelled, poses="optimized").events()
        if isinstance(e, SweepPose)
    }
    source = [e.matrix for e in open_sweep(record).events() if isinstance(e, SweepPose)]
    np.testing.assert_allclose(original, source, atol=1e-8)
    assert list(optimized) == [1.0, 1.05, 1.15, 1.2]  # the rejected frame has no refined pose
    inputs = load_inputs(job(record, labelled))
    journal = Journal(labelled / "frames.jsonl", job(record, labelled).fingerprint())
    kept = journal.labels[1000].T_ct_probe
    np.testing.assert_allclose(optimized[1.0], kept, atol=1e-8)
    assert len(read_mesh(labelled / "CT_bone_model.stl").faces) == len(inputs.mesh.faces)
    np.testing.assert_allclose(
        load_calibration(labelled / "calibration.toml").A_probe_pixel,
        inputs.calibration.A_probe_pixel,
    )


def test_interrupted_run_continues_where_it_stopped(
    labelled: Path, record: Path, tmp_path: Path
) -> None:
    def stop_after_two(n_done: int, _: int) -> None:
        if n_done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label_record(job(record, tmp_path), n_workers=1, on_progress=stop_after_two)
    with (tmp_path / "frames.jsonl").open("a") as file:
        file.write('{"timestamp": 1100, "seconds": 0.1, "sta')  # as a kill leaves it
    done: list[int] = []
    summary = label_record(
        job(record, tmp_path), n_workers=1, on_progress=lambda n, _: done.append(n)
    )
    assert summary.n_resumed == 2
    assert done == [1, 2, 3]
    assert fates(tmp_path) == fates(labelled)
    again = label_record(job(record, tmp_path), n_workers=1, on_progress=done.append)
    assert (again.n_resumed, len(done)) == (5, 3)


def test_labels_of_two_settings_are_never_mixed(record: Path, labelled: Path) -> None:
    other = replace(job(record, labelled), settings=LabelSettings(band_mm=0.2))
    with pytest.raises(InputError, match="choose another --out"):
        label_record(other, n_workers=1, on_progress=silent)


def test_journal_gives_back_what_it_took(labelled: Path, record: Path) -> None:
    fingerprint = job(record, labelled).fingerprint()
    journal = Journal(labelled / "frames.jsonl", fingerprint)
    label = journal.labels[1050]
    assert label.status is Status.LABELLED
    assert label.refinement is not None
    assert label.contour.dtype == np.float32
    assert journal.labels[1100].reason is Reason.NO_ECHO
    assert np.isnan(journal.labels[1100].echo_offset_mm)
    copy = labelled / "copy.jsonl"
    with Journal(copy, "x") as written:
        written.add(7, label, 0.5, is_repair=True)
    read = Journal(copy, "x")
    assert read.repairs_tried == {7}
    np.testing.assert_array_equal(read.labels[7].contour, label.contour)
    np.testing.assert_array_equal(read.labels[7].refinement.correction, label.refinement.correction)
    copy.unlink()


def test_report_names_what_happened_and_draws_the_stages(
    labelled: Path, record: Path, tmp_path: Path
) -> None:
    shutil.copytree(labelled, tmp_path / "o", symlinks=True)
    page = write_report(job(record, tmp_path / "o"), draws_stages=True).read_text(encoding="utf-8")
    assert "5 frames: 4 labelled (of them 0 repaired), 1 rejected, 0 skipped." in page
    assert "<td>no echo<td>1<td>0" in page
    assert page.count("data:image/jpeg;base64,") >= 5
    assert page.count("<svg") == 6 + 4
    stages = tmp_path / "o" / STAGES
    assert len(list(stages.glob("1000_*.png"))) == 4
    assert len(list(stages.glob("1100_*.png"))) == 3  # nothing final
    final = np.array(Image.open(stages / "1000_4_final.png"))
    assert ((final == (40, 230, 60)).all(axis=-1)).sum() > 100
    shadow = np.array(Image.open(stages / "1000_3_judged.png"))
    assert ((shadow == (80, 130, 255)).all(axis=-1)).sum() > 100


def test_one_registration_for_the_whole_sweep(record: Path, tmp_path: Path) -> None:
    """All poses off by the same motion: one motion takes it back, and every frame gets it."""
    inputs = load_inputs(job(record, tmp_path))
    frames = sampled_frames(inputs, N_IMAGES)
    off = from_rotation_vector((0.0, 0.0, 0.0), (0.5, 0.5, -0.3))
    settings = replace(default_settings(Objective.MEAN), weight=0.0, lead_mm=0.35)
    moved = [replace(frame, T_ct_probe=off @ frame.T_ct_probe) for frame in frames]
    T_ct_recorded = global_registration(inputs.mesh, moved, settings)
    corrections = [correction_of(frame.T_ct_probe, T_ct_recorded) for frame in moved]
    for frame, correction in zip(moved, corrections, strict=True):
        np.testing.assert_allclose(
            frame.T_ct_probe @ correction_matrix(correction),
            T_ct_recorded @ frame.T_ct_probe,
            atol=1e-9,
        )
    normal = frames[0].A_ct_pixel[:3, 1] / np.linalg.norm(frames[0].A_ct_pixel[:3, 1])
    before = abs((moved[0].T_ct_probe - frames[0].T_ct_probe)[:3, 3] @ normal)
    centre = frames[0].A_ct_pixel @ (320.0, 150.0, 0.0, 1.0)
    after = (T_ct_recorded @ off @ centre - centre)[:3] @ normal
    assert abs(after) < 0.5 * before


def test_global_mode_gives_all_frames_one_transform(record: Path, tmp_path: Path) -> None:
    label_record(replace(job(record, tmp_path), is_global=True), n_workers=1, on_progress=silent)
    journal_job = replace(job(record, tmp_path), is_global=True)
    journal = Journal(tmp_path / "frames.jsonl", journal_job.fingerprint())
    inputs = load_inputs(journal_job)
    motions = [
        journal.labels[plan.timestamp_ms].T_ct_probe @ np.linalg.inv(plan.T_ct_probe)
        for plan in inputs.frames
    ]
    for motion in motions[1:]:
        np.testing.assert_allclose(motion, motions[0], atol=1e-6)


def test_weights_are_weighed_on_frames(record: Path, tmp_path: Path) -> None:
    inputs = load_inputs(job(record, tmp_path))
    light, heavy = weigh(inputs.mesh, sampled_frames(inputs, 2), QUICK, (10.0, 1e7))
    assert (light.weight, heavy.weight) == (10.0, 1e7)
    assert heavy.mean_fiducial_correction_mm < 0.05 < light.mean_fiducial_correction_mm
    assert np.isfinite((light.bone_line_mm, heavy.bone_line_mm)).all()
