"""A cascade: coarse networks see most of an image at once, and the fine network sees their answers beside it."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from medcli.config.schema import Config
from medcli.preprocessing.coarse import Answered, coarse_image, on_fine_grid
from medcli.preprocessing.plan import Plan
from medcli.sliding import Slabs
from medcli.tasks.base import Ensembled, Task


class Cascade:
    """Of `medcli.tasks.base.Task` what prediction needs. Its model is a pair: the fine network, the coarse ones.

    Args:
        fine: The task of the fine network, whose images have the answers as further channels.
        coarse: That of the coarse networks together.
    """

    def __init__(self, config: Config, plan: Plan, fine: Task, coarse: Ensembled):
        self.config, self.plan, self.fine, self.coarse = config, plan, fine, coarse

    def predict(self, model: tuple[Any, Any], images: Sequence[np.ndarray]) -> list[Slabs]:
        fine, coarse = model
        return self.fine.predict(fine, self._answered(coarse, images))

    def predict_with_features(self, model: tuple[Any, Any], images: Sequence[np.ndarray]):
        """Features are those of the fine network."""
        fine, coarse = model
        return self.fine.predict_with_features(fine, self._answered(coarse, images))

    def _answered(self, models: Sequence[Any], images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The coarse networks' part is done at once, the fine one's when its slabs are read."""
        everyone = range(len(models))
        answered = [
            Answered(image, coarse_answer(self.coarse, everyone, models, image, self.plan))
            for image in images
        ]
        return cast("list[np.ndarray]", answered)  # as far as windows are read


def coarse_answer(
    task: Ensembled, voters: Sequence[int], models: Sequence[Any], image: np.ndarray, plan: Plan
) -> np.ndarray:
    """What these coarse networks together say of a prepared image: uint8, spatial shape + class.

    Args:
        plan: Of the cascade.
    """
    assert plan.cascade is not None
    small = coarse_image(image, plan.cascade.factors)
    (slabs,) = task.predict_by(voters, models, [small])
    return on_fine_grid(slabs, small.shape[:-1], image.shape[:-1], plan.num_classes)
