"""Where things lie in the window: nothing is cut off or hidden, in any step and at any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from navapp.config import GeometrySettings, Settings
from navapp.desk.facts import Facts
from navapp.desk.navigation import Plan
from navapp.gui import style
from navapp.gui.gauges import Gauge, GuidanceRow, _huge_px
from navapp.gui.main_window import first_size
from navapp.gui.panel import PathEdit
from navapp.gui.readings import Level
from navapp.gui.status_bar import Chip
from navapp.gui.steps import Step
from navapp.gui.surface_colours import SurfaceColours
from navapp.gui.tile import PADDING_PX
from navapp.state import DropReason, SessionState, VolumeState
from recon.surface import TriangleMesh
from tests.support.desks import RUNNING, MadeUpSession, Stage, grab, open_stage, pose, view

SIZES = [(1600, 900), (1280, 720), (960, 540), (1200, 900), (1920, 1080), (2560, 1440)]
_CORNERS_MM = np.array([(x, 0.0, z) for x in (-30, 30) for z in (-30, 60)], dtype=np.float64)
_SURFACE = TriangleMesh(_CORNERS_MM, np.array(((0, 2, 1), (1, 2, 3)), dtype=np.int32))


@pytest.fixture
def stage(qapp: QApplication, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(qapp, MadeUpSession(_SURFACE), tmp_path) as result:
        yield result


def _resize(stage: Stage, size: tuple[int, int]) -> None:
    stage.window.resize(*size)
    for _ in range(3):
        stage.app.processEvents()
    stage.tick(0.3)


def _place(widget: QWidget) -> QRect:
    return QRect(widget.mapTo(widget.window(), QPoint(0, 0)), widget.size())


def _cut_off(window: QWidget) -> list[str]:
    """The texts of visible labels, buttons and fields that have less room than they need."""
    wrong = []
    for kind in (QLabel, QPushButton, QLineEdit):
        for widget in window.findChildren(kind):
            if not widget.isVisible() or not _text_of(widget):
                continue
            least = widget.minimumSizeHint()
            needs = least.height()
            if isinstance(widget, QLabel) and widget.wordWrap():
                needs = widget.heightForWidth(widget.width())
            is_narrow = isinstance(widget, QPushButton) and widget.width() < least.width()
            if widget.height() < needs - 1 or is_narrow:
                wrong.append(f"{_text_of(widget)!r}: {widget.size()}, needs {least}")
    return wrong


def _text_of(widget: QWidget) -> str:
    return widget.text() if isinstance(widget, QLabel | QPushButton | QLineEdit) else ""


@pytest.mark.parametrize(
    ("screen", "size"),
    [((1920, 1080), (1600, 900)), ((1366, 728), (1366, 728)), ((1280, 1024), (1280, 900))],
)
def test_a_window_opens_no_larger_than_its_screen(
    screen: tuple[int, int], size: tuple[int, int]
) -> None:
    assert first_size(QSize(*screen)) == QSize(*size)


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_cut_off_in_any_step(stage: Stage, size: tuple[int, int]) -> None:
    stage.desk.plan = Plan("Screw 1", np.zeros(3), np.array((0.0, 30.0, 0.0)))
    _resize(stage, size)
    for step in Step:
        stage.do(step.value)
        stage.show(view(A_target_pixel=pose()))
        assert _cut_off(stage.window) == []
        window = stage.window
        kinds = (QAbstractButton, QAbstractItemView, QLineEdit, Chip, Gauge, GuidanceRow)
        shown = [w for kind in kinds for w in window.findChildren(kind) if w.isVisible()]
        inside = [widget for widget in shown if window.rect().contains(_place(widget))]
        assert len(inside) == len(shown) > 15


@pytest.mark.parametrize("size", SIZES)
def test_the_chips_have_room_for_what_they_usually_say(stage: Stage, size: tuple[int, int]) -> None:
    """In one size of text; it is the row's, and no chip's own."""
    _resize(stage, size)
    said = {
        "SESSION": ("Connecting", "Replay ended"),
        "IMAGE": ("27.5 Hz",),
        "PROBE": ("seen 117 Hz", "lost 99.9 s"),
        "REFERENCE": ("seen 117 Hz", "not needed"),
        "MODEL": ("CPU 12.2 ms", "TensorRT 1.2 ms"),
        "END-TO-END": ("164 ms",),
        "DROPPED": ("3 pose invalid +1", "5 superseded +1"),
        "RECORDING": ("REC 00:05", "off \u2013 212 GB"),
    }
    scale = style.scale_of(stage.window)
    metrics = QFontMetricsF(style.font(style.LARGE_PX))
    captions = QFontMetricsF(style.font(style.CAPTION_PX))
    for caption, chip in stage.window.status_row.chips.items():
        room = chip.width() / scale - 1.5 * PADDING_PX
        assert captions.horizontalAdvance(caption) <= room
        for text in said[caption]:
            has_mark = text.startswith(("seen", "lost", "REC", "Conn", "164", "27"))
            assert metrics.horizontalAdvance(text) + 22 * has_mark <= room, (caption, text)


def test_the_drawer_takes_no_room_from_the_chips(stage: Stage) -> None:
    chips = stage.window.status_row.chips
    before = {caption: _place(chip) for caption, chip in chips.items()}
    width = stage.window.image_view.width() + stage.window.scene_view.width()
    stage.do("settings")
    stage.do("log")
    assert {caption: _place(chip) for caption, chip in chips.items()} == before
    assert stage.window.image_view.width() + stage.window.scene_view.width() < width - 300
    assert _cut_off(stage.window) == []


@pytest.mark.parametrize("size", [(1600, 900), (960, 540)])
def test_the_numbers_of_the_guidance_have_room_beside_the_drawer(
    stage: Stage, size: tuple[int, int]
) -> None:
    _resize(stage, size)
    stage.do("settings")
    drawer = stage.window.settings_dock
    assert drawer.width() <= 0.35 * stage.window.width()
    stage.window.guidance_row.show()
    stage.app.processEvents()
    width = stage.window.guidance_row.width() / style.scale_of(stage.window) / 4  # with OFF LINE
    metrics = QFontMetricsF(style.font(_huge_px(width), is_bold=True))
    assert metrics.horizontalAdvance("-188.8 mm") <= width
    assert _huge_px(width) >= 36


def test_a_chip_says_all_in_its_tooltip(stage: Stage) -> None:
    state = dataclasses.replace(RUNNING, skipped={DropReason.POSE_INVALID: 12345678})
    stage.session.state = state
    stage.tick(1.0)
    tooltip = stage.window.status_row.chips["DROPPED"].toolTip()
    assert tooltip.startswith("DROPPED: 12345678 pose invalid\n")


def test_the_legend_lies_below_the_scene_and_hides_nothing_of_it(stage: Stage) -> None:
    scene = stage.window.scene_view
    stage.show(view(A_target_pixel=pose()))
    without = grab(scene)
    strip = scene.notes.strip
    stage.do("colours")
    assert strip.mode is SurfaceColours.DISTANCE
    assert _place(strip).top() > _place(scene).bottom()
    above = [w for w in scene.findChildren(QWidget) if w.isVisible()]
    assert above == []
    assert np.abs(grab(scene) - without).max() <= 120  # another colour at most, no panel
    picture = grab(strip)
    red, green, blue = np.moveaxis(picture, -1, 0)
    assert ((red > 200) & (green < 120) & (blue < 120)).sum() > 50  # the far end of the bar
    assert ((green > 150) & (red < 100)).sum() > 50  # the near end


def test_the_landmarks_of_a_registration_are_seen_at_once(stage: Stage) -> None:
    stage.do("register")
    for k in range(6):
        stage.desk.registering.add(f"landmark {k}", np.full(3, 1000.0 + k))
        stage.tick(0.3)
        stage.app.processEvents()
        table = stage.window.register_page.landmarks
        assert table.rowCount() == k + 1
        assert table.verticalScrollBar().maximum() == 0
        assert table.columnWidth(1) >= 100


@pytest.mark.parametrize("size", SIZES)
def test_every_stream_and_every_check_is_seen_at_once(stage: Stage, size: tuple[int, int]) -> None:
    _resize(stage, size)
    stage.do("prepare")
    stage.app.processEvents()
    page = stage.window.prepare_page
    assert page.streams.rowCount() == 3
    for table in (page.streams, page.checks):
        assert table.verticalScrollBar().maximum() == 0


def test_the_name_of_a_file_is_seen_however_deep_it_lies(
    qapp: QApplication, tmp_path: Path
) -> None:
    path = Path("/a/very/long/way/to/the/files/of/the/third/phantom/of/may/calibration.toml")
    settings = Settings(geometry=GeometrySettings(calibration=path))
    with open_stage(qapp, MadeUpSession(settings=settings), tmp_path) as stage:
        stage.do("prepare")
        field = stage.window.prepare_page.fields["calibration"]
        assert isinstance(field, PathEdit)
        assert field.text() == field.toolTip() == str(path)
        assert field.shown.startswith("\u2026")
        assert field.shown.endswith("/calibration.toml")
        away = grab(field)
        field.home(False)
        assert (grab(field) == away).all()  # the end is seen wherever the cursor is


def test_all_gauges_have_one_size_of_text_beside_an_open_drawer(stage: Stage) -> None:
    """And room for their numbers, the one of the volume among them."""
    _resize(stage, (1280, 720))
    stage.do("settings")
    row = stage.window.gauge_row
    facts = stage.bridge.facts
    assert isinstance(facts, Facts)
    row.show_facts(dataclasses.replace(facts, volume=VolumeState(1312, 0, None)))
    stage.app.processEvents()
    scale = style.scale_of(stage.window)
    metrics = QFontMetricsF(style.font(26, is_bold=True))
    for caption, value in {"SPEED": "136 mm/s", "TO CT": "0.05 mm", "POINTS": "184,210"}.items():
        room = row.gauges[caption].width() / scale - 16
        assert metrics.horizontalAdvance(value) <= room, caption
    assert row.gauges["VOLUME"].isVisible()
    row.show_facts(facts)
    assert not row.gauges["VOLUME"].isVisible()


def test_a_picture_that_is_held_has_no_age(stage: Stage) -> None:
    """New images come, but none of them is shown: the old one is not to look fresh."""
    stage.show(view(A_target_pixel=pose()))
    fresh = grab(stage.window.image_view)
    stage.do("freeze")
    stage.show(view(A_target_pixel=pose()), later_s=0.3)
    held = grab(stage.window.image_view)
    green = np.array((0x3F, 0xB5, 0x6B))
    assert (np.abs(fresh - green).max(axis=-1) < 10).sum() > 20
    assert (np.abs(held - green).max(axis=-1) < 10).sum() == 0


def test_a_session_that_ended_is_no_picture_of_now(stage: Stage) -> None:
    stage.show(view(A_target_pixel=pose()))
    stage.session.state = dataclasses.replace(
        RUNNING, state=SessionState.IDLE, detail="session ended", image_rate_hz=0.0
    )
    stage.tick(3.0)
    assert stage.window.image_view.banner == "SESSION ENDED"
    chips = stage.window.status_row.chips
    assert chips["SESSION"].reading.value == "Ended"
    assert Level.PROBLEM not in {chip.reading.level for chip in chips.values()}


def test_hidden_sweeps_are_told_to_be_kept(stage: Stage) -> None:
    page = stage.window.review_page
    page.show_sweeps({1: 40, 2: 60}, frozenset({2}))
    assert [page.sweeps.item(k).text() for k in range(2)] == [
        "sweep 1: 40 points",
        "sweep 2: 60 points, not drawn",
    ]
    assert page.sweeps.item(1).checkState() is Qt.CheckState.Unchecked
    assert page.sweeps.item(1).data(Qt.ItemDataRole.CheckStateRole) is not None  # it has a box
    texts = [label.text() for label in page.findChildren(QLabel)]
    assert "Sweeps that are drawn; saving keeps them all" in texts
    assert "stays in the cloud" in page.sweeps.toolTip()


def test_every_setting_says_what_it_means(stage: Stage) -> None:
    edits = stage.window.settings_drawer.edits
    assert "compounded while they come" in edits["volume", "live"].toolTip()


def test_a_long_message_leaves_out_its_middle(stage: Stage) -> None:
    bar = stage.window.step_bar
    message = f"saved 7 files in /{'/'.join(100 * ['folder'])}/run-20261125-194500"
    stage.desk.message = message
    stage.tick(0.3)
    assert bar.message == message
    assert bar.shown_message.startswith("saved 7 files")
    assert bar.shown_message.endswith("194500")
    assert "\u2026" in bar.shown_message
    stage.desk.message = "short"
    stage.tick(0.3)
    assert bar.shown_message == "short"


@pytest.mark.parametrize("size", SIZES)
def test_a_registration_with_all_its_residuals_fits(stage: Stage, size: tuple[int, int]) -> None:
    _resize(stage, size)
    stage.do("register")
    page = stage.window.register_page
    for k in range(6):
        stage.desk.registering.add(f"landmark {k}", np.full(3, 1000.0 + k))
    stage.tick(0.3)
    page.residuals.setText("\n".join(7 * ["surface: 0.05 mm RMS over 3528 of 3879 points"]))
    page.problem.setText("the surface needs a start: fit the landmarks first")
    stage.app.processEvents()
    assert page.landmarks.verticalScrollBar().maximum() <= 2
    assert _cut_off(page) == []
    parts = sorted(
        (_place(w) for w in page.findChildren(QWidget) if w.parent() is page and w.isVisible()),
        key=lambda place: (place.top(), place.left()),
    )
    overlaps = [(a, b) for k, a in enumerate(parts) for b in parts[k + 1 :] if a.intersects(b)]
    assert overlaps == []
    assert stage.window.rect().contains(parts[-1])
