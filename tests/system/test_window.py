"""The window under Xvfb: what is seen on it, pixel by pixel, for a session that is made up."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pyqtgraph import Vector
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage, QQuaternion
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from inference.postprocess import BoneLine
from navapp.desk.desk import Desk
from navapp.desk.session_folder import SessionFolder
from navapp.gui import app as gui_app
from navapp.gui import style
from navapp.gui.about import about_text
from navapp.gui.app import FAILED, INTERRUPTED, run_window
from navapp.gui.scene_view import SceneView
from navapp.gui.virtual_display import has_display, virtual_display
from navapp.state import DropReason, SessionState, SessionStatus
from recon.surface import TriangleMesh
from tests.support.desks import (
    COLUMNS,
    ROWS,
    RUNNING,
    SPACING_MM,
    MadeUpSession,
    Stage,
    grab,
    open_stage,
    pose,
    view,
)
from tracking.transforms import apply


@contextmanager
def _desk(session: MadeUpSession, folder: Path) -> Iterator[Desk]:
    desk = Desk(session, SessionFolder(folder / "session"))
    try:
        yield desk
    finally:
        desk.close()


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(), tmp_path) as result:
        yield result


def _is_colour(rgb: NDArray[np.int_], colour: str, tolerance: int = 60) -> NDArray[np.bool_]:
    wanted = QColor(colour).getRgb()[:3]
    return np.abs(rgb - wanted).max(axis=-1) <= tolerance


def _is_bone_hue(rgb: NDArray[np.int_]) -> NDArray[np.bool_]:
    """The bone's yellow, at any brightness that depth gives it."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return (red > 100) & (green > 0.65 * red) & (blue < 0.45 * red)


def _take_mouse(scene: SceneView) -> None:
    """A click: from now on the camera is the user's, and only the content changes the picture."""
    QTest.mouseClick(scene, Qt.MouseButton.LeftButton)


def _sheet_mm(n_rows: int) -> NDArray[np.float32]:
    """A surface that grows row by row of 40 points, 0.5 mm apart."""
    row, place = np.mgrid[:n_rows, :40].reshape(2, -1)
    points = np.stack((0.5 * place - 10.0, np.zeros(place.size), 0.5 * row), axis=1)
    return points.astype(np.float32)


def _edge_image() -> tuple[NDArray[np.uint8], BoneLine]:
    """Black above a wavy edge and white below, with the edge as a bone line."""
    u = np.arange(COLUMNS)
    first_white = np.round(160 + 60 * np.sin(u / 60)).astype(int)
    pixels = np.where(np.arange(ROWS)[:, None] < first_white, 0, 255).astype(np.uint8)
    points_px = np.column_stack((u, first_white - 0.5)).astype(np.float64)
    return pixels, BoneLine(points_px, *2 * [np.ones(COLUMNS, dtype=np.float32)])


def test_the_line_lies_on_the_edge_that_it_reports(stage: Stage) -> None:
    pixels, line = _edge_image()
    stage.show(view(pixels))
    edge = (grab(stage.window.image_view).min(axis=-1) > 128).argmax(axis=0)
    stage.show(view(pixels, line))
    is_line = _is_colour(grab(stage.window.image_view), style.BONE_FOUND)

    drawn = np.flatnonzero(is_line.any(axis=0))
    rect = stage.window.image_view.image_rect()
    assert abs(len(drawn) - rect.width()) <= 6
    rows = np.arange(len(is_line))[:, None]
    centre = (is_line * rows).sum(axis=0)[drawn] / is_line.sum(axis=0)[drawn]
    assert np.abs(centre - (edge[drawn] - 0.5))[3:-3].max() <= 3.0


def test_the_image_is_square_in_millimetres(stage: Stage) -> None:
    stage.show(view(np.full((ROWS, COLUMNS), 255, dtype=np.uint8)))
    is_image = grab(stage.window.image_view).min(axis=-1) > 250
    height = np.flatnonzero(is_image.sum(axis=1) > 100).size
    width = np.flatnonzero(is_image.sum(axis=0) > 100).size
    expected = (COLUMNS * SPACING_MM[0]) / (ROWS * SPACING_MM[1])
    assert width / height == pytest.approx(expected, rel=0.01)


def test_a_gap_in_the_line_stays_open(stage: Stage) -> None:
    pixels, line = _edge_image()
    keep = np.ones(COLUMNS, dtype=bool)
    keep[150:200] = False
    stage.show(view(pixels, BoneLine(line.points_px[keep], line.confidence[keep], line.peak[keep])))
    is_line = _is_colour(grab(stage.window.image_view), style.BONE_FOUND).any(axis=0)
    to_screen = stage.window.image_view.screen_from_pixel()
    left, right = (int(to_screen.map(float(u), 0.0)[0]) for u in (152, 197))
    assert not is_line[left:right].any()
    assert is_line[left - 40 : left - 10].all()


def test_fifty_frames_later_there_is_more_of_the_cloud(stage: Stage) -> None:
    sheet_mm = _sheet_mm(60)
    stage.show(view(A_target_pixel=pose(-40.0), cloud_points_mm=sheet_mm[: 40 * 10]))
    scene = stage.window.scene_view
    scene.setCameraPosition(distance=120.0)
    _take_mouse(scene)
    n_before = _is_bone_hue(grab(scene)).sum()
    for n_rows in range(11, 61):
        stage.show(view(A_target_pixel=pose(-40.0), cloud_points_mm=sheet_mm[: 40 * n_rows]))
    n_after = _is_bone_hue(grab(scene)).sum()
    assert n_before > 100
    assert n_after > 2 * n_before


@pytest.mark.parametrize("change", [{"cloud_undone": (0,)}, {"cloud_generation": 1}])
def test_of_a_cloud_that_was_undone_or_begun_anew_nothing_stays(
    stage: Stage, change: dict[str, Any]
) -> None:
    stage.show(view(cloud_points_mm=_sheet_mm(60)))
    n_before = _is_bone_hue(grab(stage.window.scene_view)).sum()
    _take_mouse(stage.window.scene_view)
    stage.show(view(cloud_points_mm=_sheet_mm(5), **change))
    n_after = _is_bone_hue(grab(stage.window.scene_view)).sum()
    assert 0 < n_after < 0.3 * n_before


def test_rows_beyond_one_buffer_are_drawn_too(stage: Stage) -> None:
    """The last rows of 200,000 points, which fill three buffers and a part, are still there."""
    corner_mm = np.array((40.0, 0.0, 0.0), dtype=np.float32)
    rng = np.random.default_rng(1)
    heap_mm = rng.normal(scale=0.5, size=(200_000, 3)).astype(np.float32)
    heap_mm[-5_000:] += corner_mm
    scene = stage.window.scene_view
    for n in (100_000, 195_000, 200_000):
        stage.show(view(cloud_points_mm=heap_mm[:n]))
    scene.budget.stride = 1
    is_bone = _is_bone_hue(grab(scene))
    columns = np.flatnonzero(is_bone.any(axis=0))
    assert scene.cloud.n_points == 200_000
    assert np.diff(columns).max() > 50  # two heaps


def test_the_live_image_is_seen_in_the_scene_while_it_has_a_pose(stage: Stage) -> None:
    pixels = np.full((ROWS, COLUMNS), 200, dtype=np.uint8)
    pixels[:, : COLUMNS // 2] = 90
    stage.show(view(pixels, A_target_pixel=pose()))
    with_pose = grab(stage.window.scene_view)
    stage.show(view(pixels, dropped=DropReason.NO_POSE))
    without_pose = grab(stage.window.scene_view)

    def n_of(rgb: NDArray[np.int_], grey: int) -> int:
        return int((np.abs(rgb - grey).max(axis=-1) <= 2).sum())

    assert n_of(with_pose, 200) > 5_000
    assert n_of(with_pose, 90) > 5_000
    assert _is_colour(with_pose, style.SKIN).sum() > 100
    assert n_of(without_pose, 200) + n_of(without_pose, 90) == 0


def test_points_of_the_line_lie_on_the_image_in_the_scene(stage: Stage) -> None:
    """A point back-projected from a pixel is drawn over that pixel of the textured plane."""
    pixels = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
    pixels[90:111, 290:311] = 255
    A_target_pixel = pose()
    point_mm = apply(A_target_pixel, np.array(((300.0, 100.0, -0.1),)))
    stage.show(view(pixels, A_target_pixel=A_target_pixel))
    spot = np.argwhere(grab(stage.window.scene_view).min(axis=-1) > 250)
    _take_mouse(stage.window.scene_view)
    stage.show(
        view(pixels, A_target_pixel=A_target_pixel, cloud_points_mm=point_mm.astype(np.float32))
    )
    point = np.argwhere(_is_bone_hue(grab(stage.window.scene_view)))
    np.testing.assert_allclose(point.mean(axis=0), spot.mean(axis=0), atol=3.0)


def test_the_surface_lets_the_points_on_it_show(qapp: QApplication, tmp_path: Path) -> None:
    corners = np.array([(x, 0.0, z) for x in (-30, 30) for z in (-30, 60)], dtype=np.float64)
    faces = np.array(((0, 2, 1), (1, 2, 3)), dtype=np.int32)
    with open_stage(qapp, MadeUpSession(TriangleMesh(corners, faces)), tmp_path) as stage:
        stage.show(view())
        surface_only = grab(stage.window.scene_view)
        red, _, blue = np.moveaxis(surface_only, -1, 0)
        assert (blue > red + 15).sum() > 10_000
        stage.show(view(cloud_points_mm=_sheet_mm(60)))
        with_points = grab(stage.window.scene_view)
        changed = np.abs(with_points - surface_only).max(axis=-1) > 60
        assert changed.sum() > 1_000


def test_a_surface_that_finds_its_place_later_is_shown_then(
    qapp: QApplication, tmp_path: Path
) -> None:
    """A recorded sweep says only with its first pose that it lies in CT space."""
    corners = np.array([(x, 0.0, z) for x in (-30, 30) for z in (-30, 60)], dtype=np.float64)
    faces = np.array(((0, 2, 1), (1, 2, 3)), dtype=np.int32)
    session = MadeUpSession()
    with open_stage(qapp, session, tmp_path) as stage:
        stage.show(view())
        before = grab(stage.window.scene_view)
        session.surface = TriangleMesh(corners, faces)
        stage.show(view())
        after = grab(stage.window.scene_view)
        assert (np.abs(after - before).max(axis=-1) > 15).sum() > 10_000


def test_the_camera_follows_the_growing_scan_until_somebody_takes_the_mouse(
    stage: Stage,
) -> None:
    scene = stage.window.scene_view
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=_sheet_mm(10)))
    near_mm = scene.opts["distance"]
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=_sheet_mm(200)))
    far_mm = scene.opts["distance"]
    assert far_mm > 1.3 * near_mm
    _take_mouse(scene)
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=_sheet_mm(800)))
    assert scene.opts["distance"] == far_mm
    scene.fit_camera()
    assert scene.opts["distance"] > 1.3 * far_mm


@pytest.mark.parametrize(
    ("button", "is_turned", "is_moved"),
    [(Qt.MouseButton.LeftButton, True, False), (Qt.MouseButton.RightButton, False, True)],
)
def test_dragging_turns_or_moves_the_scene(
    stage: Stage, button: Qt.MouseButton, is_turned: bool, is_moved: bool
) -> None:
    scene = stage.window.scene_view
    before = scene.cameraParams()
    centre, rotation = Vector(before["center"]), QQuaternion(before["rotation"])
    QTest.mousePress(scene, button, pos=QPoint(200, 200))
    QTest.mouseMove(scene, QPoint(260, 230))
    stage.app.processEvents()
    QTest.mouseRelease(scene, button, pos=QPoint(260, 230))
    after = scene.cameraParams()
    assert (after["rotation"] != rotation) == is_turned
    assert (Vector(after["center"]) != centre) == is_moved


def test_the_whole_window_is_in_its_picture(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose(), cloud_points_mm=_sheet_mm(60)))
    picture = grab(stage.window)
    rows, columns = picture.shape[:2]
    left, right = picture[150:, : int(0.4 * columns)], picture[150:, int(0.45 * columns) :]
    assert (rows, columns) == (900, 1600)
    assert (np.abs(left - 120).max(axis=-1) <= 2).mean() > 0.3
    assert _is_bone_hue(right).sum() > 300
    assert (picture[:110].max(axis=-1) > 180).sum() > 1_000  # the words of the status row


def test_a_second_window_draws_too(qapp: QApplication, tmp_path: Path) -> None:
    shown = view(A_target_pixel=pose(-40.0), cloud_points_mm=_sheet_mm(60))
    counts = []
    with open_stage(qapp, MadeUpSession(), tmp_path) as first:
        first.show(shown)
        counts.append(_is_bone_hue(grab(first.window.scene_view)).sum())
        with open_stage(qapp, MadeUpSession(), tmp_path) as second:
            second.show(shown)
            counts.append(_is_bone_hue(grab(second.window.scene_view)).sum())
    with open_stage(qapp, MadeUpSession(), tmp_path) as third:
        third.show(shown)
        counts.append(_is_bone_hue(grab(third.window.scene_view)).sum())
    assert counts[0] > 300
    assert counts == [counts[0]] * 3


def test_the_chips_say_what_the_status_says_and_do_not_move(stage: Stage) -> None:
    chips = stage.window.status_row.chips
    stage.tick(1.0)
    places = {caption: chip.geometry() for caption, chip in chips.items()}
    assert chips["PROBE"].reading.value == "seen 100 Hz"
    assert chips["DROPPED"].reading.value == "1 no pose"

    stage.session.state = dataclasses.replace(
        RUNNING,
        state=SessionState.DEGRADED,
        is_tracking_ok=False,
        tracking="Probe lost for 12.5 s, and nobody knows where it went",
        image_rate_hz=float("nan"),
    )
    stage.session.lose(0, 12.5)
    stage.tick(1.0)
    assert chips["SESSION"].reading.value == "Degraded"
    assert chips["PROBE"].reading.value == "lost 12.5 s"
    assert chips["IMAGE"].reading.value == "\u2013 Hz"
    assert {caption: chip.geometry() for caption, chip in chips.items()} == places
    assert _is_colour(grab(chips["PROBE"]), style.PROBLEM, tolerance=10).sum() > 100
    assert _is_colour(grab(chips["SESSION"]), style.WARNING, tolerance=10).sum() > 50


def test_the_status_is_asked_five_times_a_second(stage: Stage) -> None:
    n_asked = 0

    def status() -> SessionStatus:
        nonlocal n_asked
        n_asked += 1
        return RUNNING

    stage.session.status = status  # type: ignore[method-assign]
    for _ in range(100):
        stage.tick(0.01)
    assert 4 <= n_asked <= 6


def test_an_image_that_is_no_longer_live_says_so_and_is_dimmed(stage: Stage) -> None:
    image_view = stage.window.image_view

    def scene_above_note() -> NDArray[np.int_]:
        return grab(stage.window.scene_view)[:-60]

    stage.show(view(np.full((ROWS, COLUMNS), 200, dtype=np.uint8), A_target_pixel=pose()))
    stage.tick(0.9 * stage.session.settings.matching.max_age_s)
    assert image_view.banner == ""
    live_2d, live_3d = grab(image_view)[300, 300].max(), scene_above_note().max()

    stage.session.state = dataclasses.replace(RUNNING, image_rate_hz=0.0)
    stage.tick(2.5)
    assert image_view.banner == "NO NEW IMAGE: nothing for 3 s"
    stale = grab(image_view)
    assert live_2d == 200
    assert stale[300, 300].max() < 0.5 * live_2d
    assert _is_colour(stale, style.PROBLEM).sum() > 1_000
    assert scene_above_note().max() < 0.5 * live_3d

    stage.show(view(A_target_pixel=pose()))
    assert image_view.banner == ""


def test_a_frame_without_a_pose_says_why(stage: Stage) -> None:
    stage.show(view(dropped=DropReason.POSE_GAP))
    banner = stage.window.image_view.banner
    assert banner == "NO POSE: poses around it are too far apart"
    assert _is_colour(grab(stage.window.image_view), style.PROBLEM).sum() > 1_000


def test_each_painted_view_is_noted_once(stage: Stage) -> None:
    views = [view() for _ in range(3)]
    for each in views:
        stage.show(each, later_s=0.1)
        stage.tick(0.1)
    assert [each for each, _ in stage.session.shown] == views
    assert [t_s for _, t_s in stage.session.shown] == pytest.approx([100.1, 100.3, 100.5])


def test_the_about_box_says_what_the_program_is_not(qapp: QApplication) -> None:
    text = about_text()
    for words in ("not a medical device", "Apache-2.0", "UltraBones100k", "CC BY 4.0"):
        assert words in text


def test_a_run_ends_when_told_and_leaves_its_pictures(
    qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gui_app, "_FIRST_SCREENSHOT_S", 0.0)
    session = MadeUpSession()
    n_ticks = 0

    def is_over() -> bool:
        nonlocal n_ticks
        n_ticks += 1
        session.views.put(view(A_target_pixel=pose(), cloud_points_mm=_sheet_mm(n_ticks)))
        return n_ticks >= 10

    with _desk(session, tmp_path) as desk:
        exit_code = run_window(desk, title="t", close_when=is_over, screenshots=tmp_path / "s")
    assert exit_code == 0
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == ["window-midway.png", "window.png"]
    midway = QImage(str(tmp_path / "s" / "window-midway.png"))
    assert (midway.width(), midway.height()) == (1600, 900)


def test_ctrl_c_closes_the_window(qapp: QApplication, tmp_path: Path) -> None:
    def interrupt() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return False

    before = signal.getsignal(signal.SIGINT)
    with _desk(MadeUpSession(), tmp_path) as desk:
        exit_code = run_window(desk, title="t", close_when=interrupt)
    assert exit_code == INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("place", ["tick", "paint"])
def test_an_error_in_a_callback_ends_the_run_and_is_logged(
    qapp: QApplication,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:
    def fail(*args: object) -> None:
        int("no number")

    session = MadeUpSession()
    session.views.put(view(A_target_pixel=pose()))
    with _desk(session, tmp_path) as desk:
        if place == "tick":
            monkeypatch.setattr(session, "status", fail)
        else:
            monkeypatch.setattr("navapp.gui.gl_items.PlaneItem.paint", fail)
        exit_code = run_window(desk, title="t")
    assert exit_code == FAILED
    assert "no number" in caplog.text


def test_work_is_measured_for_each_tick(stage: Stage) -> None:
    start_s = time.thread_time()
    for _ in range(5):
        stage.show(view(), later_s=0.1)
    assert len(stage.bridge.work_s) >= 5
    assert 0.0 < sum(stage.bridge.work_s) < time.thread_time() - start_s + 1.0


def test_a_virtual_display_comes_and_goes() -> None:
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb (apt-get install xvfb)")
    before = os.environ.get("DISPLAY")
    with virtual_display() as name:
        assert os.environ["DISPLAY"] == name
        assert has_display()
        socket = Path("/tmp/.X11-unix") / f"X{name.removeprefix(':')}"
        assert socket.exists()
    assert os.environ.get("DISPLAY") == before
    assert not socket.exists()
