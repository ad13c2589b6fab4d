"""Images without labels: what is read, what is refused, where the mask lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.contract import ModelContract
from inference.postprocess import BoneLine
from inference.preprocess import InputPlan
from offline_tools.errors import InputError
from offline_tools.judging.predict import (
    PlainImages,
    Prediction,
    bone_mask,
    open_images,
    write_predictions,
)
from tests.support.judging import NOTHING, flat


def save(path: Path, size_px: tuple[int, int] = (64, 48), mode: str = "L", grey: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size_px, grey).convert(mode).save(path)
    return path


def prediction(name: str, line_px: np.ndarray) -> Prediction:
    confidence = np.full(len(line_px), 0.75, dtype=np.float32)
    line = BoneLine(line_px, confidence, confidence)
    mask = np.zeros((48, 64), dtype=np.uint8)
    return Prediction(name, line, mask, np.zeros((48, 64, 3), dtype=np.uint8))


def test_mask_lies_where_the_probability_is(contract: ModelContract) -> None:
    """Network rows 50 to 99 are bone: 0.2 mm each, so image rows 100 to 199 of 0.1 mm."""
    plan = InputPlan.for_image(contract, (400, 300), (0.1, 0.1), (20, 0, 340, 300))
    probability = np.zeros(plan.network_size_px, dtype=np.float32)
    probability[50:100] = 1.0
    scale = plan.network_spacing_mm / 0.1
    mask = bone_mask(probability, plan, 0.5)
    rows = np.flatnonzero(mask[:, 200])
    assert rows[0] == pytest.approx(50 * scale, abs=1)
    assert rows[-1] == pytest.approx(100 * scale - 1, abs=1)
    assert set(np.unique(mask)) == {0, 255}
    assert not mask[:, :20].any()
    assert not mask[:, 360:].any()
    assert mask[150, 20:360].all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_grey_and_colour_are_read(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", mode=mode)
    (image,) = open_images(path, 0.1).images
    pixels = image.load()
    assert (pixels.shape, pixels.dtype, int(pixels[0, 0])) == ((48, 64), np.uint8, 90)


def test_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "notes.txt"):
        save(tmp_path / name) if name != "notes.txt" else (tmp_path / name).write_text("x")
    images = open_images(tmp_path, 0.05)
    assert [image.name for image in images.images] == ["a", "b"]
    assert images.place(images.images[0].load()) == ((0.05, 0.05), None)


def test_spacing_and_region_come_from_the_nearest_calibration(
    record01: Path, tmp_path: Path
) -> None:
    (tmp_path / "calibration.json").write_bytes(
        (record01.parents[1] / ".." / "calibration.json").resolve().read_bytes()
    )
    save(tmp_path / "images" / "a.png", (950, 811))
    images = open_images(tmp_path / "images")
    spacing_mm, roi_px = images.place(images.images[0].load())
    assert spacing_mm == pytest.approx((0.05392, 0.05392), abs=1e-5)
    assert roi_px == (0, 0, 936, 811)
    other = np.zeros((829, 884), dtype=np.uint8)
    with pytest.raises(InputError, match="884x829 pixels, the calibration is for 950x811"):
        images.place(other)
    given = PlainImages(images.images, images.calibration, (0.06, 0.06))
    assert given.place(other) == ((0.06, 0.06), None)
    assert given.place(images.images[0].load())[1] == (0, 0, 936, 811)


@pytest.mark.parametrize(
    ("name", "spacing_mm", "text"),
    [
        ("none", 0.1, "no such image, folder or record"),
        ("volume.nii.gz", 0.1, "volumes cannot be predicted yet"),
        ("volume.mha", 0.1, "volumes cannot be predicted yet"),
        ("notes.txt", 0.1, "expected a PNG or JPEG image"),
        ("empty", 0.1, "no PNG or JPEG image there"),
        ("twice", 0.1, "two images are called a"),
        ("a.png", None, "expected --spacing MM or a calibration"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, name: str, spacing_mm: float | None, text: str
) -> None:
    for file in ("volume.nii.gz", "volume.mha", "notes.txt"):
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "empty").mkdir()
    save(tmp_path / "twice" / "a.png")
    save(tmp_path / "twice" / "a.jpg")
    save(tmp_path / "a.png")
    with pytest.raises(InputError, match=text):
        open_images(tmp_path / name, spacing_mm)


def test_broken_and_deep_images_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "b.png")
    broken, deep = open_images(tmp_path, 0.1).images
    with pytest.raises(InputError, match="cannot be read as an image"):
        broken.load()
    with pytest.raises(InputError, match="expected 8-bit grey or colour"):
        deep.load()


def test_everything_found_is_written(tmp_path: Path) -> None:
    found = [prediction("file", flat(20.0)[:3]), prediction("b", NOTHING)]
    written = write_predictions(found, tmp_path)
    assert (written.n_images, written.n_empty) == (2, 1)
    assert (tmp_path / "lines.csv").read_text().splitlines() == [
        "name,u_px,v_px,confidence",
        *(f"file,{u}.000,20.000,0.7500" for u in (100, 101, 102)),
    ]
    with np.load(tmp_path / "lines.npz") as arrays:
        assert arrays["names"].tolist() == ["file", "b"]
        assert arrays["image"].tolist() == [0, 0, 0]
        np.testing.assert_array_equal(arrays["points_px"], flat(20.0)[:3])
    with Image.open(tmp_path / "masks" / "b.png") as mask:
        assert mask.size == (64, 48)
    assert written.sheet.is_file()
    with pytest.raises(InputError, match="no image could be used"):
        write_predictions([], tmp_path)
