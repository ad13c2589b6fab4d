"""What a job takes, and what it refuses by name before any work is done."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from offline_tools.errors import InputError
from offline_tools.labeling.command import Request, job_of
from offline_tools.labeling.frame import Reason
from offline_tools.labeling.job import LabelJob, load_inputs, n_open_edges
from offline_tools.labeling.refine import Frame
from offline_tools.labeling.values import Objective
from recon.mesh_io import read_mesh, write_mesh
from recon.surface import TriangleMesh
from tests.support.bones import shifted
from tests.support.records import write_record
from tracking.sequences import SweepPose, open_sweep
from tracking.transforms import from_rotation_vector


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    write_record(folder, n_images=4)
    return folder


@pytest.fixture
def record(made: Path, tmp_path: Path) -> Path:
    """A record of its own to spoil; the images are shared."""
    for path in made.iterdir():
        target = tmp_path / path.name
        if path.is_dir():
            target.mkdir()
            for image in path.iterdir():
                (target / image.name).symlink_to(image)
        else:
            target.write_bytes(path.read_bytes())
    return tmp_path


def job(record: Path, **changes) -> LabelJob:
    return LabelJob(
        **{"record": record, "meshes": (record / "bone.ply",), "out": record / "o"} | changes
    )


def test_frames_come_by_time_with_their_poses(record: Path) -> None:
    inputs = load_inputs(job(record))
    poses = [event.matrix for event in open_sweep(record).events() if isinstance(event, SweepPose)]
    assert [plan.timestamp_ms for plan in inputs.frames] == [1000, 1050, 1100, 1150]
    for plan, T_ct_probe in zip(inputs.frames, poses, strict=True):
        np.testing.assert_allclose(plan.T_ct_probe, T_ct_probe, atol=1e-12)
    assert "names no marker fiducials" in inputs.warnings[-1]
    assert isinstance(inputs.load_frame(0), Frame)


def test_poses_of_a_reference_with_a_registration_are_poses_in_ct(record: Path) -> None:
    T_ct_reference = from_rotation_vector((0.1, -0.4, 2.0), (12.0, 40.0, -90.0))
    file = record / "registration.toml"
    file.write_text(f"[registration]\nT_ct_reference = {T_ct_reference.tolist()}\n")
    mesh = read_mesh(record / "bone.ply")
    moved = TriangleMesh(
        mesh.vertices_mm @ T_ct_reference[:3, :3].T + T_ct_reference[:3, 3], mesh.faces
    )
    write_mesh(record / "moved.ply", moved)
    plain = load_inputs(job(record))
    registered = load_inputs(job(record, meshes=(record / "moved.ply",), registration=file))
    for a, b in zip(plain.frames, registered.frames, strict=True):
        np.testing.assert_allclose(b.T_ct_probe, T_ct_reference @ a.T_ct_probe, atol=1e-9)


def test_several_surfaces_become_one(record: Path) -> None:
    mesh = read_mesh(record / "bone.ply")
    write_mesh(record / "second.ply", shifted(mesh, 300.0, 0.0))
    inputs = load_inputs(job(record, meshes=(record / "bone.ply", record / "second.ply")))
    assert len(inputs.mesh.faces) == 2 * len(mesh.faces)
    assert n_open_edges(inputs.mesh) == 0


def test_fiducials_of_the_calibration_are_used(shared_data: Path, record01: Path) -> None:
    inputs = load_inputs(
        LabelJob(record01, (record01.parent / "CT_bone_model.stl",), record01 / "never")
    )
    stated = json.loads((shared_data / "ultrabones/calibration.json").read_text())
    np.testing.assert_array_equal(inputs.fiducials_mm, stated["probe_marker_fiducials_mm"])
    assert inputs.warnings == ()


def test_images_and_poses_without_each_other_are_told_apart(record: Path) -> None:
    images = record / "UltrasoundImages"
    (images / "1000.png").unlink()
    (images / "1050.png").unlink()
    (images / "1050.png").write_bytes((images / "1100.png").read_bytes()[:3000])
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(images / "1234.png")
    (images / "1150.png").unlink()
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(images / "1150.png")
    inputs = load_inputs(job(record))
    found = [inputs.load_frame(index) for index in range(len(inputs.frames))]
    assert found[0] is Reason.NO_IMAGE
    assert found[1] is Reason.BAD_IMAGE  # written half
    assert isinstance(found[2], Frame)
    assert found[3] is Reason.BAD_IMAGE  # another size than the calibration's
    assert found[4] is Reason.NO_POSE


def test_a_surface_with_a_hole_is_named(record: Path) -> None:
    mesh = read_mesh(record / "bone.ply")
    write_mesh(record / "open.ply", TriangleMesh(mesh.vertices_mm, mesh.faces[:-5]))
    warnings = load_inputs(job(record, meshes=(record / "open.ply",))).warnings
    assert warnings[0].startswith("open.ply is not watertight: ")


def test_what_does_not_fit_is_refused(record: Path) -> None:
    mesh = read_mesh(record / "bone.ply")
    write_mesh(record / "metres.ply", TriangleMesh(mesh.vertices_mm / 1000.0, mesh.faces))
    write_mesh(record / "far.ply", shifted(mesh, 0.0, 900.0))
    for name, text in (("metres", "is it in metres"), ("far", "away from the nearest image")):
        with pytest.raises(InputError, match=text):
            load_inputs(job(record, meshes=(record / f"{name}.ply",)))
    table = record / "tracking.csv"
    rows = table.read_text()
    table.write_text(rows.replace(",,", ",0.2,"))
    with pytest.raises(InputError, match=r"pixel spacing x is 0\.08 mm, but the recording states"):
        load_inputs(job(record))
    with pytest.raises(InputError, match="no calibration"):
        load_inputs(LabelJob(Path("/"), (record / "bone.ply",), record / "o"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"mode": "both"}, "--mode is 'both'"),
        ({"objective": "max"}, "--objective is 'max', expected exp-sum, mean, shadow"),
        ({"weight": "heavy"}, "--weight is 'heavy'"),
        ({"weight": "-1"}, "--weight is '-1'"),
        ({"apex": "3"}, "--apex is '3'"),
        ({"apex": "3,4"}, "--apex is '3,4'"),
    ],
)
def test_arguments_are_checked_by_name(record: Path, changes: dict, text: str) -> None:
    with pytest.raises(InputError, match=text):
        job_of(_request(record, **changes))


def test_defaults_follow_the_objective(record: Path) -> None:
    refine = job_of(_request(record)).settings.refine
    assert (refine.objective, refine.gamma_mm, refine.weight) == (Objective.EXP_SUM, 0.5, 3000.0)
    refine = job_of(_request(record, objective="mean", weight="100")).settings.refine
    assert (refine.objective, refine.gamma_mm, refine.weight) == (Objective.MEAN, 0.3, 100.0)
    assert job_of(_request(record, apex="200, -310.5")).settings.apex_px == (200.0, -310.5)


def _request(record: Path, **changes) -> Request:
    usual = {
        "record": record, "out": record / "o", "ct": [record / "bone.ply"], "calibration": None,
        "registration": None, "objective": "exp-sum", "gamma_mm": None, "weight": None,
        "lead_mm": 0.0, "band_mm": 0.1, "max_incidence_deg": 85.0, "apex": None, "mode": "frame",
        "repair": True, "seed": 0,
    }  # fmt: skip
    return Request(**usual | changes)
