"""A session by keys alone, as docs/first-session.md tells it: from the start to what it leaves."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton

from inference.postprocess import BoneLine
from inference.segmenter import default_model_path
from navapp.config import Settings, WindowSettings
from navapp.demo import serve, write_simulation
from navapp.desk.desk import Desk
from navapp.desk.journal import read_events
from navapp.desk.session_folder import SessionFolder, crashed_session, read_session
from navapp.gui.actions import ACTIONS, remapped
from navapp.gui.app import close_window, open_window
from navapp.gui.main_window import MainWindow
from navapp.gui.readings import Level
from navapp.gui.steps import Step
from recon.mesh_io import read_mesh
from recon.simulator import SimulatedSweep, SimulatorSettings
from recon.surface import SurfaceDistance
from tests.support.desks import MadeUpSession, Stage, open_stage, pose, view
from tests.support.screens import running, wait_until
from tests.support.stylus import WithStylus
from tracking.calibration import load_registration
from tracking.sequences import open_sweep, save_sweep
from tracking.transforms import apply, invert

_KEYS = Qt.Key


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(), tmp_path) as result:
        yield result


def _activate(window: MainWindow) -> None:
    """What a window manager does; Xvfb has none, and keys go to the active window."""
    window.activateWindow()
    window.setFocus()
    QTest.qWait(50)


def _fill(stage: Stage, n: int = 50) -> None:
    """One sweep's points, straight into the scene."""
    u = np.arange(float(n))
    line = BoneLine(np.column_stack((8 * u, 6 * u)), *2 * [np.ones(n, dtype=np.float32)])
    stage.session.scene.insert(line, pose(float(stage.session.scene.sweep)), "ct", (320, 400))


def _save_and_begin(desk: Desk, window: MainWindow, first: object) -> None:
    """Go over from the first session to the next, and say yes where the window asks."""

    def asked() -> QMessageBox | None:
        box = window.findChild(QMessageBox)
        return box if box is not None and "not saved" in box.text() else None

    over = wait_until(lambda: desk.session is not first or asked() is not None, 30.0)
    assert over, desk.message
    box = asked()
    if desk.session is first and box is not None:
        next(b for b in box.buttons() if b.text() == "Save and begin").click()
    assert wait_until(lambda: desk.session is not first, 30.0), desk.message


def test_a_session_by_keys_from_start_to_export(qapp: QApplication, tmp_path: Path) -> None:
    with running(tmp_path) as (desk, window, _):
        folder = desk.folder.path
        _activate(window)

        def press(
            key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
        ) -> None:
            QTest.keyClick(window, key, modifier)
            QTest.qWait(250)

        assert wait_until(lambda: desk.session.scene.n_voxels > 500)
        press(_KEYS.Key_1)
        assert window.step is Step.PREPARE
        assert window.prepare_page.streams.item(0, 0).text() == "Image"
        press(_KEYS.Key_3)
        press(_KEYS.Key_F9)
        assert desk.takes.state.is_recording
        press(_KEYS.Key_M)
        press(_KEYS.Key_S)
        press(_KEYS.Key_Space)
        press(_KEYS.Key_Space)
        assert wait_until(lambda: len(desk.session.scene.sweep_counts()) == 2)
        press(_KEYS.Key_F9)
        press(_KEYS.Key_Space)
        n_before = desk.session.scene.n_voxels
        press(_KEYS.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert desk.session.scene.n_voxels < n_before
        assert list(desk.session.scene.sweep_counts()) == [1]
        press(_KEYS.Key_4)
        assert window.step is Step.REVIEW
        press(_KEYS.Key_S, Qt.KeyboardModifier.ControlModifier)
        assert wait_until(lambda: "saved" in desk.message, 30.0), desk.message

    names = {path.name for path in folder.iterdir()}
    assert {"report.json", "cloud.ply", "session.toml", "events.jsonl"} <= names
    assert {"recording-001.mcap", "snapshot-001.png"} <= names
    report = json.loads((folder / "report.json").read_text())
    assert report["recordings"] == ["recording-001.mcap"]
    kinds = [event.kind for event in read_events(folder)]
    assert kinds.count("mark") == 1
    assert [k for k in kinds if k in ("record", "undo")] == ["record", "undo"]
    assert open_sweep(folder / "recording-001.mcap").n_images > 5
    assert read_session(folder).is_closed


def test_a_saved_session_is_opened_again_and_sought(qapp: QApplication, tmp_path: Path) -> None:
    with running(tmp_path / "first") as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        window.book["record"].trigger()
        QTest.qWait(1500)
        window.book["mark"].trigger()
        QTest.qWait(500)
        window.book["record"].trigger()
        window.book["save"].trigger()
        assert wait_until(lambda: "saved" in desk.message, 30.0)
        folder, before = desk.folder.path, desk.session
        window.dropped.emit(str(folder))
        assert wait_until(lambda: desk.session is not before, 30.0), desk.message
        assert wait_until(lambda: window.image_view.picture.watermark.startswith("REPLAY"))
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        content = window.replay_bar.timeline.content
        assert len(content.marks_s) == 1
        assert content.visible_s
        window.book["play"].trigger()
        assert desk.replay is not None
        assert desk.replay.state.is_paused
        window.replay_bar.timeline.sought.emit(0.5)
        assert desk.replay.state.position_s == pytest.approx(0.5, abs=0.01)
        window.book["faster"].trigger()
        assert desk.replay.state.speed == 2.0


def test_the_window_is_closed_and_opened_on_a_running_session(
    qapp: QApplication, tmp_path: Path
) -> None:
    with running(tmp_path) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        window.close()
        n_then = desk.session.scene.n_voxels
        assert wait_until(lambda: desk.session.scene.n_voxels > n_then)
        second, _ = open_window(desk, title="again")
        assert wait_until(lambda: second.scene_view.cloud.n_points > n_then)
        close_window(second)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("cloud.ply", "ply", "no triangle could be read"),
        ("plan.toml", "[plan]\ntarget_ct_mm = [1, 2]", "expected three numbers"),
        ("notes.docx", "x", "cannot be opened"),
        ("broken.mcap", "x", "broken.mcap"),
        ("broken.igs.mha", "x", "broken.igs.mha"),
        ("broken.igs.nrrd", "x", "broken.igs.nrrd"),
        ("net.onnx", "x", "net.onnx"),
    ],
)
def test_a_bad_file_is_told_before_a_missing_calibration_and_changes_nothing(
    stage: Stage, tmp_path: Path, name: str, content: str, said: str
) -> None:
    pytest.importorskip("open3d")  # now: pytest rewrites what it imports, for longer than we wait
    path = tmp_path / name
    path.write_text(content)
    before = stage.session
    stage.window.dropped.emit(str(path))

    def is_told() -> bool:
        stage.tick(0.3)
        return said in stage.desk.message

    assert wait_until(is_told), stage.desk.message
    assert stage.desk.session is before


@pytest.mark.parametrize("suffix", [".igs.mha", ".igs.nrrd"])
def test_a_sweep_of_another_program_dropped_on_the_window_is_replayed(
    qapp: QApplication, tmp_path: Path, suffix: str
) -> None:
    sweep = tmp_path / f"other{suffix}"
    save_sweep(SimulatedSweep(SimulatorSettings(n_images=40)), sweep)
    with running(tmp_path) as (desk, window, _):
        first = desk.session
        window.dropped.emit(str(sweep))
        _save_and_begin(desk, window, first)
        assert wait_until(lambda: desk.session.scene.n_voxels > 300), desk.message
        assert np.median(desk.session.scene.first_distances_mm) < 0.3
        assert window.image_view.picture.watermark.startswith("REPLAY")


def test_a_network_dropped_on_the_window_takes_over_in_the_session_that_runs(
    qapp: QApplication, tmp_path: Path
) -> None:
    good, bad = tmp_path / "second.onnx", tmp_path / "broken.onnx"
    shutil.copy(default_model_path(), good)
    bad.write_text("no network")
    with running(tmp_path, loop=True) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        session, chip = desk.session, window.status_row.chips["MODEL"]
        name = session.status().model
        window.dropped.emit(str(bad))
        assert wait_until(lambda: "broken.onnx not used" in chip.reading.tooltip)
        assert (chip.reading.word, chip.reading.level) == (Path(name).stem, Level.WARNING)
        assert desk.message.startswith("broken.onnx not used")

        window.dropped.emit(str(good))
        assert wait_until(lambda: chip.reading.word == "second")
        assert wait_until(lambda: chip.reading.level is Level.PLAIN)
        assert wait_until(lambda: window.prepare_page.fields["model"].text() == str(good))
        n_then = session.status().n_processed
        assert wait_until(lambda: session.status().n_processed > n_then)
        assert desk.session is session
        told = [event.text for event in desk.journal.of_kind("model")]
        assert any(text.startswith("second.onnx runs since") for text in told)


def test_a_registration_is_accepted_and_everything_is_saved_with_mesh_and_volume(
    qapp: QApplication, tmp_path: Path
) -> None:
    with running(tmp_path, is_registered=False) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        window.book["record"].trigger()
        assert wait_until(lambda: desk.session.scene.n_voxels > 2000)
        window.book["record"].trigger()
        assert desk.session.status().frame == "reference"
        window.book["register"].trigger()
        window.book["accept"].trigger()
        assert "there is no registration to accept" in desk.message
        assert desk.session.status().frame == "reference"

        sweep = SimulatedSweep()
        vertices_mm = sweep.mesh.vertices_mm
        for k, ct_mm in enumerate(vertices_mm[np.linspace(0, len(vertices_mm) - 1, 5).astype(int)]):
            desk.registering.add("", ct_mm)
            desk.registering.find(k, apply(invert(sweep.T_ct_reference), ct_mm[None])[0])
        window.book["fit_landmarks"].trigger()
        window.book["accept"].trigger()
        assert desk.session.status().frame == "ct"
        saved = load_registration(desk.folder.path / "registration.toml")
        np.testing.assert_allclose(saved.T_ct_reference, sweep.T_ct_reference, atol=1e-6)
        distance_mm = desk.session.scene.first_distances_mm
        assert np.median(distance_mm) < 0.2
        assert len(desk.journal.of_kind("registration")) == 1

        _activate(window)
        both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
        QTest.keyClick(window, _KEYS.Key_S, both)
        assert wait_until(lambda: desk.message.startswith("saved"), 60.0), desk.message
        assert ";" not in desk.message  # no problems
        mesh = read_mesh(next(desk.folder.path.glob("mesh*.stl")))
        assert np.median(SurfaceDistance(sweep.mesh).distances_mm(mesh.vertices_mm)) < 0.2
        volume = next(desk.folder.path.glob("recording-*.mha"))
        header = volume.read_bytes()[:2000].decode("latin-1")
        assert "ElementSpacing = 0.5 0.5 0.5" in header


def test_landmarks_are_touched_with_a_stylus_that_is_received(
    qapp: QApplication, tmp_path: Path
) -> None:
    """While it goes from one landmark to the next it is not believed."""
    hold_s, simulated = 2.2, SimulatedSweep()
    vertices_mm = simulated.mesh.vertices_mm
    places_mm = vertices_mm[np.linspace(0, len(vertices_mm) - 1, 4).astype(int)]
    sweep = WithStylus(simulated, places_mm, hold_s)
    with running(tmp_path, is_registered=False, sweep=sweep, T_stylus_tip=sweep.T_stylus_tip) as (
        desk,
        window,
        _,
    ):
        _activate(window)
        window.book["register"].trigger()
        for place_mm in places_mm:
            desk.registering.add("", place_mm)
        replay = desk.replay
        assert replay is not None
        replay.replay.set_speed(0.5)  # for a machine that is busy
        for k in range(len(places_mm)):
            reached_s = (k + 1) * hold_s - 0.9  # held for 1.3 s
            assert wait_until(lambda at_s=reached_s: replay.state.position_s >= at_s)
            QTest.keyClick(window, _KEYS.Key_T)
            assert desk.registering.n_found == k + 1, desk.message
            if k == 0:
                assert wait_until(lambda: replay.state.position_s >= hold_s + 0.1)
                QTest.keyClick(window, _KEYS.Key_T)
                assert "mm while it was read" in desk.message
                assert desk.registering.n_found == 1
        window.book["fit_landmarks"].trigger()
        assert desk.registering.start is not None
        assert desk.registering.start.fre.rms < 0.1
        window.book["accept"].trigger()
        assert desk.session.status().frame == "ct"
        saved = load_registration(desk.folder.path / "registration.toml")
        apart_mm = apply(saved.T_ct_reference @ invert(simulated.T_ct_reference), places_mm)
        np.testing.assert_allclose(apart_mm, places_mm, atol=0.1)
        assert wait_until(lambda: desk.session.scene.n_voxels > 500)
        assert np.median(desk.session.scene.first_distances_mm) < 0.2


def test_clear_needs_its_key_held_for_a_second(stage: Stage) -> None:
    _fill(stage)
    QTest.keyPress(stage.window, _KEYS.Key_Delete)
    QTest.qWait(300)
    QTest.keyRelease(stage.window, _KEYS.Key_Delete)
    QTest.qWait(900)
    assert stage.session.scene.n_voxels == 50
    QTest.keyPress(stage.window, _KEYS.Key_Delete)
    QTest.qWait(1300)
    QTest.keyRelease(stage.window, _KEYS.Key_Delete)
    assert stage.session.scene.n_voxels == 0


def test_a_sweep_that_is_switched_off_is_not_drawn_and_not_lost(stage: Stage) -> None:
    _fill(stage)
    stage.do("insert")
    stage.do("insert")
    _fill(stage)
    scene = stage.session.scene
    stage.do("review")
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=scene.first_points_mm))
    assert stage.window.scene_view.cloud.n_points == 100
    stage.window.review_page.sweeps.item(0).setCheckState(Qt.CheckState.Unchecked)
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=scene.first_points_mm))
    assert stage.window.scene_view.cloud.n_points == 50
    assert scene.n_voxels == 100


def test_other_keys_do_what_the_settings_say(qapp: QApplication, tmp_path: Path) -> None:
    settings = Settings(window=WindowSettings(keys={"mark": "F7"}))
    with open_stage(qapp, MadeUpSession(settings=settings), tmp_path) as stage:
        _activate(stage.window)
        QTest.keyClick(stage.window, _KEYS.Key_M)
        assert len(stage.desk.journal.of_kind("mark")) == 0
        QTest.keyClick(stage.window, _KEYS.Key_F7)
        assert len(stage.desk.journal.of_kind("mark")) == 1
        assert stage.window.button_bar.buttons["mark"].key_text == "F7"


def test_settings_of_the_window_apply_at_once_and_in_the_same_session(stage: Stage) -> None:
    _activate(stage.window)
    drawer, buttons = stage.window.settings_drawer, stage.window.button_bar.buttons
    session, review = stage.desk.session, stage.window.review_page
    assert drawer.apply_button.text() == "Begin anew with these"
    drawer.edits["window", "keys"].setText('{mark = "F7", clear = "F8", undo = "F6"}')
    drawer.edits["window", "overlay_percent"].setText("40")
    assert drawer.apply_button.text() == "Use these in this session"
    drawer.apply_button.click()
    stage.tick(0.3)
    assert stage.desk.session is session
    assert "the session goes on" in stage.desk.message
    assert stage.window.image_view.picture.opacity == 0.4
    QTest.keyClick(stage.window, _KEYS.Key_M)
    assert len(stage.desk.journal.of_kind("mark")) == 0
    QTest.keyClick(stage.window, _KEYS.Key_F7)
    assert len(stage.desk.journal.of_kind("mark")) == 1
    assert buttons["mark"].toolTip() == "Mark (F7)"
    assert "Undo sweep  F6" in [button.text() for button in review.findChildren(QPushButton)]
    QTest.keyPress(stage.window, _KEYS.Key_Delete)
    assert buttons["clear"].held_share == 0.0
    QTest.keyPress(stage.window, _KEYS.Key_F8)
    QTest.qWait(60)
    assert buttons["clear"].held_share > 0.0
    QTest.keyRelease(stage.window, _KEYS.Key_F8)
    # What a person chose since stays until the setting itself is another.
    stage.do("stronger")
    drawer.edits["window", "keys"].setText("")
    drawer.apply_button.click()
    stage.tick(0.3)
    assert stage.window.image_view.picture.opacity == 0.5
    assert stage.window.book["mark"].shortcut().toString() == "M"
    drawer.edits["server", "port"].setText("18999")
    assert drawer.apply_button.text() == "Begin anew with these"


def test_no_two_actions_share_a_key() -> None:
    assert remapped({}) == ACTIONS


def test_settings_are_checked_as_they_are_typed_and_saved(stage: Stage, tmp_path: Path) -> None:
    drawer = stage.window.settings_drawer
    port = drawer.edits["server", "port"]
    port.setText("99999999")
    assert port.property("is_wrong")
    assert "server.port" in drawer.problems.text()
    assert not drawer.apply_button.isEnabled()
    port.setText("18999")
    assert drawer.problems.text() == ""
    drawer.save_profile(tmp_path / "profile.toml")
    saved = tomllib.loads((tmp_path / "profile.toml").read_text())
    assert saved["server"]["port"] == 18999


def test_a_click_on_a_chip_plots_its_last_minute(stage: Stage) -> None:
    for _ in range(5):
        stage.show(view(A_target_pixel=pose()), later_s=0.3)
    chip = stage.window.status_row.chips["IMAGE"]
    QTest.mouseClick(chip, Qt.MouseButton.LeftButton)
    plot = stage.bridge.plots["IMAGE"]
    t_s, rates_hz = plot._history.curve("image rate")
    assert len(t_s) == 5
    assert set(rates_hz) == {20.0}
    stage.tick(0.3)
    ((_, widget, _),) = plot._curves
    assert widget.viewRange()[1] == pytest.approx([0.0, 22.0])  # from 0 on
    plot.close()


def test_what_a_crash_left_is_found_and_a_closed_session_is_not(tmp_path: Path) -> None:
    for name in ("closed", "crashed"):
        folder = SessionFolder(tmp_path / name, name)
        folder.begin()
    SessionFolder(tmp_path / "closed", "closed").close()
    state = tmp_path / "crashed" / "session.json"
    fields = json.loads(state.read_text())
    state.write_text(json.dumps({**fields, "pid": 2**22 - 3}))
    found = crashed_session(tmp_path)
    assert found is not None
    assert found.folder.name == "crashed"


@pytest.mark.timeout(240)
def test_what_kill_9_leaves_of_a_window_is_offered_and_plays_again(
    qapp: QApplication, tmp_path: Path
) -> None:
    simulated = SimulatedSweep()
    calibration, surface = write_simulation(simulated, tmp_path / "simulation")
    folder = tmp_path / "run-1"
    recording, state = folder / "recording.mcap", folder / "session.json"
    with serve(simulated, 1.0) as port:
        command = (
            sys.executable, "-m", "navapp", "run", "--server", f"127.0.0.1:{port}", "--record",
            "--calibration", calibration, "--registration", calibration, "--ct", surface,
            "--out", folder,
        )  # fmt: skip
        window = subprocess.Popen(command)
        try:
            # Two seconds of images of 300 kB, in a window that is open.
            assert wait_until(
                lambda: state.exists() and recording.exists() and recording.stat().st_size > 12e6,
                40.0,
            )
        finally:
            window.kill()
            window.wait()
    assert json.loads(state.read_text())["state"] == "open"
    with running(tmp_path) as (desk, next_window, _):
        offered = next_window.findChild(QMessageBox)
        assert offered is not None
        assert "run-1" in offered.text()
        first = desk.session
        next(b for b in offered.buttons() if b.text() == "Open").click()
        _save_and_begin(desk, next_window, first)
        assert wait_until(lambda: desk.session.scene.n_voxels > 300), desk.message
        assert desk.session.scene.frame == "ct"  # with the settings that it had
        assert np.median(desk.session.scene.first_distances_mm) < 0.3


def test_a_replay_says_when_it_has_ended_and_begins_anew(
    qapp: QApplication, tmp_path: Path
) -> None:
    with running(tmp_path) as (desk, window, _):
        chips = window.status_row.chips
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        assert desk.replay is not None
        window.replay_bar.timeline.sought.emit(desk.replay.state.duration_s - 0.5)
        assert wait_until(lambda: chips["SESSION"].reading.value == "Replay ended")
        QTest.qWait(1500)  # past what a tool counts as lost, and an image as old
        assert Level.PROBLEM not in {chip.reading.level for chip in chips.values()}
        assert chips["PROBE"].reading.value == "\u2013 Hz"
        assert window.image_view.picture.watermark == "REPLAY ENDED"
        assert window.gauge_row.gauges["SWEEP"].reading.word == "ended"
        assert window.border_level is None
        window.book["play"].trigger()
        assert wait_until(lambda: chips["SESSION"].reading.value == "Running")
        assert wait_until(lambda: window.image_view.picture.watermark == "REPLAY 1x")


def test_a_volume_that_is_built_is_seen_and_saved(qapp: QApplication, tmp_path: Path) -> None:
    with running(tmp_path, has_volume=True) as (desk, window, _):
        gauge = window.gauge_row.gauges["VOLUME"]
        assert wait_until(lambda: gauge.reading.value not in ("\u2013", "0", "1"))
        assert gauge.isVisible()
        assert window.prepare_page.volume.isChecked()
        window.book["review"].trigger()
        said = window.review_page.contents
        assert wait_until(lambda: "the volume (" in said.text())
        window.book["save"].trigger()
        assert wait_until(lambda: "saved" in desk.message, 30.0)
        volume = json.loads((desk.folder.path / "report.json").read_text())["volume"]
        assert volume["file"] == "volume.mha"
        assert volume["images"] >= 2
        window.prepare_page.volume.setChecked(False)
        assert window.prepare_page.overrides()["volume"] == {"live": False}


def test_a_new_session_asks_before_it_leaves_points_that_are_not_saved(
    qapp: QApplication, tmp_path: Path
) -> None:
    with running(tmp_path, is_ours=False) as (desk, window, _):
        first, folder = desk.session, desk.folder.path
        page = window.prepare_page

        def box() -> QMessageBox:
            page.connect_button.click()
            assert wait_until(lambda: window.findChild(QMessageBox) is not None), desk.message
            found = window.findChild(QMessageBox)
            assert found is not None
            return found

        assert wait_until(lambda: desk.session.scene.n_voxels > 500)
        assert page.connect_button.text() == "Begin a new session with these"
        assert "Nothing already received is lost" in page.connect_button.toolTip()
        asked = box()
        assert "points that are not saved" in asked.text()
        assert "nothing already received is lost" in asked.text()
        QTest.keyClick(asked.defaultButton(), Qt.Key.Key_Space)  # a pedal: changes nothing
        QTest.qWait(600)
        assert desk.session is first
        assert not (folder / "cloud.ply").exists()
        assert window.findChild(QMessageBox) is None

        save, *_ = [b for b in box().buttons() if b.text() == "Save and begin"]
        save.click()
        assert wait_until(lambda: desk.session is not first, 30.0), desk.message
        n_saved = json.loads((folder / "report.json").read_text())["points"]
        assert n_saved > 500
        assert read_session(folder).is_closed
        assert desk.folder.path != folder


def test_settings_that_prepare_does_not_show_stay_in_the_next_session(
    qapp: QApplication, tmp_path: Path
) -> None:
    with running(tmp_path) as (desk, window, _):
        settings = desk.session.settings
        matching = settings.matching.model_copy(update={"max_pose_gap_s": 0.07})
        desk.session.settings = settings.model_copy(update={"matching": matching})
        before = desk.session
        window.prepare_page.connect_button.click()  # a replay holds nothing that is not on disk
        assert wait_until(lambda: desk.session is not before, 30.0), desk.message
        assert desk.session.settings.matching.max_pose_gap_s == 0.07
        assert desk.session.settings.geometry == settings.geometry


def test_what_is_wrong_with_the_files_is_told_beside_the_button(
    stage: Stage, tmp_path: Path
) -> None:
    page = stage.window.prepare_page
    page.fields["calibration"].setText(str(tmp_path / "none.toml"))
    page.connect_button.click()

    def is_told() -> bool:
        stage.tick(0.3)
        return "none.toml" in page.problem.text()

    assert wait_until(is_told)
    page.fields["server"].setText("scanner")
    page.connect_button.click()
    stage.tick(0.3)
    assert page.problem.text() == "server is 'scanner', expected HOST:PORT"
