"""The commands as a user meets them: one line for bad input, the right exit code, no trace."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from navapp import cli
from navapp.demo import serve
from tests.support.records import write_record
from tests.support.sweeps import AlteredSweep, each
from tracking.sequences import SweepImage, SweepPose, open_sweep
from tracking.server import Server
from tracking.wire import encode_image, encode_transform

_DEADLINE_S = 50.0


@pytest.fixture(scope="module")
def good_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "record"
    write_record(folder)
    return folder


@pytest.fixture
def record(good_record: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(good_record, tmp_path / "record"))


class _Outcome:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def says(self, code: int, *parts: str) -> None:
        """One line on stderr with all parts, and this exit code."""
        assert self.code == code, self.err
        assert self.err.startswith("navapp: "), self.err
        assert self.err.count("\n") == 1, self.err
        for part in parts:
            assert part in self.err


Navapp = Callable[..., _Outcome]


@pytest.fixture
def navapp(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Navapp:
    def call(*arguments: object) -> _Outcome:
        monkeypatch.setattr(sys, "argv", ["navapp", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capfd.readouterr()
        return _Outcome(int(ended.value.code or 0), captured.out, captured.err)

    return call


def _report(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


# -- what works --------------------------------------------------------------------------------


def test_reconstruct_uses_every_frame_and_gives_the_same_cloud_twice(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    clouds = []
    for out in (tmp_path / "a", tmp_path / "b"):
        assert navapp("reconstruct", record, "--ct", record / "bone.ply", "--out", out).code == 0
        report = _report(out)
        assert report["frames"]["received"] == report["frames"]["processed"] == 6
        assert (report["frame"], report["complete"]) == ("ct", True)
        assert report["ct_distance_mm"]["mean"] < 0.5
        assert report["latency_ms"]["end_to_end"] is None
        clouds.append((out / "cloud.ply").read_bytes())
    assert clouds[0] == clouds[1]


def test_the_saved_session_is_a_configuration(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    """`session.toml` of one run is accepted by the next: it asks for the same files."""
    assert navapp("reconstruct", record, "--out", tmp_path / "a").code == 0
    outcome = navapp(
        "run", "--config", tmp_path / "a" / "session.toml", "--server", "127.0.0.1:1",
        "--headless", "--seconds", "0.2", "--out", tmp_path / "b",
    )  # fmt: skip
    outcome.says(1, "127.0.0.1:1", "refused")
    assert "calibration.toml" in _report(tmp_path / "b")["calibration"]["source"]


def test_demo_of_a_record_without_a_window(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    outcome = navapp("demo", "--sweep", record, "--headless", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    frames = _report(tmp_path / "out")["frames"]
    assert frames["received"] == 6
    assert frames["received"] == frames["processed"] + sum(frames["skipped"].values())


def test_images_and_poses_from_two_servers(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    """The same sweep, cut in two: a scanner without poses and a tracker without images."""
    sweep = open_sweep(record)
    scanner = AlteredSweep(sweep, each(lambda e: e if isinstance(e, SweepImage) else None))
    tracker = AlteredSweep(sweep, each(lambda e: e if isinstance(e, SweepPose) else None))
    with serve(scanner, 0.5) as images_at, serve(tracker, 0.5) as poses_at:
        outcome = navapp(
            "run", "--server", f"127.0.0.1:{images_at}", "--server", f"127.0.0.1:{poses_at}",
            "--headless", "--until-closed", "--calibration", record / "calibration.toml",
            "--out", tmp_path / "out",
        )  # fmt: skip
    report = _report(tmp_path / "out")
    assert report["frames"]["received"] > 0, outcome.err
    assert report["poses"]["received"] > 0, outcome.err


# -- wrong input: exit code 2, before anything connects ------------------------------------------


def test_a_missing_sweep(navapp: Navapp, tmp_path: Path) -> None:
    navapp("reconstruct", tmp_path / "no", "--out", tmp_path / "out").says(2, "no: no such sweep")


def test_an_empty_sweep(navapp: Navapp, tmp_path: Path) -> None:
    navapp("replay", tmp_path).says(2, "no tracking.csv")


def test_a_broken_table(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    table = record / "tracking.csv"
    table.write_text(table.read_text().replace("1100,,", "1100,,north", 1))
    navapp("demo", "--sweep", record, "--headless").says(2, "tracking.csv, line 4", "not a pose")


def test_a_pose_that_is_none(navapp: Navapp, record: Path) -> None:
    lines = (record / "tracking.csv").read_text().splitlines()
    cells = lines[2].split(",")
    cells[3] = "nan"
    (record / "tracking.csv").write_text("\n".join((*lines[:2], ",".join(cells), *lines[3:])))
    navapp("demo", "--sweep", record, "--headless").says(2, "line 3", "not finite")


def test_no_calibration(navapp: Navapp, record: Path) -> None:
    (record / "calibration.toml").unlink()
    navapp("demo", "--sweep", record, "--headless").says(2, "no probe calibration", "--calibration")


def test_a_calibration_that_is_none(navapp: Navapp, record: Path) -> None:
    (record / "calibration.toml").write_text("[probe]\nA_probe_pixel = [[1, 0], [0, 1]]\n")
    navapp("demo", "--sweep", record, "--headless").says(2, "calibration.toml", "shape is (2, 2)")


def test_a_ct_surface_that_is_none(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    (record / "bone.stl").write_text("nothing")
    navapp("demo", "--sweep", record, "--headless", "--ct", record / "bone.stl").says(2, "bone.stl")


def test_a_model_without_a_contract(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [value], [out]),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.save(model, tmp_path / "plain.onnx")
    arguments = ("demo", "--sweep", record, "--headless", "--model")
    navapp(*arguments, tmp_path / "plain.onnx").says(2, "plain.onnx", "no navapp contract")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    navapp(*arguments, tmp_path / "junk.onnx").says(2, "junk.onnx")
    navapp(*arguments, tmp_path / "none.onnx").says(2, "none.onnx")


def test_a_port_in_use(navapp: Navapp, record: Path) -> None:
    with Server(port=0) as server:
        navapp("replay", record, "--port", server.port).says(2, str(server.port), "in use")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("demo", "--speed", "fast", "--headless"), "--speed is fast"),
        (("demo", "--speed", "0", "--headless"), "--speed is 0"),
        (("run", "--server", "nowhere", "--headless"), "expected HOST:PORT"),
        (("replay", "{record}", "--stamps", "later"), "--stamps is later"),
        (("replay", "{record}", "--fault", "rain=1"), "--fault is rain=1"),
        (("replay", "{record}", "--fault", "loss=2"), "loss is 2.0, expected 0 to 1"),
        (("fly",), "fly"),
        (("run", "--depth"), "--depth"),
    ],
)
def test_words_that_are_no_command(
    navapp: Navapp, good_record: Path, arguments: tuple[str, ...], text: str
) -> None:
    navapp(*(word.format(record=good_record) for word in arguments)).says(2, text)


def test_a_place_where_results_cannot_be_written(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    arguments = (("reconstruct", record), ("demo", "--headless"), ("run", "--headless"))
    for words in arguments:
        navapp(*words, "--out", tmp_path / "out").says(2, "--out", "cannot be written")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("server = 5", "server"),
        ('model = "a.onnx"', "model"),
        ("[streams]\nwait = 3", "streams.wait is not a setting"),
    ],
)
def test_a_configuration_that_is_none(
    navapp: Navapp, tmp_path: Path, content: str, text: str
) -> None:
    (tmp_path / "c.toml").write_text(content)
    navapp(
        "run", "--config", tmp_path / "c.toml", "--server", "127.0.0.1:1", "--model", "b.onnx",
        "--headless", "--out", tmp_path / "out",
    ).says(2, "c.toml", text)  # fmt: skip


# -- trouble on the way: what was received is saved ----------------------------------------------


def test_unreadable_and_odd_sized_images_are_counted_and_the_rest_is_used(
    navapp: Navapp, record: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = record / "UltrasoundImages"
    (images / "1000.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((100, 200), dtype=np.uint8)).save(images / "1050.png")
    assert navapp("reconstruct", record, "--out", tmp_path / "out").code == 0
    frames = _report(tmp_path / "out")["frames"]
    assert (frames["processed"], frames["skipped"]["bad_image"]) == (4, 2)
    assert "1000.png" in caplog.text
    assert "200x100" in caplog.text


def test_a_session_that_can_use_no_image_is_no_success(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    calibration = record / "calibration.toml"
    calibration.write_text(calibration.read_text().replace("640", "950"))
    outcome = navapp("reconstruct", record, "--out", tmp_path / "out")
    outcome.says(2, "none of 6 images", "640x480", "950x480", "calibration.toml")


def _run_against(server: Server, navapp: Navapp, record: Path, out: Path, *more: str) -> _Outcome:
    return navapp(
        "run", "--server", f"127.0.0.1:{server.port}", "--headless", "--until-closed",
        "--calibration", record / "calibration.toml", "--out", out, *more,
    )  # fmt: skip


def _frame(stamp_s: float) -> tuple[object, ...]:
    return encode_image("Image", np.zeros((480, 640), dtype=np.uint8), stamp_s)


def test_no_server_at_all(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    settings = tmp_path / "quick.toml"
    settings.write_text("[server]\nconnect_timeout_s = 0.5\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    outcome = navapp(
        "run", "--config", settings, "--server", f"127.0.0.1:{port}", "--headless",
        "--calibration", record / "calibration.toml", "--out", tmp_path / "out",
    )  # fmt: skip
    outcome.says(1, f"127.0.0.1:{port}", "refused")
    assert _report(tmp_path / "out")["complete"] is False


def test_no_server_in_all_the_time_that_a_window_was_given(
    qapp: object, record: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (
        "run", "--server", f"127.0.0.1:{port}", "--seconds", "2",
        "--calibration", record / "calibration.toml", "--out", tmp_path / "out",
    )  # fmt: skip
    done = subprocess.run(
        (sys.executable, "-m", "navapp", *arguments), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    refused = f"navapp: cannot reach 127.0.0.1:{port}: Connection refused; nothing was received"
    assert done.stderr.strip().splitlines()[-1] == refused
    assert _report(tmp_path / "out")["frames"]["received"] == 0


def test_a_server_that_accepts_and_says_nothing(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    settings = tmp_path / "quick.toml"
    settings.write_text("[streams]\nwait_s = 0.3\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        navapp(
            "run", "--config", settings, "--server", f"127.0.0.1:{listener.getsockname()[1]}",
            "--headless", "--calibration", record / "calibration.toml", "--out", tmp_path / "out",
        ).says(2, "neither images nor poses")  # fmt: skip
    assert _report(tmp_path / "out")["complete"] is False


@pytest.mark.parametrize("option", ["--image", "--probe"])
def test_wrong_names_are_told_however_short_the_sweep(
    navapp: Navapp, record: Path, tmp_path: Path, option: str
) -> None:
    with serve(open_sweep(record), 1.0) as port:
        navapp(
            "run", "--server", f"127.0.0.1:{port}", "--headless", "--until-closed", option, "Foo",
            "--calibration", record / "calibration.toml", "--out", tmp_path / "out",
        ).says(2, "Foo", "Image (image)", "ProbeToCt (pose)")  # fmt: skip


def test_a_server_that_dies_in_the_middle_of_a_message(
    navapp: Navapp, record: Path, tmp_path: Path
) -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            for part in (*encode_transform("ProbeToCt", np.eye(4), 1.0), *_frame(1.0)):
                connection.sendall(part)
            connection.sendall(b"".join(_frame(1.05))[:1000])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        outcome = navapp(
            "run", "--server", f"127.0.0.1:{listener.getsockname()[1]}", "--headless",
            "--until-closed", "--calibration", record / "calibration.toml",
            "--out", tmp_path / "out",
        )  # fmt: skip
        thread.join()
    outcome.says(1, "lost", "IMAGE")
    report = _report(tmp_path / "out")
    assert report["frames"]["received"] == 1, "the whole image before it was kept"
    assert report["complete"] is False


def test_names_that_the_server_does_not_send(navapp: Navapp, record: Path, tmp_path: Path) -> None:
    settings = tmp_path / "quick.toml"
    settings.write_text("[streams]\nwait_s = 0.3\n")
    stop = threading.Event()

    def feed(server: Server) -> None:
        stamp_s = 1.0
        while not stop.wait(0.05):
            stamp_s += 0.05
            server.send(_frame(stamp_s))
            server.send(encode_transform("StylusToTracker", np.eye(4), stamp_s))

    with Server(port=0) as server:
        thread = threading.Thread(target=feed, args=(server,))
        thread.start()
        outcome = _run_against(server, navapp, record, tmp_path / "out", "--config", str(settings))
        stop.set()
        thread.join()
    outcome.says(2, "Probe", "Image (image)", "StylusToTracker (pose)")
    assert _report(tmp_path / "out")["frames"]["received"] > 0


@pytest.mark.parametrize("n_interrupts", [1, 3])
def test_ctrl_c_saves_what_was_received(record: Path, tmp_path: Path, n_interrupts: int) -> None:
    """In a process of its own, because the signal goes to the whole process."""
    pause = threading.Event()
    with Server(port=0) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "navapp", "run", "--server", f"127.0.0.1:{server.port}",
             "--headless", "--calibration", record / "calibration.toml",
             "--out", tmp_path / "out"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert server.wait_for_client(_DEADLINE_S)
        server.send(encode_transform("ProbeToCt", np.eye(4), 1.0))
        server.send(_frame(1.0))
        assert server.drain(_DEADLINE_S)
        pause.wait(0.2)  # the image is on its way through the other process
        for _ in range(n_interrupts):
            process.send_signal(signal.SIGINT)
            pause.wait(0.05)
        _, err = process.communicate(timeout=_DEADLINE_S)
    assert process.returncode == 130, err
    assert err.startswith("navapp: interrupted")
    report = _report(tmp_path / "out")
    assert report["complete"] is False
    assert report["frames"]["received"] == 1
    assert report["poses"]["received"] == 1
