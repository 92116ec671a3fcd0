"""The columns of the table, whether the config names them or not: what each is like, in few levels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medcli.config.schema import Config
from medcli.io.cases import Discovery
from medcli.io.found import known_split
from medcli.io.join import row_of, rows_by_case
from medcli.io.layouts.table import case_names, image_paths
from medcli.io.tables import Table, open_table

MISSING = "(missing)"
OTHER = "(other)"
MOST_LEVELS = 20
"""Text with more different values keeps the most frequent; of more than half different nothing is kept."""
BINS = 4
"""Numbers with many different values are cut into so many parts of like size."""
KEPT_TOGETHER = ("study", "study_id", "studyinstanceuid", "exam", "exam_id", "accession", "accession_number",
                 "series", "series_id", "seriesinstanceuid", "lesion", "lesion_id", "slide", "slide_id",
                 "subject", "subject_id", "patient", "patient_id", "patientid")  # fmt: skip
"""Names of columns whose value must not be in two parts."""


@dataclass(frozen=True, eq=False)
class Column:
    """Attributes:
    name: In the table.
    texts: Per case, "" when missing.
    levels: Names of the levels.
    codes: (n,) index of each case's level.
    numeric: Cut from numbers.
    """

    name: str
    texts: list[str]
    levels: list[str]
    codes: np.ndarray
    numeric: bool = False

    @property
    def missing(self) -> int:
        return sum(not text for text in self.texts)


def cells_of(config: Config, found: Discovery) -> tuple[dict[str, list[str]], Table | None]:
    """Every column of the table, or else the groups of the cases, per case; and the table."""
    if config.data.table is None:
        names = dict.fromkeys(name for case in found.cases for name in case.groups)
        return {name: [case.groups.get(name, "") for case in found.cases] for name in names}, None
    table = open_table(config.data, config.data.table)
    rows = _rows(config, found, table)
    present = [name for name in table.rows[0] if name]
    return {name: [table.cell(row, name) for row in rows] for name in present}, table


def _rows(config: Config, found: Discovery, table: Table) -> list[dict[str, str]]:
    """The row of every case, as `discover` joins them; {} for a case without."""
    if found.format == "table" and config.task != "detection":
        paths = [image_paths(config.data, table, row) for row in table.rows]
        by_name = dict(reversed(list(zip(case_names(table, paths), table.rows, strict=True))))
        return [by_name.get(case.name, {}) for case in found.cases]
    by_case = rows_by_case(table)
    rows = [row_of(case, by_case) for case in found.cases]
    if not any(rows) and table.patient:
        by_patient = {table.cell(row, table.patient): row for row in reversed(table.rows)}
        rows = [by_patient.get(case.patient) for case in found.cases]
    return [row or {} for row in rows]


def told_apart(cells: Mapping[str, list[str]], table: Table | None) -> list[Column]:
    """Columns that sort the cases into levels: no names, no paths, no labels, not all the same."""
    used = set()
    if table is not None:
        used = {table.case, table.mask, table.patient, table.target, *table.images, *table.labels}
    columns = [
        column_of(name, texts)
        for name, texts in cells.items()
        if name not in used and not is_split(texts) and name.lower() not in KEPT_TOGETHER
    ]
    return [column for column in columns if column is not None]


def column_of(name: str, texts: Sequence[str]) -> Column | None:
    """None when the column says nothing: all the same, or nearly all different."""
    texts = list(texts)
    known = [text for text in texts if text]
    kinds = Counter(known)
    if len(kinds) + (len(known) < len(texts)) < 2:
        return None
    numbers = _numbers(texts)
    if numbers is not None and len(kinds) > 6:
        return _cut(name, texts, numbers)
    if len(kinds) > max(6, 0.5 * len(known)):
        return None
    frequent = {text for text, _ in kinds.most_common(MOST_LEVELS)}
    named = [text if text in frequent else OTHER if text else MISSING for text in texts]
    levels = sorted(set(named), key=lambda level: (level in (MISSING, OTHER), level))
    return Column(name, texts, levels, np.array([levels.index(text) for text in named]))


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return None


def _cut(name: str, texts: list[str], numbers: np.ndarray) -> Column | None:
    known = np.isfinite(numbers)
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, BINS + 1)[1:-1], method="higher"))
    edges = edges[edges > numbers[known].min()]
    codes = np.searchsorted(edges, np.where(known, numbers, 0), side="right")
    bounds = [f"{edge:g}" for edge in edges]
    levels = [
        f"< {bounds[0]}" if not low else f"{low} or more" if high is None else f"{low} to < {high}"
        for low, high in zip([None, *bounds], [*bounds, None], strict=True)
    ] if bounds else ["any"]  # fmt: skip
    if not known.all():
        codes = np.where(known, codes, len(levels))
        levels = [*levels, MISSING]
    if len(levels) < 2:
        return None
    return Column(name, texts, levels, codes, numeric=True)


def is_split(texts: Sequence[str]) -> bool:
    """Whether the column says train, val and test (in any usual words), for at least two of them."""
    kinds = {text for text in texts if text}
    parts = {known_split(text) for text in kinds}
    return len(kinds) <= 6 and None not in parts and len(parts) > 1


def split_columns(cells: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Every column that is a division of the cases, in medcli's words, "" when missing."""
    return {
        name: [known_split(text) or "" if text else "" for text in texts]
        for name, texts in cells.items()
        if is_split(texts)
    }


def together_columns(cells: Mapping[str, list[str]], patients: Sequence[str]) -> dict[str, list[str]]:
    """Columns such as study and lesion whose values must stay in one part, but for the patients themselves."""
    return {
        name: texts
        for name, texts in cells.items()
        if name.lower() in KEPT_TOGETHER
        and [text or None for text in texts] != list(patients)
        and len(set(filter(None, texts))) > 1
    }
