"""Recording from real sockets: killed, out of disk, beside a session; and what to do with files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navapp import cli
from navapp.demo import serve
from navapp.equipment import load_equipment
from navapp.feeds import Inlet
from navapp.recorder import Recorder
from navapp.session import Session, SessionMode
from navapp.state import SessionState, SessionStatus
from tests.support import messages
from tests.support.igs import write_mha
from tests.support.records import write_record
from tracking.calibration import load_calibration
from tracking.sequences import SweepImage, open_sweep
from tracking.sequences.recording import Recording
from tracking.server import Server
from tracking.wire import encode_image, encode_transform

_DEADLINE_S = 50.0
_SIX_OF_EACH = {("IMAGE", "Image"): 6, ("TRANSFORM", "ProbeToCt"): 6}

Navapp = Callable[..., tuple[int, str, str]]


@pytest.fixture
def navapp(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Navapp:
    """Exit code, output and the last line of the error output."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["navapp", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        errors = captured.err.strip().splitlines()
        return int(ended.value.code or 0), captured.out, errors[-1] if errors else ""

    return call


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "record"
    write_record(folder)
    return folder


@contextmanager
def _stream(server: Server) -> Iterator[list[float]]:
    """An image and two poses every 10 ms, each stamped with its own moment; gives what was sent."""
    stop = threading.Event()
    pixels = np.zeros((100, 200), np.uint8)
    sent: list[float] = []

    def run() -> None:
        while not stop.wait(0.01):
            now_s = time.monotonic()
            server.send(encode_image("Image", pixels, now_s))
            server.send(encode_transform("ProbeToTracker", np.eye(4), now_s))
            server.send(encode_transform("ReferenceToTracker", np.eye(4), now_s))
            sent.append(now_s)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()


def _navapp_process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "navapp", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def _wait_until(is_so: Callable[[], bool]) -> None:
    pause = threading.Event()
    end_s = time.monotonic() + _DEADLINE_S
    while not is_so():
        assert time.monotonic() < end_s, "waited in vain"
        pause.wait(0.01)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# -- what can happen to a recording --------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize("n_bytes", [200_000, 3_000_001, 6_500_000])
def test_kill_9_loses_no_more_than_the_last_second(tmp_path: Path, n_bytes: int) -> None:
    """Killed at some moment after so many bytes: what was sent a second before is in the file."""
    path = tmp_path / "a.mcap"
    with Server(port=0) as server:
        address = f"127.0.0.1:{server.port}"
        process = _navapp_process("record", "--server", address, "--out", path)
        with _stream(server), process:
            _wait_until(lambda: _size(path) > n_bytes)
            t_killed_s = time.monotonic()
            process.kill()
            process.communicate(timeout=_DEADLINE_S)
    recording = Recording(path)
    assert not recording.is_closed
    stamps_s = [event.t_s for event in open_sweep(path).events()]
    assert t_killed_s - stamps_s[-1] < 1.0
    sequence = [raw.type for raw in recording.messages() if raw.type != "STATUS"]
    whole = sequence[: len(sequence) // 3 * 3]
    assert whole == ["IMAGE", "TRANSFORM", "TRANSFORM"] * (len(whole) // 3), "nothing is missing"


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of a file")
def test_a_full_disk_ends_the_recording_with_one_line(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "a.mcap"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    with Server(port=0) as server:
        address = f"127.0.0.1:{server.port}"
        process = _navapp_process("record", "--server", address, "--out", path, preexec_fn=limit)
        with _stream(server), process:
            _, err = process.communicate(timeout=_DEADLINE_S)
    assert process.returncode == 1, err
    last = err.strip().splitlines()[-1]
    assert last.startswith("navapp: recording ended: ")
    assert "a.mcap: cannot be written: File too large" in last
    assert _size(path) <= 1_000_000
    assert len(list(Recording(path).messages())) > 20


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of a file")
def test_a_session_goes_on_without_its_recording(record: Path, tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow beyond 1.5 MB, less than its images."""
    out = tmp_path / "out"
    limits = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))"
    code = f"{limits}; from navapp.cli import main; main()"
    with serve(open_sweep(record), 1.0) as port:
        arguments = [
            "run", "--server", f"127.0.0.1:{port}", "--headless", "--until-closed", "--record",
            "--calibration", record / "calibration.toml", "--ct", record / "bone.ply",
            "--out", out,
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True, text=True, timeout=_DEADLINE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "recording ended" in done.stderr.strip().splitlines()[-1]
    report = json.loads((out / "report.json").read_text())
    assert report["frames"]["received"] == 6, "the session saw all images"
    assert report["complete"] is True
    assert 0 < report["recording"]["n_messages"] < report["recording"]["n_received"]
    assert "cannot be written" in report["recording"]["problem"]


def test_a_session_says_that_its_recording_ended(record: Path, tmp_path: Path) -> None:
    """Two messages for a queue of one, before the thread that writes has begun."""
    settings = cli._settings(None, None, None, record / "calibration.toml", None)
    recorder = Recorder(tmp_path / "a.mcap", capacity=1)
    for stamp_s in (1.0, 2.0):
        recorder.put(messages.pose(0.0, stamp_s, stamp_s))
    seen: list[SessionStatus] = []

    class Feed:
        def run(self, inlet: Inlet, stop: threading.Event) -> None:
            inlet.link("", "connected", is_up=True)
            seen.append(session.status())

    mode = SessionMode(is_live=True, has_window=True)
    session = Session(settings, load_equipment(settings), Feed(), mode, recorder)
    session.start()
    assert session.finished.wait(_DEADLINE_S)
    session.stop()
    assert seen[0].state is SessionState.DEGRADED
    assert "the disk does not keep up" in seen[0].detail
    assert recorder.conclude().n_messages == 1


def test_ctrl_c_closes_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with Server(port=0) as server:
        process = _navapp_process("record", "--server", f"127.0.0.1:{server.port}", "--out", path)
        with _stream(server), process:
            _wait_until(lambda: _size(path) > 200_000)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=_DEADLINE_S)
    assert process.returncode == 130, err
    assert Recording(path).is_closed


# -- the commands --------------------------------------------------------------------------------


def test_a_recording_beside_a_session_holds_every_message(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serve(open_sweep(record), 1.0) as port:
        code, printed, err = navapp(
            "run", "--server", f"127.0.0.1:{port}", "--headless", "--until-closed", "--record",
            "--calibration", record / "calibration.toml", "--out", out,
        )  # fmt: skip
    assert code == 0, err
    report = json.loads((out / "report.json").read_text())
    n_messages = report["recording"]["n_messages"]
    assert f"recording  {n_messages} messages" in printed
    assert report["recording"]["problem"] is None
    assert n_messages == report["recording"]["n_received"]
    counts = Recording(out / "recording.mcap").counts
    assert counts.total() == n_messages
    assert _SIX_OF_EACH.items() <= counts.items()
    original = [e for e in open_sweep(record).events() if isinstance(e, SweepImage)]
    recorded = [e for e in open_sweep(out / "recording.mcap").events() if isinstance(e, SweepImage)]
    for ours, theirs in zip(recorded, original, strict=True):
        np.testing.assert_array_equal(ours.load(), theirs.load())
    code, _, err = navapp("run", "--record", "--headless", "--out", out,
                          "--calibration", record / "calibration.toml")  # fmt: skip
    assert (code, "recording.mcap: exists already" in err) == (2, True)


def test_record_for_some_time_and_until_the_server_closes(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    with Server(port=0) as server, _stream(server):
        code, printed, _ = navapp(
            "record", "--server", f"127.0.0.1:{server.port}", "--seconds", "0.5",
            "--out", tmp_path / "a.mcap",
        )  # fmt: skip
    n_messages = len(Recording(tmp_path / "a.mcap").index.offset)
    assert (code, f"recorded {n_messages} messages" in printed) == (0, True)
    with serve(open_sweep(record), None) as port:
        code, printed, _ = navapp(
            "record", "--server", f"127.0.0.1:{port}", "--until-closed",
            "--out", tmp_path / "b.mcap",
        )  # fmt: skip
    assert code == 0
    assert _SIX_OF_EACH.items() <= Recording(tmp_path / "b.mcap").counts.items()


def test_a_session_that_met_no_server_leaves_no_recording(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[server]\nconnect_timeout_s = 0.3\n")
    for _ in range(2):  # what failed can be repeated as it was
        code, _, err = navapp(
            "run", "--config", config, "--server", "127.0.0.1:1", "--headless", "--record",
            "--calibration", record / "calibration.toml", "--out", tmp_path / "out",
        )  # fmt: skip
        assert (code, "127.0.0.1:1" in err) == (1, True)
        assert not (tmp_path / "out" / "recording.mcap").exists()


def test_record_refuses_what_cannot_work(navapp: Navapp, tmp_path: Path) -> None:
    code, _, err = navapp(
        "record", "--server", "127.0.0.1:1", "--seconds", "0.3", "--out", tmp_path / "b.mcap"
    )
    assert (code, "127.0.0.1:1" in err) == (1, True)
    assert not (tmp_path / "b.mcap").exists()  # it would be in the way of a second try
    (tmp_path / "a.mcap").touch()
    code, _, err = navapp("record", "--out", tmp_path / "a.mcap")
    assert (code, "a.mcap: exists already" in err) == (2, True)
    code, _, err = navapp("record", "--out", tmp_path / "a.mha")
    assert (code, "expected a file that ends in .mcap" in err) == (2, True)


@pytest.mark.parametrize("name", ["copy.igs.mha", "copy.igs.nrrd", "copy.mcap", "copy"])
def test_every_format_gives_the_same_cloud(
    navapp: Navapp, record: Path, tmp_path: Path, name: str
) -> None:
    """Converted, then reconstructed; beside it the cloud of the original."""
    clouds = []
    code, _, err = navapp("convert", record, tmp_path / name)
    assert code == 0, err
    for sweep in (record, tmp_path / name):
        out = tmp_path / f"out-{len(clouds)}"
        code, _, err = navapp(
            "reconstruct", sweep, "--ct", record / "bone.ply", "--out", out,
            "--calibration", record / "calibration.toml",
        )  # fmt: skip
        assert code == 0, err
        clouds.append(json.loads((out / "report.json").read_text()))
    original, copy = clouds
    assert copy["frames"] == original["frames"]
    assert copy["points"] == pytest.approx(original["points"], abs=3)
    assert copy["ct_distance_mm"]["mean"] == pytest.approx(
        original["ct_distance_mm"]["mean"], abs=1e-4
    )


@pytest.mark.parametrize("name", ["copy.igs.mha", "copy.igs.nrrd", "copy.mcap"])
def test_every_format_is_replayed(navapp: Navapp, record: Path, tmp_path: Path, name: str) -> None:
    assert navapp("convert", record, tmp_path / name)[0] == 0
    code, _, err = navapp(
        "demo", "--sweep", tmp_path / name, "--headless", "--out", tmp_path / "out",
        "--calibration", record / "calibration.toml",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads((tmp_path / "out" / "report.json").read_text())["frames"]["received"] == 6


def test_a_sweep_without_images_is_not_reconstructed(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    write_mha(tmp_path / "poses.igs.mha", np.empty((3, 0, 0), np.uint8))
    code, _, err = navapp(
        "reconstruct", tmp_path / "poses.igs.mha", "--out", tmp_path / "out",
        "--calibration", record / "calibration.toml",
    )  # fmt: skip
    assert (code, "poses.igs.mha: holds no images" in err) == (2, True)


def test_convert_says_what_is_lost(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    code, printed, _ = navapp("convert", record, tmp_path / "a.mcap")
    assert code == 0
    assert "6 images and 6 poses" in printed
    assert "note: poses are single precision" in printed
    code, _, err = navapp("convert", record, tmp_path / "no" / "a.igs.mha")
    assert (code, "a.igs.mha: cannot be written" in err) == (1, True)
    code, _, err = navapp("convert", record, tmp_path / "a.avi")
    assert (code, "not a format that can be written" in err) == (2, True)


def test_inspect_tells_what_a_file_holds(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    def facts(path: Path) -> dict[str, Any]:
        code, printed, err = navapp("inspect", path, "--json")
        assert code == 0, err
        return dict(json.loads(printed))

    found = facts(record)
    assert (found["kind"], found["n_images"], found["image_size_px"]) == ("sweep", 6, [640, 480])
    assert found["poses"] == {"ProbeToCt": {"OK": 6}}
    assert navapp("convert", record, tmp_path / "a.mcap")[0] == 0
    found = facts(tmp_path / "a.mcap")
    assert (found["kind"], found["is_closed"], found["n_messages"]) == ("recording", True, 12)
    assert found["streams"] == {"IMAGE Image": 6, "TRANSFORM ProbeToCt": 6}
    assert (found["sweep"]["n_images"], found["sweep"]["clock"]) == (6, "sender")
    found = facts(record / "calibration.toml")
    assert (found["kind"], found["spacing_mm"]) == ("calibration", pytest.approx([0.08, 0.085]))
    settings = cli._settings(None, None, None, record / "calibration.toml", None)
    model = load_equipment(settings).segmenter.session.path
    assert facts(model)["kind"] == "model"
    code, printed, _ = navapp("inspect", model)
    assert (code, "intended_use" in printed) == (0, True)
    assert all(len(line) <= 100 for line in printed.splitlines() if line.count(", ") > 5)
    code, printed, _ = navapp("inspect", record / "calibration.toml")
    lines = printed.splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("A_probe_pixel"))
    rows = [line[25:].split() for line in lines[first : first + 4]]
    matrix = load_calibration(record / "calibration.toml").A_probe_pixel
    np.testing.assert_allclose(np.array(rows, dtype=float), matrix, rtol=1e-5)
    assert not lines[first + 4].startswith(" ")


@pytest.mark.parametrize("name", ["none.mcap", "none.igs.mha", "none.onnx", "none.toml", "none"])
def test_inspect_of_what_is_not_there(navapp: Navapp, tmp_path: Path, name: str) -> None:
    code, _, err = navapp("inspect", tmp_path / name)
    assert (code, str(tmp_path / name) in err) == (2, True)


def test_a_real_plus_sweep_is_reconstructed(
    navapp: Navapp, shared_data: Path, tmp_path: Path
) -> None:
    plus = shared_data / "plus"
    code, _, err = navapp(
        "reconstruct", plus / "BoneUltrasound_L14.igs.mha",
        "--calibration", plus / "BoneUltrasound_L14_config.xml", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"]["processed"] == 21
    assert report["poses"] == {"received": 63, "invalid": 0, "lost": 0}
    assert os.path.getsize(tmp_path / "out" / "cloud.ply") > 0
