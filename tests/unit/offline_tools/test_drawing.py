"""Lines on images, and sheets of images."""

from __future__ import annotations

import numpy as np

from offline_tools.drawing import GREEN, ORANGE, RED, canvas, contact_sheet, draw_points


def test_points_are_squares_and_stay_inside() -> None:
    picture = canvas(np.full((20, 30), 7, dtype=np.uint8))
    draw_points(picture, np.array([(4.9, 3.2), (29.0, 19.0), (-5.0, 2.0), (100.0, 2.0)]), RED)
    painted = np.argwhere((picture == RED).all(axis=2)).tolist()
    assert painted == [[3, 4], [3, 5], [4, 4], [4, 5], [19, 29]]
    assert (picture[0, 0] == 7).all()


def test_odd_squares_are_centred_on_their_point() -> None:
    picture = canvas(np.zeros((9, 9), dtype=np.uint8))
    draw_points(picture, np.array([(4.0, 4.0)]), GREEN, size_px=3)
    assert np.argwhere(picture.any(axis=2)).mean(axis=0).tolist() == [4.0, 4.0]


def test_sheet_holds_every_picture_and_the_legend_s_colours() -> None:
    pictures = [np.full((40, 80, 3), 20 * k, dtype=np.uint8) for k in range(1, 6)]
    sheet = contact_sheet(
        pictures, [f"image {k}" for k in range(5)], {"label": GREEN, "prediction": ORANGE},
        n_columns=3, tile_width_px=80,
    )  # fmt: skip
    for k in range(1, 6):
        assert (sheet == 20 * k).all(axis=2).sum() >= 0.95 * 40 * 80
    for colour in (GREEN, ORANGE):
        assert (sheet == colour).all(axis=2).sum() > 100
    assert sheet.shape[1] == 6 + 3 * 86


def test_empty_sheet_is_its_legend() -> None:
    assert (contact_sheet([], [], {"label": GREEN}) == GREEN).all(axis=2).any()
