"""What is on the screen is of this session, of now, and where it says; else it says that it is not.

Each of these was wrong once.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from inference.postprocess import BoneLine
from navapp.config import load_settings
from navapp.desk.navigation import Plan
from navapp.desk.session_folder import SessionFolder
from navapp.errors import SessionError
from navapp.gui.app import close_window, open_window
from navapp.gui.readings import Level
from navapp.gui.steps import Step
from navapp.insertion import Hold
from navapp.state import DropReason, LiveView
from recon.simulator import SimulatedSweep
from tests.support.desks import NO_LINE, RUNNING, MadeUpSession, Stage, grab, open_stage, pose, view
from tests.support.networks import write_slow_network
from tests.support.screens import running, wait_until
from tracking.sequences.recording import Recording
from tracking.transforms import apply, invert

_HERE = Plan("Screw 1", np.array((0.0, 0.0, 7.0)))


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(), tmp_path) as result:
        yield result


def _fill(stage: Stage) -> None:
    u = np.arange(50.0)
    line = BoneLine(np.column_stack((8 * u, 6 * u)), *2 * [np.ones(50, dtype=np.float32)])
    stage.session.scene.insert(line, pose(float(stage.session.scene.sweep)), "ct", (320, 400))


def _of_the_scene(stage: Stage) -> LiveView:
    """A view with the scene's own cloud, as the engine makes it."""
    return dataclasses.replace(view(A_target_pixel=pose()), cloud=stage.session.scene.drawn())


def _numbers(stage: Stage) -> list[str]:
    return [value for _, value in stage.window.guidance_row.texts]


# -- another session ------------------------------------------------------------------------------


def test_another_session_begins_with_an_empty_screen(stage: Stage, tmp_path: Path) -> None:
    """Until its first image comes, and it may never come, nothing of the old one is seen."""
    _fill(stage)
    stage.show(_of_the_scene(stage))
    stage.desk.hide_sweeps(frozenset({1}))
    assert grab(stage.window.image_view)[240, 300].max() == 120
    stage.window.scene_view.refresh(float("inf"))
    assert stage.window.scene_view.plane.visible()

    stage.desk.take_over(MadeUpSession(), SessionFolder(tmp_path / "second"))
    stage.bridge._opening._on_taken_over()
    stage.tick(3.0)
    assert not stage.window.image_view.has_view
    assert grab(stage.window.image_view)[240, 300].max() < 40
    assert not stage.window.scene_view.plane.visible()
    assert stage.window.scene_view.cloud.n_points == 0
    assert stage.desk.hidden_sweeps == frozenset()
    assert stage.window.gauge_row.gauges["SPEED"].reading.word == "no images"


def test_another_session_forgets_what_was_found_on_the_patient(
    stage: Stage, tmp_path: Path
) -> None:
    T_stylus_tip = np.eye(4)
    T_stylus_tip[2, 3] = 150.0
    stage.desk.registering.add("knee", np.zeros(3))
    stage.desk.registering.find(0, np.ones(3))
    stage.desk.take_over(
        MadeUpSession(), SessionFolder(tmp_path / "second"), T_stylus_tip=T_stylus_tip
    )
    assert [mark.name for mark in stage.desk.registering.landmarks] == ["knee"]
    assert stage.desk.registering.n_found == 0
    assert stage.desk.has_stylus
    assert stage.desk.T_stylus_tip is T_stylus_tip


def test_a_window_on_a_frozen_session_shows_what_is_held(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    stage.do("freeze")
    second, bridge = open_window(stage.desk, title="again", clock=lambda: stage.now_s)
    bridge.stop()
    bridge.tick()
    assert second.image_view.banner.startswith("FROZEN")
    assert grab(second.image_view).max() >= 120
    close_window(second)


# -- age ------------------------------------------------------------------------------------------


def test_a_result_that_was_long_under_way_is_old_when_it_comes(stage: Stage) -> None:
    late = dataclasses.replace(view(A_target_pixel=pose()), t_integrated_s=1.5)
    stage.show(late)
    assert stage.desk.view_age_s == pytest.approx(1.5)
    assert stage.window.border_level is Level.PROBLEM
    assert "2 s" in stage.window.image_view.banner


def test_an_undo_makes_no_old_image_new(stage: Stage) -> None:
    _fill(stage)
    stage.show(_of_the_scene(stage))
    stage.tick(3.0)
    assert stage.window.image_view.banner.startswith("NO NEW IMAGE")
    stage.do("undo")
    stage.tick(0.3)
    assert stage.window.image_view.banner.startswith("NO NEW IMAGE")
    assert stage.window.scene_view.cloud.n_points == 0
    assert stage.sounds == ["loss"]


def test_no_point_goes_in_while_the_network_is_too_slow(qapp: QApplication, tmp_path: Path) -> None:
    slow = write_slow_network(tmp_path / "slow.onnx", 3.0)
    with running(tmp_path, loop=True) as (desk, window, _):
        window.dropped.emit(str(slow))
        assert wait_until(lambda: desk.session.status().model == "slow.onnx", 60.0)
        assert wait_until(lambda: window.image_view.banner.startswith("MODEL TOO SLOW"), 60.0)
        n_held = desk.session.scene.n_voxels
        n_stale = desk.session.status().skipped.get(DropReason.STALE, 0)
        banners = set()

        def is_seen_twice() -> bool:
            banners.add(window.image_view.banner.partition(":")[0])
            return desk.session.status().skipped.get(DropReason.STALE, 0) >= n_stale + 2

        assert wait_until(is_seen_twice, 30.0)
        assert banners == {"MODEL TOO SLOW"}
        assert desk.session.scene.n_voxels == n_held


# -- guidance -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{}, {"misfit": "spacing"}, {"unanswered_s": 3.0}, {"tracking": "no connection"}],
    ids=["image", "depth", "model", "connection"],
)
def test_guidance_goes_with_the_picture(stage: Stage, change: dict[str, object]) -> None:
    stage.desk.plan = _HERE
    stage.show(view(A_target_pixel=pose()))
    assert _numbers(stage)[0] == "7.0 mm"
    assert stage.window.image_view.picture.target_px is not None
    stage.session.state = dataclasses.replace(RUNNING, **change)  # type: ignore[arg-type]
    stage.tick(3.0)
    assert _numbers(stage)[0] == "\u2013 mm"
    assert stage.window.guidance_row.title == "Screw 1 from nothing in sight"
    assert stage.window.image_view.picture.target_px is None


def test_guidance_goes_with_a_lost_probe_or_reference(stage: Stage) -> None:
    stage.desk.plan = _HERE
    stage.show(view(A_target_pixel=pose()))
    for tool in (0, 1):
        stage.session.lose(tool, 0.8)
        stage.tick(0.3)  # the last image with a pose is still on the screen
        assert _numbers(stage)[0] == "\u2013 mm"


def test_guidance_from_a_frozen_image_says_so(stage: Stage) -> None:
    stage.desk.plan = _HERE
    stage.show(view(A_target_pixel=pose()))
    assert (stage.window.guidance_row.title, stage.window.guidance_row.is_held) == (
        "Screw 1 from image plane",
        False,
    )
    stage.do("freeze")
    stage.show(view(A_target_pixel=pose(5.0)))
    assert _numbers(stage)[0] == "7.0 mm"
    assert stage.window.guidance_row.title == "Screw 1 from frozen image plane"
    assert stage.window.guidance_row.is_held


def test_a_stylus_that_is_lost_leaves_no_numbers_of_the_image_in_its_place(stage: Stage) -> None:
    stage.desk.plan, stage.desk.has_stylus = _HERE, True
    stage.session.poses["Stylus"] = np.eye(4)
    stage.show(view(A_target_pixel=pose()))
    assert stage.window.guidance_row.title == "Screw 1 from stylus tip"
    stage.session.poses.clear()
    stage.show(view(A_target_pixel=pose()), later_s=0.3)
    assert _numbers(stage)[0] == "\u2013 mm"
    for _ in range(12):  # it was put away
        stage.show(view(A_target_pixel=pose()), later_s=0.3)
    assert stage.window.guidance_row.title == "Screw 1 from image plane"


def test_a_target_is_set_in_ct_space_and_in_an_image_that_is_live(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    stage.session.state = dataclasses.replace(RUNNING, frame="reference")
    stage.do("target")
    assert stage.desk.message == "a target lies in CT space: register the scene first"
    assert stage.desk.plan is None
    stage.session.state = RUNNING
    stage.tick(3.0)
    stage.do("target")
    assert "NO NEW IMAGE" in stage.desk.message
    assert stage.desk.plan is None
    stage.show(view(A_target_pixel=pose()))
    stage.do("target")
    assert stage.desk.plan is not None


def test_a_plan_is_not_drawn_where_ct_has_no_place(stage: Stage) -> None:
    stage.desk.plan = _HERE
    stage.session.state = dataclasses.replace(RUNNING, frame="reference")
    stage.show(view(A_target_pixel=pose()))
    assert stage.window.scene_view._plan_items == []
    stage.session.state = RUNNING
    stage.tick(0.3)
    assert len(stage.window.scene_view._plan_items) == 1


# -- what a person changes while nothing comes ----------------------------------------------------


@pytest.mark.parametrize("hold", ["freeze", None])
@pytest.mark.parametrize("name", ["undo", "clear"])
def test_undo_and_clear_are_seen_while_frozen_and_without_images(
    stage: Stage, name: str, hold: str | None
) -> None:
    _fill(stage)
    stage.show(_of_the_scene(stage))
    stage.window.scene_view.refresh(float("inf"))
    assert stage.window.scene_view.cloud.n_points == 50
    if hold:
        stage.do(hold)
    stage.do(name)
    stage.tick(0.3)
    assert stage.window.scene_view.cloud.n_points == 0
    assert stage.desk.view is not None
    np.testing.assert_array_equal(stage.desk.view.A_target_pixel, pose())


def test_an_image_that_was_under_way_brings_no_undone_point_back(stage: Stage) -> None:
    _fill(stage)
    before = _of_the_scene(stage)
    stage.show(before)
    stage.session.views.put(dataclasses.replace(before, frame=view().frame))
    stage.do("undo")
    assert stage.desk.view is not None
    assert len(stage.desk.view.cloud.points_mm) == 0


def test_a_sweep_is_switched_off_while_no_image_comes(stage: Stage) -> None:
    _fill(stage)
    stage.show(_of_the_scene(stage))
    stage.desk.hide_sweeps(frozenset({1}))
    stage.tick(0.3)
    assert stage.window.scene_view.cloud.n_points == 0


def test_accepting_while_frozen_moves_image_cloud_marks_and_settings(
    qapp: QApplication, tmp_path: Path
) -> None:
    simulated = SimulatedSweep()
    T_ct_reference = simulated.T_ct_reference
    with running(tmp_path, is_registered=False, has_volume=True) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 500)
        window.book["freeze"].trigger()
        QTest.qWait(200)
        assert desk.view is not None
        assert desk.view.A_target_pixel is not None
        A_before = desk.view.A_target_pixel
        mark = desk.mark()
        assert (mark.frame, mark.place_mm is not None) == ("reference", True)
        vertices_mm = simulated.mesh.vertices_mm
        for k, ct_mm in enumerate(vertices_mm[np.linspace(0, len(vertices_mm) - 1, 5).astype(int)]):
            desk.registering.add("", ct_mm)
            desk.registering.find(k, apply(invert(T_ct_reference), ct_mm[None])[0])
        window.book["fit_landmarks"].trigger()
        window.book["accept"].trigger()
        assert desk.is_frozen
        np.testing.assert_allclose(desk.view.A_target_pixel, T_ct_reference @ A_before, atol=1e-6)
        assert wait_until(lambda: window.scene_view.cloud._drawn.generation > 0)
        assert desk.view.cloud.generation == desk.session.scene.generation
        moved = desk.journal.of_kind("mark")[0]
        expected = apply(T_ct_reference, np.array((mark.place_mm,)))[0]
        np.testing.assert_allclose(moved.place_mm, expected, atol=0.002)
        assert moved.frame == "ct"
        settings = (desk.folder.path / "session.toml").read_text()
        assert "session/registration.toml" in settings  # it is there when this is opened again
        assert "the volume begins anew" in desk.message
        # And it can be done again: the scene moves on, and no further than it should. A short
        # stretch of bone holds little: it stays where the landmarks put it, to their millimetre.
        n_before = desk.session.scene.n_voxels
        window.book["refine"].trigger()
        assert wait_until(lambda: desk.registering.refined is not None, 30.0), desk.message
        window.book["accept"].trigger()
        points_ct = desk.session.scene.snapshot().points_mm
        off = desk.session.scene.registration.T_ct_reference @ invert(T_ct_reference)
        assert np.linalg.norm(apply(off, points_ct) - points_ct, axis=1).max() < 1.0
        assert desk.session.scene.n_voxels == pytest.approx(n_before, rel=0.25)
        assert np.median(desk.session.scene.first_distances_mm) < 0.3


# -- landmarks ------------------------------------------------------------------------------------


def test_register_anew_forgets_what_was_found_first_and_says_so(stage: Stage) -> None:
    stage.do("register")
    registering = stage.desk.registering
    for k in range(3):
        registering.add("", np.array((10.0 * k, k * k, 0.0)))
        registering.find(k, np.array((10.0 * k, k * k, 0.0)))
    stage.do("fit_landmarks")
    lines = registering.lines()
    assert lines[0].startswith("landmarks: 0.00 mm RMS over 3")
    assert not any("nan" in line for line in lines)
    stage.do("redo")
    assert (registering.n_found, len(registering.landmarks), registering.start) == (0, 3, None)
    assert stage.desk.message == "3 found places forgotten; the landmarks in CT stay"
    stage.do("redo")
    assert not registering.landmarks
    assert stage.desk.message == "3 landmarks in CT removed"


def test_one_landmark_is_taken_again_or_removed(stage: Stage) -> None:
    stage.do("register")
    registering, table = stage.desk.registering, stage.window.register_page.landmarks
    for k in range(4):
        registering.add("", np.array((10.0 * k, k * k, 0.0)))
        registering.find(k, np.array((10.0 * k, k * k, 6.0 * (k == 1))))
    stage.do("fit_landmarks")
    assert registering.start is not None
    assert registering.start.fre.rms > 1.0

    stage.tick(0.3)
    table.cellClicked.emit(1, 0)
    stage.tick(0.3)
    assert [item.row() for item in table.selectedItems()] == [1, 1, 1]
    assert stage.window.register_page.hint.text() == (
        "Chosen: find L2 on the patient again, or remove it."
    )
    stage.session.state = dataclasses.replace(RUNNING, frame="reference")
    stage.show(view(A_target_pixel=np.eye(4)))
    stage.bridge._commands._registration._told_pick(stage.desk.view, 10.0, 1.0)
    np.testing.assert_allclose(registering.landmarks[1].reference_mm, (10.0, 1.0, 0.0))
    assert (registering.chosen, registering.start) == (None, None)
    stage.do("fit_landmarks")
    assert registering.start.fre.rms < 1e-6

    stage.window.activateWindow()
    stage.window.setFocus()
    QTest.qWait(50)
    for _ in range(3):
        QTest.keyClick(stage.window, Qt.Key.Key_N)
    assert registering.chosen == 2
    QTest.keyClick(stage.window, Qt.Key.Key_Backspace, Qt.KeyboardModifier.ControlModifier)
    assert [mark.name for mark in registering.landmarks] == ["L1", "L2", "L4"]
    assert (registering.chosen, registering.start) == (None, None)
    stage.do("remove")
    assert "choose the landmark" in stage.window.register_page.problem.text()
    assert len(registering.landmarks) == 3


# -- disks ----------------------------------------------------------------------------------------


def test_a_disk_that_goes_ends_no_picture(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written: the window says so, and goes on."""

    def fails(*args: object, **kwargs: object) -> None:
        raise SessionError("events.jsonl: cannot be written: No space left on device")

    monkeypatch.setattr(stage.desk.journal, "note", fails)
    monkeypatch.setattr(stage.desk.folder, "path", Path("/nowhere"))
    stage.session.state = dataclasses.replace(RUNNING, model_note="net.onnx runs since 3 s")
    stage.show(view(A_target_pixel=pose()))
    assert "No space left" in stage.desk.message
    stage.do("freeze")
    assert Hold.FROZEN in stage.session.gate.holds
    assert stage.window.status_row.chips["RECORDING"].reading.level is Level.WARNING


def test_a_recording_that_ends_by_itself_is_heard_and_written_down(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.show(view(A_target_pixel=pose()))
    stage.do("record")
    recorder = stage.desk.takes._recorder
    assert recorder is not None
    recorder._give_up("No space left on device")
    stage.show(view(A_target_pixel=pose()))
    assert stage.desk.message == "recording ended: No space left on device"
    assert stage.sounds == ["loss"]
    assert len(stage.desk.journal.of_kind("record failed")) == 1
    stage.show(view(A_target_pixel=pose()))
    assert stage.sounds == ["loss"]


def test_what_is_recorded_around_undo_clear_and_another_session_can_be_read(
    qapp: QApplication, tmp_path: Path
) -> None:
    """And the settings are there from the first minute on: for after a crash."""
    with running(tmp_path, loop=True) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 100)
        first, folder = desk.session, desk.folder.path
        assert load_settings(folder / "session.toml", {}).geometry.registration is not None
        for name in ("record", "undo", "record", "record", "clear"):
            window.book[name].trigger()
            QTest.qWait(700)
        window.dropped.emit(str(folder / "recording-001.mcap"))
        assert wait_until(lambda: desk.session is not first, 30.0), desk.message
        for number in (1, 2):
            recording = Recording(folder / f"recording-00{number}.mcap")
            assert recording.is_closed
            assert len(recording.index.offset) > 10
        assert wait_until(lambda: window.image_view.has_view)
        assert window.image_view.picture.watermark.startswith("REPLAY")
        window.dropped.emit(str(folder))  # of two recordings, the last; and it says so
        text = f"recording-002.mcap is replayed; recording-001.mcap in {folder}: Ctrl+O opens them"
        assert desk.message == text


def test_the_session_that_runs_is_not_taken_for_one_that_crashed(
    qapp: QApplication, tmp_path: Path
) -> None:
    crashed = SessionFolder(tmp_path / "run-1", "leg")
    crashed.begin()
    (tmp_path / "run-1" / "recording-001.mcap").write_bytes(b"")
    state = tmp_path / "run-1" / "session.json"
    fields = json.loads(state.read_text())
    state.write_text(json.dumps({**fields, "begun": "2001-01-01T00:00:00", "pid": 2**22 - 3}))
    with open_stage(qapp, MadeUpSession(), tmp_path) as stage:
        assert "run-1" in _box_text(stage)
        mine = json.loads((stage.desk.folder.path / "session.json").read_text())
        assert mine["state"] == "open"


def _box_text(stage: Stage) -> str:
    from PySide6.QtWidgets import QMessageBox

    box = stage.window.findChild(QMessageBox)
    return "" if box is None else box.text()


# -- hands and feet -------------------------------------------------------------------------------


def test_every_setting_is_read_back_as_it_is(stage: Stage, tmp_path: Path) -> None:
    drawer = stage.window.settings_drawer
    settings = load_settings(
        None,
        {
            "server": {"host": "10.0.0.7", "silence_timeout_s": 0, "tracking_period_ms": 20},
            "more_servers": [{"host": "b", "reconnect": False}, {"port": 7}],
            "streams": {"image": 'Im "x"', "reference": "R\\q"},
            "matching": {"image_lag_s": -0.25, "max_pose_gap_s": 1e-7},
            "model": {"path": 'a "b"/c.onnx', "provider": "cpu"},
            "geometry": {"ct": ("a\\b.stl", 'c "d".stl'), "roi_px": (1, 2, 3, 4)},
            "volume": {"live": True, "compounding": "latest"},
            "window": {"keys": {"mark": "F7", "undo": "", "step": "\\", "plan": '"'}},
        },
    )
    drawer.show_settings(settings)
    assert drawer.problems.text() == ""
    assert drawer.check() == settings
    drawer.save_profile(tmp_path / "profile.toml")
    assert load_settings(tmp_path / "profile.toml", {}) == settings


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ('{mark = "S"}', "S is the key of mark and of snapshot"),
        ('{fly = "F5"}', "window.keys.fly is not an action"),
    ],
)
def test_keys_are_checked_as_they_are_typed(stage: Stage, typed: str, said: str) -> None:
    drawer = stage.window.settings_drawer
    drawer.edits["window", "keys"].setText(typed)
    assert drawer.edits["window", "keys"].property("is_wrong")
    assert said in drawer.problems.text()
    assert not drawer.apply_button.isEnabled()


def test_a_pedal_that_repeats_presses_once(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    for _ in range(31):
        stage.now_s += 0.033
        stage.window.book["freeze"].trigger()
        stage.window.book["mark"].trigger()
    assert stage.desk.is_frozen
    assert len(stage.desk.journal.of_kind("mark")) == 1
    stage.now_s += 0.5
    stage.window.book["freeze"].trigger()
    assert not stage.desk.is_frozen


def test_no_menu_empties_the_cloud_with_a_click(stage: Stage) -> None:
    texts = [a.text() for menu in stage.window.book.menus().values() for a in menu]
    assert "Undo sweep" in texts
    assert "Clear" not in texts


@pytest.mark.parametrize("sheet", ["keys", "chip"])
def test_a_pedal_works_while_a_sheet_is_in_front(stage: Stage, sheet: str) -> None:
    stage.show(view(A_target_pixel=pose()))
    if sheet == "keys":
        stage.do("keys")
        front = next(w for w in stage.window.children() if type(w).__name__ == "KeySheet")
    else:
        stage.window.status_row.clicked.emit("IMAGE")
        front = stage.bridge.plots["IMAGE"]
    front.activateWindow()  # type: ignore[attr-defined]
    QTest.qWait(50)
    QTest.keyClick(front, Qt.Key.Key_Space)  # type: ignore[call-overload]
    assert stage.desk.is_frozen
    front.close()  # type: ignore[attr-defined]


def test_a_second_file_waits_for_the_first(stage: Stage, tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("[probe]\n")
    stage.window.dropped.emit(str(tmp_path / "a.toml"))
    stage.window.dropped.emit(str(tmp_path / "b.toml"))
    assert "a session is being loaded" in stage.desk.message


def test_a_problem_of_saving_is_told_once(stage: Stage) -> None:
    saving = stage.bridge._commands._saving
    saving._job.problem = "no space left"
    stage.tick(0.3)
    assert stage.desk.message == "no space left"
    stage.do("mark")
    assert stage.desk.message == "mark 1"


def test_the_line_of_an_image_is_drawn_on_no_other_session(stage: Stage) -> None:
    stage.show(view(line=NO_LINE, A_target_pixel=pose()))
    stage.window.image_view.forget()
    assert stage.window.image_view.banner == ""
    assert stage.window.image_view._line.isEmpty()


# -- words ----------------------------------------------------------------------------------------


def test_a_sweep_over_what_was_scanned_before_is_undone_without_a_zero(stage: Stage) -> None:
    _fill(stage)
    stage.do("freeze")
    stage.do("freeze")
    u = np.arange(50.0)
    line = BoneLine(np.column_stack((8 * u, 6 * u)), *2 * [np.ones(50, dtype=np.float32)])
    stage.session.scene.insert(line, pose(1.0), "ct", (320, 400))  # where sweep 1 was
    stage.do("undo")
    assert stage.desk.message == "sweep 2 undone: its points lay where others had been"


def test_return_and_escape_give_the_keys_back_to_the_actions(stage: Stage) -> None:
    stage.window.activateWindow()
    QTest.qWait(50)
    field = stage.window.prepare_page.fields["server"]
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Escape):
        stage.do("prepare")
        field.setFocus()
        QTest.keyClicks(field, "1")
        assert field.text().endswith("1")
        QTest.keyClick(field, key)
        assert not field.hasFocus()
        QTest.keyClick(stage.window, Qt.Key.Key_3)
        assert stage.window.step is Step.SCAN


def test_prepare_says_that_the_images_are_a_recordings(stage: Stage) -> None:
    stage.do("prepare")
    page = stage.window.prepare_page
    stage.tick(0.3)
    assert page.origin.text() == ""
    facts = stage.bridge.facts
    assert facts is not None
    page.show_facts(dataclasses.replace(facts, replay_speed="1"), None)
    assert page.origin.text().startswith("Now a recording is replayed")


def test_without_an_image_the_picture_says_why(stage: Stage) -> None:
    stage.tick(0.3)
    dark = grab(stage.window.image_view)
    refused = "cannot reach 10.0.0.1:18944: Connection refused"
    stage.session.state = dataclasses.replace(RUNNING, detail=refused)
    stage.tick(0.3)
    assert stage.window.image_view.picture.waiting == refused
    assert (grab(stage.window.image_view) != dark).any()
