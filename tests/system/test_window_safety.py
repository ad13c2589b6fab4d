"""Alarms of the window: the chip, the border, the words, the sound, and nothing in the cloud."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication

from navapp.gui import style
from navapp.gui.readings import Level
from navapp.state import DropReason, SessionState
from tests.support.desks import RUNNING, MadeUpSession, Stage, grab, open_stage, pose, view
from tests.support.screens import running, wait_until
from tracking.faults import Faults


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(), tmp_path) as result:
        yield result


def _n_border_pixels(stage: Stage) -> int:
    """Red at the very left of the frame around the views."""
    picture = grab(stage.window)
    red = np.array(QColor(style.PROBLEM).getRgb()[:3])
    column = picture[200:500, 12]
    return int((np.abs(column - red).max(axis=-1) < 10).sum())


def test_all_is_well_without_a_border_or_a_word(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    assert stage.window.image_view.banner == ""
    assert stage.window.border_level is None
    assert _n_border_pixels(stage) == 0
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
    assert _n_border_pixels(stage) > 250
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
        ({"image_rate_hz": 20.0}, "MODEL TOO SLOW: no result for 3 s"),
        ({"image_rate_hz": 0.0}, "NO NEW IMAGE: nothing for 3 s"),
        ({"image_rate_hz": 0.0, "tracking": "no connection"}, "NO CONNECTION: for 3 s"),
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


def test_a_hidden_tool_of_a_real_stream_holds_insertion_and_is_told(
    qapp: QApplication, tmp_path: Path
) -> None:
    """Poses are silent for 1.5 s of every 3 s; the images go on."""
    sounds: list[str] = []
    faults = Faults(occlusion_s=1.5, occlusion_every_s=3.0)
    with running(tmp_path, faults=faults, beep=sounds.append) as (desk, window, _):
        assert wait_until(lambda: "LOST" in window.image_view.banner)
        assert window.border_level is Level.PROBLEM
        assert window.status_row.chips["PROBE"].reading.level is Level.PROBLEM
        n_held = desk.session.scene.n_voxels
        assert n_held > 0
        assert wait_until(lambda: desk.session.scene.n_voxels > n_held)
        assert wait_until(lambda: "return" in sounds)
        assert window.image_view.picture.watermark == "REPLAY 1x"
    assert sounds[:2] == ["loss", "return"]
