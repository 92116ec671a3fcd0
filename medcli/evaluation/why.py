"""Why the worst cases came out as they did: a map for each, with its check, made while the model is at hand.

explanations.json    per case what was explained, and what the check of its map says; see `Explanation.as_json`
pictures/why_*.png   the maps over the images

Of classifiers and regressions an activation map and integrated gradients; of boxes and regions integrated gradients
alone, as activation maps mostly fail their check there (docs/explain.md). `medcli explain` has the other methods.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli.case import Case
from medcli.errors import MedcliError
from medcli.evaluation.findings import listed, plural
from medcli.evaluation.judge import Section, Table
from medcli.evaluation.kept import Picture, save_pictures
from medcli.files import write_json
from medcli.preprocessing.plan import Plan
from medcli.progress import Progress, ignore

FILE = "explanations.json"
SECONDS = 20.0
"""No further case is begun when it would end later than this."""
METHODS = {
    "classification": ["gradcam", "ig"],
    "regression": ["gradcam", "ig"],
    "detection": ["ig"],
    "segmentation": ["ig"],
}
VERDICTS = ("passed", "failed", "cannot be told")


def explain_worst(
    folder: Path, predictor: Any, cases: Sequence[Case], plan: Plan, progress: Progress = ignore
) -> list[Picture]:
    """Explain these cases as far as the time reaches, and leave the maps in the folder.

    Args:
        folder: Of the evaluation.
        predictor: A loaded run; anything else, an ensemble and a cascade explain nothing.
        cases: The worst first.
        plan: Tells what the values in the masks mean.
    """
    from medcli.prediction.predictor import Predictor

    if not cases or not isinstance(predictor, Predictor) or predictor.model is None:
        return []
    if predictor.run.members or predictor.run.coarse is not None:
        return []
    from medcli.explain.explainer import explain_cases
    from medcli.explain.picture import picture

    settings = predictor.run.config.explain
    chosen = METHODS[plan.task] if settings.methods == "auto" else settings.methods
    settings = settings.model_copy(update={"methods": chosen, "top": 1, "windows": 1})
    drawn: list[tuple[np.ndarray, str]] = []
    captions: dict[str, str] = {}
    content: dict[str, list[dict[str, Any]]] = {}
    start, longest = perf_counter(), 0.0
    last = start
    try:
        for case, found in explain_cases(predictor, cases, settings=settings, plan=plan, progress=progress):
            if isinstance(found, MedcliError):
                content[case.name] = [{"reason": str(found)}]
            elif not found.explanations:
                content[case.name] = [{"reason": "nothing was found that could be explained"}]
            else:
                drawn.append((picture(found, found.answers[0], plan), case.name))
                captions[case.name] = f"{case.name}: {'; '.join(one.sentence for one in found.explanations)}"
                content[case.name] = [
                    {
                        "label": one.answer.said or one.answer.label,
                        "probability": one.answer.probability,
                        **one.as_json(),
                    }
                    for one in found.explanations
                ]
            now = perf_counter()
            longest, last = max(longest, now - last), now
            if now - start + longest > SECONDS:
                break
    except MedcliError as error:  # such as a network without a layer to look at: the evaluation goes on
        content[cases[0].name] = [{"reason": str(error)}]
    write_json(folder / FILE, {"methods": chosen, "asked": len(cases), "cases": content})
    return [
        Picture(one.kind, one.case, one.file, captions[one.case])
        for one in save_pictures(folder, "why", drawn)
    ]


def load_explanations(folder: Path) -> dict[str, Any] | None:
    """What `explain_worst` left; None: nothing."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def summary(content: Mapping[str, Any]) -> dict[str, Any]:
    """For metrics.json: how many maps there are, and what their checks say."""
    maps = [one for found in content["cases"].values() for one in found if "method" in one]
    words = [one.get("verdict", "not checked") for one in maps]
    return {
        "methods": content["methods"],
        "cases": len({name for name, found in content["cases"].items() if "method" in found[0]}),
        "maps": len(maps),
        "verdicts": {word: words.count(word) for word in (*VERDICTS, "not checked") if words.count(word)},
    }


def why_section(content: Mapping[str, Any]) -> Section:
    """The checks of the maps; the pictures stand below it."""
    rows = []
    for case, found in content["cases"].items():
        for one in found:
            row = {"case": case, "answer": one.get("label"), "probability": one.get("probability")}
            row |= {"map": one.get("method"), "check": one.get("verdict", "not checked")}
            row |= {name: one.get(f"{name}_auc") for name in ("deletion", "insertion")}
            row |= {"p": one.get("p"), "correlation, weights lost": one.get("correlation_randomised")}
            rows.append(row | {"why": one.get("reason") or "; ".join(one.get("reasons", ()))})
    found = summary(content)
    verdicts = [f"{count} {word}" for word, count in found["verdicts"].items()]
    caption = (
        f"{plural(found['maps'], 'map')} of the worst cases ({listed(content['methods'])})"
        + (f": {listed(verdicts)}. " if verdicts else ". ")
        + "Do not believe a map that failed its check: misplaced maps do as well, or it hardly depends on what the "
        "network learned. Deletion: area below the probability while the places of the map are taken away (small is "
        "good), insertion: while they are brought in (large is good). `medcli explain` has more methods and all cases."
    )
    return Section("Why the worst cases came out so", [Table(rows, caption)], [])
