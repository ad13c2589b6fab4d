"""Small examples, made without painting, and settings with which a training takes a second."""

from __future__ import annotations

from typing import Any

import pytest

from offline_tools.datasets.examples import Examples
from offline_tools.training.settings import TrainSettings, checked
from tests.support.training import drawn_examples


@pytest.fixture(scope="session")
def drawn() -> Examples:
    """12 images of 64 x 96 pixels with a bright line each, 4 of them named as simulated."""
    return drawn_examples(12)


@pytest.fixture
def small_settings() -> TrainSettings:
    """3 epochs of 3 steps on one thread."""
    tree: dict[str, Any] = {
        "input": {"size_px": (64, 96)},
        "epochs": 3,
        "batch_size": 4,
        "n_threads": 1,
        "device": "cpu",
        "optimiser": {"learning_rate": 3e-3},
    }
    return checked(tree, "test")
