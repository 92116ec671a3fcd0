"""Tables in text (TSV, CSV), as of BIDS: columns by the standard's table, rows with the pseudonyms of their patient."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace

from medcli.deidentify.formats.common import Cleaned
from medcli.deidentify.formats.fields import Collector, action_on, cleaned_number, cleaned_text
from medcli.deidentify.formats.meanings import Meaning, meaning_of, words_of
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action
from medcli.errors import FormatError

_MISSING = "n/a"
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_KEPT = (Action.KEEP, Action.CLEAN, Action.SHIFT, Action.UID)
_PSEUDONYMS = ("PatientID", "PatientName", "AccessionNumber")


def fits(head: bytes, name: str) -> bool:
    return name.lower().endswith((".tsv", ".csv")) and b"\0" not in head


def _read(content: bytes) -> tuple[list[str], list[list[str]], str]:
    """Names of the columns (none where the first row is numbers), rows, and what stands between cells."""
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise FormatError("A table in text was expected, something else was found.")
        first = text.split("\n", 1)[0]
        between = max("\t;,", key=first.count)
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True) if row
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError("It is not a table in UTF-8.") from error
    names = rows.pop(0) if rows and not all(map(_NUMBER.fullmatch, rows[0])) else []
    return names, rows, between


def _meanings(names: list[str]) -> list[Meaning | None]:
    weight = meaning_of("PatientWeight")
    return [weight if words_of(name)[:1] == ("weight",) else meaning_of(name) for name in names]


def collect(content: bytes, collector: Collector) -> None:
    """A table is nobody's unless all of its rows are of one patient."""
    names, rows, _ = _read(content)
    patients = set()
    for row in rows:
        of_row = Collector(Identifiers(), collector.actions)
        for name, cell in zip(names, row, strict=False):
            of_row.field(name, cell)
        collector.identifiers.join(of_row.identifiers)
        patients.add(of_row.patient)
    if len(patients) == 1:
        collector.patient = patients.pop()


def clean(content: bytes, policy: Policy, pixels: bool = False) -> Cleaned:
    names, rows, between = _read(content)
    meanings = _meanings(names)
    actions: dict[str, str] = {}
    kept = [index for index, meaning in enumerate(meanings) if _stays(meaning, policy)]
    actions |= {
        meaning.keyword: "removed" for index, meaning in enumerate(meanings) if meaning and index not in kept
    }
    width = len(names) or max(map(len, rows), default=0)
    if not names:
        meanings, kept = [None] * width, list(range(width))
    notes = (
        ["cells beyond the last named column were removed"] if any(len(row) > width for row in rows) else []
    )
    result = [[_heading(names[index], policy) for index in kept]] if names else []
    for row in rows:
        mine = _of_row(row, meanings, policy)
        cells = [(row[index], meanings[index]) for index in kept if index < len(row)]
        result.append([_cell(cell, meaning, mine, actions) for cell, meaning in cells])
    ending = "\r\n" if b"\r\n" in content else "\n"
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=between, lineterminator=ending).writerows(result)
    new = out.getvalue()
    new = new if content.endswith(b"\n") else new.removesuffix(ending)
    return Cleaned(new.encode("utf-8"), actions, notes)


def _stays(meaning: Meaning | None, policy: Policy) -> bool:
    return (
        meaning is None
        or (meaning.text_only and meaning.vr == "TM")
        or meaning.keyword in _PSEUDONYMS
        or action_on(meaning, policy) in _KEPT
    )


def _heading(name: str, policy: Policy) -> str:
    return policy.finder.mask(name, free=meaning_of(name) is None)


def _of_row(row: list[str], meanings: list[Meaning | None], policy: Policy) -> Policy:
    """The policy of the patient that the row names."""
    for cell, meaning in zip(row, meanings, strict=False):
        if meaning is not None and meaning.keyword == "PatientID" and cell.strip():
            return replace(policy, patient=cell.strip())
    return policy


def _cell(cell: str, meaning: Meaning | None, policy: Policy, actions: dict[str, str]) -> str:
    if not cell.strip() or cell.strip().lower() == _MISSING:
        return cell
    clean_ = cleaned_number if _NUMBER.fullmatch(cell) else cleaned_text
    new = clean_(cell, meaning, policy)
    if new != cell:
        actions[meaning.keyword if meaning else "other cells"] = "removed" if new is None else "changed"
    return _MISSING if new is None else new


def parts(content: bytes) -> Iterator[bytes]:
    """Nothing is packed or escaped in a table, but for doubled quotation marks."""
    if b'""' in content:
        yield content.replace(b'""', b'"')
