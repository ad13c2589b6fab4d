"""Surfaces of volumes with known shapes: where they lie, that they are closed, what is chosen."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from offline_tools import cli
from offline_tools.ct_mesh import MeshSettings, iso_surface, make_mesh, otsu_threshold, read_volume
from offline_tools.errors import InputError
from offline_tools.labeling.job import n_open_edges
from recon.mesh_io import read_mesh
from recon.surface import TriangleMesh

sitk = pytest.importorskip("SimpleITK", reason="SimpleITK comes with the extra `train`")

SPACING_MM = (0.839, 0.839, 0.6)
ORIGIN_MM = (-20.0, 35.0, 1500.0)
# A turned table: columns are the directions of i, j, k in LPS.
TURN = np.array([(0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0)])


def ct_of(distance_mm, size=(56, 52, 70), direction=TURN):
    """A CT of 1000 HU where `distance_mm(points)` is negative, 40 HU elsewhere, blurred by the
    voxels: a ramp as wide as a voxel."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij"), axis=-1)
    points_mm = (index * SPACING_MM) @ direction.T + ORIGIN_MM
    share = np.clip(0.5 - distance_mm(points_mm) / 0.8, 0.0, 1.0)
    image = sitk.GetImageFromArray((40.0 + 960.0 * share).astype(np.float32).transpose(2, 1, 0))
    image.SetSpacing(SPACING_MM)
    image.SetOrigin(ORIGIN_MM)
    image.SetDirection(direction.ravel().tolist())
    return image


def centre_mm(size=(56, 52, 70), direction=TURN):
    return (0.5 * (np.array(size) - 1) * SPACING_MM) @ direction.T + ORIGIN_MM


def ball(centre, radius_mm):
    return lambda points_mm: np.linalg.norm(points_mm - centre, axis=-1) - radius_mm


def capsule(centre, radius_mm, half_mm):
    def distance_mm(points_mm):
        offset = points_mm - centre
        offset[..., 2] -= np.clip(offset[..., 2], -half_mm, half_mm)
        return np.linalg.norm(offset, axis=-1) - radius_mm

    return distance_mm


@pytest.mark.parametrize("direction", [np.eye(3), TURN, np.diag((-1.0, -1.0, 1.0))])
@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nrrd"])
def test_ball_lies_within_half_a_voxel_of_the_truth(tmp_path: Path, direction, suffix) -> None:
    middle = centre_mm(direction=direction)
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(ct_of(ball(middle, 14.0), direction=direction), str(path))
    result = make_mesh(path, tmp_path / "ball.stl", MeshSettings())
    radii_mm = np.linalg.norm(result.mesh.vertices_mm - middle, axis=1)
    assert np.abs(radii_mm - 14.0).max() < 0.3  # half of the shortest side of a voxel
    assert abs(radii_mm.mean() - 14.0) < 0.05  # smoothing does not shrink it
    assert n_open_edges(result.mesh) == 0
    assert n_open_edges(read_mesh(tmp_path / "ball.stl")) == 0
    assert result.preview.stat().st_size > 1000


def test_long_bone_with_a_marrow_and_few_faces(tmp_path: Path) -> None:
    middle = centre_mm()
    outer, inner = capsule(middle, 9.0, 10.0), capsule(middle, 5.0, 8.0)
    hollow = ct_of(lambda points: np.maximum(outer(points.copy()), -inner(points.copy())))
    sitk.WriteImage(hollow, str(tmp_path / "ct.mha"))
    result = make_mesh(tmp_path / "ct.mha", tmp_path / "bone.ply", MeshSettings(n_faces=3000))
    assert result.n_faces <= 3000
    assert np.abs(outer(result.mesh.vertices_mm.copy())).max() < 0.3  # no inner surface is left
    assert n_open_edges(result.mesh) == 0


def test_seeds_and_sizes_choose_bones(tmp_path: Path) -> None:
    middle = centre_mm()
    large, small = ball(middle - (0, 0, 9), 9.0), ball(middle + np.array((0.0, 0.0, 12.0)), 6.0)
    image = ct_of(lambda points: np.minimum(large(points), small(points)))
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))
    out = tmp_path / "bone.stl"

    automatic = make_mesh(tmp_path / "ct.mha", out, MeshSettings())
    assert (automatic.n_components, automatic.n_found) == (1, 2)
    assert np.abs(large(automatic.mesh.vertices_mm)).max() < 0.3
    seeded = MeshSettings(seeds_mm=(tuple(middle + np.array((0.0, 0.0, 12.0))),))
    assert np.abs(small(make_mesh(tmp_path / "ct.mha", out, seeded).mesh.vertices_mm)).max() < 0.3
    both = make_mesh(tmp_path / "ct.mha", out, MeshSettings(n_components=2))
    assert both.n_components == 2


def test_dicom_series_keeps_its_place(tmp_path: Path) -> None:
    middle = centre_mm(direction=np.eye(3))
    image = sitk.Cast(ct_of(ball(middle, 14.0), direction=np.eye(3)), sitk.sitkInt16)
    folder = tmp_path / "series"
    folder.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(image.GetDepth()):
        part = image[:, :, k]
        x, y, z = image.TransformIndexToPhysicalPoint((0, 0, k))
        part.SetMetaData("0008|0060", "CT")
        part.SetMetaData("0020|000e", "1.2.3.4")
        part.SetMetaData("0020|0032", f"{x}\\{y}\\{z}")
        part.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        part.SetMetaData("0020|0013", str(k))
        part.SetMetaData("0008|0018", f"1.2.3.4.{k + 1}")
        writer.SetFileName(str(folder / f"{k:03}.dcm"))
        writer.Execute(part)
    result = make_mesh(folder, tmp_path / "ball.stl", MeshSettings())
    radii_mm = np.linalg.norm(result.mesh.vertices_mm - middle, axis=1)
    assert np.abs(radii_mm - 14.0).max() < 0.3


def test_iso_surface_faces_outwards() -> None:
    grid = np.indices((12, 12, 12)) - 5.5
    vertices, faces = iso_surface((4.0 - np.linalg.norm(grid, axis=0)).astype(np.float32), 0.0)
    triangles = vertices[faces]
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert (np.einsum("ij,ij->i", normals, triangles.mean(axis=1) - 5.5) >= -1e-12).all()
    assert n_open_edges(TriangleMesh(vertices, faces)) == 0


def test_otsu_splits_two_tissues_and_ignores_air() -> None:
    rng = np.random.default_rng(3)
    parts = (rng.normal(-1000, 5, 5000), rng.normal(40, 15, 5000), rng.normal(900, 60, 800))
    assert 150.0 < otsu_threshold(np.concatenate(parts).astype(np.float32)) < 700.0


def test_the_command_says_what_it_made_or_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sitk.WriteImage(ct_of(ball(centre_mm(), 10.0)), str(tmp_path / "ct.mha"))
    for ct, code in ((tmp_path / "ct.mha", 0), (tmp_path / "none.mha", 2)):
        arguments = ["offline-tools", "ct-mesh", str(ct), "--out", str(tmp_path / "b.stl")]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ending:
            cli.main()
        assert ending.value.code == code
    said = capsys.readouterr()
    assert "1 of 1 bones" in " ".join(said.out.split())
    assert "none.mha: no volume there" in said.err


def test_what_cannot_become_a_surface_is_named(tmp_path: Path) -> None:
    sitk.WriteImage(ct_of(ball(centre_mm(), 10.0)), str(tmp_path / "ct.mha"))
    (tmp_path / "broken.nrrd").write_text("NRRD0004\nthis is no header\n")
    out = tmp_path / "x.stl"
    for ct, settings, text in (
        (tmp_path / "none.mha", MeshSettings(), "no volume there"),
        (tmp_path / "broken.nrrd", MeshSettings(), "cannot be read as a volume"),
        (tmp_path, MeshSettings(), "0 DICOM series there, expected one"),
        (tmp_path / "ct.mha", MeshSettings(threshold=5000.0), "no bone above 5000 HU"),
        (tmp_path / "ct.mha", MeshSettings(seeds_mm=((0.0, 0.0, 0.0),)), "outside the volume"),
        (tmp_path / "ct.mha", MeshSettings(seeds_mm=(ORIGIN_MM,)), "is not in bone"),
    ):
        with pytest.raises(InputError, match=text):
            make_mesh(ct, out, settings)
    assert read_volume(tmp_path / "ct.mha").GetDimension() == 3
