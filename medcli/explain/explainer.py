"""From a loaded run and cases to checked maps on the images' own grids.

For a report: `for case, found in explain_cases(predictor, cases): ...`, then `found.explanations`, each with a
`sentence` and a `verdict`, and `medcli.explain.picture.picture(found, answer, plan)`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from medcli.boxes import Boxes, iou_matrix
from medcli.case import Case
from medcli.clinical import stamp
from medcli.config.schema import Explain
from medcli.errors import MedcliError, UsageError, in_a_sentence
from medcli.explain.baselines import choose_baseline
from medcli.explain.cam import CAMS
from medcli.explain.faithfulness import Curves, deletion_insertion, pointing, similarity
from medcli.explain.maps import Map, make, methods
from medcli.explain.network import Network, Question, choose_layer, flattened, randomised
from medcli.explain.result import Answer, Explained, Explanation, Likeness
from medcli.explain.verdict import judge
from medcli.image import Image
from medcli.io.masks import read_mask
from medcli.prediction.predictor import Predictor
from medcli.preprocessing.geometry import Placement
from medcli.preprocessing.labels import map_labels
from medcli.preprocessing.objects import with_boxes
from medcli.preprocessing.plan import Plan
from medcli.preprocessing.prepare import prepare
from medcli.preprocessing.regions import members_mask
from medcli.progress import Progress, ignore
from medcli.tasks.target import Target, paste

STAGES = ((1 / 3, 0), (2 / 3, 0), (1.0, 0), (1.0, 1), (1.0, 2), (1.0, 3), (1.0, 4))
"""Share of the layers that lose their weights, from the answer down, and the seed of the new ones."""
SLOW = {"ig": 2, "occlusion": 2}
"""Methods that take many passes see only so many networks without any of what they learned."""
TRUE_BOX = 0.5
"""Overlap (IoU) of a found box with a true one of its class from which it is taken to mean that object."""


def explain_cases(
    predictor: Predictor,
    cases: Sequence[Case],
    *,
    settings: Explain | None = None,
    label: str | None = None,
    plan: Plan | None = None,
    progress: Progress = ignore,
) -> Iterator[tuple[Case, Explained | MedcliError]]:
    """Explain case after case; one that cannot be read or explained gives the reason instead.

    Args:
        predictor: A loaded run. A network of another precision than float32 is built once more in float32.
        cases: Those with boxes or masks also get the pointing game.
        settings: In place of the run's `explain` section.
        label: Class to explain; None: what the network answers.
        plan: Tells what the values in the masks mean; None: the run's.
        progress: Called as progress("explain", done, total).

    Raises:
        UsageError: No such class or layer, or no layer that an activation map could look at.
    """
    settings = settings or predictor.run.config.explain
    work = _Work.of(predictor, settings, label, plan or predictor.run.plan)
    progress("explain", 0, len(cases))
    for number, case in enumerate(cases, start=1):
        try:
            outcome: Explained | MedcliError = work.explain(case)
        except UsageError:
            raise
        except Exception as error:
            outcome = in_a_sentence(error, "explained", "use fewer methods or smaller images")
        yield case, outcome
        progress("explain", number, len(cases))


@dataclass(frozen=True, eq=False)
class _Work:
    """What all cases share."""

    predictor: Predictor
    network: Network
    settings: Explain
    wanted: int | None
    truth_plan: Plan

    @classmethod
    def of(cls, predictor: Predictor, settings: Explain, label: str | None, plan: Plan) -> "_Work":
        classes = predictor.run.plan.classes
        if label is not None and label not in classes:
            raise UsageError(f"--class: '{label}' is no class of this run; use one of {', '.join(classes)}.")
        task, model = predictor.task, predictor.model
        if any(layer.compute_dtype != "float32" for layer in flattened(model)):
            task, model = predictor.run.task, predictor.run.load_model("float32")
        wanted = None if label is None else classes.index(label)
        return cls(predictor, Network(task, model), settings, wanted, plan)

    def explain(self, case: Case) -> Explained:
        start = perf_counter()
        image = self.predictor.read(case)
        array, placement = prepare(image, self.predictor.run.plan)
        array = stamp(array, case.clinical, self.predictor.run.plan.clinical)
        targets = self.network.task.targets(
            self.network.model,
            array,
            wanted=self.wanted,
            most=self.settings.top,
            windows=self.settings.windows,
            calibrated=self._calibrated,
        )
        found: list[Explanation] = []
        for number, target in enumerate(targets):
            found += self._explain(case, image, placement, number, target)
        return Explained(case, image, found, perf_counter() - start)

    def _calibrated(self, probabilities: np.ndarray) -> np.ndarray:
        calibration = self.predictor.calibration
        return probabilities if calibration is None else calibration.scaled(probabilities)

    def _explain(
        self, case: Case, image: Image, placement: Placement, number: int, target: Target
    ) -> Iterable[Explanation]:
        names = methods(self.settings, target)
        layer = ""
        if any(name in CAMS for name in names):
            layer = choose_layer(self.network.layers, target.layers, self.settings.layer)
        windows = [_Window.of(self.network, part, self.settings) for part in (target, *target.others)]
        region = None
        if target.region is not None:
            whole = _on_prepared([part.target.region for part in windows], windows, placement)[0]
            region = placement.restore_labels((whole > 0).astype(np.uint8)) > 0
        box = None
        if target.box is not None:
            box = placement.restore_boxes(Boxes.of(target.box, [target.class_index])).corners[0]
        answer = Answer(
            number=number,
            label=self.predictor.run.plan.classes[target.class_index],
            probability=target.probability,
            box=box,
            region=region,
            truth=_truth(case, image, self.truth_plan, target.class_index, box),
            layer=layer,
            baseline=windows[0].baseline_name,
            share=target.share,
            said=target.said,
        )
        maps = {name: [window.map(name, layer, self.settings.steps) for window in windows] for name in names}
        curves: dict[str, Curves] = {}
        likeness: dict[str, list[Likeness]] = {}
        if self.settings.check:
            firsts = {name: made[0] for name, made in maps.items()}
            curves = {name: windows[0].curves(one.values, self.settings) for name, one in firsts.items()}
            likeness = windows[0].likeness(firsts, layer, self.settings)
        for name, made in maps.items():
            heat, covered = _restored([one.values for one in made], windows, placement)
            explanation = Explanation(
                answer,
                name,
                heat,
                made[0].completeness_error,
                made[0].steps,
                curves.get(name),
                tuple(likeness.get(name, ())),
                None if answer.truth is None else pointing(heat, answer.truth, covered),
            )
            yield _judged(explanation, empty=made[0].values.max() <= 0)


@dataclass(frozen=True, eq=False)
class _Window:
    """One target as a question, with what stands for no evidence."""

    question: Question
    target: Target
    baseline_name: str
    baseline: np.ndarray

    @classmethod
    def of(cls, network: Network, target: Target, settings: Explain) -> "_Window":
        question = network.ask(target.spec)
        return cls(
            question, target, *choose_baseline(settings.baseline, target.image, question.probabilities)
        )

    def map(self, name: str, layer: str, steps: int, *, exact: bool = True) -> Map:
        return make(
            name, self.question, self.target.image, self.baseline, layer=layer, steps=steps, exact=exact
        )

    def curves(self, heat: np.ndarray, settings: Explain) -> Curves:
        return deletion_insertion(
            self.question.probabilities,
            self.target.image,
            self.baseline,
            heat,
            random_maps=settings.random_maps,
        )

    def likeness(self, maps: dict[str, Map], layer: str, settings: Explain) -> dict[str, list[Likeness]]:
        found: dict[str, list[Likeness]] = {name: [] for name in maps}
        for share, seed in STAGES:
            names = [name for name in maps if name not in SLOW or (share == 1 and seed < SLOW[name])]
            if not names:
                continue
            with randomised(self.question.network, share, seed):
                for name in names:
                    other = self.map(name, layer, max(1, settings.steps // 2), exact=False)
                    correlation, ssim = similarity(maps[name].values, other.values)
                    found[name].append(Likeness(share, correlation, ssim))
        return found


def _judged(explanation: Explanation, *, empty: bool) -> Explanation:
    correlation = explanation.correlation
    if explanation.curves is None or correlation is None:
        return explanation
    verdict = judge(
        explanation.curves,
        correlation,
        empty=empty,
        completeness_error=explanation.completeness_error,
    )
    return replace(explanation, verdict=verdict)


def _on_prepared(maps, windows: Sequence[_Window], placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the windows on the prepared grid, their mean where they overlap, and where there are any."""
    total, count = np.zeros(placement.prepared, np.float32), np.zeros(placement.prepared, np.float32)
    for values, window in zip(maps, windows, strict=True):
        paste(total, np.asarray(values, np.float32), window.target.start)
        paste(count, np.ones(values.shape, np.float32), window.target.start)
    return total / np.maximum(count, 1), count > 0


def _restored(maps, windows: Sequence[_Window], placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """On the grid of the image as read: the map (0 where nothing is known), and where it is known."""
    heat, covered = _on_prepared(maps, windows, placement)
    # What was cropped away gets its 1 in the first channel.
    stacked = np.stack([np.zeros_like(heat), heat, covered.astype(np.float32)], axis=-1)
    restored = placement.restore_probabilities(stacked)
    return np.ascontiguousarray(restored[..., 1]), restored[..., 2] > 0.5


def _truth(case: Case, image: Image, plan: Plan, kind: int, box: np.ndarray | None) -> np.ndarray | None:
    """bool (spatial): the object that a found box means, or everything that the masks give this class."""
    if box is not None:
        boxes = with_boxes(case, image, plan).boxes
        if boxes is None:
            return None
        same = boxes.take((boxes.classes == kind) & ~boxes.crowd)
        overlaps = iou_matrix(box[None], same.corners)[0]
        if not len(same) or overlaps.max() < TRUE_BOX:
            return None
        return _filled(same.corners[int(overlaps.argmax())], image.shape)
    if not case.masks or plan.task == "detection":
        return None
    return members_mask(map_labels(read_mask(case.masks, image), plan), kind, plan.regions)


def _filled(corners: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    x0, y0, x1, y1 = (int(value) for value in np.rint(corners))
    inside = np.zeros(tuple(shape), bool)
    inside[y0:y1, x0:x1] = True
    return inside
