"""Augmentation: labels move with images, shadows take labels away, nothing is upside down."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `train`")

from offline_tools.training import augmentation  # noqa: E402
from offline_tools.training.augmentation import augment  # noqa: E402
from offline_tools.training.settings import AugmentationSettings  # noqa: E402

NONE = AugmentationSettings(
    flip_probability=0.0, rotation_deg=0.0, scale=(1.0, 1.0), shift_share=0.0, shear=0.0,
    log_gamma=0.0, log_gain=0.0, log_depth_gain=0.0, blur_probability=0.0, speckle=0.0, noise=0.0,
    shadow_probability=0.0, strip_probability=0.0,
)  # fmt: skip


def settings(**given: Any) -> AugmentationSettings:
    """Nothing but what is given."""
    return AugmentationSettings.model_validate({**NONE.model_dump(), **given})


def generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disc(row: float, column: float, n: int = 32) -> torch.Tensor:
    v, u = torch.meshgrid(torch.arange(112.0), torch.arange(128.0), indexing="ij")
    inside = (v - row) ** 2 + (u - column) ** 2 < 100
    return inside.float().expand(n, 1, 112, 128).contiguous()


def centres(masses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean row and column of each image's mass."""
    rows, columns = torch.arange(112.0), torch.arange(128.0)
    total = masses[:, 0].sum((1, 2))
    down, along = masses[:, 0].sum(2), masses[:, 0].sum(1)
    return (down * rows).sum(1) / total, (along * columns).sum(1) / total


def test_nothing_asked_changes_nothing() -> None:
    images, targets = 0.9 * disc(40, 90), disc(40, 90)
    found = augment(images, targets, NONE, generator())
    torch.testing.assert_close(found[0], images.clamp_min(1e-4), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], targets, atol=1e-4, rtol=0)


def test_labels_move_with_their_images() -> None:
    images, targets = augment(0.9 * disc(40, 90), disc(40, 90), AugmentationSettings(
        shadow_probability=0.0, strip_probability=0.0), generator())  # fmt: skip
    bright = (images > 0.3).float()
    for there, here in zip(centres(bright), centres(targets), strict=True):
        torch.testing.assert_close(there, here, atol=1.0, rtol=0)
    assert centres(targets)[1].std() > 10.0  # flips and shifts did happen


def test_flip_is_sideways_and_never_upside_down() -> None:
    _, targets = augment(disc(30, 90), disc(30, 90), settings(flip_probability=1.0), generator())
    row, column = centres(targets)
    torch.testing.assert_close(row, torch.full_like(row, 30.0), atol=0.01, rtol=0)
    torch.testing.assert_close(column, torch.full_like(column, 127.0 - 90.0), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("given", "reach"),
    [
        ({"rotation_deg": 10.0}, 0.17), ({"shear": 0.2}, 0.2), ({"scale": (0.8, 1.25)}, 0.0),
        ({"shift_share": 0.1}, 0.0),
    ],
)  # fmt: skip
def test_moves_are_of_the_size_asked(given: dict[str, Any], reach: float) -> None:
    """How much more a disc 40 rows above the middle moves sideways than the middle does."""
    top = augment(disc(15, 63.5), disc(15, 63.5), settings(**given), generator())[1]
    middle = augment(disc(55.5, 63.5), disc(55.5, 63.5), settings(**given), generator())[1]
    lean = (centres(top)[1] - centres(middle)[1]).abs().max() / 40.0
    assert lean == pytest.approx(reach, abs=0.05)
    size = middle.sum((1, 2, 3)) / disc(55.5, 63.5).sum((1, 2, 3))
    if "scale" in given:
        assert 0.6 < size.min() < 0.8
        assert 1.3 < size.max() < 1.6
    else:
        torch.testing.assert_close(size, torch.ones_like(size), atol=0.03, rtol=0)
    shift = (centres(middle)[1] - 63.5).abs().max()
    assert shift == pytest.approx(12.8 if "shift_share" in given else 0.0, abs=1.5)


def test_shadows_darken_from_the_top_down_and_take_the_label_where_they_are_full() -> None:
    images, targets = torch.full((64, 1, 112, 128), 0.5), torch.ones(64, 1, 112, 128)
    chosen = settings(shadow_probability=0.5, shadow_width_share=(0.1, 0.2))
    images, targets = augment(images, targets, chosen, generator())
    columns = images[:, 0, 0]
    assert bool((images[:, 0] == columns[:, None]).all())  # the same at every depth
    is_shaded = columns.amin(1) < 0.45
    assert 20 < int(is_shaded.sum()) < 44
    torch.testing.assert_close(targets[:, 0, 0], (columns >= 0.2 * 0.5).float())
    lost = (targets[:, 0, 0] == 0).float().mean(1)
    assert 0.02 < float(lost[lost > 0].mean()) < 0.2
    # Soft edges: brightness falls over several columns.
    assert float(columns.diff(dim=1).abs().max()) < 0.2


def test_speckle_has_its_strength_and_reaches_further_sideways_than_in_depth() -> None:
    images = torch.full((64, 1, 112, 128), 0.5)
    chosen = settings(speckle=0.2, speckle_axial_px=0.6, speckle_lateral_px=1.2)
    field = augment(images, images, chosen, generator())[0][:, 0] - 0.5
    field = field / field.std((1, 2), keepdim=True)
    inner = field[:, 4:-4, 4:-4]
    down = (inner[:, 1:] * inner[:, :-1]).mean()
    along = (inner[:, :, 1:] * inner[:, :, :-1]).mean()
    # exp(-1 / (4 sigma^2)) for a Gaussian point spread
    assert float(down) == pytest.approx(0.50, abs=0.06)
    assert float(along) == pytest.approx(0.84, abs=0.04)
    white = augmentation._speckle(images, chosen, generator())
    assert float(white.std()) == pytest.approx(1.0, abs=0.03)


def test_attenuation_changes_with_depth_alone() -> None:
    images = torch.full((16, 1, 112, 128), 0.3)
    found = augment(images, images, settings(log_depth_gain=0.5), generator())[0][:, 0]
    assert float(found.std(2).max()) < 1e-6
    slope = (found[:, -1, 0] / found[:, 0, 0]).log()
    assert float(slope.abs().max()) < 1.0
    assert float(slope.min()) < -0.3 < 0.3 < float(slope.max())


def test_strips_are_bright_lines_near_the_top() -> None:
    images = torch.full((64, 1, 112, 128), 0.1)
    found, targets = augment(images, images, settings(strip_probability=0.5), generator())
    is_struck = found[:, 0].amax((1, 2)) > 0.15
    assert 20 < int(is_struck.sum()) < 44
    assert float(found[:, 0, 36:].max()) == pytest.approx(0.1, abs=1e-3)
    assert float(found[is_struck][:, 0, :34].amax()) > 0.5
    torch.testing.assert_close(targets, images)


def test_bellies_are_dark_with_a_bright_upper_edge_and_keep_off_bone() -> None:
    images, bone = torch.full((64, 1, 112, 128), 0.3), disc(60, 64, n=64)
    found, targets = augment(images, bone, settings(belly_probability=0.5), generator())
    torch.testing.assert_close(targets, bone, atol=1e-4, rtol=0)
    torch.testing.assert_close(found[bone > 0], images[bone > 0], atol=1e-4, rtol=0)
    is_struck = (found - images)[:, 0].abs().amax((1, 2)) > 0.05
    assert 15 < int(is_struck.sum()) < 40
    struck = found[is_struck]
    assert 0.02 < float((struck < 0.25).float().mean()) < 0.4
    # What is brighter than before lies above what is darker: no shadow goes down from it.
    rows = torch.arange(112.0).view(112, 1)
    bright, dark = struck > 0.32, struck < 0.28
    assert bool(bright.any())
    mean_rows = [float((rows * part).sum() / part.sum()) for part in (bright, dark)]
    assert mean_rows[0] < mean_rows[1]


def test_blur_is_each_image_s_own() -> None:
    images = torch.zeros(32, 1, 21, 21)
    images[:, :, 10, 10] = 1.0
    found = augment(images, images, settings(blur_probability=0.5), generator())[0]
    peaks = found[:, 0, 10, 10]
    assert 8 < int((peaks > 0.99).sum()) < 24
    assert float(peaks.min()) < 0.25
    assert peaks.unique().numel() > 8


def test_augmentation_repeats_with_its_generator_and_stays_grey() -> None:
    images = 0.9 * disc(40, 90, 8)
    first, again = (augment(images, images, AugmentationSettings(), generator(6)) for _ in "ab")
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert float(first[0].min()) >= 0.0
    assert float(first[0].max()) <= 1.0
