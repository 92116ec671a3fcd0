"""Whether a map can be believed: a stated rule, and its reasons in plain words."""

from dataclasses import dataclass
from typing import Literal

from medcli.explain.faithfulness import Curves

Word = Literal["passed", "failed", "cannot be told"]

SMALL_SPREAD = 0.1
"""When the probability moves by less than this whatever is deleted, deletion and insertion say nothing."""
LEVEL = 0.05
ALIKE, UNLIKE = 0.7, 0.5
"""Rank correlation with maps of networks without their weights from which a map fails, below which it passes."""
INCOMPLETE = 0.1
"""Error of integrated gradients, as a share of the change, from which they are not trusted."""

RULE = (
    f"A map passes when the probability falls faster and rises faster with it than with all but "
    f"{LEVEL:.0%} of the same map in wrong places, and when maps of networks that lost their weights look "
    f"different (mean rank correlation below {UNLIKE}). It fails when wrong places do as well on average, or when "
    f"the correlation is {ALIKE} or more. Otherwise it cannot be told; neither can it where the probability moves "
    f"by less than {SMALL_SPREAD} whatever is deleted, or where integrated gradients miss their sum by more than "
    f"{INCOMPLETE:.0%}."
)


@dataclass(frozen=True)
class Verdict:
    word: Word
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        return f"{self.word}: {'; '.join(self.reasons)}"


def judge(
    curves: Curves, correlation: float, *, empty: bool = False, completeness_error: float | None = None
) -> Verdict:
    """By `RULE`.

    Args:
        correlation: Mean rank correlation with the maps of networks without what they learned.
        empty: The map has no place that speaks for the answer.
        completeness_error: Of integrated gradients.
    """
    if empty:
        return Verdict("cannot be told", ("nothing in the map speaks for the answer",))
    parts = [_of_curves(curves), _of_correlation(correlation)]
    if completeness_error is not None and completeness_error > INCOMPLETE:
        parts.append(("cannot be told", f"the parts miss their sum by {completeness_error:.0%}"))
    words = [word for word, _ in parts]
    word: Word = "passed"
    if "failed" in words:
        word = "failed"
    elif "cannot be told" in words:
        word = "cannot be told"
    return Verdict(word, tuple(reason for part, reason in parts if part == word))


def _of_curves(curves: Curves) -> tuple[Word, str]:
    if curves.spread < SMALL_SPREAD:
        return "cannot be told", f"the probability moves by {curves.spread:.2f} only, whatever is deleted"
    better = int((curves.random < curves.gain).sum())
    compared = f"{better} of {len(curves.random)} misplaced maps (gain {curves.gain:.2f}, theirs "
    compared += f"{curves.random.mean():.2f} on average)"
    if curves.p <= LEVEL:
        return "passed", f"deletion and insertion beat {compared}"
    if curves.gain <= curves.random.mean():
        return "failed", f"deletion and insertion beat only {compared}"
    return "cannot be told", f"deletion and insertion beat {compared}, too few to rule out chance"


def _of_correlation(correlation: float) -> tuple[Word, str]:
    text = f"rank correlation {correlation:.2f} with maps of networks without what they learned"
    if correlation >= ALIKE:
        return "failed", f"{text}: it hardly depends on what the network learned"
    return ("passed" if correlation < UNLIKE else "cannot be told"), text
