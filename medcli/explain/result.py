"""What is found out about the answers to one case."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.explain.faithfulness import FRACTIONS, Curves, Pointing
from medcli.explain.maps import TITLES
from medcli.explain.verdict import Verdict
from medcli.image import Image


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer that was explained, on the grid of the image as it was read.

    Attributes:
        number: 0 for the strongest of the case.
        label: Name of its class.
        probability: As people are told it, 0..1 (of a region its mean); NaN of a number.
        box: (4,) corners in pixels of the image, when it is a box.
        region: bool (spatial), when it is a region.
        truth: bool (spatial), what is truly of this class there (of a box the object that it found); None: unknown.
        layer: That activation maps look at; "" when none was asked for.
        baseline: "blur" or "mean".
        share: How much of the region the explained windows hold.
        said: A number in words; "" for a class.
    """

    number: int
    label: str
    probability: float
    box: np.ndarray | None
    region: np.ndarray | None
    truth: np.ndarray | None
    layer: str
    baseline: str
    share: float
    said: str = ""

    @property
    def told(self) -> str:
        """Such as `rbc 0.93`, or the number."""
        return self.said or f"{self.label} {self.probability:.2f}"


@dataclass(frozen=True)
class Likeness:
    """A map beside that of a network whose last layers (this share of them) lost what they learned."""

    share: float
    correlation: float
    ssim: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map of one answer.

    Attributes:
        heat: float32 in the spatial shape of the image as read; positive where a place speaks for the answer.
        completeness_error, steps: Of integrated gradients.
        curves, likeness, verdict: None or empty without the check.
        pointing: None where the truth is unknown.
    """

    answer: Answer
    method: str
    heat: np.ndarray
    completeness_error: float | None = None
    steps: int | None = None
    curves: Curves | None = None
    likeness: tuple[Likeness, ...] = ()
    pointing: Pointing | None = None
    verdict: Verdict | None = None

    @property
    def title(self) -> str:
        return TITLES[self.method]

    @property
    def correlation(self) -> float | None:
        """Mean rank correlation with maps of networks that lost everything."""
        whole = [one.correlation for one in self.likeness if one.share == 1]
        return float(np.mean(whole)) if whole else None

    @property
    def sentence(self) -> str:
        """Such as `LayerCAM of rbc 0.93: passed`, with the reasons when it did not."""
        text = f"{self.title} of {self.answer.told}"
        if self.verdict is None:
            return f"{text}: not checked"
        return f"{text}: {self.verdict.word if self.verdict.word == 'passed' else self.verdict.sentence}"

    def as_json(self) -> dict[str, Any]:
        """Everything but the map, as explanations.json holds it."""
        content: dict[str, Any] = {"method": self.method}
        if self.steps is not None:
            content |= {"completeness_error": self.completeness_error, "steps": self.steps}
        if self.curves is not None and self.verdict is not None:
            curves = self.curves
            content["verdict"] = self.verdict.word
            content["reasons"] = self.verdict.reasons
            content["deletion_auc"], content["insertion_auc"] = curves.deletion_auc, curves.insertion_auc
            content["gain"], content["p"] = curves.gain, curves.p
            content["gain_misplaced"], content["gain_centre"] = curves.random.mean(), curves.centre
            content["spread"] = curves.spread
            content["correlation_randomised"] = self.correlation
            content["randomised"] = [vars(one) for one in self.likeness]
            content["curves"] = {
                "fraction": FRACTIONS,
                "deletion": curves.deletion,
                "insertion": curves.insertion,
            }
        if self.pointing is not None:
            content["pointing"] = vars(self.pointing)
        return content


@dataclass(frozen=True, eq=False)
class Explained:
    """A case with the maps of its answers, answer by answer."""

    case: Case
    image: Image
    explanations: list[Explanation] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def answers(self) -> list[Answer]:
        return list({id(one.answer): one.answer for one in self.explanations}.values())

    def of(self, answer: Answer) -> list[Explanation]:
        return [one for one in self.explanations if one.answer is answer]
