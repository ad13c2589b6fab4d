"""`navapp calibrate` and `navapp register` as a user meets them."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from PIL import Image

from navapp import cli
from recon.back_projection import back_project
from recon.mesh_io import write_cloud_ply, write_mesh
from recon.point_cloud import CloudSnapshot
from recon.simulator import SimulatedSweep, SimulatorSettings
from tests.support.records import write_record
from tests.support.stylus import fake_tracker_poses
from tests.support.wire_phantom import (
    A_PROBE_PIXEL,
    SIZE_PX,
    T_REFERENCE_PHANTOM,
    WireSweep,
    fcal_phantom,
)
from tracking.calibration import load_calibration, load_registration, load_stylus
from tracking.calibration.plus_xml import PlusTransform, write_plus_transforms
from tracking.calibration.sections import read_document
from tracking.messages import TransformName
from tracking.sequences import SweepPose, save_sweep
from tracking.transforms import apply, from_rotation_vector, invert

Navapp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def navapp(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Navapp:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["navapp", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@dataclass(frozen=True)
class _StylusSweep:
    """Poses alone, StylusToTracker and a fixed reference, at 50 Hz."""

    poses: np.ndarray

    name = "stylus"
    image_name = "Image"
    spacing_mm = None
    n_images = 0

    @property
    def span_s(self) -> tuple[float, float]:
        return 10.0, 10.0 + (len(self.poses) - 1) / 50.0

    def events(self) -> Iterator[SweepPose]:
        T_tracker_reference = from_rotation_vector((0.3, 1.2, -0.4), (330.0, -68.0, -240.0))
        for k, T_reference_stylus in enumerate(self.poses):
            T_tracker_stylus = T_tracker_reference @ T_reference_stylus
            yield SweepPose("StylusToTracker", 10.0 + k / 50.0, T_tracker_stylus)
            yield SweepPose("ReferenceToTracker", 10.0 + k / 50.0, T_tracker_reference)


def _write_phantom(path: Path) -> Path:
    """A PLUS configuration with the phantom's wires and place."""
    rows = []
    for wires in fcal_phantom().n_wires:
        rows.append('<Pattern Type="NWire">')
        for k, name in enumerate(wires.names):
            front, back = (" ".join(map(str, end[k])) for end in (wires.front_mm, wires.back_mm))
            rows.append(f'<Wire Name="{name}" EndPointFront="{front}" EndPointBack="{back}"/>')
        rows.append("</Pattern>")
    geometry = f"<PhantomDefinition><Geometry>{''.join(rows)}</Geometry></PhantomDefinition>"
    path.write_text(f"<PlusConfiguration>{geometry}</PlusConfiguration>")
    name = TransformName("Phantom", "Reference")
    write_plus_transforms(path, {name: PlusTransform(T_REFERENCE_PHANTOM)})
    return path


def _is_plot(path: Path) -> bool:
    """A picture with something drawn."""
    with Image.open(path) as image:
        return image.width == 900 and len(image.convert("RGB").getcolors(100_000) or ()) > 5


def test_lag_and_probe_from_one_sweep(navapp: Navapp, tmp_path: Path) -> None:
    sweep = tmp_path / "wires.igs.mha"
    save_sweep(WireSweep(60), sweep)
    phantom = _write_phantom(tmp_path / "phantom.xml")
    out, plus = tmp_path / "calibration.toml", tmp_path / "plus.xml"
    code, said, error = navapp(
        "calibrate", "spatial", sweep, "--phantom", phantom, "--find-lag", "--out", out,
        "--scanner-spacing", "0.08,0.075", "--depth-mm", "50", "--plus-xml", plus,
    )  # fmt: skip
    assert code == 0, error
    assert "wires told in 60 of 60 images" in said
    assert f"phantom placed by {phantom}" in said
    calibration = load_calibration(out)
    assert calibration.image_lag_s == pytest.approx(0.0873, abs=0.0005)
    assert (calibration.image_size_px, calibration.orientation) == (SIZE_PX, "MF")
    assert calibration.depth_mm == 50.0
    corners = np.array([(0, 0), (820, 0), (0, 616), (820, 616)], dtype=float)
    found, truth = (back_project(corners, A) for A in (calibration.A_probe_pixel, A_PROBE_PIXEL))
    assert np.linalg.norm(found - truth, axis=1).max() < 0.15
    np.testing.assert_array_equal(load_calibration(plus).A_probe_pixel, calibration.A_probe_pixel)
    sections = read_document(out)
    curve = np.loadtxt(tmp_path / "calibration_temporal.csv", delimiter=",", skiprows=1)
    assert curve.shape == (3000, 2)
    assert -curve[curve[:, 1].argmin(), 0] == pytest.approx(calibration.image_lag_s, abs=1e-9)
    for section in ("probe", "temporal"):
        assert sections[section]["provenance"]["sources"][0]["name"] == "wires.igs.mha"
        assert sections[section]["verdict"]
        assert _is_plot(tmp_path / f"calibration_{section}.png")
    assert sections["probe"]["held_out"]["rms_mm"] < 0.2
    # Again, with the lag of the file and another recording to judge by.
    save_sweep(WireSweep(25), other := tmp_path / "validation.igs.mha")
    code, said, error = navapp(
        "calibrate", "spatial", sweep, "--phantom", phantom, "--out", out, "--validation", other
    )
    assert code == 0, error
    assert f"ms before the images' stamps, by {out}" in said
    assert "(validation) over 25 frames" in said


def test_pivot_keeps_the_other_sections(navapp: Navapp, tmp_path: Path) -> None:
    sweep, out = tmp_path / "pivot.igs.mha", tmp_path / "c.toml"
    save_sweep(_StylusSweep(fake_tracker_poses(0)), sweep)
    out.write_text(tomli_w.dumps({"temporal": {"image_lag_s": 0.08}}))
    code, said, error = navapp("calibrate", "pivot", sweep, "--out", out)
    assert code == 0, error
    assert "5 outliers" in said
    np.testing.assert_allclose(load_stylus(out)[:3, 3], (210.0, 0.0, 0.0), atol=0.5)
    assert tomllib.loads(out.read_text())["temporal"]["image_lag_s"] == 0.08
    assert _is_plot(tmp_path / "c_stylus.png")


def test_landmarks_of_plus(navapp: Navapp, tmp_path: Path, shared_data: Path) -> None:
    plus, out = shared_data / "plus", tmp_path / "c.toml"
    code, said, error = navapp(
        "calibrate", "landmarks", plus / "EightLandmarkPointsTrackedForPhantomRegistration.igs.mha",
        "--phantom", plus / "PlusDeviceSet_fCal_Sim_RecordPhantomLandmarks.xml", "--out", out,
    )  # fmt: skip
    assert code == 0, error
    assert "over 8 landmarks" in said
    assert read_document(out)["phantom"]["residual"]["mean_mm"] == pytest.approx(0.2, abs=0.02)


def test_water_tank_of_plus(navapp: Navapp, tmp_path: Path, shared_data: Path) -> None:
    plus, out = shared_data / "plus", tmp_path / "c.toml"
    code, said, error = navapp(
        "calibrate", "temporal", plus / "WaterTankBottomTranslationVideoBuffer.igs.mha",
        plus / "WaterTankBottomTranslationTrackerBuffer-trimmed.igs.mha",
        "--clip", "225,40,350,510", "--out", out,
    )  # fmt: skip
    assert code == 0, error
    assert "ambiguous" in said
    assert read_document(out)["temporal"]["image_lag_s"] == pytest.approx(0.0648, abs=0.005)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | np.ndarray]:
    """A cloud in `reference`, its CT surface, and four rough landmarks."""
    folder = tmp_path_factory.mktemp("scan")
    sweep = SimulatedSweep(SimulatorSettings(n_images=40))
    T_reference_ct = invert(sweep.T_ct_reference)
    points = np.concatenate(
        [back_project(sweep.truth_line(k).points_px[::3], sweep.A_ct_pixel(k)) for k in range(40)]
    )
    n = len(points)
    cloud = CloudSnapshot(
        points_mm=apply(T_reference_ct, points),
        confidence=np.ones(n),
        count=np.ones(n, np.int64),
        sweep=np.zeros(n, np.int32),
        last_sweep=np.zeros(n, np.int32),
        towards_probe=np.zeros((n, 3), np.float32),
        distance_mm=np.full(n, np.nan, np.float32),
    )
    write_cloud_ply(folder / "cloud.ply", cloud, "reference")
    write_cloud_ply(folder / "ct.ply", cloud, "ct")
    write_mesh(folder / "bone.ply", sweep.mesh)
    ct_mm = points[:: len(points) // 5][:5]
    noise = np.random.default_rng(0).normal(0.0, 1.5, ct_mm.shape)
    pairs = {"reference_mm": (apply(T_reference_ct, ct_mm) + noise).tolist()}
    content = {"landmarks": {**pairs, "ct_mm": ct_mm.tolist()}}
    (folder / "landmarks.toml").write_text(tomli_w.dumps(content))
    return {"folder": folder, "T_ct_reference": sweep.T_ct_reference, "points": points}


def test_register(navapp: Navapp, scan: dict[str, Path | np.ndarray], tmp_path: Path) -> None:
    folder, out = Path(str(scan["folder"])), tmp_path / "r.toml"
    files = (folder / "cloud.ply", folder / "bone.ply")
    landmarks = folder / "landmarks.toml"
    code, said, error = navapp("register", *files, "--landmarks", landmarks, "--out", out)
    assert code == 0, error
    assert "not held against: slide along the bone" in said
    section = read_document(out)["registration"]
    assert section["motions"][0]["is_degenerate"]
    assert section["residual"]["rms_mm"] < 0.1
    points = np.asarray(scan["points"])
    T_reference_ct = invert(np.asarray(scan["T_ct_reference"]))
    moved = apply(load_registration(out).T_ct_reference @ T_reference_ct, points) - points
    _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert np.linalg.norm((moved @ axes.T)[:, 1:], axis=1).max() < 0.5
    assert _is_plot(tmp_path / "r_registration.png")
    code, _, error = navapp("register", *files, "--start", out, "--out", tmp_path / "again.toml")
    assert code == 0, error
    # The same landmarks as tables, as the window reads them.
    pairs = tomllib.loads(landmarks.read_text())["landmarks"]
    rows = zip(pairs["reference_mm"], pairs["ct_mm"], strict=True)
    tables = [{"name": "L", "reference_mm": there, "ct_mm": ct} for there, ct in rows]
    (tmp_path / "tables.toml").write_text(tomli_w.dumps({"landmark": tables}))
    same = tmp_path / "same.toml"
    given = ("--landmarks", tmp_path / "tables.toml", "--out", same)
    assert navapp("register", *files, *given)[0] == 0
    np.testing.assert_array_equal(
        load_registration(same).T_ct_reference, load_registration(out).T_ct_reference
    )


def test_a_calibration_goes_into_toml(
    navapp: Navapp, scan: dict[str, Path], tmp_path: Path
) -> None:
    files = (scan["folder"] / "cloud.ply", scan["folder"] / "bone.ply")
    code, _, error = navapp("register", *files, "--out", tmp_path / "r.json")
    assert (code, "r.json, expected a file that ends in .toml" in error) == (2, True)


def test_register_refuses(navapp: Navapp, scan: dict[str, Path], tmp_path: Path) -> None:
    folder, out = scan["folder"], tmp_path / "r.toml"
    mesh = folder / "bone.ply"
    for arguments, text in (
        ((folder / "cloud.ply", mesh), "give --landmarks or --start"),
        ((folder / "ct.ply", mesh), "in CT space already"),
        ((folder / "none.ply", mesh), "none.ply: cannot be read"),
    ):
        code, _, error = navapp("register", *arguments, "--out", out)
        assert code == 2
        assert text in error
        assert error.count("\n") == 1
    assert not out.exists()


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three images of wires, three of nothing, a stylus that does not move, and no file at all."""
    folder = tmp_path_factory.mktemp("bad")
    files = {name: folder / f"{name}.igs.mha" for name in ("wires", "still", "dark", "none")}
    save_sweep(WireSweep(3), files["wires"])
    save_sweep(WireSweep(3, noise_px=1e4), files["dark"])
    save_sweep(_StylusSweep(np.repeat(fake_tracker_poses(0)[:1], 30, axis=0)), files["still"])
    return {**files, "phantom": _write_phantom(folder / "phantom.xml")}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("temporal", "{wires}", "--clip", "1,2,3"), "--clip is 1,2,3, expected 4 numbers"),
        (("temporal", "{none}"), "no such sweep"),
        (("pivot", "{wires}"), "has no way from Stylus to Reference"),
        (("pivot", "{still}"), "turned by 0.0 degrees"),
        (("spatial", "{still}", "--phantom", "{phantom}"), "has no images"),
        (("spatial", "{dark}", "--phantom", "{phantom}"), "visible in none of 3 images"),
        (("spatial", "{wires}", "--phantom", "{phantom}"), "in 3 frames, expected at least 10"),
        (("landmarks", "{still}", "--phantom", "{phantom}"), "StylusTip"),
    ],
)
def test_bad_input_is_one_line(
    navapp: Navapp,
    bad_files: dict[str, Path],
    tmp_path: Path,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    out = tmp_path / "c.toml"
    given = (argument.format(**bad_files) for argument in arguments)
    code, _, error = navapp("calibrate", *given, "--out", out)
    assert code == 2, error
    assert text in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_calibration_for_another_orientation_gives_no_points(
    navapp: Navapp, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    write_record(record)
    path = next(tmp_path.rglob("calibration.toml"))
    content = tomllib.loads(path.read_text())
    content["probe"]["orientation"] = "UF"
    path.write_text(tomli_w.dumps(content))
    _, _, error = navapp("reconstruct", record, "--out", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"]["skipped"]["bad_image"] == 6, error
    assert report["points"] == 0
