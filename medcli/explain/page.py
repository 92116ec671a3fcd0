"""The report on explanations as one HTML file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medcli.explain.summary import Kept, by_method
from medcli.explain.verdict import RULE
from medcli.report import Card, Report, number_text
from medcli.run import Run

MOST_SHOWN = 60
"""Pictures in the page; the folder holds all."""


def write_page(
    path: Path,
    run: Run,
    kept: Sequence[Kept],
    pictures: Sequence[tuple[np.ndarray, str]],
    failed: Mapping[str, str],
    notes: Sequence[str] = (),
) -> None:
    """`pictures`: RGB and caption, at most `MOST_SHOWN` of them."""
    rows = by_method(kept)
    cases = len({one.case for one in kept})
    report = Report(f"{run.config.name or run.folder.name}: why", f"Explanations of {cases} cases")
    report.warnings([*notes, *_warnings(kept, failed)])
    report.cards([_card(row) for row in rows])
    report.heading("Can the maps be believed?").table([_shown(row) for row in rows], _caption(rows))
    if any("verdict" in one.content for one in kept):
        report.paragraph(RULE)
    report.heading("Maps").pictures(pictures, wide=True, shows="Image beside maps of the evidence, case")
    report.heading("Every map").table([_line(one) for one in kept], "Click on a column's head to sort.")
    report.write(path)


def failures(kept: Sequence[Kept]) -> list[str]:
    """One sentence for every map that failed its check."""
    return [f"{one.case}: {one.sentence}" for one in kept if one.content.get("verdict") == "failed"]


def _warnings(kept: Sequence[Kept], failed: Mapping[str, str]) -> list[str]:
    told = failures(kept)
    texts = []
    if told:
        texts.append(
            f"{len(told)} of {len(kept)} maps failed their check and should not be believed, such as {told[0]}."
        )
    if failed:
        case, reason = next(iter(failed.items()))
        texts.append(f"{len(failed)} cases could not be explained, such as {case}: {reason}")
    return texts


def _card(row: Mapping[str, Any]) -> Card:
    if "passed" not in row:
        return Card(row["title"], row["maps"], "maps, not checked")
    note = f"passed; {row['failed']} failed, {row['cannot_be_told']} cannot be told"
    return Card(row["title"], f"{row['passed']} of {row['maps']}", note)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"method": row["title"], "maps": row["maps"]}
    if "passed" in row:
        shown |= {name: row[name.replace(" ", "_")] for name in ("passed", "failed", "cannot be told")}
        shown["gain over misplaced"] = _with_interval(row, "over_misplaced")
        shown["gain over centre"] = _with_interval(row, "over_centre")
        shown["correlation, weights lost"] = row["correlation_randomised"]
    if "hits" in row:
        shown["hits"] = f"{row['hits']} of {row['pointed']}"
        shown["hit rate"] = _with_interval(row, "hit_rate")
        shown["by chance"] = row["hit_rate_by_chance"]
        shown["evidence inside"] = row["evidence_inside"]
    return shown


def _with_interval(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_interval"]
    text = number_text(row[name])
    return f"{text} ({number_text(low)} to {number_text(high)})" if np.isfinite(low) else text


def _caption(rows: Sequence[Mapping[str, Any]]) -> str:
    text = (
        "Gain: area below the insertion curve minus that below the deletion curve; given is how much more than "
        "the same map in wrong places, and than a map of the middle (95 % intervals by patient)."
    )
    if any("hits" in row for row in rows):
        text += (
            " Hit: the strongest place lies within the truth; it tells whether network and map find the object, "
            "not whether the map is faithful."
        )
    return text


def _line(one: Kept) -> dict[str, Any]:
    content = one.content
    return {
        "case": one.case,
        "answer": one.label,
        "probability": one.probability,
        "method": content["method"],
        "verdict": content.get("verdict", "not checked"),
        "deletion": content.get("deletion_auc"),
        "insertion": content.get("insertion_auc"),
        "p": content.get("p"),
        "correlation": content.get("correlation_randomised"),
        "completeness error": content.get("completeness_error"),
        "hit": content["pointing"]["hit"] if "pointing" in content else None,
        "why": "; ".join(content.get("reasons", ())),
    }
