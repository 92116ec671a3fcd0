"""What a network makes of each case: one vector, the mean over space of its deepest features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medcli.audit.look import SIDE, thumbnail
from medcli.case import Case
from medcli.errors import MedcliError
from medcli.image import Image
from medcli.prediction.predictor import Predictor
from medcli.prediction.result import Prediction
from medcli.progress import Progress, ignore


@dataclass(frozen=True, eq=False)
class Embedded:
    """Attributes:
    cases: Those that could be read, in the order given.
    vectors: (n, features) float32.
    thumbs: uint8 (n, SIDE, SIDE, 3), of volumes the middle plane.
    failed: Case and reason of the others.
    """

    cases: list[Case]
    vectors: np.ndarray
    thumbs: np.ndarray
    failed: dict[str, str]


def embed_cases(predictor: Predictor, cases: Sequence[Case], *, progress: Progress = ignore) -> Embedded:
    """The embedding of every case; one bad case does not stop the others."""
    kept: list[Case] = []
    vectors: list[np.ndarray] = []
    thumbs: list[np.ndarray] = []
    failed: dict[str, str] = {}
    for number, (case, image, result) in enumerate(predictor.collecting().predict_cases(cases), 1):
        progress("embed", number, len(cases))
        if isinstance(result, MedcliError) or image is None:
            failed[case.name] = str(result)
            continue
        kept.append(case)
        vectors.append(_deepest(result))
        thumbs.append(_thumb(image))
    return Embedded(
        kept,
        np.array(vectors, np.float32).reshape(len(kept), -1),
        np.array(thumbs, np.uint8).reshape(len(kept), SIDE, SIDE, 3),
        failed,
    )


def _deepest(result: Prediction) -> np.ndarray:
    assert result.signals is not None  # of a collecting predictor
    return result.signals.features[-1]


def _thumb(image: Image) -> np.ndarray:
    array = image.array
    plane = array if image.ndim == 2 else array[array.shape[0] // 2]
    shown = plane[..., :3] if plane.shape[-1] >= 3 else np.repeat(plane[..., :1], 3, axis=-1)
    return thumbnail(shown)
