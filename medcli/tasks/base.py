"""What a task must offer. Training, evaluation and prediction ask these questions and never ask which task it is."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from medcli.config.schema import Config
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepared import Prepared, Record
from medcli.progress import Progress
from medcli.tasks.target import Target

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from medcli.datasets.feed import TrainingSet


class Task(Protocol):
    """Built as `SomeTask(config, plan)`."""

    config: Config
    plan: Plan
    monitor: str
    """The validation measure, larger is better, that chooses the best weights."""

    @property
    def passes_at_end(self) -> int:
        """How often the validation part is predicted once more when training is over, to learn from it."""

    @property
    def state(self) -> "Sequence[tf.Variable]":
        """What the loss changes from step to step; belongs into checkpoints. There after `training_set`."""

    def build_model(self) -> "keras.Model":
        """A new network; its output may be a tensor or a list of tensors, always float32."""

    def training_set(self, prepared: Prepared, records: Sequence[Record]) -> "TrainingSet": ...

    def loss(self, targets: "tf.Tensor", outputs: Any) -> "tf.Tensor":
        """Mean loss over the batch, float32 scalar."""

    def validate(
        self, model: "keras.Model", prepared: Prepared, records: Sequence[Record]
    ) -> dict[str, float]:
        """Measures on the validation part, among them `loss` and `self.monitor`."""

    def followed(self) -> dict[str, float]:
        """What of the state goes into the history of the training."""

    def predict(self, model: "keras.Model", images: Sequence[np.ndarray]) -> list[Any]:
        """Results on the prepared grid, one per prepared image (spatial shape + channel, float32):

        classification (classes,) float32 probabilities; regression (1,) float32 in the unit of the target;
        detection `Boxes` in pixels of the prepared image;
        segmentation `Slabs` of float32 probabilities, spatial shape + (1 + classes), background first; with
        `predict.uncertainty` one channel more, the mean entropy in bits of what single windows say.
        """

    def targets(
        self,
        model: "keras.Model",
        image: np.ndarray,
        *,
        wanted: int | None,
        most: int,
        windows: int,
        calibrated: Callable[[np.ndarray], np.ndarray],
    ) -> list[Target]:
        """The answers to a prepared image that can be explained, the strongest first.

        Args:
            wanted: Only of this class; None: of whichever the network names.
            most: At most so many.
            windows: Most windows of one answer, where the network sees images in patches.
            calibrated: Takes probabilities of classes to those that people are told.

        Raises:
            DataError: There is nothing to explain.
        """

    def score(self, outputs: Any, *spec: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        """For `Target.spec` and raw outputs, differentiable: log odds (n,), which maps explain, and the
        probability (n,) in 0..1, which falls when evidence is taken away."""

    def predict_with_features(
        self, model: "keras.Model", images: Sequence[np.ndarray]
    ) -> tuple[list[Any], list[tuple[np.ndarray, ...]]]:
        """As `predict`, and for every image its features, float32 (filters,) for each depth of the network.

        They are means over the image (of a patch network: over its windows), unmirrored where that is told apart.
        Those of slabs are known when the slabs were read.
        """


@runtime_checkable
class FittedAtOnce(Task, Protocol):
    """A task whose network is not trained in steps."""

    def fit(
        self, model: "keras.Model", prepared: Prepared, records: Sequence[Record], *, progress: Progress
    ) -> dict[str, Any]:
        """Give the network its weights; an account of how they were chosen, for fit.json."""


@runtime_checkable
class Ensembled(Protocol):
    """A task that asks several networks."""

    def predict_by(
        self, voters: Sequence[int], models: Sequence["keras.Model"], images: Sequence[np.ndarray]
    ) -> list[Any]:
        """As `Task.predict` by the networks of these numbers together; of classes (voters, classes), not their mean."""


@runtime_checkable
class Localising(Protocol):
    """A classifier that also says where."""

    def anomaly_map(self, model: Any, image: np.ndarray) -> np.ndarray:
        """float32, spatial shape of the prepared image; large is unusual, 1 is the usual error of an image."""
