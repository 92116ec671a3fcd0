"""The model card of an evaluated run, with the headings of Mitchell et al. 2019 (doi:10.1145/3287560.3287596).

What was measured is filled in from the run; what only people can know comes from the section `card` of the
config, and is "not stated" where nobody said it. No case and no patient is named.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medcli.evaluation.findings import Findings, listed, plural
from medcli.evaluation.groups import GAP_TITLES, p_text
from medcli.evaluation.judge import Table
from medcli.evaluation.measures import TITLES
from medcli.evaluation.short import input_text, single_columns, tested_on
from medcli.preprocessing.targets import spread
from medcli.report import number_text

FILE = "model_card.md"
NOT_STATED = "not stated"
HEADINGS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)


@dataclass(frozen=True)
class Part:
    """Attributes:
    title: One of HEADINGS.
    facts: Name and text.
    tables: With short names for their files.
    """

    title: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[tuple[str, Table]] = field(default_factory=list)


def model_card(found: Findings) -> list[Part]:
    """The parts in the order of HEADINGS."""
    card = found.run.config.card
    made = (
        _details(found),
        Part(
            HEADINGS[1],
            [
                ("Use", card.intended_use or NOT_STATED),
                ("Users", card.users or NOT_STATED),
                ("Out of scope", card.out_of_scope or NOT_STATED),
            ],
        ),
        _factors(found),
        _metrics(found),
        _evaluation_data(found),
        _training_data(found),
        _analyses(found),
        Part(HEADINGS[7], [("Considerations", card.ethics or NOT_STATED)]),
        _caveats(found),
    )
    return list(made)


def _details(found: Findings) -> Part:
    run, card = found.run, found.run.config.card
    environment = run.environment()
    versions = environment.get("versions", {})
    facts = [
        ("Name", found.name),
        ("Task", f"{run.plan.task}: {listed(run.plan.classes)}"),
        ("Input", input_text(found).removeprefix("Input: ")),
        ("Network", _network(found)),
        ("Training", _recipe(found)),
        ("Made with", ", ".join(f"{name} {version}" for name, version in versions.items()) or NOT_STATED),
        ("Code", environment.get("git_commit") or NOT_STATED),
        ("Seed", str(run.config.seed)),
        ("Weights (SHA-256)", found.kept.model or "unknown"),
        ("Version", card.version or NOT_STATED),
        ("Developers", card.developers or NOT_STATED),
        ("Contact", card.contact or NOT_STATED),
        ("Licence", card.licence or NOT_STATED),
        ("Citation", card.citation or NOT_STATED),
    ]
    return Part(HEADINGS[0], facts)


def _network(found: Findings) -> str:
    model, plan = found.run.config.model, found.run.plan
    size = found.run.environment().get("parameters")
    parts = [
        plan.reasons.get("model") or model.name,
        f"{plan.dimensions}D",
        f"{size:,} parameters" if size else "",
        f"started from {model.weights}" if model.weights != "none" else "trained from scratch",
    ]
    return ", ".join(part for part in parts if part)


def _recipe(found: Findings) -> str:
    train, environment = found.run.config.train, found.run.environment()
    parts = [
        f"optimizer {train.optimizer}",
        f"loss {train.loss}",
        f"epochs {train.epochs}",
        f"augmentation {train.augment}",
        f"batch size {found.run.plan.batch_size}",
        f"at most {train.max_minutes:g} minutes" if train.max_minutes else "",
        f"precision {environment['precision']['policy']}" if "precision" in environment else "",
    ]
    return ", ".join(part for part in parts if part)


def _factors(found: Findings) -> Part:
    columns = list(single_columns(found.content))
    facts = [
        ("Relevant factors", found.run.config.card.factors or NOT_STATED),
        ("Measured by", listed(columns) if columns else "no column of groups was given"),
    ]
    groups = found.content.get("groups")
    if groups:
        facts.append(("Too small to measure", f"groups with fewer than {groups['fewest_patients']} patients"))
    return Part(HEADINGS[2], facts)


def _metrics(found: Findings) -> Part:
    facts = [(TITLES[name][0], TITLES[name][1]) for name in found.judge.headline]
    decisions = found.content.get("decisions")
    if decisions:
        at = ", ".join(
            f"{name} {number_text(one['threshold'])}" for name, one in decisions["thresholds"].items()
        )
        facts.append(("Decision threshold", f"{at}; chosen for: {decisions['aim']}"))
    facts.append(("Uncertainty", f"95 % intervals, {found.content['interval_method']}"))
    return Part(HEADINGS[3], facts)


def _evaluation_data(found: Findings) -> Part:
    card = found.run.config.card
    facts = [("Source", card.evaluation_data or NOT_STATED), ("Licence", card.data_licence or NOT_STATED)]
    return Part(HEADINGS[4], [*facts, ("Cases", " ".join(tested_on(found)))])


def _training_data(found: Findings) -> Part:
    card, records = found.run.config.card, found.run.records
    facts = [("Source", card.training_data or NOT_STATED), ("Licence", card.data_licence or NOT_STATED)]
    rows: list[dict[str, Any]] = []
    for part in ("train", "val", "test"):
        inside = [record for record in records if record.split == part]
        if inside:
            counts: dict[str, Any] = {}
            if found.run.plan.target is not None:
                told = spread([record.target for record in inside if record.target is not None])
                counts = {
                    f"{name} of {found.run.plan.target.name}": told.get(name) for name in ("mean", "sd")
                }
            else:
                shown = Counter(name for record in inside for name in record.classes)
                counts = {f"with {name}": shown[name] for name in found.run.plan.classes}
            patients = len({record.patient for record in inside})
            rows.append({"part": part, "cases": len(inside), "patients": patients, **counts})
    facts.append(("Preparation", found.run.plan.reasons.get("intensity") or NOT_STATED))
    table = Table(
        rows, "Cases by part of the data that the run was made with; patients are in one part only."
    )
    return Part(HEADINGS[5], facts, [("data_by_part", table)] if rows else [])


def _analyses(found: Findings) -> Part:
    overall = [
        {"measure": found.title(name), "value": found.measured.flat[name]}
        | dict(zip(("from", "to"), found.measured.intervals[name], strict=True))
        | {key: value for key, value in found.support[name]._asdict().items() if value is not None}
        for name in found.judge.headline
    ]
    tables = [("headline", Table(overall, "Unitary results, with 95 % intervals."))]
    groups = found.content.get("groups")
    if groups:
        gaps = [
            {
                "columns": " & ".join(gap["columns"]),
                "gap": GAP_TITLES[gap["gap"]][0],
                "value": gap["value"],
                "from": gap["low"],
                "to": gap["high"],
                "worst": gap["worst"],
                "best": gap["best"],
                "p corrected": p_text(gap["p_holm"]),
            }
            for gap in groups["gaps"]
            if gap["worst"]
        ]
        if gaps:
            tables.append(
                ("gaps", Table(gaps, "Largest differences between groups, and between intersections of two."))
            )
    facts = [] if groups else [("By group", "not measured: the data name no columns to group by")]
    return Part(HEADINGS[6], facts, tables)


def _caveats(found: Findings) -> Part:
    card, notes = found.run.config.card, found.content["notes"]
    facts = [("Recommendations", card.caveats or NOT_STATED)]
    facts += [(f"Warning {number}", note) for number, note in enumerate(notes, start=1)]
    failed = len(found.kept.failed)
    if failed:
        facts.append(("Cases left out", f"{plural(failed, 'case')} could not be judged"))
    return Part(HEADINGS[8], facts)


# ---- as Markdown


def write_card(folder: Path, found: Findings, parts: list[Part]) -> None:
    from medcli.files import write_text

    write_text(folder / FILE, markdown(f"Model card: {found.name}", parts))


def markdown(title: str, parts: list[Part]) -> str:
    blocks = [f"# {_plain(title)}"]
    for part in parts:
        blocks.append(f"## {part.title}")
        if part.facts:
            blocks.append("\n".join(f"- **{_plain(name)}**: {_plain(text)}" for name, text in part.facts))
        for _, table in part.tables:
            blocks += [_plain(table.caption), _table(table.rows)]
    return "\n\n".join(blocks) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[number_text(row.get(name)) for name in columns] for row in rows]
    return "\n".join(
        "| " + " | ".join(_plain(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _plain(text: str) -> str:
    """One line, without signs that Markdown or HTML would read."""
    line = " ".join(str(text).split())
    for sign in "\\`*_<[":
        line = line.replace(sign, "\\" + sign)
    return line
