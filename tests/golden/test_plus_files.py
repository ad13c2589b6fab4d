"""Recordings of the PLUS Toolkit's own tests: what its developers know of them, we read.

Source of the numbers: PLUS Toolkit's test data and limits (`vtkPlusBuffer` interpolation test).
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from tracking.messages import PoseSample, PoseStatus, Stamps
from tracking.pose_buffer import PoseBuffer, PoseOutcome
from tracking.sequences import Sweep, SweepImage, SweepPose, open_sweep, save_sweep
from tracking.transforms import invert, rotation_angle_rad

_NWIRE = "NwirePhantomFreehand"


@pytest.fixture(scope="module")
def plus(shared_data: Path) -> Path:
    return shared_data / "plus"


def _poses(sweep: Sweep, name: str) -> list[SweepPose]:
    return [e for e in sweep.events() if isinstance(e, SweepPose) and e.name == name]


def _assert_equal(
    ours: Sweep, theirs: Sweep, *, tolerance_mm: float = 0.0, tolerance_s: float = 0.0
) -> None:
    for a, b in zip(ours.events(), theirs.events(), strict=True):
        assert abs(a.t_s - b.t_s) <= tolerance_s
        if isinstance(a, SweepImage):
            assert isinstance(b, SweepImage)
            np.testing.assert_array_equal(a.load(), b.load())
        else:
            assert isinstance(b, SweepPose)
            assert (a.name, a.status) == (b.name, b.status)
            np.testing.assert_allclose(a.matrix, b.matrix, rtol=0.0, atol=tolerance_mm)


@pytest.mark.parametrize(
    ("name", "n_images", "n_poses", "grey_sum"),
    [
        ("BoneUltrasound_L14", 21, 63, 208_425_463),
        ("SpinePhantomFreehand", 21, 63, None),
        (_NWIRE, 97, 291, 22_087_109),
        ("fCal_Test_Calibration_3NWires_fCal2.0", 190, 570, None),
        ("fCal_Test_Validation_3NWires_fCal2.0", 103, 309, None),
        ("WaterTankBottomTranslationVideoBuffer", 201, 0, None),
        ("WaterTankBottomTranslationTrackerBuffer-trimmed", 0, 2403, None),
        ("EightLandmarkPointsTrackedForPhantomRegistration", 0, 2000, None),
        ("SlidingProbeTrackingData", 0, 255, None),
        ("TimestampFilteringTest", 500, 500, 0),
        ("TransformInterpolationTest", 500, 1000, None),
    ],
)
def test_every_file_is_read(
    plus: Path, name: str, n_images: int, n_poses: int, grey_sum: int | None
) -> None:
    sweep = open_sweep(plus / f"{name}.igs.mha")
    events = list(sweep.events())
    images = [e for e in events if isinstance(e, SweepImage)]
    assert (sweep.n_images, len(images), len(events) - len(images)) == (n_images, n_images, n_poses)
    assert all(a.t_s <= b.t_s for a, b in itertools.pairwise(events))
    if grey_sum is not None:
        assert sum(int(image.load().sum(dtype=np.int64)) for image in images) == grey_sum


def test_mha_and_nrrd_are_the_same_pixel_for_pixel(plus: Path) -> None:
    _assert_equal(open_sweep(plus / f"{_NWIRE}.igs.mha"), open_sweep(plus / f"{_NWIRE}.igs.nrrd"))


def test_the_hidden_stylus_stays_invalid(plus: Path) -> None:
    sweep = open_sweep(plus / f"{_NWIRE}.igs.mha")
    stylus = [pose.status for pose in _poses(sweep, "StylusToTracker")]
    assert stylus == [PoseStatus.INVALID] * 97
    assert {pose.status for pose in _poses(sweep, "ProbeToTracker")} == {PoseStatus.OK}


@pytest.mark.parametrize("name", ["copy.igs.mha", "copy.igs.nrrd", "copy.mcap"])
@pytest.mark.parametrize("source", [_NWIRE, "SlidingProbeTrackingData"])
def test_a_round_trip_is_equal(plus: Path, tmp_path: Path, source: str, name: str) -> None:
    original = open_sweep(plus / f"{source}.igs.mha")
    save_sweep(original, tmp_path / name)
    copy = open_sweep(tmp_path / name)
    if name.endswith(".mcap"):  # on the wire poses are single precision: 2000 mm to 0.12 um
        _assert_equal(copy, original, tolerance_mm=1.3e-4, tolerance_s=1e-9)
    else:
        _assert_equal(copy, original)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("name", ["copy.igs.mha", "copy.igs.nrrd"])
def test_written_files_open_in_simpleitk(
    plus: Path, tmp_path: Path, name: str, is_compressed: bool
) -> None:
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    sweep = open_sweep(plus / "BoneUltrasound_L14.igs.mha")
    save_sweep(sweep, tmp_path / name, is_compressed=is_compressed)
    image = itk.ReadImage(str(tmp_path / name))
    found = itk.GetArrayFromImage(image)
    if name.endswith(".nrrd"):  # ITK takes the list of frames for components of a pixel
        found = np.moveaxis(found, -1, 0)
    expected = [e.load() for e in sweep.events() if isinstance(e, SweepImage)]
    np.testing.assert_array_equal(found, expected)
    key = "Seq_Frame0020_StylusToTrackerTransformStatus"
    assert image.GetMetaData(key).strip() == "OK"


def test_interpolation_never_crosses_an_invalid_pose(plus: Path) -> None:
    """At five times the rate no step exceeds PLUS's limits, though one sample is 1.5 m away."""
    poses = _poses(open_sweep(plus / "TransformInterpolationTest.igs.mha"), "ProbeToTracker")
    assert [pose.status for pose in poses].count(PoseStatus.INVALID) == 1
    buffer = PoseBuffer(span_s=math.inf)
    for pose in poses:
        stamps = Stamps(pose.t_s, pose.t_s)
        buffer.add(PoseSample(pose.name, pose.matrix, pose.status, stamps))
    period_s = (poses[-1].t_s - poses[0].t_s) / (len(poses) - 1) / 5.0
    times_s = np.arange(poses[0].t_s, poses[-1].t_s, period_s)
    reads = [buffer.read("ProbeToTracker", float(t_s), max_gap_s=0.5) for t_s in times_s]
    steps = [
        invert(a.matrix) @ b.matrix
        for a, b in itertools.pairwise(reads)
        if a.matrix is not None and b.matrix is not None
    ]
    assert len(steps) > 2400
    assert 5 <= sum(read.outcome is PoseOutcome.INVALID for read in reads) <= 15
    assert max(math.degrees(rotation_angle_rad(step)) for step in steps) <= 1.0
    assert max(float(np.linalg.norm(step[:3, 3])) for step in steps) <= 0.5


def test_both_times_of_a_frame_are_kept(plus: Path) -> None:
    """The filtered one is the stamp, the unfiltered one and the number stay as fields."""
    sweep = open_sweep(plus / "TimestampFilteringTest.igs.mha")
    first = next(iter(sweep.events()))
    assert first.t_s == 1840749.750288
    assert first.fields == {"FrameNumber": "5539", "UnfilteredTimestamp": "1840749.051000"}
