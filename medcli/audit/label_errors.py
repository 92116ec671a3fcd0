"""Which labels are probably wrong, in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medcli.audit.columns import Column
from medcli.audit.findings import Finding, plural, some
from medcli.audit.labels import Labels
from medcli.audit.look import Look
from medcli.audit.probe import folds_of, stacked
from medcli.audit.suspects import against_column, confident_suspects, features_of, out_of_fold
from medcli.metrics.bootstrap import intervals
from medcli.metrics.classification import auroc

GOOD_ENOUGH = 0.8
"""AUROC of the small model below which its doubts about labels are not worth looking at."""
MOST = 50
"""Suspects that are listed."""

Found = tuple[list[Finding], list[tuple[int, str]], list[dict[str, Any]]]


def label_errors(
    labels: Labels,
    looks: Sequence[Look],
    cells: Mapping[str, Sequence[str]],
    columns: Sequence[Column],
    names: Sequence[str],
    patients: Sequence[str],
    seed: int,
) -> Found:
    """Findings, suspects with the reason, and what the small model was worth."""
    findings, suspects = _against_columns(labels, cells, columns, names)
    rows: list[dict[str, Any]] = []
    features = None
    for target in labels.targets():
        codes, kinds = target.codes, target.kinds
        own = [patients[case] for case in target.cases]
        fold = folds_of(codes, own, seed)
        if fold is None:
            continue
        if features is None:
            features = features_of(stacked(looks))
        probabilities = out_of_fold(features[target.cases], codes, fold)
        area, low, high = _worth(codes, probabilities, own)
        found = confident_suspects(codes, probabilities)
        indices = [int(target.cases[index]) for index in found.indices]
        rows.append({"target": target.name, "AUROC of the small model": area, "low": low, "high": high,
                     "suspects": len(found.indices), "estimated share wrong": found.estimated,
                     "cases": len(codes), "patients": len(set(own))})  # fmt: skip
        worth = f"AUROC {area:.2f} ({low:.2f} to {high:.2f}) out of fold"
        if area < GOOD_ENOUGH:
            text = (
                f"Wrong labels ({target.name}) were not looked for by confident learning: the small model is too weak "
                f"({worth})."
            )
            findings.append(Finding("note", "label errors", text, numbers=rows[-1]))
            continue
        if indices:
            listed = [names[index] for index in indices]
            text = (
                f"{len(listed)} of {len(codes)} cases look as if their {target.name} were wrong (confident learning; "
                f"the model's {worth}); look at them, first {some(listed)}."
            )
            findings.append(Finding("warning", "label errors", text, listed[:MOST], rows[-1]))
            suspects += [
                (index, f"labelled {kinds[given]}, looks like {kinds[likely]} (margin {margin:+.2f})")
                for index, margin, given, likely in zip(
                    indices, found.margins, found.given, found.likely, strict=True
                )
            ][:MOST]
    return findings, suspects, rows


def _against_columns(
    labels: Labels, cells: Mapping[str, Sequence[str]], columns: Sequence[Column], names: Sequence[str]
) -> tuple[list[Finding], list[tuple[int, str]]]:
    findings: list[Finding] = []
    suspects: list[tuple[int, str]] = []
    if not labels.exclusive:
        return findings, suspects
    numeric = {column.name for column in columns if column.numeric}
    known = {column.name for column in columns} - numeric
    for target in labels.targets():
        most = np.bincount(target.codes).max() / len(target.codes)
        for name in known:
            texts = cells[name]
            found = against_column([texts[case] for case in target.cases], target.codes)
            if found is None or found.right <= most + (1 - most) / 2 or not found.indices:
                continue
            indices = [int(target.cases[index]) for index in found.indices]
            listed = [names[index] for index in indices]
            text = (
                f"{plural(len(listed), 'case')} with a {target.name} that {name} contradicts, which tells "
                f"{found.right:.1%} of them: {some(listed)}."
            )
            findings.append(Finding("warning", "label errors", text, listed[:MOST]))
            suspects += [(index, f"{target.name} against {name}") for index in indices[:MOST]]
    return findings, suspects


def _worth(
    codes: np.ndarray, probabilities: np.ndarray, patients: Sequence[str]
) -> tuple[float, float, float]:
    kinds = range(probabilities.shape[1]) if probabilities.shape[1] > 2 else [1]

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "auroc": np.mean([auroc(codes == kind, probabilities[:, kind], weights) for kind in kinds], 0)
        }

    value = float(np.squeeze(measure(np.ones((1, len(codes))))["auroc"]))
    low, high = intervals(measure, patients, resamples=500)["auroc"]
    return value, low, high
