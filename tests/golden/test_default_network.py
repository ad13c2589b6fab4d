"""The network that ships with the program, on simulated images that its training has not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.segmenter import Segmenter, default_model_path
from recon.metrics import line_distance_mm, line_scores
from recon.simulator import SimulatedSweep, SimulatorSettings
from tracking.calibration.read import find_calibration, load_calibration
from tracking.sequences.open import open_sweep
from tracking.sequences.sweep import SweepImage

# Training used seeds from 1000 on.
SEEDS = (510, 511, 512)
N_IMAGES = 4


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(default_model_path(), "cpu")


@pytest.fixture(scope="module")
def sweeps() -> list[SimulatedSweep]:
    """Four images from all over each of three bones."""
    return [
        SimulatedSweep(SimulatorSettings(seed=seed, n_images=N_IMAGES, image_rate_hz=0.6))
        for seed in SEEDS
    ]


def brightest_pixels(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The detector to beat: the brightest pixel of every column, below the probe's own echo."""
    first_row = 20
    v = first_row + pixels[first_row:].argmax(axis=0)
    return np.column_stack((np.arange(pixels.shape[1]), v)).astype(np.float64)


def test_bone_lines_are_right_where_the_brightest_pixels_are_not(
    segmenter: Segmenter, sweeps: list[SimulatedSweep]
) -> None:
    ours_mm, brightest_mm, f1 = [], [], []
    for sweep in sweeps:
        spacing_mm = sweep.settings.spacing_mm
        plan = segmenter.prepare_for(sweep.settings.image_size_px, spacing_mm, None)
        for index in range(N_IMAGES):
            pixels = sweep.render(index)
            truth_px = sweep.truth_line(index).points_px
            found_px = segmenter.segment(pixels, plan).line.points_px
            ours_mm.append(line_distance_mm(found_px, truth_px, spacing_mm))
            brightest_mm.append(line_distance_mm(brightest_pixels(pixels), truth_px, spacing_mm))
            f1.append(line_scores(found_px, truth_px, spacing_mm, (0.5,)).f1[0])
    mean_mm = np.concatenate(ours_mm).mean()
    assert mean_mm < 0.12
    assert np.percentile(np.concatenate(ours_mm), 95) < 0.4
    assert np.mean(f1) > 0.96
    assert np.concatenate(brightest_mm).mean() > 3.0 * mean_mm


def test_contract_says_what_it_was_made_from(segmenter: Segmenter) -> None:
    contract = segmenter.contract
    assert contract.input.size_px == (224, 256)
    assert contract.input.spacing_mm == 0.2
    assert contract.provenance["data"]["credit"] == "UltraBones100k, Wu et al. 2025, CC BY 4.0"
    assert sorted(contract.provenance["data"]["records"]) == [
        f"cadaver01_fibula/record{k:02d}" for k in (1, 3, 4)
    ]
    assert default_model_path().stat().st_size < 3_000_000


def test_an_image_without_bone_gives_almost_nothing(segmenter: Segmenter) -> None:
    """Speckle alone, brighter at the top as tissue is."""
    rng = np.random.default_rng(7)
    speckle = rng.rayleigh(40.0, (480, 640)) * np.exp(-np.arange(480) / 300.0)[:, None]
    plan = segmenter.prepare_for((640, 480), (0.08, 0.08), None)
    line = segmenter.segment(speckle.clip(0, 255).astype(np.uint8), plan).line
    assert len(line.points_px) < 0.05 * 640


def test_recorded_images_give_lines(segmenter: Segmenter, record02: Path) -> None:
    """Every tenth image of a record that no training has seen shows its bone."""
    calibration_path = find_calibration(record02)
    assert calibration_path is not None
    calibration = load_calibration(calibration_path)
    counts = []
    for event in open_sweep(record02).events():
        if isinstance(event, SweepImage) and event.index % 10 == 0:
            pixels = event.load()
            size_px = (pixels.shape[1], pixels.shape[0])
            plan = segmenter.prepare_for(size_px, calibration.spacing_mm, calibration.roi_px)
            counts.append(len(segmenter.segment(pixels, plan).line.points_px))
    assert len(counts) == 5
    assert min(counts) >= 60
