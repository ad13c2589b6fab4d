"""The volume of a session: its share of the time, its sweeps, and trouble that stays its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from navapp import live_volume
from navapp.config import VolumeSettings
from navapp.live_volume import LiveVolume
from recon.volume import INSERT, Interpolation

PIXELS = np.full((20, 30), 100, np.uint8)


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def volume(is_live=False, clock=None, roi_px=None, source="calibration.toml", **settings):
    equipment = SimpleNamespace(roi_px=roi_px, calibration=SimpleNamespace(source=Path(source)))
    clock = {} if clock is None else {"clock": clock}
    return LiveVolume(VolumeSettings(**settings), equipment, is_live=is_live, **clock)


def place(z_mm):
    A_scene_pixel = np.eye(4)
    A_scene_pixel[2, 3] = z_mm
    return A_scene_pixel


def test_after_the_warm_up_an_image_compiles_nothing():
    live = volume()
    live.warm_up()
    kernel = INSERT[Interpolation.NEAREST]
    before = len(kernel.signatures)
    pixels = PIXELS.copy()
    pixels.setflags(write=False)  # as images are
    live.insert(pixels, place(0.0), 1)
    assert (live.n_images, len(kernel.signatures)) == (1, before)


@pytest.mark.parametrize("is_live", [True, False])
def test_live_it_takes_at_most_half_of_the_time(monkeypatch, is_live):
    """100 images a second, each of which takes 20 ms: live, one in four goes in."""
    clock = Clock()
    live = volume(is_live=is_live, clock=clock)

    def slow(*image):
        clock.now_s += 0.02

    monkeypatch.setattr(live_volume.GrowingVolume, "insert", slow)
    for k in range(40):
        clock.now_s = max(clock.now_s, 0.01001 * k)  # it comes, or has waited
        live.insert(PIXELS, place(k), 1)
    assert live.n_images + live.n_left_out == 40
    if is_live:
        assert 10 <= live.n_images <= 14
        assert live.n_images * 0.02 <= 0.5 * clock.now_s + 0.02
    else:
        assert live.n_images == 40


def test_a_sweep_that_was_undone_takes_no_image_that_was_still_under_way():
    live = volume()
    live.insert(PIXELS, place(0.0), 1)
    before = live.gathered().grey()
    live.insert(PIXELS, place(5.0), 3)
    live.insert(PIXELS, place(6.0), 3)
    assert live.n_images == 3
    live.undo(3)
    live.insert(PIXELS, place(5.0), 3)
    live.insert(PIXELS, place(5.0), 1)
    np.testing.assert_array_equal(live.gathered().grey(), before)
    live.undo(2)  # no image of it came
    assert live.n_images == 1
    live.undo(1)
    assert live.n_images == 0
    live.insert(PIXELS, place(7.0), 4)
    assert live.n_images == 1


def test_a_scene_that_was_moved_or_emptied_begins_a_new_volume():
    live, new = volume(), volume()
    live.insert(PIXELS, place(0.0), 1, generation=0)
    live.insert(PIXELS, place(40.0), 2, generation=1)
    new.insert(PIXELS, place(40.0), 2)
    assert live.n_images == 1
    np.testing.assert_array_equal(live.gathered(1).grey(), new.gathered().grey())
    assert live.gathered(2) is None


def test_an_image_that_was_placed_before_the_scene_moved_stays_out():
    live = volume()
    live.insert(PIXELS, place(40.0), 2, generation=1)
    live.insert(PIXELS, place(0.0), 2, generation=0)
    assert live.n_images == 1


def test_nothing_to_save_is_told():
    empty = volume()
    assert empty.gathered() is None
    assert "no image was inserted" in empty.problem
    empty.insert(PIXELS, place(0.0), 1)  # one who saves too early loses nothing
    assert empty.gathered() is not None
    assert (empty.n_images, empty.problem) == (1, None)


@pytest.mark.parametrize("trouble", ["region", "memory"])
def test_trouble_ends_the_volume_with_a_sentence(monkeypatch, trouble):
    live = volume(roi_px=(500, 0, 10, 10) if trouble == "region" else None)
    if trouble == "memory":
        monkeypatch.setattr(live_volume, "_MOST_BLOCKS", 0)
        live.insert(PIXELS, place(0.0), 1)
    live.insert(PIXELS, place(1.0), 1)
    assert ("leaves nothing" if trouble == "region" else "a larger spacing") in live.problem
    n = live.n_images
    live.insert(PIXELS, place(2.0), 1)
    assert live.n_images == n == (trouble == "memory")


def test_the_mean_is_that_of_plus_where_the_calibration_is():
    """As `navapp volume`; with nearest interpolation PLUS cuts a mean down at every hit."""
    greys = []
    for source in ("calibration.toml", "calibration.xml"):
        live = volume(source=source, spacing_mm=1.0)
        for grey in (100, 101, 101):
            live.insert(np.full_like(PIXELS, grey), place(0.0), 1)
        greys.append(live.gathered().grey().max())
    assert greys == [101, 100]
