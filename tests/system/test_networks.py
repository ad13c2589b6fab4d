"""Networks in a running session: exchanged, failing, without numbers, slower than the stream."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import read_contract
from inference.errors import OutputError
from inference.preprocess import InputPlan
from inference.providers import CPU
from inference.segmenter import Segmentation, default_model_path
from navapp.config import Settings, load_settings
from navapp.demo import for_simulation, write_simulation
from navapp.equipment import Equipment, load_equipment
from navapp.feeds import Inlet, SweepFeed
from navapp.report import conclude, save
from navapp.session import Session, SessionMode
from navapp.state import DropReason, SessionState
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.messages import ImageFrame, PoseSample, PoseStatus, Stamps

onnx = pytest.importorskip("onnx", reason="onnx comes with the extra `train`")

_N_IMAGES = 12
_LIVE = SessionMode(is_live=True, has_window=True)
_EVERY_FRAME = SessionMode(is_live=False, has_window=False)


@pytest.fixture(scope="module")
def sweep() -> SimulatedSweep:
    return SimulatedSweep(SimulatorSettings(n_images=_N_IMAGES))


@pytest.fixture(scope="module")
def settings(sweep: SimulatedSweep, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("simulation")
    return for_simulation(load_settings(None, {}), *write_simulation(sweep, folder))


@pytest.fixture
def equipment(settings: Settings) -> Equipment:
    return load_equipment(settings)


class StepFeed:
    """Images of a sweep in two halves; between them it waits until the test lets it go on."""

    def __init__(self, sweep: SimulatedSweep) -> None:
        self.sweep = sweep
        self.is_half_done, self.may_go_on = threading.Event(), threading.Event()

    def run(self, inlet: Inlet, stop: threading.Event) -> None:
        SweepFeed(self.sweep, 0.1, 0.080).run(_Halfway(inlet, self), stop)


class _Halfway:
    def __init__(self, inlet: Inlet, feed: StepFeed) -> None:
        self._inlet, self._feed, self._n = inlet, feed, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inlet, name)

    def image(self, frame: ImageFrame) -> None:
        if self._n == _N_IMAGES // 2:
            self._feed.is_half_done.set()
            self._feed.may_go_on.wait(20.0)
        self._n += 1
        self._inlet.image(frame)


def _copy_of_the_default(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(default_model_path().read_bytes())
    return path


def _network(folder: Path, name: str, operator: str) -> Path:
    """A network of one operator with the default's contract."""
    contract = read_contract(default_model_path())
    shape = (1, 1, *contract.input.size_px)
    tensors = [
        onnx.helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, shape)
        for spec in (contract.input, contract.output)
    ]
    node = onnx.helper.make_node(operator, [contract.input.name], [contract.output.name])
    graph = onnx.helper.make_graph([node], "test", tensors[:1], tensors[1:])
    opsets = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.helper.set_model_props(model, contract.to_metadata())
    path = folder / name
    onnx.save(model, path)
    return path


def _swapped(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment, *paths: Path
) -> Session:
    """A session over every image, in whose middle the network is exchanged."""
    feed = StepFeed(sweep)
    session = Session(settings, equipment, feed, _EVERY_FRAME)
    session.start()
    assert feed.is_half_done.wait(20.0)
    for n, path in enumerate(paths, start=1):
        session.swap_model(path)
        _until(lambda n=n: len(session.model_swaps) == n)
    feed.may_go_on.set()
    assert session.wait(20.0)
    session.stop()
    assert session.failure is None
    assert session.tally.frames.received == _N_IMAGES
    return session


# -- exchanged -----------------------------------------------------------------------------------


def test_an_equal_network_takes_over_without_a_trace_in_the_cloud(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment, tmp_path: Path
) -> None:
    undisturbed = _swapped(sweep, settings, equipment)
    session = _swapped(sweep, settings, equipment, _copy_of_the_default(tmp_path, "second.onnx"))
    assert session.tally.frames.processed == _N_IMAGES
    np.testing.assert_array_equal(
        session.scene.snapshot().points_mm, undisturbed.scene.snapshot().points_mm
    )
    status = session.status()
    assert status.model == "second.onnx"
    assert status.model_note.startswith("second.onnx runs since ")
    result = conclude(session, startup_s=0.0, is_complete=True)
    assert result.report["model"]["name"] == "second.onnx"
    (swap,) = result.report["model_swaps"]
    assert (swap["name"], swap["problem"]) == ("second.onnx", None)
    assert swap["sha256"] == result.report["model"]["sha256"]
    save(result, session, tmp_path)
    assert "second.onnx" in (tmp_path / "session.toml").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["model_swaps"] == [swap]


def test_from_the_next_image_on_the_new_network_finds_the_line(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment, tmp_path: Path
) -> None:
    """What never exceeds the threshold gives no points: 6 of 12 images have some."""
    session = _swapped(sweep, settings, equipment, _network(tmp_path, "blind.onnx", "Neg"))
    n_points = [placed.n_points for placed in session.scene.placed_frames]
    assert len(n_points) == _N_IMAGES
    assert min(n_points[: _N_IMAGES // 2 - 3]) > 100, "up to 3 images were still under way"
    assert n_points[_N_IMAGES // 2 :] == [0] * (_N_IMAGES // 2)


def test_networks_that_cannot_be_used_leave_the_old_one_running(
    sweep: SimulatedSweep,
    settings: Settings,
    equipment: Equipment,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(default_model_path().read_bytes()[:1000])
    nan = _network(tmp_path, "nan.onnx", "Log")  # of the blank image with which it is tried
    session = _swapped(sweep, settings, equipment, tmp_path / "none.onnx", broken, nan)
    problems = [swap.problem for swap in session.model_swaps]
    assert [swap.sha256 for swap in session.model_swaps] == [None] * 3
    assert problems[0] is not None and "cannot be read" in problems[0]
    assert problems[1] is not None and "not an ONNX network that runs here" in problems[1]
    assert problems[2] == "network nan.onnx returned values that are NaN or infinite"
    status = session.status()
    assert status.model == default_model_path().name
    assert status.model_note == f"nan.onnx not used: {problems[2]}; {status.model} runs on"
    assert session.tally.frames.processed == _N_IMAGES
    assert sum("not used" in record.message for record in caplog.records) == 3


def test_a_request_after_the_end_is_answered(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment
) -> None:
    session = _swapped(sweep, settings, equipment)
    session.swap_model(Path("late.onnx"))
    assert [swap.problem for swap in session.model_swaps] == ["the session has ended"]


def test_a_newer_request_overtakes_one_that_waits(
    sweep: SimulatedSweep, settings: Settings, equipment: Equipment, tmp_path: Path
) -> None:
    session = Session(settings, equipment, SweepFeed(sweep, 0.1, 0.080), _EVERY_FRAME)
    session.swap_model(Path("first.onnx"))
    session.swap_model(_copy_of_the_default(tmp_path, "second.onnx"))
    session.start()
    _until(lambda: len(session.model_swaps) == 2)
    session.stop()
    assert [swap.problem for swap in session.model_swaps] == ["overtaken by second.onnx", None]


# -- failing -------------------------------------------------------------------------------------


def test_output_that_is_no_number_gives_no_points_and_is_told_when_it_lasts(
    sweep: SimulatedSweep,
    settings: Settings,
    equipment: Equipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second image fails alone, the fifth to the eighth in a row."""
    bad, seen = {1, 4, 5, 6, 7}, list[tuple[SessionState, str]]()
    segment, calls = equipment.segmenter.segment, iter(range(1000))
    session = Session(settings, equipment, SweepFeed(sweep, 0.1, 0.080), _EVERY_FRAME)

    def sometimes(pixels: NDArray[np.uint8], plan: InputPlan) -> Segmentation:
        status = session.status()
        seen.append((status.state, status.detail))
        if next(calls) in bad:
            raise OutputError("network x returned values that are NaN or infinite")
        return segment(pixels, plan)

    monkeypatch.setattr(equipment.segmenter, "segment", sometimes)
    session.start()
    assert session.wait(20.0)
    session.stop()
    assert session.failure is None
    counts = session.tally.frames
    assert counts.skipped[DropReason.FAILED] == len(bad)
    assert counts.processed == _N_IMAGES - len(bad) == len(session.scene.placed_frames)
    line = "network x returned values that are NaN or infinite"
    told = {k: detail for k, (state, detail) in enumerate(seen) if state is SessionState.DEGRADED}
    assert told == {7: f"{line}: 3 images in a row", 8: f"{line}: 4 images in a row"}
    assert session.warnings == (line,)


def test_a_gpu_that_fails_in_mid_session_keeps_the_cloud_and_says_so(
    sweep: SimulatedSweep,
    settings: Settings,
    equipment: Equipment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = _swapped(sweep, settings, equipment)
    network = equipment.segmenter.session
    run, calls = network._runner.run, iter(range(1000))

    def breaks(tensor: NDArray[np.float32]) -> NDArray[np.float32]:
        if next(calls) == _N_IMAGES // 2:
            raise RuntimeError("CUDA failure 2: out of memory")
        return run(tensor)

    monkeypatch.setattr(network._runner, "run", breaks)
    monkeypatch.setattr(network, "provider", "CUDAExecutionProvider")
    session = _swapped(sweep, settings, equipment)
    assert session.tally.frames.processed == _N_IMAGES
    np.testing.assert_array_equal(
        session.scene.snapshot().points_mm, undisturbed.scene.snapshot().points_mm
    )
    report = conclude(session, startup_s=0.0, is_complete=True).report
    status = session.status()
    reason = "CUDA failed in mid-session: CUDA failure 2: out of memory"
    assert (report["provider"], report["provider_reason"]) == (CPU, reason)
    assert (status.provider, status.provider_reason) == (CPU, reason)


# -- slower than the stream ----------------------------------------------------------------------


def test_a_slow_network_works_on_the_newest_image_and_its_age_is_bounded(
    settings: Settings, equipment: Equipment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 images a second into a network that takes 40 ms: none is older than two of its runs."""
    begins_s, spans_s, ages_s = list[float](), list[float](), list[float]()
    segment, pause = equipment.segmenter.segment, threading.Event()
    size_px = equipment.calibration.image_size_px
    assert size_px is not None
    pixels = np.zeros(size_px[::-1], dtype=np.uint8)

    def slow(image: NDArray[np.uint8], plan: InputPlan) -> Segmentation:
        begins_s.append(time.perf_counter())
        pause.wait(0.04)
        found = segment(image, plan)
        spans_s.append(time.perf_counter() - begins_s[-1])
        return found

    class Stream:
        def run(self, inlet: Inlet, stop: threading.Event) -> None:
            inlet.link("", "connected", is_up=True)
            for n in range(200):
                now_s = time.perf_counter()
                stamps = Stamps(1.0 + n / 200.0, now_s)
                inlet.pose(PoseSample("ProbeToCt", np.eye(4), PoseStatus.OK, stamps))
                inlet.image(ImageFrame("Image", pixels, stamps, now_s, (1.0, 1.0)))
                pause.wait(0.005)

    equipment = replace(equipment, image_lag_s=0.0)
    session = Session(settings, equipment, Stream(), _LIVE)
    monkeypatch.setattr(equipment.segmenter, "segment", slow)
    put = session._masks.put

    def noted(segmented: object) -> object:
        ages_s.append(time.perf_counter() - segmented.frame.stamps.t_arrival_s)  # type: ignore[attr-defined]
        return put(segmented)  # type: ignore[arg-type]

    monkeypatch.setattr(session._masks, "put", noted)
    session.start()
    assert session.wait(20.0)
    session.stop()
    assert session.failure is None
    counts = session.tally.frames
    assert 5 <= len(ages_s) < 60
    assert max(ages_s) <= 2.0 * max(spans_s)
    losses = {reason: n for reason, n in counts.skipped.items() if n}
    assert counts.received == 200 == counts.processed + sum(losses.values())
    assert losses[DropReason.SUPERSEDED] == 200 - len(ages_s)


def _until(is_true: Callable[[], bool]) -> None:
    """Poll a state that other threads reach; the test's own time limit ends a vain wait."""
    pause = threading.Event()
    while not is_true():
        pause.wait(0.01)
