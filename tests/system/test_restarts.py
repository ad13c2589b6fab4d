"""A server that dies and returns again and again under a session that records."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from navapp.config import Settings, load_settings
from navapp.demo import for_simulation, write_simulation
from navapp.equipment import Equipment, load_equipment
from navapp.feeds import LiveFeed
from navapp.recorder import Recorder
from navapp.session import Session, SessionMode
from navapp.state import SessionState
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.replay import Replay
from tracking.sequences.recording import Recording
from tracking.server import Server

_N_RESTARTS = 50
_N_IMAGES = 6
_LIMIT_S = 20.0


@pytest.fixture(scope="module")
def sweep() -> SimulatedSweep:
    return SimulatedSweep(SimulatorSettings(n_images=_N_IMAGES))


@pytest.fixture(scope="module")
def settings(sweep: SimulatedSweep, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("simulation")
    return for_simulation(load_settings(None, {}), *write_simulation(sweep, folder))


@pytest.fixture(scope="module")
def equipment(settings: Settings) -> Equipment:
    return load_equipment(settings)


def _wait_until(is_so: Callable[[], bool], what: str) -> None:
    pause, end_s = threading.Event(), time.monotonic() + _LIMIT_S
    while not is_so():
        assert time.monotonic() < end_s, f"waited in vain: {what}"
        pause.wait(0.005)


def test_fifty_restarts_lose_neither_cloud_nor_recording(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment, tmp_path: Path
) -> None:
    """Each life of the server plays the sweep, then it is closed, and opened on the same port."""
    recorder = Recorder(tmp_path / "recording.mcap")
    first = Server(port=0)
    feed = LiveFeed(
        settings.server.model_copy(update={"port": first.port}), until_closed=False, gives_up=True
    )
    session = Session(
        settings, equipment, feed, SessionMode(is_live=True, has_window=False), recorder
    )

    def is_degraded() -> bool:
        return session.status().state is SessionState.DEGRADED

    n_voxels = []
    session.warm_up()
    session.start()
    try:
        for life in range(1, _N_RESTARTS + 2):
            server = first if life == 1 else Server(port=first.port)
            with server:
                assert server.wait_for_client(_LIMIT_S), f"did not come back, life {life}"
                Replay(sweep, server, speed=8.0).run(threading.Event())
                _wait_until(
                    lambda n=life * _N_IMAGES: session.tally.frames.received == n,
                    f"images of life {life}",
                )
                _wait_until(lambda: not is_degraded(), f"running in life {life}")
            _wait_until(is_degraded, f"end of life {life} noticed")
            assert str(first.port) in session.status().detail
            n_voxels.append(session.scene.n_voxels)
    finally:
        session.stop()

    assert session.failure is None
    assert n_voxels[0] > 0
    assert n_voxels == sorted(n_voxels), "the cloud only grows"
    counts, n_lives = session.tally.frames, _N_RESTARTS + 1
    assert counts.received == n_lives * _N_IMAGES
    assert counts.received == counts.processed + sum(counts.skipped.values())
    assert counts.processed > 0
    assert session.tally.poses.lost == 0
    result = recorder.conclude()
    assert (result.problem, result.n_messages) == (None, result.n_received)
    recorded = Recording(recorder.path)
    assert recorded.is_closed
    assert recorded.counts["IMAGE", "Image"] == n_lives * _N_IMAGES
    n_poses = sum(n for (kind, _), n in recorded.counts.items() if kind == "TRANSFORM")
    assert n_poses == session.tally.poses.received
