"""Alarms of the window: the chip, the border, the words, the sound, and nothing in the cloud."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from inference.segmenter import default_model_path
from navapp.desk.desk import Desk
from navapp.gui import style
from navapp.gui.main_window import MainWindow
from navapp.gui.readings import Level
from navapp.state import DropReason, SessionState
from tests.support.desks import RUNNING, MadeUpSession, Stage, grab, open_stage, pose, view
from tests.support.networks import write_slow_network
from tests.support.screens import running, wait_until
from tracking.faults import Faults
from tracking.sequences.recording import Recording


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(), tmp_path) as result:
        yield result


def _n_border_pixels(window: MainWindow) -> int:
    """Red at the very left of the frame around the views."""
    picture = grab(window)
    red = np.array(QColor(style.PROBLEM).getRgb()[:3])
    column = picture[200:500, 12]
    return int((np.abs(column - red).max(axis=-1) < 10).sum())


def test_all_is_well_without_a_border_or_a_word(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    assert stage.window.image_view.banner == ""
    assert stage.window.border_level is None
    assert _n_border_pixels(stage.window) == 0
    assert stage.sounds == []


@pytest.mark.parametrize(
    ("tool", "headline", "chip"), [(0, "PROBE LOST", "PROBE"), (1, "REFERENCE HIDDEN", "REFERENCE")]
)
def test_a_tool_that_is_lost_is_told_with_colour_shape_word_and_sound(
    stage: Stage, tool: int, headline: str, chip: str
) -> None:
    stage.show(view(A_target_pixel=pose()))
    stage.session.lose(tool, 0.8)
    stage.show(view(dropped=DropReason.NO_POSE))
    assert stage.window.image_view.banner.startswith(headline)
    assert "0.8 s" in stage.window.image_view.banner
    assert stage.window.border_level is Level.PROBLEM
    assert _n_border_pixels(stage.window) > 250
    reading = stage.window.status_row.chips[chip].reading
    assert (reading.level, reading.value) == (Level.PROBLEM, "lost 0.8 s")
    assert stage.sounds == ["loss"]


def test_one_sound_at_loss_and_one_at_return(stage: Stage) -> None:
    seen = stage.session.seen
    for _ in range(3):
        stage.session.lose(0, 1.0)
        stage.show(view(dropped=DropReason.NO_POSE), later_s=0.3)
    stage.session.seen = seen
    for _ in range(4):
        stage.show(view(A_target_pixel=pose()), later_s=0.3)
    assert stage.sounds == ["loss", "return"]


@pytest.mark.parametrize(
    ("change", "headline"),
    [
        ({"misfit": "spacing 0.2 mm, expected 0.1 mm"}, "IMAGE DOES NOT FIT: spacing 0.2 mm"),
        ({"state": SessionState.FAILED, "detail": "disk"}, "SESSION ENDED: disk"),
        ({"unanswered_s": 3.0}, "MODEL TOO SLOW: no result for 3 s"),
        ({}, "NO NEW IMAGE: nothing for 3 s"),
        ({"tracking": "no connection"}, "NO CONNECTION: for 3 s"),
    ],
)
def test_each_reason_has_its_words_and_dims_the_picture(
    stage: Stage, change: dict[str, object], headline: str
) -> None:
    stage.show(view(A_target_pixel=pose()))
    bright = grab(stage.window.image_view)[300, 300].max()
    stage.session.state = dataclasses.replace(RUNNING, **change)  # type: ignore[arg-type]
    stage.tick(3.0)
    assert stage.window.image_view.banner.startswith(headline)
    assert grab(stage.window.image_view)[300, 300].max() < 0.5 * bright
    assert stage.window.scene_view.plane.is_stale


def test_freeze_holds_picture_and_insertion_and_not_the_recording(stage: Stage) -> None:
    first, second = view(A_target_pixel=pose()), view(A_target_pixel=pose(5.0))
    stage.show(first)
    stage.do("record")
    stage.do("freeze")
    stage.show(second)
    assert stage.desk.view is first
    assert not stage.session.scene.is_inserting
    assert stage.desk.takes.state.is_recording
    assert stage.window.image_view.banner.startswith("FROZEN")
    stage.do("freeze")
    stage.show(second)
    assert stage.desk.view is second
    assert (stage.session.scene.is_inserting, stage.session.scene.sweep) == (True, 2)


@pytest.mark.parametrize("flips", [(), ("flip_x",), ("flip_y",), ("flip_x", "flip_y")])
def test_a_flip_moves_the_display_and_no_pixel(stage: Stage, flips: tuple[str, ...]) -> None:
    """A click on what is seen gives the pixel that is there, and its place in space stays."""
    pixels = np.zeros((320, 400), dtype=np.uint8)
    pixels[80:90, 300:310] = 255
    for name in flips:
        stage.do(name)
    stage.show(view(pixels, A_target_pixel=pose()))
    image_view = stage.window.image_view
    spot = np.argwhere(grab(image_view).min(axis=-1) > 250)
    row, column = spot.mean(axis=0)
    pixel_from_screen, _ = image_view.screen_from_pixel().inverted()
    pixel = pixel_from_screen.map(QPointF(column + 0.5, row + 0.5))
    assert (pixel.x(), pixel.y()) == pytest.approx((304.5, 84.5), abs=1.0)
    assert stage.desk.view is not None
    np.testing.assert_array_equal(stage.desk.view.A_target_pixel, pose())


@pytest.mark.parametrize(
    ("faults", "headline", "chip"),
    [
        (Faults(occlusion_s=3.0, occlusion_every_s=5.0), "PROBE LOST", "PROBE"),
        (
            Faults(occlusion_s=3.0, occlusion_every_s=5.0, tool="Reference"),
            "REFERENCE HIDDEN",
            "REFERENCE",
        ),
        (
            Faults(invalid_s=3.0, invalid_every_s=5.0),
            "NO POSE: the tracker marks it unusable",
            "PROBE",
        ),
        (Faults(depth_s=3.0, depth_every_s=5.0), "IMAGE DOES NOT FIT", "IMAGE"),
        (Faults(stall_s=3.6, stall_every_s=5.6), "NO NEW IMAGE", "IMAGE"),
    ],
    ids=["probe", "reference", "invalid", "depth", "stall"],
)
def test_a_fault_of_a_real_stream_holds_insertion_and_is_told(
    qapp: QApplication, tmp_path: Path, faults: Faults, headline: str, chip: str
) -> None:
    """All is well, then it is not, then it is again: on screen, to the ear, and in the cloud."""
    sounds: list[str] = []
    with running(tmp_path, faults=faults, beep=sounds.append) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 0)
        _assert_alarm(desk, window, headline, chip)
        n_held = desk.session.scene.n_voxels
        assert wait_until(lambda: desk.session.scene.n_voxels > n_held)
        assert wait_until(lambda: "return" in sounds)
        assert window.border_level is None
        assert window.image_view.picture.watermark == "REPLAY 1x"
    assert sounds[:2] == ["loss", "return"]


def test_a_server_that_goes_is_told_and_holds_insertion(qapp: QApplication, tmp_path: Path) -> None:
    with running(tmp_path) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 0)
        assert desk.replay is not None
        desk.replay.close()
        _assert_alarm(desk, window, "NO CONNECTION", "IMAGE")


def test_a_calibration_for_other_images_is_told_while_the_tools_are_seen(
    qapp: QApplication, tmp_path: Path
) -> None:
    faults = Faults(depth_s=20.0, depth_every_s=20.0)  # from the first image on
    with running(tmp_path, faults=faults) as (desk, window, _):
        chips = window.status_row.chips
        assert wait_until(lambda: "IMAGE DOES NOT FIT" in window.image_view.picture.waiting)
        assert not window.image_view.has_view
        assert window.border_level is Level.PROBLEM
        assert chips["IMAGE"].reading.value == "misfit"
        assert wait_until(lambda: chips["PROBE"].reading.value.startswith("seen"))
        assert desk.session.scene.n_voxels == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of a file")
def test_a_disk_that_fills_up_ends_the_recording_and_nothing_else(
    qapp: QApplication, tmp_path: Path
) -> None:
    import resource

    sounds: list[str] = []
    with running(tmp_path, loop=True, beep=sounds.append) as (desk, window, _):
        chip = window.status_row.chips["RECORDING"]
        assert wait_until(lambda: desk.session.scene.n_voxels > 0)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        window.book["record"].trigger()
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))  # ten images
        try:
            assert wait_until(lambda: chip.reading.value == "failed"), chip.reading
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert chip.reading.level is Level.PROBLEM
        assert "recording-001.mcap: cannot be written: File too large" in chip.reading.tooltip
        assert desk.message.startswith("recording ended: ")
        assert sounds == ["loss"]
        n_then = desk.session.scene.n_voxels
        assert wait_until(lambda: desk.session.scene.n_voxels > n_then)
        assert window.border_level is None
        window.book["record"].trigger()  # there is room again
        assert wait_until(lambda: chip.reading.value.startswith("REC"))
        window.book["record"].trigger()
    for name, n_least in (("recording-001.mcap", 5), ("recording-002.mcap", 1)):
        assert len(list(Recording(desk.folder.path / name).messages())) >= n_least


def test_a_network_that_falls_behind_is_told_until_a_faster_one_takes_over(
    qapp: QApplication, tmp_path: Path
) -> None:
    sounds: list[str] = []
    slow = write_slow_network(tmp_path / "slow.onnx", 1.5)
    with running(tmp_path, loop=True, beep=sounds.append) as (desk, window, _):
        assert wait_until(lambda: desk.session.scene.n_voxels > 0)
        window.dropped.emit(str(slow))
        assert wait_until(lambda: desk.session.status().model == "slow.onnx", 60.0)
        assert wait_until(lambda: window.image_view.banner.startswith("MODEL TOO SLOW"), 60.0)
        assert window.border_level is Level.PROBLEM
        assert window.status_row.chips["MODEL"].reading.level is Level.PROBLEM
        window.dropped.emit(str(default_model_path()))
        assert wait_until(lambda: "return" in sounds, 60.0)
        n_then = desk.session.status().n_processed
        assert wait_until(lambda: desk.session.status().n_processed > n_then + 10)
        assert window.border_level is None


def _assert_alarm(desk: Desk, window: MainWindow, headline: str, chip: str) -> None:
    """The words, the border, the chip, and a cloud that does not grow."""
    assert wait_until(lambda: window.image_view.banner.startswith(headline)), (
        window.image_view.banner
    )
    assert window.border_level is Level.PROBLEM
    assert _n_border_pixels(window) > 250
    assert window.status_row.chips[chip].reading.level is Level.PROBLEM
    QTest.qWait(200)  # what was under way has arrived
    n_held = desk.session.scene.n_voxels
    QTest.qWait(300)
    assert window.image_view.banner.startswith(headline)
    assert desk.session.scene.n_voxels == n_held
