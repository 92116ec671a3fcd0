"""Two evaluated runs compared on the cases that both were judged on, from what `evaluate` has stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from medcli.errors import DataError, UsageError
from medcli.evaluation.compare_groups import GroupRow, compare_groups
from medcli.evaluation.compare_stored import Stored, check_alike, open_result, result_folders
from medcli.evaluation.compare_tasks import Test, classified, detected, regressed, segmented
from medcli.evaluation.evaluate import FEW_PATIENTS
from medcli.evaluation.kept import cells
from medcli.evaluation.selection import PARTS
from medcli.files import plain, write_csv, write_json
from medcli.metrics.bootstrap import RESAMPLES
from medcli.metrics.comparison import holm, paired_bootstrap

TASKS = {
    "classification": classified,
    "regression": regressed,
    "detection": detected,
    "segmentation": segmented,
}


@dataclass(frozen=True)
class Row:
    """One measure of both runs; `difference` is A minus B, its interval and p by resampling patients.

    `p_holm` holds for all measures of the table together. `cases` and `patients` are those that the measure
    is about: sensitivity has the positive ones only.
    """

    measure: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    cases: int
    patients: int


@dataclass(frozen=True)
class Comparison:
    """Attributes:
    a, b: The folders of the two results.
    task: Of both.
    cases, patients: Shared, on which everything rests.
    prevalence: Class to its share of these cases (detection: to the number of objects; regression: empty).
    only_a, only_b: Cases that were judged for one run only and are left out.
    measures: The headline measures.
    tests: DeLong and McNemar, or Wilcoxon.
    resamples: Of the patients.
    notes: What a reader must know.
    groups: Before and after by group, see `GroupRow`; unlike elsewhere B minus A.
    """

    a: Path
    b: Path
    task: str
    cases: int
    patients: int
    prevalence: Mapping[str, float]
    only_a: int
    only_b: int
    measures: list[Row]
    tests: list[Test]
    resamples: int = RESAMPLES
    notes: list[str] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write comparison.json, and measures.csv, tests.csv, groups.csv where there are such rows."""
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "comparison.json", plain(asdict(self)))
        for name in ("measures", "tests", "groups"):
            rows = [asdict(row) for row in getattr(self, name)]
            if rows:
                write_csv(folder / f"{name}.csv", [cells(row) for row in rows])


def compare(first: Path, second: Path, *, split: str | None = None, name: str | None = None) -> Comparison:
    """Compare two runs, A and B, case by case.

    Args:
        first, second: Run folders, or folders of one result (RUN/evaluate/NAME).
        split: Only cases that both runs count to this part; also chooses the result of that name.
        name: Of the results; default: `split`, else the one that both have (test before val).

    Raises:
        UsageError: Unknown part, or no result to choose.
        RunError: A folder is no run, was not evaluated, or its result is incomplete.
        DataError: Other tasks or classes, other truth for the same case, no case in common.
    """
    if split is not None and split not in PARTS:
        raise UsageError(f"--split: expected one of {', '.join(PARTS)}, got '{split}'.")
    a, b = (open_result(folder) for folder in result_folders(Path(first), Path(second), split, name))
    check_alike(a, b)
    names = [case for case in a.rows if case in b.rows]
    if split not in (None, "all"):
        names = [case for case in names if a.rows[case].get("split") == b.rows[case].get("split") == split]
    if not names:
        part = f" of part '{split}'" if split else ""
        raise DataError(
            f"The results have no case{part} in common ({len(a.rows)} in {a.folder}, {len(b.rows)} in "
            f"{b.folder}); evaluate both runs on the same data, for example with --data."
        )
    patients = _joint_patients([a.rows[case] for case in names], [b.rows[case] for case in names])
    pair = TASKS[a.plan.task](a, b, names, patients)
    found = paired_bootstrap(*pair.measures, patients)
    whole = np.ones((1, len(names)))
    values = [measure(whole) for measure in pair.measures]
    adjusted = holm([found[measure].p for measure in found])
    rows = [
        Row(
            measure,
            float(np.squeeze(values[0][measure])),
            float(np.squeeze(values[1][measure])),
            entry.difference,
            entry.low,
            entry.high,
            entry.p,
            p_holm,
            int(pair.about[measure].sum()),
            len(set(np.asarray(patients)[pair.about[measure]])),
        )
        for (measure, entry), p_holm in zip(found.items(), adjusted, strict=True)
    ]
    count = len(set(patients))
    groups, more = compare_groups(a.folder, b.folder, names, patients) if _grouped(a, b) else ([], [])
    return Comparison(
        a.folder,
        b.folder,
        a.plan.task,
        len(names),
        count,
        pair.prevalence,
        len(a.rows) - len(names),
        len(b.rows) - len(names),
        rows,
        pair.tests,
        RESAMPLES,
        _notes(a, b, names, count) + more,
        groups,
    )


def _grouped(a: Stored, b: Stored) -> bool:
    return "groups" in a.metrics and "groups" in b.metrics


def _joint_patients(first: Sequence[Mapping[str, str]], second: Sequence[Mapping[str, str]]) -> list[str]:
    """Cases that either run counts to one patient stay together."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            name = leader[name]
        return name

    keys = []
    for one, other in zip(first, second, strict=True):
        pair = [f"{side}:{row.get('patient') or row['case']}" for side, row in (("a", one), ("b", other))]
        leader[find(pair[1])] = find(pair[0])
        keys.append(pair[0])
    return [find(key) for key in keys]


def _notes(a: Stored, b: Stored, names: Sequence[str], patients: int) -> list[str]:
    notes = []
    for letter, stored in (("A", a), ("B", b)):
        own_data = stored.metrics.get("data") == stored.metrics.get("split")
        trained = sum(stored.rows[case].get("split") == "train" for case in names)
        if not own_data:
            notes += [f"{letter}: {note}" for note in stored.metrics.get("notes", []) if "train" in note]
        elif trained:
            notes.append(
                f"{trained} of these {len(names)} cases were used to train {letter}: the comparison favours it."
            )
        left = len(stored.rows) - len(names)
        if left:
            notes.append(f"{left} cases of {letter} are not among the shared ones and are left out.")
        if stored.failed:
            notes.append(f"{stored.failed} cases could not be judged for {letter} and are left out.")
    if patients < FEW_PATIENTS:
        notes.append(f"Patients: {patients}; with so few the intervals and p values are rough.")
    return notes
