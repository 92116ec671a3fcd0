"""The methods by name: from a question to a map on the grid of the network's input."""

from dataclasses import dataclass

import numpy as np

from medcli.config.schema import Explain
from medcli.explain.cam import CAMS
from medcli.explain.integrated import integrated_gradients
from medcli.explain.network import Question, batch_size
from medcli.explain.occlusion import occlusion
from medcli.preprocessing.geometry import resize
from medcli.tasks.target import Target

TITLES = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "LayerCAM",
    "ig": "integrated gradients",
    "occlusion": "occlusion",
}


@dataclass(frozen=True, eq=False)
class Map:
    """Attributes:
    values: float32 (spatial); what is positive speaks for the answer.
    completeness_error: Of integrated gradients.
    steps: Of integrated gradients.
    """

    values: np.ndarray
    completeness_error: float | None = None
    steps: int | None = None


def methods(settings: Explain, target: Target) -> list[str]:
    if settings.methods == "auto":
        return [target.cam, "ig"] if target.cam == "layercam" else [target.cam, "ig", "occlusion"]
    return list(dict.fromkeys(settings.methods))


def make(
    method: str,
    question: Question,
    image: np.ndarray,
    baseline: np.ndarray,
    *,
    layer: str,
    steps: int,
    exact: bool = True,
) -> Map:
    """`exact=False`: the steps of integrated gradients stay as they are."""
    if method in CAMS:
        small = CAMS[method](*question.at_layer(image, layer))
        if small.ndim < image.ndim - 1:  # of a 2D network over planes: the same for all of them
            small = small[None]
        return Map(resize(small[..., None], image.shape[:-1])[..., 0])
    batch = batch_size(image.shape[:-1])

    def scores(images: np.ndarray) -> np.ndarray:
        return question.scores(images)[0]

    if method == "occlusion":
        return Map(occlusion(scores, image, baseline, batch=batch))
    found = integrated_gradients(
        question.gradients,
        scores,
        image,
        baseline,
        steps=steps,
        batch=batch,
        **({} if exact else {"doublings": 0}),
    )
    return Map(found.values, found.error, found.steps)
