"""What is left beside the cleaned files: one line per file, a summary, and a conformance statement; never a value."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import medcli
from medcli.deidentify.defacing import UNCERTAIN
from medcli.deidentify.settings import Settings
from medcli.deidentify.tables import OPTIONS, PROFILE_CODE
from medcli.deidentify.work import LEFT_OUT, QUARANTINED, WRITTEN, Outcome
from medcli.files import write_json, write_text

FOLDER = "deidentification"
FILES, SUMMARY, STATEMENT = "files.jsonl", "report.json", "conformance.md"


@dataclass
class Summary:
    """The figures of a run.

    Attributes:
        quarantined: Cleaned place -> reason, of files that were not written.
        left_out: Reason -> number of files that are no images.
        actions: What was done -> number of files in which it was done.
        faces: face (removed), no head, uncertain (left) -> number of files, where faces were looked for.
    """

    files: int = 0
    written: int = 0
    done_before: int = 0
    quarantined: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    faces: Counter[str] = field(default_factory=Counter)
    patients: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the most frequent first where something is counted."""
        return {
            name: dict(value.most_common()) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }

    def add(self, outcome: Outcome) -> None:
        self.files += 1
        if outcome.status == WRITTEN:
            self.written += 1
            self.formats[outcome.kind] += 1
        elif outcome.status == QUARANTINED:
            self.quarantined[outcome.file] = outcome.reason
        else:
            self.left_out[outcome.reason] += 1
        self.actions.update(list(outcome.actions))
        if outcome.face:
            self.faces[outcome.face] += 1


class Lines:
    """`files.jsonl`: one JSON object per file, appended as files are done, so that an interrupted run can go on."""

    def __init__(self, out: Path, *, append: bool):
        path = out / FOLDER / FILES
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = open(path, "a" if append else "w", encoding="utf-8")  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> "Lines":
        return self

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the most frequent first where something is counted."""
        return {
            name: dict(value.most_common()) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }

    def add(self, outcome: Outcome) -> None:
        self._stream.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def read_lines(out: Path) -> list[Outcome]:
    """What earlier runs did; a line that was cut short by an interruption is passed over."""
    path = out / FOLDER / FILES
    outcomes = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            outcomes.append(Outcome(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return outcomes


def write_report(out: Path, summary: Summary, settings: Settings, *, keyed: bool) -> None:
    content = {
        "medcli": medcli.__version__,
        "standard": "DICOM PS3.15 2026d, Table E.1-1",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": settings.profile,
        "retain": settings.retain,
        "clean": settings.clean,
        "attributes": settings.attributes,
        "verified": settings.verify,
        "pseudonyms": "from a key that was kept" if keyed else "from a key that was thrown away",
        **summary.as_dict(),
    }
    write_json(out / FOLDER / SUMMARY, content)
    write_text(out / FOLDER / STATEMENT, statement(summary, settings, keyed=keyed))


def statement(summary: Summary, settings: Settings, *, keyed: bool) -> str:
    """The conformance statement of the set, in Markdown."""
    codes = [PROFILE_CODE, *(OPTIONS[name] for name in OPTIONS if name in settings.options)]
    lines = [
        "# How this set was de-identified",
        "",
        f"medcli {medcli.__version__}, DICOM PS3.15 2026d,",
        "Basic Application Level Confidentiality Profile (Table E.1-1).",
        "",
        "| code | profile and options |",
        "| --- | --- |",
        *(f"| {code} | {meaning} |" for code, meaning in codes),
        "",
        f"- Files written: {summary.written}; quarantined: {len(summary.quarantined)}; "
        f"left out because they are no images: {summary.left_out.total()}.",
        f"- Finished bytes were {'' if settings.verify else 'not '}searched for the identifiers that the inputs held.",
        f"- UIDs: {'kept' if 'uids' in settings.options else 'replaced (2.25, HMAC-SHA256 under a secret key)'}.",
        f"- Dates: {_dates(settings.options)}.",
        f"- Private attributes: {_private(settings.options)}.",
        f"- Pixels: {'' if 'pixels' in settings.options else 'not '}searched for burned-in text.",
        f"- Faces: {'removed where found' if 'faces' in settings.options else 'not removed'}.",
        f"- The key of the pseudonyms was {'kept by whoever ran this' if keyed else 'thrown away'}.",
    ]
    if settings.attributes:
        lines += ["", "Attributes with an action of their own, which leaves the standard's profile:", ""]
        lines += [f"- {name}: {action}" for name, action in settings.attributes.items()]
    if summary.quarantined:
        lines += ["", "Quarantined (not written):", ""]
        lines += [f"- {place}: {reason}" for place, reason in sorted(summary.quarantined.items())]
    return "\n".join(lines) + "\n"


def _dates(options: Iterable[str]) -> str:
    if "modified-dates" in options:
        return "moved by a secret number of whole days, the same for all files of a patient"
    return "kept, but for the birth date" if "full-dates" in options else "removed"


def _private(options: Iterable[str]) -> str:
    if "safe-private" in options:
        return "those that the standard (Table E.3.10-1) or The Cancer Imaging Archive call safe are kept, cleaned"
    return "removed"


def last_line(summary: Summary) -> str:
    """The result in one sentence."""
    parts = [f"{summary.written} files written"]
    if summary.done_before:
        parts.append(f"{summary.done_before} done before")
    if summary.quarantined:
        parts.append(f"{len(summary.quarantined)} quarantined")
    if uncertain := summary.faces[UNCERTAIN]:
        parts.append(f"{uncertain} perhaps with a face")
    if summary.left_out:
        parts.append(f"{summary.left_out.total()} left out (no images)")
    return ", ".join(parts)


def by_reason(quarantined: Mapping[str, str]) -> Counter[str]:
    return Counter(quarantined.values())


__all__ = [
    "LEFT_OUT",
    "Lines",
    "Summary",
    "by_reason",
    "last_line",
    "read_lines",
    "statement",
    "write_report",
]
