"""A few simulated examples, made once."""

from __future__ import annotations

import pytest

from inference.contract import ModelContract
from offline_tools.datasets.examples import Examples
from offline_tools.datasets.simulated import simulated_images
from offline_tools.training.presets import PRESETS


@pytest.fixture(scope="session")
def contract() -> ModelContract:
    return PRESETS["first"].contract


@pytest.fixture(scope="session")
def examples(contract: ModelContract) -> Examples:
    """8 images and targets, (8, 1, 224, 256) each."""
    return Examples.of(simulated_images(600, 8), contract)
