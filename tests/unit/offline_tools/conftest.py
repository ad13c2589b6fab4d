"""A few simulated examples, made once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.contract import ModelContract
from offline_tools.datasets.examples import make_example, stacked
from offline_tools.datasets.simulated import simulated_images
from offline_tools.training.presets import PRESETS

Arrays = tuple[NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="session")
def contract() -> ModelContract:
    return PRESETS["first"].contract


@pytest.fixture(scope="session")
def examples(contract: ModelContract) -> Arrays:
    """8 images and targets, (8, 1, 224, 256) each."""
    return stacked(make_example(image, contract) for image in simulated_images(600, 8))
