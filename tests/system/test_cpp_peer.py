"""Both ways with the OpenIGTLink project's own C++ library (Debian: libopenigtlink-dev), which
speaks header version 1: a small peer made of it is compiled here."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tracking import wire
from tracking.client import Client, LinkState
from tracking.messages import ImageFrame, PoseSample, PoseStatus, StatusReport, TextMessage
from tracking.server import Server
from tracking.transforms import from_euler_xyz_deg

WAIT_S = 20.0
STAMP_S = 1_722_470_400.25
_SOURCE = Path(__file__).with_name("igtl_peer.cpp")
_INCLUDE = Path("/usr/include/openigtlink")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None or not _INCLUDE.is_dir():
        pytest.skip("needs g++ and Debian's libopenigtlink-dev")
    program = tmp_path_factory.mktemp("igtl") / "igtl_peer"
    flags = ["-std=c++11", f"-I{_INCLUDE}", "-lOpenIGTLink", "-lpthread"]
    done = subprocess.run(
        [compiler, str(_SOURCE), "-o", str(program), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture
def sending(peer: Path) -> Iterator[int]:
    """A C++ server that sends one message of each kind; its port."""
    with subprocess.Popen([peer, "send"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()


def test_our_client_understands_the_c_plus_plus_library(sending: int) -> None:
    images, poses, records = dict[str, ImageFrame](), dict[str, PoseSample](), list[object]()
    stop, links = threading.Event(), list[tuple[LinkState, str]]()

    def keep(record: object) -> None:
        records.append(record)
        if isinstance(record, StatusReport):  # the last one that it sends
            stop.set()

    Client(
        "127.0.0.1",
        sending,
        on_image=lambda image: images.update({image.name: image}),
        on_pose=lambda pose: poses.update({pose.name: pose}),
        on_bad_image=lambda name, reason: links.append((LinkState.LOST, reason)),
        on_state=lambda state, sentence: links.append((state, sentence)),
        on_record=keep,
        reconnect=False,
    ).run(stop)
    assert [state for state, _ in links] == [LinkState.CONNECTING, LinkState.CONNECTED]
    grey = 3 * np.arange(35).reshape(5, 7)
    assert set(images) == {"Grey", "Deep", "Colour"}
    for image in images.values():
        np.testing.assert_array_equal(image.pixels, grey)
        assert image.spacing_mm == pytest.approx((0.1, 0.2))
        assert image.stamps.t_sender_s == pytest.approx(STAMP_S, abs=1e-6)
    tools = {"ProbeToTracker", "StylusToTracker", "NeedleToTracker", "BoneToTracker"}
    assert set(poses) == tools
    for pose in poses.values():
        assert pose.status is PoseStatus.OK
        np.testing.assert_allclose(
            pose.matrix, from_euler_xyz_deg((1.0, 2.0, 3.0), (0.0, 0.0, 90.0)), atol=1e-6
        )
    assert records == [
        TextMessage("Note", "hello"),
        StatusReport("Scanner", 13, 7, "Warm-up", "Wait a minute"),
    ]


def test_the_c_plus_plus_library_understands_our_server(peer: Path) -> None:
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    T = from_euler_xyz_deg((10.0, -20.0, 30.0), (40.0, 50.0, 60.0))
    with Server(port=0) as server:
        command = [str(peer), "receive", str(server.port), "3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert server.wait_for_client(WAIT_S)
            server.send(wire.encode_image("Image", pixels, STAMP_S, (0.1, 0.2), {"Depth": "40"}))
            server.send(wire.encode_transform("ProbeToTracker", T, STAMP_S))
            server.send(wire.encode_string("Note", "hello", STAMP_S))
            output, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, "3 is a wrong checksum"
    image, pose, text = output.splitlines()
    assert image == f"IMAGE Image {STAMP_S:.6f} 7 5 1 0.100 0.200 {pixels.sum()}"
    assert pose.startswith(f"TRANSFORM ProbeToTracker {STAMP_S:.6f} ")
    np.testing.assert_allclose(np.array(pose.split()[3:], dtype=float), T[:3].ravel(), atol=1e-4)
    assert text == f"STRING Note {STAMP_S:.6f} hello"
