"""An image in, its bone line out: preprocessing, network and line as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.postprocess import BoneLine, bone_line
from inference.preprocess import InputPlan
from inference.runtime import NetworkSession

_DEFAULT_MODEL = "bone_unet_small.onnx"


def default_model_path() -> Path:
    """The network that ships with the program."""
    return Path(__file__).parent / "models" / _DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The bone line in image pixels, and the network's probability (rows, columns) behind it."""

    line: BoneLine
    probability: NDArray[np.float32]


class Segmenter:
    """A network ready to segment images, in one thread; `prepare_for` may be asked by any.

    Raises
    ------
    InferenceError : the model cannot be honoured or run, see `NetworkSession`.
    """

    def __init__(self, model_path: Path, provider: str = "auto") -> None:
        self.session = NetworkSession(model_path, provider)
        self.contract = self.session.contract
        self._plans: dict[object, InputPlan] = {}

    def prepare_for(
        self,
        image_size_px: tuple[int, int],
        spacing_mm: tuple[float, float] | None,
        roi_px: tuple[int, int, int, int] | None = None,
    ) -> InputPlan:
        """The plan for such images, made once per size, spacing and region of interest.

        Raises
        ------
        InferenceError : see `InputPlan.for_image`.
        """
        key = (image_size_px, spacing_mm, roi_px)
        if key not in self._plans:
            self._plans[key] = InputPlan.for_image(self.contract, *key)
        return self._plans[key]

    def segment(self, pixels: NDArray[np.uint8], plan: InputPlan) -> Segmentation:
        """The bone line of one image (rows, columns) uint8.

        Raises
        ------
        InferenceError : the image does not fit the plan, or the network fails on it.
        """
        probability = self.session.run(plan.prepare(pixels, out=self.session.input))
        line = bone_line(probability, plan, self.contract.output.threshold)
        return Segmentation(line=line, probability=probability)

    def warm_up(self, plan: InputPlan) -> None:
        """One empty image through every step, which compiles what is compiled on first use."""
        self.session.warm_up()
        width, height = plan.image_size_px
        self.segment(np.zeros((height, width), dtype=np.uint8), plan)
