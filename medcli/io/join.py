"""What is known of cases besides their labels: patient, groups and split, from tables, lists and names."""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from medcli.case import Case
from medcli.config.schema import Data
from medcli.errors import ConfigError, DataError
from medcli.io.found import Found, existing, listing
from medcli.io.names import safe_name, stem
from medcli.io.tables import Table, open_table


def name_patients(found: Found, data: Data) -> None:
    """Take the patient from the case's name by `data.patient`, unless a table has told it.

    Raises ConfigError when the expression is broken, has not one group, or fits no case at all.
    """
    if data.patient is None:
        return
    expression = _expression(data.patient, "data.patient")
    if expression.groups != 1:
        raise ConfigError(
            f"data.patient: expected a regular expression with one group, got '{data.patient}'."
        )
    matches = {case.name: expression.search(case.name) for case in found.cases}
    if matches and not any(matches.values()):
        first = found.cases[0].name
        raise ConfigError(f"data.patient: '{data.patient}' fits no case's name, such as '{first}'.")
    for name, match in matches.items():
        if match is None:
            found.warn(name, "", "data.patient does not fit its name, so it counts as a patient of its own.")
    found.cases = [
        replace(case, patient=match.group(1)) if (match := matches[case.name]) and not case.patient else case
        for case in found.cases
    ]


def name_the_rest(found: Found) -> None:
    """A case of which no patient is known counts as a patient of its own."""
    found.cases = [case if case.patient else replace(case, patient=case.name) for case in found.cases]


def join_table(found: Found, data: Data) -> None:
    """Add patient, groups and split from `data.table` to cases that were found in another way.

    A row belongs to a case when its case column or its image's path or stem says so; failing that for the
    whole table, when its patient column holds the case's patient. Cases without a row are kept and said.
    Raises ConfigError when no row fits any case.
    """
    table = open_table(data, data.table or "")
    by_case = rows_by_case(table)
    by_patient: dict[str, list[dict[str, str]]] = defaultdict(list)
    for line in table.rows if table.patient else []:
        by_patient[table.cell(line, table.patient)].append(line)
    rows: dict[str, dict[str, str] | None] = {case.name: row_of(case, by_case) for case in found.cases}
    joined_by_patient = not any(rows.values())
    if joined_by_patient:
        rows = {case.name: _patient_row(case, table, by_patient, found) for case in found.cases}
    if found.cases and not any(rows.values()):
        keys = listing(filter(None, (table.case, *table.images, table.patient))) or "none that could say"
        raise ConfigError(
            f"data.table: no row of {table.path.name} fits a case such as"
            f" '{found.cases[0].name}'; looked into the columns {keys}."
            " Name the column with data.columns.case or data.columns.patient."
        )
    for name, row in rows.items():
        if row is None:
            found.warn(
                name,
                table.path.name,
                "the table has no row for this case, so its patient and groups are unknown.",
            )
    found.cases = [_joined(case, rows[case.name], table, joined_by_patient) for case in found.cases]


def read_lists(found: Found, data: Data) -> None:
    """Give the cases the split of the list that names them; with a list for train, others are left out.

    A list is a text file with a name per line, with or without folder and suffix; further words are ignored.
    Raises DataError when a list is missing or a case stands in two.
    """
    splits: dict[str, str] = {}
    for split, name in (data.lists or {}).items():
        path = existing(data.root, name, f"data.lists.{split}")
        for case in _listed(path):
            if splits.setdefault(case, split) != split:
                raise DataError(
                    f"{path}: the case {case} stands in two lists, {splits[case]} and {split};"
                    " take it out of one."
                )
    known = {problem.case for problem in found.problems} | {case.name for case in found.cases}
    for case in splits.keys() - known:
        found.leave_out(
            case, "", f"the list for {splits[case]} names this case, but there are no such files."
        )
    unlisted = [case.name for case in found.cases if case.name not in splits]
    if unlisted and "train" in (data.lists or {}):
        found.warn(
            "",
            "",
            f"{len(unlisted)} cases are in none of data.lists and are not used: {listing(unlisted, 4)}.",
        )
        found.cases = [case for case in found.cases if case.name in splits]
    found.cases = [replace(case, split=splits.get(case.name, case.split)) for case in found.cases]


def keep_named(found: Found, data: Data) -> None:
    """Apply `data.include` and `data.exclude` to cases and problems alike."""
    for text, wanted, key in ((data.include, True, "data.include"), (data.exclude, False, "data.exclude")):
        if text is not None:
            expression = _expression(text, key)
            found.cases = [case for case in found.cases if bool(expression.search(case.name)) == wanted]
            found.problems = [
                problem for problem in found.problems
                if not problem.case or bool(expression.search(problem.case)) == wanted
            ]  # fmt: skip


def check_splits(cases: list[Case]) -> None:
    """Raises DataError, naming cases and not the patient, when a patient is in two of the given splits."""
    seen: dict[str, Case] = {}
    shared: dict[str, tuple[Case, Case]] = {}
    for case in cases:
        if case.split is not None:
            first = seen.setdefault(case.patient, case)
            if first.split != case.split:
                shared.setdefault(case.patient, (first, case))
    if shared:
        one, other = next(iter(shared.values()))
        raise DataError(
            f"{len(shared)} patient(s) are in two splits at once, for example with the cases"
            f" {one.name} ({one.split}) and {other.name} ({other.split}); put each patient into one"
            " split, or leave out data.columns.split or data.lists and let medcli split by patient."
        )


def _expression(text: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"{key}: '{text}' is not a regular expression ({error}).") from None


def _listed(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    words = [line.split()[0] for line in lines if line.strip()]
    return [stem(word) for word in words]


def rows_by_case(table: Table) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        for column in filter(None, (table.case, *table.images)):
            text = table.cell(row, column)
            for key in (text, stem(text), safe_name(text)) if text else ():
                rows.setdefault(key, row)
    return rows


def row_of(case: Case, rows: Mapping[str, dict[str, str]]) -> dict[str, str] | None:
    paths = [source.path for source in case.images if not source.part]
    keys = [case.name, *(key for path in paths for key in (path.name, stem(path)))]
    return next((rows[key] for key in keys if key in rows), None)


def _patient_row(
    case: Case, table: Table, rows: Mapping[str, list[dict[str, str]]], found: Found
) -> dict[str, str] | None:
    """The row with what all rows of the patient agree on; groups that differ are left empty."""
    mine = rows.get(case.patient or case.name)
    if not mine:
        return None
    row = dict(mine[0])
    for column in dict.fromkeys((*table.groups, *table.clinical)):
        if any(table.cell(other, column) != table.cell(row, column) for other in mine):
            row[column] = ""
            found.warn(
                case.name,
                table.path.name,
                f"the patient's rows differ in the column {column}, so it is unknown here.",
            )
    return row


def _joined(case: Case, row: dict[str, str] | None, table: Table, by_patient: bool) -> Case:
    if row is None:
        return replace(
            case, groups=dict.fromkeys(table.groups, ""), clinical=dict.fromkeys(table.clinical, "")
        )
    patient = case.patient if by_patient else table.cell(row, table.patient) or case.patient
    return replace(
        case,
        patient=patient,
        groups=table.groups_of(row),
        clinical=table.clinical_of(row),
        split=table.split_of(row) or case.split,
    )
