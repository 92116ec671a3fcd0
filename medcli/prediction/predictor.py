"""A trained run, loaded once, that predicts case after case and is stopped by none of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from medcli.boxes import Boxes
from medcli.calibration import Calibration
from medcli.case import Case
from medcli.clinical import stamp
from medcli.config.schema import LOWEST_SCORE, Predict
from medcli.errors import MedcliError
from medcli.image import Image
from medcli.instances.decode import USUAL, Objects, Rule, decode
from medcli.instances.learn import rule_of
from medcli.metrics.risk import expected_f1
from medcli.operating import Operating
from medcli.postprocessing.learned import Postprocessing
from medcli.prediction.reading import BATCH_CASES, Read, explained, fits, read_ahead, read_files
from medcli.prediction.restore import Wanted, restore, restore_objects
from medcli.prediction.result import Prediction, Signals
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.prepare import prepare
from medcli.preprocessing.regions import members_mask, told_by_labels
from medcli.refusal.gate import look
from medcli.refusal.learned import Refusal
from medcli.run import Run
from medcli.sliding import Slabs
from medcli.tasks.base import Ensembled, Localising

if TYPE_CHECKING:
    import keras

    from medcli.tasks.base import Task


@dataclass(frozen=True, eq=False)
class Predictor:
    """Attributes:
    run: With the settings of `config.predict` that are wanted here.
    task, model: Of that run; of an ensemble a tuple of networks, of a cascade a pair, see `medcli.tasks.cascade`.
    calibration: Applied to probabilities of classes; None: they stay as the network gives them.
    read: Gives the image of a case; called in several threads.
    refusal: By it cases are answered or referred; None: the run did not learn to tell.
    operating: From which score on boxes count as found; None: the run did not learn it.
    collect: Give `Prediction.signals`, to learn that from.
    postprocessing: Applied to labels; None: they stay as the network gives them.
    object_rule: How single objects are made of what the network says.
    only_unseen: Of an ensemble, for cases of its own data: each by the networks that did not train on it.
    """

    run: Run
    task: "Task"
    model: "keras.Model | tuple[keras.Model, ...]"
    calibration: Calibration | None = None
    read: Callable[[Case], Image] = read_files
    refusal: Refusal | None = None
    operating: Operating | None = None
    collect: bool = False
    postprocessing: Postprocessing | None = None
    object_rule: Rule = USUAL
    only_unseen: bool = False

    @classmethod
    def load(
        cls, run: Run | Path, *, settings: Predict | None = None, policy: str | None = None
    ) -> "Predictor":
        """Open the run, check its model file and build its network.

        Args:
            run: A run, or its folder.
            settings: In place of the run's own `predict` section.
            policy: Keras dtype policy of the network; None: by the device.

        Raises:
            RunError: The folder is no finished run, or its model file is damaged or unsafe.
        """
        from medcli.devices import setup_devices

        run = run if isinstance(run, Run) else Run.open(run)
        if settings is not None:
            run = replace(run, config=run.config.model_copy(update={"predict": settings}))
        with setup_devices(1, deterministic=run.config.deterministic).scope():
            loaded = cls(
                run,
                run.task,
                folded(run.load_model(policy)),
                Calibration.of(run),
                operating=Operating.of(run),
                postprocessing=Postprocessing.of(run),
            )
            if run.plan.single_objects:
                loaded = replace(loaded, object_rule=rule_of(run.folder) or USUAL)
            return loaded.referring(Refusal.of(run))

    def referring(self, refusal: Refusal | None) -> "Predictor":
        """The same network, which answers or refers every case by what was learned."""
        if refusal is None:
            return replace(self, refusal=None)
        return replace(self, refusal=refusal, task=self._down_to_low_scores())

    def collecting(self) -> "Predictor":
        """The same network, which also tells what there is to learn from."""
        settings = self.settings.model_copy(update={"save_probabilities": False, "uncertainty": False})
        run = replace(self.run, config=self.run.config.model_copy(update={"predict": settings}))
        return replace(self, run=run, task=self._down_to_low_scores(), refusal=None, collect=True)

    def held_out(self) -> "Predictor":
        """The same, for cases of the run's own data; see `only_unseen`."""
        return replace(self, only_unseen=True)

    def with_outer_masks(self) -> "Predictor":
        """The same network, which also gives outer masks where it learned to."""
        settings = self.settings.model_copy(update={"outer": True})
        run = replace(self.run, config=self.run.config.model_copy(update={"predict": settings}))
        return replace(self, run=run)

    def _down_to_low_scores(self) -> "Task":
        """Of a detector one that gives boxes of low score as well: there may lie what must not be missed."""
        if self.run.plan.task != "detection" or self.settings.lowest_score <= LOWEST_SCORE:
            return self.task
        settings = self.settings.model_copy(update={"score_threshold": LOWEST_SCORE})
        return replace(self.run, config=self.run.config.model_copy(update={"predict": settings})).task

    @property
    def settings(self) -> Predict:
        return self.run.config.predict

    def reading(self, read: Callable[[Case], Image]) -> "Predictor":
        """The same, with other images in place of those in the files."""
        return replace(self, read=read)

    def predict_cases(
        self, cases: Iterable[Case]
    ) -> Iterator[tuple[Case, Image | None, Prediction | MedcliError]]:
        """Predict in the order given; a case that cannot be read or predicted gives the reason instead.

        Of held-out cases those of one network come together, so that the network sees whole batches.

        The next cases are read and prepared while the network computes. Cases of one shape go to the network
        together; images that it sees in several patches go one by one, so memory holds few of them.
        """
        if self.only_unseen:
            cases = sorted(cases, key=self._voters)
        group: list[Read] = []
        for case, read in read_ahead(cases, self._read, together=self._together):
            if isinstance(read, MedcliError):
                yield from self._predict(group)
                group = []
                yield case, None, read
                continue
            if group and not (
                fits(read, group, self._together(read)) and self._voters(case) == self._voters(group[0].case)
            ):
                yield from self._predict(group)
                group = []
            group.append(read)
            del read  # two of the largest images do not fit into memory
            if len(group) == self._together(group[0]):
                yield from self._predict(group)
                group = []
        yield from self._predict(group)

    def _together(self, read: Read) -> int:
        """How many cases of this shape go to the task at once."""
        patch = self.run.plan.patch
        if patch is None:
            return BATCH_CASES
        small = all(size <= length for size, length in zip(read.array.shape, patch, strict=False))
        return self.settings.batch_size if small and not self.settings.flips else 1

    def _read(self, case: Case) -> Read:
        start = perf_counter()
        image = self.read(case)
        array, placement = prepare(image, self.run.plan)
        array = stamp(array, case.clinical, self.run.plan.clinical)
        seen = look(image, self.run.plan) if self.collect or self._gates else None
        return Read(case, image, array, placement, perf_counter() - start, seen)

    @property
    def _gates(self) -> bool:
        return self.refusal is not None and self.settings.gate

    def _predict(self, group: list[Read]) -> Iterator[tuple[Case, Image | None, Prediction | MedcliError]]:
        if not group:
            return
        start = perf_counter()
        try:
            results, features, scores = self._results(group)
        except (
            Exception
        ) as error:  # TensorFlow's own kinds, out of memory, ...: one case must not end the work
            if len(group) > 1:
                for read in group:
                    yield from self._predict([read])
                return
            yield group[0].case, group[0].image, explained(error)
            return
        seconds = (perf_counter() - start) / len(group)
        for read, result, kept, score in zip(group, results, features, scores, strict=True):
            yield read.case, read.image, self._finish(read, result, kept, score, seconds)

    def _voters(self, case: Case) -> tuple[int, ...]:
        """Of an ensemble the members that predict this case."""
        if self.only_unseen:
            return self.run.unseen_by(case.name)
        return tuple(range(len(self.run.members)))

    def _results(self, group: list[Read]) -> tuple[list[Any], list[Any], np.ndarray]:
        """Results, and where they are wanted features and unlikeness to the training cases."""
        arrays = [read.array for read in group]
        if isinstance(self.task, Ensembled):
            results = self.task.predict_by(self._voters(group[0].case), self.model, arrays)
            return results, [()] * len(arrays), np.full(len(arrays), np.nan)
        if not self.collect and not self._gates:
            return self.task.predict(self.model, arrays), [()] * len(arrays), np.full(len(arrays), np.nan)
        results, features = self.task.predict_with_features(self.model, arrays)
        if self.refusal is None or any(isinstance(result, Slabs) for result in results):
            return results, features, np.full(len(arrays), np.nan)
        return results, features, self._unlikeness(features)

    def _unlikeness(self, features: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
        assert self.refusal is not None
        return self.refusal.unlikeness(np.stack([np.concatenate(list(one)) for one in features]))

    def _finish(
        self, read: Read, result: Any, features: Sequence[np.ndarray], score: float, seconds: float
    ) -> Prediction | MedcliError:
        """Bring one result to the image's own grid; slabs are computed only now, part by part."""
        start = perf_counter()
        prediction = Prediction()
        quality = float("nan")
        boxes = levels = None
        try:
            if isinstance(result, Boxes):
                boxes = read.placement.restore_boxes(result)
                boxes = boxes.take(boxes.areas > 0)
                quality = expected_f1(boxes.scores)
                prediction = Prediction(
                    boxes=boxes.take(boxes.scores >= self.settings.lowest_score),
                    controlled=self._controlled(boxes),
                )
            elif self.run.plan.target is not None:
                prediction = _number(result)
            elif self.run.plan.task == "classification":
                prediction = Prediction(
                    probabilities=self._scaled(result), raw_probabilities=np.atleast_2d(result).mean(axis=0)
                )
                if isinstance(self.task, Localising) and not self.collect:
                    prediction = replace(prediction, anomaly=self._anomaly(read))
            else:
                prediction, quality, levels = self._segmented(result, read.image, read.placement)
                score = self._unlikeness([features])[0] if self._gates else score
        except Exception as error:  # as above
            return explained(error)
        answer = signals = None
        if self.collect and read.look is not None:
            signals = Signals(read.look, tuple(features), quality, boxes, levels)
        if self._gates and self.refusal is not None and read.look is not None:
            usual = self.refusal.record.usual
            answer = self.refusal.answer(
                faults=tuple(usual.faults(read.look)) if usual is not None else (),
                score=score,
                raw_quality=quality,
                empty=prediction.labels is not None and not prediction.labels.any(),
            )
        seconds += read.seconds + perf_counter() - start
        return replace(prediction, answer=answer, signals=signals, seconds=seconds)

    def _anomaly(self, read: Read) -> np.ndarray:
        assert isinstance(self.task, Localising)
        heat = self.task.anomaly_map(self.model, read.array)
        stacked = np.stack([np.zeros_like(heat), heat], axis=-1)  # what was cropped away has none
        return np.ascontiguousarray(read.placement.restore_probabilities(stacked)[..., 1])

    def _scaled(self, raw: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (classes,) from those of a network, or of several (members, classes).

        The scaling is applied to what it was learned from: of folds to each network by itself, else to their mean.
        """
        opinions = np.atleast_2d(raw)
        if not self.run.folds:
            opinions = opinions.mean(axis=0, keepdims=True)
        scaled = opinions if self.calibration is None else self.calibration.scaled(opinions)
        return scaled.mean(axis=0)

    def _controlled(self, boxes: Boxes) -> Boxes | None:
        """From each class's threshold on; without a promise all of the class."""
        if self.refusal is None or not len(self.refusal.limits):
            return None
        return boxes.take(boxes.scores >= np.nan_to_num(self.refusal.limits, nan=0.0)[boxes.classes])

    def _segmented(
        self, slabs: Slabs, image: Image, placement: Placement
    ) -> tuple[Prediction, float, np.ndarray | None]:
        """The prediction, the Dice to expect and `Signals.levels` where they are wanted."""
        wanted = Wanted(
            probabilities=self.settings.save_probabilities,
            levels=self.collect,
            limits=self._limits if self.settings.outer else None,
            uncertainty=self.settings.uncertainty,
            quality=self.collect or self._gates,
            regions=not told_by_labels(self.run.plan.regions),
        )
        regions, objects = self.run.plan.regions, None
        if self.run.plan.single_objects:
            objects, slabs = self._objects(slabs, placement)
        found = restore(slabs, placement, wanted, regions)
        labels, masks = found.labels if objects is None else objects.labels, found.regions
        if self.postprocessing is not None:
            labels = self.postprocessing(labels, image)
            masks = None if masks is None else tuple(self.postprocessing.mask(mask) for mask in masks)
        if masks is None and regions and self.settings.region_masks:
            masks = tuple(members_mask(labels, index, regions) for index in range(len(regions)))
        prediction = Prediction(
            labels=labels,
            objects=objects,
            region_masks=masks,
            label_probabilities=found.probabilities,
            outer=found.outer,
            uncertainty=found.uncertainty,
            disagreement=found.disagreement,
            windows=slabs.windows,
            skipped=slabs.skipped,
        )
        return prediction, found.quality, found.levels

    def _objects(self, slabs: Slabs, placement: Placement) -> tuple[Objects, Slabs]:
        """Single objects, and the slabs without the depth that they were made of; the whole image in memory."""
        maps, depth = slabs.whole(), self.run.plan.num_outputs
        rule = self.object_rule
        found = restore_objects(decode(maps[..., : depth + 1], rule), maps[..., 0], placement, rule)
        return found, replace(
            Slabs.of(np.delete(maps, depth, axis=-1)), windows=slabs.windows, skipped=slabs.skipped
        )

    @property
    def _limits(self) -> np.ndarray | None:
        """From which probability each class's outer mask begins; without a promise the mask is the whole image."""
        return None if self.refusal is None else np.nan_to_num(self.refusal.limits, nan=0.0)


def _number(raw: np.ndarray) -> Prediction:
    """From what one network (1,), or several (members, 1), say."""
    said = np.atleast_2d(raw)[:, 0].astype(float)
    spread = float(said.std(ddof=1)) if len(said) > 1 else float("nan")
    return Prediction(number=float(said.mean()), spread=spread)


def folded(model: Any) -> Any:
    """The network, or those of an ensemble or a cascade, faster for prediction; see `medcli.models.fold`."""
    from medcli.models.fold import fold_norms

    if not isinstance(model, tuple):
        fold_norms(model)
        return model
    return tuple(map(folded, model))
