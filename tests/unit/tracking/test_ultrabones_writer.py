"""UltraBones100k records written from other sweeps: one pose an image, or the image is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tracking.errors import SequenceError
from tracking.messages import PoseStatus
from tracking.sequences import SweepImage, SweepPose, open_sweep, save_sweep
from tracking.transforms import Matrix, from_euler_xyz_deg


def _T(x_mm: float) -> Matrix:
    return from_euler_xyz_deg((x_mm, -20.0, 30.0), (x_mm, 40.0, -100.0))


@dataclass
class _Sweep:
    """Poses at 25 Hz, one image a second with the stamp of one of them."""

    pose_name: str = "ProbeToCt"
    image_offset_s: float = 0.0
    invalid_at_s: float = -1.0
    gap_at_s: float = -1.0
    spacing_mm: tuple[float, float] | None = (0.05, 0.05)

    name = "test"
    image_name = "Image"
    n_images = 4

    @property
    def span_s(self) -> tuple[float, float]:
        return 100.0, 104.0

    def events(self) -> Iterator[SweepImage | SweepPose]:
        for k in range(100):
            t_s = 100.0 + k * 0.04
            if k % 25 == 5:
                grey = np.full((4, 6), k, np.uint8)
                yield SweepImage(k // 25, t_s + self.image_offset_s, lambda grey=grey: grey)  # type: ignore[misc]
            if abs(t_s - self.gap_at_s) > 0.06:
                is_ok = abs(t_s - self.invalid_at_s) > 0.001
                status = PoseStatus.OK if is_ok else PoseStatus.INVALID
                yield SweepPose(self.pose_name, t_s, _T(float(k)), status)


def test_a_record_holds_the_images_and_the_poses_at_their_time(tmp_path: Path) -> None:
    written = save_sweep(_Sweep(), tmp_path / "record")
    assert (written.n_images, written.notes) == (
        4,
        ("a record holds no other poses and no fields",),
    )
    record = open_sweep(tmp_path / "record")
    assert (record.n_images, record.spacing_mm) == (4, (0.05, 0.05))
    assert record.span_s == (100.2, 103.2)
    images = [e.load()[0, 0] for e in record.events() if isinstance(e, SweepImage)]
    poses = [e.matrix for e in record.events() if isinstance(e, SweepPose)]
    assert images == [5, 30, 55, 80]
    np.testing.assert_allclose(poses, [_T(5), _T(30), _T(55), _T(80)], rtol=0, atol=1e-12)


def test_a_lag_moves_the_pose_and_not_the_stamp(tmp_path: Path) -> None:
    save_sweep(_Sweep(image_offset_s=0.08), tmp_path / "record", image_lag_s=0.08)
    events = list(open_sweep(tmp_path / "record").events())
    assert events[1].t_s == 100.28
    assert isinstance(events[1], SweepPose)
    np.testing.assert_allclose(events[1].matrix[:3, 3], (5.0, -20.0, 30.0), atol=1e-6)


def test_what_a_record_cannot_hold_is_left_out_and_said(tmp_path: Path) -> None:
    sweep = _Sweep(
        invalid_at_s=101.2, gap_at_s=102.2, spacing_mm=(0.05, 0.06), image_offset_s=0.0001
    )
    notes = save_sweep(sweep, tmp_path / "record").notes
    assert notes == (
        "images left out for an invalid pose at their time: 1",
        "images left out for a gap in the poses at their time: 1",
        "2 stamps are rounded to milliseconds",
        "the pixel spacing is left out: a record has one for both directions",
        "a record holds no other poses and no fields",
    )
    record = open_sweep(tmp_path / "record")
    assert (record.n_images, record.spacing_mm) == (2, None)


@pytest.mark.parametrize(
    ("sweep", "text"),
    [
        (_Sweep(pose_name="ProbeToTracker"), "no ProbeToCt.*; its poses are ProbeToTracker"),
        (_Sweep(image_offset_s=50.0), "no image has a pose"),
    ],
)
def test_a_sweep_that_cannot_be_a_record_leaves_nothing(
    tmp_path: Path, sweep: _Sweep, text: str
) -> None:
    with pytest.raises(SequenceError, match=text):
        save_sweep(sweep, tmp_path / "record")
    assert not (tmp_path / "record").exists()


def test_a_folder_that_exists_stays(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    with pytest.raises(SequenceError, match="record: exists already"):
        save_sweep(_Sweep(), tmp_path / "record")
    assert (tmp_path / "record").is_dir()
