"""The poses of one tool over a recording, read at many times at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba
import numpy as np
from numpy.typing import NDArray

from tracking.errors import CalibrationError
from tracking.messages import PoseStatus, TransformName
from tracking.transforms import Matrix, rotation_vector
from tracking.wire import parse_transform_name

if TYPE_CHECKING:
    from tracking.sequences.sweep import Sweep, SweepImage
