"""Recordings: bit for bit what arrived, readable wherever they were cut."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable
from pathlib import Path

import mcap.reader
import mcap.writer
import numpy as np
import pytest

from tests.support import messages
from tests.support.igs import frame_fields, pixels, write_mha
from tracking.errors import SequenceError
from tracking.messages import PoseStatus
from tracking.sequences import SweepImage, SweepPose, open_sweep, save_sweep
from tracking.sequences.mcap_sweep import McapSweep
from tracking.sequences.recording import FLUSH_AFTER_S, Recording, RecordingWriter
from tracking.wire import RawMessage, encode_image, encode_raw, parse_raw


def _record(path: Path, raws: Iterable[RawMessage]) -> Path:
    writer = RecordingWriter(path)
    for raw in raws:
        writer.add(raw)
    writer.close({"by": "test"})
    return path


def _bytes(raw: RawMessage) -> bytes:
    return b"".join(encode_raw(raw))


@pytest.mark.parametrize("version", [1, 2])
def test_a_received_message_is_written_as_it_was_on_the_wire(version: int) -> None:
    name = "Image" if version == 1 else "ANameOfMoreThanTwentyBytes"
    sent = b"".join(encode_image(name, pixels(1)[0], 1.25, version=version))
    assert _bytes(parse_raw(sent, t_arrival_s=7.0)) == sent


def test_messages_come_back_bit_for_bit_with_their_arrival(tmp_path: Path) -> None:
    sent = messages.session()
    recording = Recording(_record(tmp_path / "a.mcap", sent))
    found = list(recording.messages())
    assert [_bytes(raw) for raw in found] == [_bytes(raw) for raw in sent]
    np.testing.assert_allclose(
        [raw.t_arrival_s for raw in found], [raw.t_arrival_s for raw in sent], rtol=0, atol=1e-9
    )
    assert recording.is_closed
    assert recording.notes == {"by": "test"}
    expected = {
        ("STATUS", "Server"): 1,
        ("IMAGE", "Image"): 10,
        ("TRANSFORM", "ProbeToTracker"): 10,
    }
    assert recording.counts == expected


def test_the_library_of_the_format_reads_it_too(tmp_path: Path) -> None:
    sent = messages.session()
    with _record(tmp_path / "a.mcap", sent).open("rb") as file:
        reader = mcap.reader.make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == len(sent)
        assert len(summary.chunk_indexes) >= 2
        data = [message.data for _, _, message in reader.iter_messages(log_time_order=False)]
    assert data == [_bytes(raw) for raw in sent]


def test_a_file_cut_anywhere_gives_what_was_whole(tmp_path: Path) -> None:
    """Every 13 bytes: the messages before the cut, in order, never an error behind the head."""
    sent = [_bytes(raw) for raw in messages.session(8)]
    data = _record(tmp_path / "a.mcap", messages.session(8)).read_bytes()
    head = data.index(b"navapp.recording")
    cut = tmp_path / "cut.mcap"
    n_before = 0
    for n_bytes in range(head, len(data), 13):
        cut.write_bytes(data[:n_bytes])
        recording = Recording(cut)
        found = [hashlib.sha256(_bytes(raw)).digest() for raw in recording.messages()]
        assert found == [hashlib.sha256(raw).digest() for raw in sent[: len(found)]]
        assert len(found) >= n_before
        assert not recording.is_closed
        n_before = len(found)
    assert n_before == len(sent)


def test_a_cut_recording_is_a_sweep_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = _record(tmp_path / "a.mcap", messages.session())
    path.write_bytes(path.read_bytes()[:15_000])
    with caplog.at_level(logging.WARNING):
        sweep = open_sweep(path)
    n_messages = len(Recording(path).index.offset)
    assert 0 < sweep.n_images < 10
    assert f"a.mcap: was cut after {n_messages} messages" in caplog.text


def test_what_is_older_than_half_a_second_is_in_the_file(tmp_path: Path) -> None:
    """Without `flush`, without `close`: as if the process had been killed."""
    writer = RecordingWriter(tmp_path / "a.mcap")
    sent = messages.session(100)
    for n, raw in enumerate(sent, start=1):
        writer.add(raw)
        newest = [m.t_arrival_s for m in Recording(tmp_path / "a.mcap").messages()]
        late = [m for m in sent[:n] if raw.t_arrival_s - m.t_arrival_s > FLUSH_AFTER_S]
        assert len(newest) >= len(late)
    writer.abandon()
    assert FLUSH_AFTER_S <= 0.5


def test_zeros_at_the_end_are_no_messages(tmp_path: Path) -> None:
    """What a file system leaves after a power cut."""
    path = _record(tmp_path / "a.mcap", messages.session(4))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(5000))
    assert len(Recording(path).index.offset) <= 5


def test_recordings_are_never_overwritten(tmp_path: Path) -> None:
    path = _record(tmp_path / "a.mcap", messages.session(4))
    before = path.read_bytes()
    with pytest.raises(SequenceError, match="exists already"):
        RecordingWriter(path)
    assert path.read_bytes() == before


# -- as a sweep ----------------------------------------------------------------------------------


def test_a_sweep_is_in_the_order_of_the_stamps(tmp_path: Path) -> None:
    sweep = open_sweep(_record(tmp_path / "a.mcap", messages.session()))
    assert isinstance(sweep, McapSweep)
    assert (sweep.n_images, sweep.image_name) == (10, "Image")
    assert sweep.spacing_mm == pytest.approx((0.1, 0.2), abs=1e-7), "single precision on the wire"
    assert sweep.clock == "sender"
    assert sweep.span_s == (1000.0, 1000.91)
    events = list(sweep.events())
    assert [type(e).__name__ for e in events] == ["SweepImage", "SweepPose"] * 10
    for k, event in enumerate(events):
        assert event.t_s == pytest.approx(1000.0 + 0.1 * (k // 2) + 0.01 * (k % 2), abs=1e-9)
        if isinstance(event, SweepImage):
            assert (event.index, event.fields) == (k // 2, {"FrameNumber": str(k // 2)})
            assert set(event.load().flat) == {k // 2}
        else:
            assert event.matrix[0, 3] == k // 2


def test_invalid_poses_stay_invalid(tmp_path: Path) -> None:
    raws = [messages.pose(0, 1, 1), messages.pose(0, 2, 2, PoseStatus.INVALID)]
    events = list(open_sweep(_record(tmp_path / "a.mcap", raws)).events())
    assert [e.status for e in events if isinstance(e, SweepPose)] == [
        PoseStatus.OK,
        PoseStatus.INVALID,
    ]


@pytest.mark.parametrize("second_stamp_s", [0.0, 10.0])
def test_without_a_common_clock_of_the_sender_arrivals_are_used(
    tmp_path: Path, second_stamp_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """No stamps, or a server that was started again with stamps from the beginning."""
    raws = [messages.pose(1, 1000.0, 500.0), messages.pose(2, second_stamp_s, 501.0)]
    with caplog.at_level(logging.WARNING):
        sweep = open_sweep(_record(tmp_path / "a.mcap", raws))
    assert isinstance(sweep, McapSweep)
    assert sweep.clock == "arrival"
    assert "arrivals are used" in caplog.text
    first, second = sweep.events()
    assert second.t_s - first.t_s == pytest.approx(1.0, abs=1e-6)


def test_a_stamp_that_overtakes_a_little_is_sorted(tmp_path: Path) -> None:
    raws = [messages.pose(k, 1000.0 + t_s, 500.0 + k) for k, t_s in enumerate((0.0, 0.5, 0.4))]
    sweep = open_sweep(_record(tmp_path / "a.mcap", raws))
    assert [e.t_s for e in sweep.events()] == [1000.0, 1000.4, 1000.5]


def test_of_several_image_streams_the_fullest_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raws = [messages.image(k, 1.0 + k, 1.0 + k, "Small" if k == 1 else "Large") for k in range(4)]
    with caplog.at_level(logging.WARNING):
        sweep = open_sweep(_record(tmp_path / "a.mcap", raws))
    assert (sweep.image_name, sweep.n_images) == ("Large", 3)
    assert "Small is not used" in caplog.text


def test_a_damaged_message_is_named(tmp_path: Path) -> None:
    raws = [messages.image(7, 1.0, 1.0), messages.image(8, 2.0, 2.0)]
    path = _record(tmp_path / "a.mcap", raws)
    data = bytearray(path.read_bytes())
    data[data.index(bytes([7] * 100))] = 0
    path.write_bytes(data)
    first, second = (e for e in open_sweep(path).events() if isinstance(e, SweepImage))
    with pytest.raises(SequenceError, match=r"a\.mcap: message 0: IMAGE Image is damaged"):
        first.load()
    assert second.load()[0, 0] == 8


def test_what_is_no_recording_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(SequenceError, match="not an MCAP file"):
        open_sweep(path)
    _foreign(path, encoding="json", compression=mcap.writer.CompressionType.NONE)
    with pytest.raises(SequenceError, match="messages of 't' are 'json', expected openigtlink"):
        open_sweep(path)
    _foreign(path, encoding="openigtlink", compression=mcap.writer.CompressionType.ZSTD)
    with pytest.raises(
        SequenceError, match=r"compressed \('zstd'\), expected none: `mcap decompress"
    ):
        open_sweep(path)
    path.unlink()
    with pytest.raises(SequenceError, match="holds neither images nor poses"):
        open_sweep(_record(path, [messages.status(1.0)]))


def _foreign(path: Path, encoding: str, compression: mcap.writer.CompressionType) -> None:
    with path.open("wb") as file:
        writer = mcap.writer.Writer(file, compression=compression)
        writer.start()
        channel = writer.register_channel("t", encoding, schema_id=0)
        writer.add_message(channel, log_time=1, data=b"{}", publish_time=1)
        writer.finish()


# -- written from another sweep ------------------------------------------------------------------


def test_a_recording_of_a_recording(tmp_path: Path) -> None:
    original = open_sweep(_record(tmp_path / "a.mcap", messages.session()))
    written = save_sweep(original, tmp_path / "b.mcap")
    assert (written.n_images, written.n_poses) == (10, 10)
    assert "single precision" in written.notes[0]
    for a, b in zip(open_sweep(tmp_path / "b.mcap").events(), original.events(), strict=True):
        assert (a.t_s, a.fields) == (b.t_s, b.fields)


def test_poses_between_images_become_frames_without_one(tmp_path: Path) -> None:
    original = open_sweep(_record(tmp_path / "a.mcap", messages.session()))
    written = save_sweep(original, tmp_path / "b.igs.mha")
    assert written.notes == ("10 frames hold poses between the images: their image is blank",)
    copy = open_sweep(tmp_path / "b.igs.mha")
    assert copy.n_images == 10
    for a, b in zip(copy.events(), original.events(), strict=True):
        assert (type(a), a.t_s) == (type(b), b.t_s)


def test_poses_that_the_server_repeats_beside_the_image_do_not_win(tmp_path: Path) -> None:
    """PlusServer sends every field of a frame as metadata of its image, poses among them."""
    fields = {
        "ProbeToTrackerTransform": "9 " * 16,
        "ProbeToTrackerTransformStatus": "OK",
        "ImageStatus": "INVALID",
        "Timestamp": "77",
    }
    raws = [
        messages.arrived(encode_image("Image", pixels(1)[0], 1.0, metadata=fields), 1.0),
        messages.pose(3.0, 1.0, 1.0, PoseStatus.INVALID),
    ]
    save_sweep(open_sweep(_record(tmp_path / "a.mcap", raws)), tmp_path / "b.igs.mha")
    image, pose = open_sweep(tmp_path / "b.igs.mha").events()
    assert isinstance(image, SweepImage)
    assert isinstance(pose, SweepPose)
    assert (image.t_s, pose.matrix[0, 3], pose.status) == (1.0, 3.0, PoseStatus.INVALID)


@pytest.mark.parametrize(
    ("stamp", "text"),
    [("0", "first stamp is 0 s, expected above 0"), ("5e9", "cannot be recorded: stamp is 5000")],
)
def test_a_stamp_that_the_wire_cannot_carry(tmp_path: Path, stamp: str, text: str) -> None:
    frames = frame_fields(1)
    frames[0]["Timestamp"] = stamp
    sweep = open_sweep(write_mha(tmp_path / "a.mha", pixels(1), frames))
    with pytest.raises(SequenceError, match=text):
        save_sweep(sweep, tmp_path / "b.mcap")
    assert not (tmp_path / "b.mcap").exists()
