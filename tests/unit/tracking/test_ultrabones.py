"""The UltraBones100k record as a stream, and what it says of a broken one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tracking.errors import SequenceError
from tracking.sequences import SweepImage, SweepPose, open_sweep
from tracking.transforms import from_euler_xyz_deg

_HEADER = "timestamp,space_factor,x,y,z,euler_x,euler_y,euler_z"
_ROWS = ("1050,0.05,1,2,3,10,20,30", "1000,0.05,4,5,6,0,0,90")


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "UltrasoundImages").mkdir()
    for value, stamp in enumerate((1000, 1050)):
        pixels = np.full((6, 8), value, dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "UltrasoundImages" / f"{stamp}.png")
    (tmp_path / "tracking.csv").write_text("\n".join((_HEADER, *_ROWS)))
    return tmp_path


def test_events_are_in_order_of_time_image_before_its_pose(record: Path) -> None:
    sweep = open_sweep(record)
    assert (sweep.n_images, sweep.span_s) == (2, (1.0, 1.05))
    assert sweep.spacing_mm == (0.05, 0.05)
    events = list(sweep.events())
    assert [(type(e).__name__, e.t_s) for e in events] == [
        ("SweepImage", 1.0),
        ("SweepPose", 1.0),
        ("SweepImage", 1.05),
        ("SweepPose", 1.05),
    ]
    images = [e for e in events if isinstance(e, SweepImage)]
    assert [int(image.load()[0, 0]) for image in images] == [0, 1]
    poses = [e for e in events if isinstance(e, SweepPose)]
    assert {pose.name for pose in poses} == {"ProbeToCt"}
    np.testing.assert_allclose(poses[0].matrix, from_euler_xyz_deg((4, 5, 6), (0, 0, 90)))


def test_the_real_record(record01: Path) -> None:
    sweep = open_sweep(record01)
    assert sweep.n_images == 135
    first = next(iter(sweep.events()))
    assert isinstance(first, SweepImage)
    assert first.load().shape == (811, 950)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("", "column timestamp, x"),
        (_HEADER, "no rows"),
        (_HEADER.replace("euler_y", "pitch") + "\n" + _ROWS[0], "column euler_y is missing"),
        (_HEADER + "\n1000,0.05,1,2,three,0,0,0", "line 2: not a pose row"),
        (_HEADER + "\n1000,0.05,1,2", "line 2: not a pose row"),
        (_HEADER + "\n1000,0.05,1,2,nan,0,0,0", "line 2: holds a value that is not finite"),
        ("\n".join((_HEADER, _ROWS[0], _ROWS[0])), "timestamp 1050 occurs twice"),
    ],
)
def test_a_broken_table_is_refused_with_the_line(record: Path, table: str, text: str) -> None:
    (record / "tracking.csv").write_text(table)
    with pytest.raises(SequenceError, match=text) as caught:
        open_sweep(record)
    assert "tracking.csv" in str(caught.value)


def test_a_binary_table_is_refused(record: Path) -> None:
    (record / "tracking.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SequenceError, match=r"tracking.csv: cannot be read"):
        open_sweep(record)


def test_poses_that_the_record_lacks(record: Path) -> None:
    with pytest.raises(SequenceError, match="column x_optimized"):
        open_sweep(record, poses="optimized")
    with pytest.raises(SequenceError, match="expected one of original, optimized"):
        open_sweep(record, poses="refined")


def _first_image(record: Path) -> SweepImage:
    return next(e for e in open_sweep(record).events() if isinstance(e, SweepImage))


def test_images_are_judged_when_they_are_loaded(record: Path) -> None:
    path = record / "UltrasoundImages" / "1000.png"
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(path)
    with pytest.raises(SequenceError, match=r"1000.png: mode is RGB, expected 8-bit grey"):
        _first_image(record).load()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(SequenceError, match=r"1000.png: cannot be read as an image"):
        _first_image(record).load()
    path.unlink()
    with pytest.raises(SequenceError, match=r"1000.png: no such image"):
        _first_image(record).load()


def test_what_is_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(SequenceError, match="no such sweep"):
        open_sweep(tmp_path / "nowhere")
    with pytest.raises(SequenceError, match=r"no tracking.csv"):
        open_sweep(tmp_path)
    (tmp_path / "tracking.csv").touch()
    with pytest.raises(SequenceError, match="no folder UltrasoundImages"):
        open_sweep(tmp_path)
    with pytest.raises(SequenceError, match="not a known sweep"):
        open_sweep(tmp_path / "tracking.csv")
