"""IGSIO sequences: what PLUS and others write is read, what is broken is named."""

from __future__ import annotations

import io
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.support.igs import IDENTITY, frame_fields, pixels, write_mha, write_nrrd
from tracking.errors import SequenceError
from tracking.messages import PoseStatus
from tracking.sequences import Sweep, SweepImage, SweepPose, open_sweep, save_sweep
from tracking.sequences.igs import IgsSweep
from tracking.sequences.orientation import CODES


def _images(sweep: Sweep) -> list[np.ndarray]:
    return [e.load() for e in sweep.events() if isinstance(e, SweepImage)]


def _poses(sweep: Sweep) -> list[SweepPose]:
    return [e for e in sweep.events() if isinstance(e, SweepPose)]


# -- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("compress", [False, True])
def test_frames_become_images_and_poses(tmp_path: Path, compress: bool) -> None:
    sweep = open_sweep(write_mha(tmp_path / "a.igs.mha", compress=compress))
    assert (sweep.name, sweep.n_images, sweep.span_s) == ("a.igs.mha", 3, (10.0, 11.0))
    assert sweep.spacing_mm is None, "PLUS writes 1 1 1 for: look into the calibration"
    np.testing.assert_array_equal(_images(sweep), pixels())
    events = list(sweep.events())
    assert [type(e).__name__ for e in events] == ["SweepImage", "SweepPose"] * 3
    assert events[1] == SweepPose(
        "ProbeToTracker",
        10.0,
        events[1].matrix,
        PoseStatus.OK,
        events[0].fields,  # type: ignore[union-attr]
    )
    assert events[2].fields == {"FrameNumber": "101", "UnfilteredTimestamp": "10.501"}


def test_a_header_with_carriage_returns_blanks_and_unknown_keys(tmp_path: Path) -> None:
    header = {"Kinds": "domain domain               list", "Operator": " A = B "}
    path = write_mha(tmp_path / "a.igs.mha", header=header, newline="\r\n")
    path.write_bytes(b"\r\n" + path.read_bytes().replace(b"ObjectType = ", b"ObjectType=  ", 1))
    sweep = open_sweep(path)
    assert isinstance(sweep, IgsSweep)
    assert sweep.fields == {"UltrasoundImageOrientation": "MF", "Operator": "A = B"}
    np.testing.assert_array_equal(_images(sweep), pixels())


def test_pixels_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.igs.mhd")
    head, _, data = path.read_bytes().partition(b"LOCAL\n")
    path.write_bytes(head + b"a.raw\n")
    (tmp_path / "a.raw").write_bytes(data)
    np.testing.assert_array_equal(_images(open_sweep(path)), pixels())
    (tmp_path / "a.raw").unlink()
    with pytest.raises(SequenceError, match=r"a\.raw: cannot be read: No such file"):
        open_sweep(path)


@pytest.mark.parametrize("encoding", ["raw", "gz", "gzip"])
def test_nrrd_says_the_same_with_other_words(tmp_path: Path, encoding: str) -> None:
    sweep = open_sweep(write_nrrd(tmp_path / "a.igs.nrrd", encoding=encoding))
    assert isinstance(sweep, IgsSweep)
    np.testing.assert_array_equal(_images(sweep), pixels())
    assert sweep.fields == {"UltrasoundImageOrientation": "MF", "my note": "two\nlines"}
    twin = open_sweep(write_mha(tmp_path / "a.igs.mha"))
    for ours, theirs in zip(sweep.events(), twin.events(), strict=True):
        assert (ours.t_s, ours.fields) == (theirs.t_s, theirs.fields)


def test_spacing_that_is_stated(tmp_path: Path) -> None:
    header = {"ElementSpacing": "0.1 0.2 1"}
    assert open_sweep(write_mha(tmp_path / "a.mha", header=header)).spacing_mm == (0.1, 0.2)
    path = write_nrrd(tmp_path / "a.nrrd", space_directions="(0.1,0) (0,0.2) none")
    assert open_sweep(path).spacing_mm == (0.1, 0.2)
    path = write_nrrd(tmp_path / "b.nrrd", spacings="0.1 0.2 nan")
    assert open_sweep(path).spacing_mm == (0.1, 0.2)


def test_poses_without_images(tmp_path: Path) -> None:
    sweep = open_sweep(write_mha(tmp_path / "a.mha", np.empty((3, 0, 0), np.uint8)))
    assert (sweep.n_images, len(_poses(sweep)), sweep.span_s) == (0, 3, (10.0, 11.0))


def test_an_image_marked_invalid_is_none(tmp_path: Path) -> None:
    frames = frame_fields()
    frames[1]["ImageStatus"] = "INVALID"
    sweep = open_sweep(write_mha(tmp_path / "a.mha", frames=frames))
    images = [e for e in sweep.events() if isinstance(e, SweepImage)]
    assert [(i.index, i.t_s) for i in images] == [(0, 10.0), (1, 11.0)]
    np.testing.assert_array_equal(images[1].load(), pixels()[2])
    assert len(_poses(sweep)) == 3


@pytest.mark.parametrize("compress", [False, True])
def test_frames_out_of_order_are_sorted_with_their_pixels(tmp_path: Path, compress: bool) -> None:
    frames = frame_fields()
    frames[0]["Timestamp"] = "99"
    sweep = open_sweep(write_mha(tmp_path / "a.mha", frames=frames, compress=compress))
    np.testing.assert_array_equal(_images(sweep), pixels()[[1, 2, 0]])
    np.testing.assert_array_equal(_images(sweep), pixels()[[1, 2, 0]], "a second time")


def test_statuses(tmp_path: Path) -> None:
    scaled = IDENTITY.replace("1", "2", 1)
    frames = [
        {"AToBTransform": IDENTITY, "AToBTransformStatus": "OK"},
        {"AToBTransform": scaled, "AToBTransformStatus": "OK"},
        {"AToBTransform": IDENTITY, "AToBTransformStatus": "INVALID"},
        {"AToBTransform": IDENTITY, "AToBTransformStatus": "SWITCH3_IS_ON"},
        {"AToBTransform": IDENTITY},
    ]
    for k, frame in enumerate(frames):
        frame["Timestamp"] = str(k)
    path = write_mha(tmp_path / "a.mha", np.empty((5, 0, 0), np.uint8), frames)
    sweep = open_sweep(path)
    assert isinstance(sweep, IgsSweep)
    ok, invalid = PoseStatus.OK, PoseStatus.INVALID
    assert [p.status for p in _poses(sweep)][:3] == [ok, invalid, invalid]
    assert _poses(sweep)[3].status is not ok
    assert _poses(sweep)[4].status is ok
    assert sweep.poses_without_status == ("AToB",)
    save_sweep(sweep, tmp_path / "b.igs.mha")
    assert b"Status = SWITCH3_IS_ON" in (tmp_path / "b.igs.mha").read_bytes(), "kept verbatim"


def test_a_matrix_that_is_no_transform_stays_a_field(tmp_path: Path) -> None:
    frames = [
        {**frame, "Stylus": IDENTITY, "CustomTransform": IDENTITY} for frame in frame_fields()
    ]
    sweep = open_sweep(write_mha(tmp_path / "a.mha", frames=frames))
    assert {pose.name for pose in _poses(sweep)} == {"ProbeToTracker"}
    fields = next(iter(sweep.events())).fields
    assert (fields["Stylus"], fields["CustomTransform"]) == (IDENTITY, IDENTITY)


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_is_brought_to_mf(tmp_path: Path, code: str) -> None:
    """The image is laid out by the meaning of the letters, not by the reader's own steps."""
    mf = pixels(1)[0]
    columns = {"M": 1, "U": -1}
    rows = {"F": 1, "N": -1}
    if code[0] in columns:
        stored = mf[:: rows[code[1]], :: columns[code[0]]]
    else:
        stored = mf.T[:: columns[code[1]], :: rows[code[0]]]
    header = {"UltrasoundImageOrientation": code, "ElementSpacing": "1 2 1"}
    path = write_mha(tmp_path / "a.mha", stored[np.newaxis], frame_fields(1), header=header)
    sweep = open_sweep(path)
    np.testing.assert_array_equal(_images(sweep)[0], mf)
    assert sweep.spacing_mm == ((1.0, 2.0) if code[0] in columns else (2.0, 1.0))


def test_a_long_sweep_does_not_enter_memory(tmp_path: Path) -> None:
    """200 images of 250 kB: reading all of them holds a few at a time, whatever the packing."""
    images = np.zeros((200, 500, 500), np.uint8)
    for compress in (False, True):
        path = write_mha(tmp_path / f"{compress}.mha", images, frame_fields(200), compress=compress)
        tracemalloc.start()
        sweep = open_sweep(path)
        for event in sweep.events():
            if isinstance(event, SweepImage):
                event.load()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_bytes < 3_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_the_last_image_of_twenty_gigabytes(tmp_path: Path) -> None:
    """A file with a hole: the last of 2000 images of 10 MB is found without reading the others."""
    n_frames, n_rows, n_columns = 2000, 2500, 4000
    header = {"DimSize": f"{n_columns} {n_rows} {n_frames}"}
    path = write_mha(tmp_path / "a.mha", pixels(1), frame_fields(n_frames), header=header)
    n_head = path.stat().st_size - pixels(1).size
    with path.open("r+b") as file:
        file.truncate(n_head + n_frames * n_rows * n_columns)
        file.seek(-1, io.SEEK_END)
        file.write(b"\x07")
    tracemalloc.start()
    *_, last = (e for e in open_sweep(path).events() if isinstance(e, SweepImage))
    found = last.load()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.shape, found[-1, -1], found.sum()) == ((n_rows, n_columns), 7, 7)
    assert peak_bytes < 2 * found.nbytes


# -- what is broken ------------------------------------------------------------------------------


def _cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"ElementType": "MET_SHORT"}, "1 x 'MET_SHORT', expected 1 x unsigned 8 bit"),
        ({"ElementNumberOfChannels": "3"}, "3 x 'MET_UCHAR', expected 1 x unsigned 8 bit"),
        ({"DimSize": None}, "DimSize is missing"),
        ({"DimSize": "5 4 x"}, "DimSize is '5 4 x', expected numbers"),
        ({"DimSize": "5 4 1.5"}, "DimSize is '5 4 1.5', expected whole numbers"),
        ({"DimSize": "5"}, r"sizes are \[5\], expected columns, rows, frames"),
        ({"DimSize": "5 4 3 1"}, "frames are volumes of 3 slices"),
        ({"DimSize": "5 4 4"}, "truncated, it has 60 of 80 bytes of pixels"),
        ({"DimSize": "50000 40000 1"}, "images are 50000x40000, expected ultrasound's size"),
        ({"BinaryData": "False"}, "pixels are text"),
        ({"UltrasoundImageOrientation": None}, "UltrasoundImageOrientation is ''"),
        ({"UltrasoundImageOrientation": "QF"}, "UltrasoundImageOrientation is 'QF'"),
    ],
)
def test_a_broken_header_is_refused(
    tmp_path: Path, header: dict[str, str | None], text: str
) -> None:
    path = write_mha(tmp_path / "a.igs.mha", header=header)
    with pytest.raises(SequenceError, match=text) as caught:
        open_sweep(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("Timestamp", None, "frame 1 has no Timestamp"),
        ("Timestamp", "soon", "frame 1: Timestamp is 'soon', expected seconds"),
        ("Timestamp", "nan", "frame 1: Timestamp is 'nan', expected seconds"),
        ("ProbeToTrackerTransform", "1 0 0", "ProbeToTrackerTransform has 3 numbers, expected 16"),
        ("ProbeToTrackerTransform", "a", "ProbeToTrackerTransform is 'a', expected numbers"),
    ],
)
def test_a_broken_frame_is_refused(tmp_path: Path, key: str, value: str | None, text: str) -> None:
    frames = frame_fields()
    del frames[1]["UnfilteredTimestamp"], frames[1][key]
    if value is not None:
        frames[1][key] = value
    with pytest.raises(SequenceError, match=text):
        open_sweep(write_mha(tmp_path / "a.igs.mha", frames=frames))


def test_a_frame_of_which_only_the_unfiltered_time_is_known(tmp_path: Path) -> None:
    frames = frame_fields()
    del frames[0]["Timestamp"]
    assert open_sweep(write_mha(tmp_path / "a.mha", frames=frames)).span_s == (10.001, 11.0)


def test_a_header_without_an_end_and_a_file_that_is_none(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.igs.mha")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(SequenceError, match="the header ends before ElementDataFile"):
        open_sweep(path)
    path.write_bytes(bytes(range(256)) * 10)
    with pytest.raises(SequenceError, match="not a MetaImage header"):
        open_sweep(path)
    other = tmp_path / "a.igs.nrrd"
    other.write_bytes(path.read_bytes())
    with pytest.raises(SequenceError, match="not an NRRD file"):
        open_sweep(other)
    other.write_bytes(b"NRRD0004\ntype: uint8\n")
    with pytest.raises(SequenceError, match="the header does not end"):
        open_sweep(other)


@pytest.mark.parametrize(
    ("standard", "text"),
    [
        ({"type": "short"}, "1 x 'short', expected 1 x unsigned 8 bit"),
        ({"encoding": "bzip2"}, "encoding is 'bzip2', expected raw or gzip"),
        ({"sizes": ""}, "sizes is missing"),
        ({"kinds": "list domain domain"}, "expected the list last"),
    ],
)
def test_a_broken_nrrd_header_is_refused(
    tmp_path: Path, standard: dict[str, str], text: str
) -> None:
    with pytest.raises(SequenceError, match=text):
        open_sweep(write_nrrd(tmp_path / "a.igs.nrrd", **standard))


def test_truncated_pixels(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.mha", compress=True)
    _cut(path, 5)
    with pytest.raises(SequenceError, match=r"a\.mha: truncated, it has \d+ of \d+ bytes"):
        open_sweep(path)
    path = write_nrrd(
        tmp_path / "a.nrrd", np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    )
    _cut(path, 3000)
    sweep = open_sweep(path)
    images = [e for e in sweep.events() if isinstance(e, SweepImage)]
    images[0].load()
    for image in images[2], images[1], images[2]:
        with pytest.raises(SequenceError, match=r"frame 1 of 3 cannot be inflated: .* end"):
            image.load()
    images[0].load()


def test_damaged_zlib(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.mha", compress=True)
    data = bytearray(path.read_bytes())
    start = data.index(b"LOCAL\n") + 6
    data[start : start + 2] = b"\0\0"
    path.write_bytes(data)
    image = next(e for e in open_sweep(path).events() if isinstance(e, SweepImage))
    with pytest.raises(SequenceError, match="frame 0 of 3 cannot be inflated: Error -3"):
        image.load()


def test_neither_images_nor_poses(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.mha", np.empty((1, 0, 0), np.uint8), [{"Timestamp": "1"}])
    with pytest.raises(SequenceError, match="holds neither images nor poses"):
        open_sweep(path)


# -- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("name", ["b.igs.mha", "b.igs.nrrd"])
def test_a_round_trip_keeps_everything(tmp_path: Path, name: str, is_compressed: bool) -> None:
    frames = frame_fields()
    frames[1] |= {"ProbeToTrackerTransformStatus": "INVALID", "Note": "as it is = yes"}
    header = {"Operator": "nobody", "ElementSpacing": "0.1 0.25 1"}
    original = open_sweep(write_mha(tmp_path / "a.mha", frames=frames, header=header))
    written = save_sweep(original, tmp_path / name, is_compressed=is_compressed)
    assert (written.n_images, written.n_poses, written.notes) == (3, 3, ())
    copy = open_sweep(tmp_path / name)
    assert isinstance(original, IgsSweep)
    assert isinstance(copy, IgsSweep)
    assert (copy.fields, copy.spacing_mm) == (original.fields, (0.1, 0.25))
    assert copy.poses_without_status == ()
    np.testing.assert_array_equal(_images(copy), pixels())
    for ours, theirs in zip(copy.events(), original.events(), strict=True):
        assert (ours.t_s, ours.fields) == (theirs.t_s, theirs.fields)
        if isinstance(ours, SweepPose) and isinstance(theirs, SweepPose):
            assert (ours.name, ours.status) == (theirs.name, theirs.status)
            np.testing.assert_array_equal(ours.matrix, theirs.matrix)


def test_an_image_that_cannot_be_read_leaves_no_file(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.mha")
    sweep = open_sweep(path)
    _cut(path, 30)
    with pytest.raises(SequenceError, match=r"a\.mha: ends inside frame 1"):
        save_sweep(sweep, tmp_path / "b.igs.mha")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mha"]


def test_existing_files_stay(tmp_path: Path) -> None:
    path = write_mha(tmp_path / "a.igs.mha")
    before = path.read_bytes()
    with pytest.raises(SequenceError, match="exists already"):
        save_sweep(open_sweep(path), path)
    assert path.read_bytes() == before
    with pytest.raises(SequenceError, match=r"expected \.mcap, \.igs\.mha"):
        save_sweep(open_sweep(path), tmp_path / "b.avi")
    with pytest.raises(SequenceError, match="cannot be written: No such file"):
        save_sweep(open_sweep(path), tmp_path / "no" / "b.igs.mha")
    with pytest.raises(SequenceError, match="cannot be written: Not a directory"):
        save_sweep(open_sweep(path), path / "b.igs.mha")
