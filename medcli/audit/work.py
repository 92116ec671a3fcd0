"""`medcli audit`: from a config to findings, before anything is prepared or trained.

OUT/
    audit.json     findings and every number behind them
    audit.html     the same for people, with pictures of duplicates and suspects
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from medcli.audit.columns import Column, cells_of, split_columns, together_columns, told_apart
from medcli.audit.confounding import association_findings, associations, shortcut_findings, shortcuts
from medcli.audit.coverage import coverage_findings, coverage_rows
from medcli.audit.duplicates import Pair, exact_groups, near_pairs
from medcli.audit.findings import Finding, ordered
from medcli.audit.label_errors import label_errors
from medcli.audit.labels import Labels, labels_of
from medcli.audit.leakage import Division, all_pictures, shared_pictures, shared_values
from medcli.audit.look import SIDE, Look, look_at_cases
from medcli.case import Case
from medcli.config.schema import Config
from medcli.errors import DataError
from medcli.files import write_json
from medcli.io.cases import Discovery, discover
from medcli.parallel import WorkerDied
from medcli.preprocessing.build import members_of
from medcli.preprocessing.labels import LabelRule
from medcli.preprocessing.prepared import MANIFEST, read_manifest
from medcli.preprocessing.scan import Scan, Seen, Signatures
from medcli.preprocessing.splits import Member, assign, from_file
from medcli.preprocessing.workers import bytes_to_scan, over_cases
from medcli.progress import Progress, ignore

MUCH = 0.05
"""Share of the cases that one patient may have before it is said."""


@dataclass(frozen=True, eq=False)
class Data:
    """All that the checks look at, one entry per readable case.

    Attributes:
        cases: As found.
        looks: What was seen of them.
        patients: Of the cases; `patients_known` tells whether anything but the cases' names is known.
        labels: What there is to learn.
        columns: Of the table.
        cells: Every column as it stands.
        divisions: The one in use first, when there is one.
    """

    cases: list[Case]
    looks: list[Look]
    patients: list[str]
    labels: Labels
    columns: list[Column]
    cells: dict[str, list[str]]
    divisions: list[Division]

    @property
    def names(self) -> list[str]:
        return [case.name for case in self.cases]

    @property
    def patients_known(self) -> bool:
        return any(case.patient not in ("", case.name) for case in self.cases)

    @property
    def in_use(self) -> Division | None:
        return next((division for division in self.divisions if division.in_use), None)


@dataclass(frozen=True, eq=False)
class Audit:
    """Attributes:
    cases, patients, unreadable: Numbers.
    findings: Worst first.
    tables: What was measured, by check: rows for JSON and for the page.
    pairs: Of alike pictures.
    suspects: Cases with probably wrong labels, worst first, and why.
    folder: Where the files are; None when none were written.
    seconds: The whole work.
    """

    cases: int
    patients: int
    unreadable: int
    findings: list[Finding]
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    suspects: list[tuple[int, str]] = field(default_factory=list)
    folder: Path | None = None
    seconds: float = 0.0


def audit(config: Config, out: Path | None, *, page: bool = True, progress: Progress = ignore) -> Audit:
    """Look for what spoils a training or its measure.

    Args:
        config: The job; nothing of it but `task`, `data`, `prepared`, `seed` and the workers is used.
        out: Folder for audit.json and audit.html; None: write nothing.
        page: Write audit.html too.

    Raises:
        DataError: No case was found, or none can be read.
        ConfigError: A setting does not fit the data.
    """
    start = perf_counter()
    found = discover(config, for_training=False, torn_patients=True)
    looks = _looked_at(found.cases, config, progress)
    readable = [index for index, look in enumerate(looks) if not look.fault]
    if not readable:
        raise DataError(f"None of the {len(looks)} cases can be read. The first: {looks[0].fault}")
    data = gather(config, found, looks, readable)
    findings, tables, pairs, suspects = checked(data, config.seed, progress)
    unreadable = [found.cases[index].name for index, look in enumerate(looks) if look.fault]
    left_out = [problem for problem in found.problems if problem.left_out]
    if unreadable or left_out:
        text = (
            f"{len(unreadable) + len(left_out)} cases cannot be read or used; `medcli preprocess` says why."
        )
        findings.append(Finding("note", "reading", text, unreadable))
    result = Audit(
        len(data.cases),
        len(set(data.patients)),
        len(unreadable),
        ordered(findings),
        tables,
        pairs,
        suspects,
        out,
        perf_counter() - start,
    )
    if out is not None:
        write_json(out / "audit.json", content_of(result, data))
        if page:
            from medcli.audit.page import write_page

            write_page(out / "audit.html", config, data, result)
    return result


def content_of(result: Audit, data: Data) -> dict[str, Any]:
    """What audit.json and `--json` hold."""
    names = data.names
    return {
        "cases": result.cases,
        "patients": result.patients,
        "patients_known": data.patients_known,
        "unreadable": result.unreadable,
        "findings": [vars(finding) for finding in result.findings],
        "duplicates": [
            {"cases": [names[pair.first], names[pair.second]], "exact": pair.exact}
            | {"correlation": pair.correlation, "turned": pair.turn}
            for pair in result.pairs
        ],
        "suspects": [{"case": names[index], "reason": reason} for index, reason in result.suspects],
        "tables": result.tables,
        "seconds": round(result.seconds, 1),
    }


# ---- gathering


def _looked_at(cases: Sequence[Case], config: Config, progress: Progress) -> list[Look]:
    signatures = Signatures()
    looks: dict[int, Look] = {}
    progress("read", 0, len(cases))

    def receive(indices: list[int], results: list[Any]) -> None:
        for index, result in zip(indices, results, strict=True):
            died = isinstance(result, WorkerDied)
            looks[index] = Look(fault=f"{cases[index].images[0].path}: {result.reason}.") if died else result
        progress("read", len(looks), len(cases))

    over_cases(
        look_at_cases,
        lambda indices: [cases[index] for index in indices],
        range(len(cases)),
        [bytes_to_scan(case, signatures) for case in cases],
        config,
        receive,
    )
    return [looks[index] for index in range(len(cases))]


def gather(config: Config, found: Discovery, looks: Sequence[Look], readable: Sequence[int]) -> Data:
    cells, table = cells_of(config, found)
    cells = {name: [texts[index] for index in readable] for name, texts in cells.items()}
    cases, seen = [found.cases[index] for index in readable], [looks[index] for index in readable]
    label_columns = {*table.labels, table.target} if table else set()
    used = {name for name in label_columns}
    return Data(
        cases,
        seen,
        [case.patient or case.name for case in cases],
        labels_of(cases, found, config.task),
        told_apart({name: texts for name, texts in cells.items() if name not in used}, table),
        cells,
        divisions(config, found, cases, seen, cells, table.split if table else None),
    )


def divisions(
    config: Config,
    found: Discovery,
    cases: Sequence[Case],
    looks: Sequence[Look],
    cells: dict[str, list[str]],
    split_column: str | None,
) -> list[Division]:
    """The division that training would use, then every other that the table offers."""
    result = []
    used = _in_use(config, found, cases, looks)
    if used is not None:
        result.append(used)
    for name, parts in split_columns(cells).items():
        if name != split_column:
            result.append(Division(f"The column {name}", parts, in_use=False))
    return result


def _in_use(
    config: Config, found: Discovery, cases: Sequence[Case], looks: Sequence[Look]
) -> Division | None:
    members = [Member(case.name, case.patient, case.patient or case.name, "", case.split) for case in cases]
    file = config.data.split.file
    if file is not None:
        members = from_file(members, file)
        return Division(f"The split file {file.name}", [m.given or "" for m in members], in_use=True)
    if any(case.split for case in cases):
        return Division("The split that the data give", [case.split or "" for case in cases], in_use=True)
    if config.prepared is not None and (config.prepared / MANIFEST).is_file():
        of_case = {record.case: record.split for record in read_manifest(config.prepared)}
        parts = [of_case.get(case.name, "") for case in cases]
        if any(parts):
            return Division("The prepared folder's split", parts, in_use=True)
    if config.task == "segmentation":  # the strata are in the masks, which are not read here
        return None
    seen = [
        Seen(case, Scan("", content=look.content, constant=look.constant))
        for case, look in zip(cases, looks, strict=True)
    ]
    try:
        rule = LabelRule(list(found.classes or []), [], "")
        division = assign(members_of(seen, config.task, rule), config.data.split, config.seed)
    except DataError:
        return None
    return Division("The split by medcli", [division.split[case.name] for case in cases], in_use=True)


# ---- checking


Checked = tuple[list[Finding], dict[str, list[dict[str, Any]]], list[Pair], list[tuple[int, str]]]


def checked(data: Data, seed: int, progress: Progress = ignore) -> Checked:
    """All checks on what was gathered; pure."""
    findings: list[Finding] = []
    tables: dict[str, list[dict[str, Any]]] = {}
    steps: list[tuple[str, Callable[[], Any]]] = []
    pairs: list[Pair] = []
    suspects: list[tuple[int, str]] = []

    def leaks() -> None:
        nonlocal pairs
        pairs, more = alike(data)
        findings.extend(more)
        findings.extend(leakage(data, pairs))

    def confounding() -> None:
        tables["associations"] = associations(data.labels, data.columns, data.patients, seed)
        findings.extend(association_findings(tables["associations"]))

    def probing() -> None:
        linked = [row["column"] for row in tables["associations"] if row["p, Holm"] < 0.05]
        tables["shortcuts"] = shortcuts(data.labels, data.columns, linked, data.looks, data.patients, seed)
        findings.extend(shortcut_findings(tables["shortcuts"], tables["associations"]))

    def wrong_labels() -> None:
        if data.labels.cut:  # beside an edge nothing tells one part from the next
            tables["label errors"] = []
            return
        more, chosen, rows = label_errors(data.labels, data.looks, data.cells, data.columns, data.names,
                                          data.patients, seed)  # fmt: skip
        findings.extend(more)
        suspects.extend(chosen)
        tables["label errors"] = rows

    def covering() -> None:
        arguments = (data.columns, data.patients, data.labels.truth, data.labels.classes)
        findings.extend(coverage_findings(data.in_use, *arguments))
        if data.in_use is not None:
            tables["coverage"] = coverage_rows(data.in_use, *arguments)

    steps = [
        ("duplicates", leaks),
        ("confounding", confounding),
        ("shortcuts", probing),
        ("label errors", wrong_labels),
        ("coverage", covering),
    ]
    for number, (_, step) in enumerate(steps):
        progress("check", number, len(steps))
        step()
    progress("check", len(steps), len(steps))
    return findings, tables, pairs, suspects


def alike(data: Data) -> tuple[list[Pair], list[Finding]]:
    """Pairs of alike pictures, exact ones first."""
    groups = exact_groups(["" if look.constant else look.pixels for look in data.looks])
    pairs = [Pair(group[0], other, True, 1.0) for group in groups for other in group[1:]]
    again = {index for group in groups for index in group[1:]}  # the first stands for its copies
    usable = np.array([index not in again and not look.constant for index, look in enumerate(data.looks)])
    thumbs = np.stack([look.thumb.astype(np.float32).mean(-1) for look in data.looks])
    coarse = np.array([min(look.facts["rows"], look.facts["columns"]) < SIDE for look in data.looks])
    near, left = near_pairs(thumbs, usable, coarse)
    findings = all_pictures(
        pairs + near, data.names, data.patients, ["|".join(case.classes) for case in data.cases]
    )
    if left:
        text = f"{left} less likely candidates for near-duplicates were not verified: the pictures are much alike."
        findings.append(Finding("note", "near-duplicates", text))
    return pairs + near, findings


def leakage(data: Data, pairs: Sequence[Pair]) -> list[Finding]:
    findings: list[Finding] = []
    if not data.patients_known:
        text = (
            "No patients are known, so every case counts as one and patient leakage cannot be checked; name "
            "them with data.columns.patient or data.patient."
        )
        findings.append(Finding("warning", "patient leakage", text))
    name, most = Counter(data.patients).most_common(1)[0]
    if most > MUCH * len(data.patients) and data.patients_known:
        text = (
            f"One patient has {most} of the {len(data.patients)} cases (such as "
            f"{data.names[data.patients.index(name)]}): what is measured hangs on who is in which part."
        )
        findings.append(Finding("note", "coverage", text, numbers={"cases": most}))
    together = together_columns(data.cells, data.patients)
    for division in data.divisions:
        if data.patients_known:
            findings += shared_values(division, "patient", data.patients, data.names)
        for name, values in together.items():
            findings += shared_values(division, name, values, data.names)
        findings += shared_pictures(division, pairs, data.names)
    return findings
