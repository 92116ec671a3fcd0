"""Choosing, on the validation part, the rule by which objects are made of maps.

RUN/objects.json   the rule, what it brought, and the weights that it belongs to
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from medcli.files import sha256, write_json
from medcli.instances.compare import judged
from medcli.instances.decode import USUAL, Rule, decode
from medcli.metrics.bootstrap import mean_of_known
from medcli.metrics.instances import Matched, match_objects, per_case
from medcli.preprocessing.instances import true_objects
from medcli.preprocessing.prepared import Prepared, Record

Predict = Callable[[np.ndarray], np.ndarray]

FILE, MODEL = "objects.json", "model.keras"
FOREGROUND = (0.4, 0.5, 0.6)
CONTRASTS = (0.1, 0.15, 0.2, 0.3)
SMALLEST = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Smallest objects kept, as shares of the size that 5 % of the true objects stay below."""
MEASURE = "ap50_90"
MOST_CASES = 40
"""Cases that the rule is chosen on, evenly taken from the validation part."""


@dataclass(frozen=True)
class Chosen:
    """Attributes:
    rule: With the best mean average precision over IoU 0.5 to 0.9.
    measures: `ap50` and `ap50_90` with it, `usual_ap50` and `usual_ap50_90` with `USUAL`, on these very cases.
    cases: How many.
    """

    rule: Rule
    measures: dict[str, float]
    cases: int


def choose(cases: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> Chosen:
    """Try all rules of the grid.

    Args:
        cases: Maps (see `decode`) and packed true objects (see `medcli.preprocessing.instances`).
    """
    pairs = list(product(FOREGROUND, CONTRASTS))
    found: dict[tuple[float, float], list[list[Matched]]] = {pair: [] for pair in pairs}
    true_sizes = []
    for maps, label in cases:
        truth, classes = true_objects(label)
        true_sizes.append(np.bincount(truth.ravel())[1:])
        for foreground, contrast in pairs:
            objects = judged(label, decode(maps, Rule(foreground, contrast)))
            matched = match_objects(truth, classes, objects.ids, objects.classes, objects.scores, num_classes)
            found[foreground, contrast].append(matched)
    if not true_sizes:
        return Chosen(USUAL, {}, 0)
    sizes = np.concatenate(true_sizes)
    small = float(np.quantile(sizes, 0.05)) if len(sizes) else 0.0
    least = sorted({round(share * small) for share in SMALLEST})
    rules = [Rule(*pair, smallest) for pair in pairs for smallest in least]
    measured = [_measures(found[rule.foreground, rule.contrast], rule.smallest) for rule in rules]
    usual = measured[rules.index(USUAL)]
    gain = np.nan_to_num([one[MEASURE] - usual[MEASURE] for one in measured])
    best = int(np.argmax(np.round(gain, 6))) if gain.max() > 0 else rules.index(USUAL)
    told = measured[best] | {f"usual_{name}": value for name, value in usual.items()}
    return Chosen(rules[best], told, len(true_sizes))


def _measures(cases: list[list[Matched]], smallest: int) -> dict[str, float]:
    """As the evaluation: mean over the images, then over the classes."""
    single = [per_case([one.without_small(smallest) for one in classes]) for classes in cases]
    return {
        name: float(mean_of_known(mean_of_known(np.stack([one[name] for one in single]), axis=0)))
        for name in ("ap50", MEASURE)
    }


def learn(folder: Path, predict: Predict, prepared: Prepared, records: Sequence[Record]) -> None:
    """Choose the rule on some of the validation cases and keep it in the run folder.

    Args:
        predict: Gives the maps of a prepared image by the weights that lie in the folder.
    """
    chosen = [
        records[at] for at in np.unique(np.linspace(0, len(records) - 1, MOST_CASES).round().astype(int))
    ]
    cases = ((predict(prepared.image(one)), prepared.objects(one)) for one in chosen)
    best = choose(cases, prepared.plan.num_classes)
    write_json(folder / FILE, {"model_sha256": sha256(folder / MODEL), **asdict(best)})


def rule_of(folder: Path) -> Rule | None:
    """The rule that was chosen for the weights in the run folder; None: none, or for other weights."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content["model_sha256"] != sha256(folder / MODEL):
            return None
        return Rule(**content["rule"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
