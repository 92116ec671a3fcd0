"""What in an object names somebody, to be looked for everywhere else."""

import re
from collections.abc import Iterator
from datetime import date

from medcli.deidentify.charsets import ASCII, Charsets, charsets_of
from medcli.deidentify.dicom.values import CHARSET, CONTENT_DATES, PATIENT_NAME, TEXT, known_vr, raw
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.patterns import STANDARD_UID, all_dates
from medcli.deidentify.profile import Action
from medcli.deidentify.tables import Row, rows
from medcli.deidentify.wire import Dataset, File, Fragments

_PATIENT_NAMES = {PATIENT_NAME, 0x00101001, 0x00101005, 0x00101060}
_META_TITLES = frozenset({0x00020016, 0x00020017, 0x00020018})
_COLLECTED = TEXT | {"DA", "DT", "UI"}
_NEVER_COLLECTED = frozenset({"descriptors", "patient", "modified-dates"})
"""Options of rows whose texts are free, common to many, or times: they are not identifiers as a whole."""
_DUMMY_DATE = date(1900, 1, 1)
_UNKNOWN_EVERYBODY = re.compile(r"(?i)anonym|unknown|removed|deidentified|de-identified|test|none|null")


def collect(file: File, actions: dict[int, Action]) -> Identifiers:
    """What in this object identifies, unless its action keeps it."""
    found = Identifiers()
    charsets = charsets_of(raw(file.dataset, CHARSET), ASCII)
    for dataset in (file.dataset, file.meta, *_dropped(file)):
        _collect(dataset, actions, charsets, found)
    found.dates.discard(_DUMMY_DATE)
    return found


def _dropped(file: File) -> Iterator[Dataset]:
    for element in file.dropped:
        yield Dataset({element.tag: element})


def _collect(dataset: Dataset, actions: dict[int, Action], charsets: Charsets, found: Identifiers) -> None:
    charsets = charsets_of(raw(dataset, CHARSET), charsets)
    table = rows()
    for tag, element in dataset.items():
        value = element.value
        if isinstance(value, list):
            for item in value:
                _collect(item, actions, charsets, found)
            continue
        if isinstance(value, Fragments) or not value or len(value) > 10_000:
            continue
        vr = element.vr if element.vr != "UN" else known_vr(tag)
        if vr == "PN":
            _add_names(tag, charsets.decode(value, vr), found)
        elif tag in _META_TITLES:
            found.add(charsets.decode(value, "AE"))
        elif (row := table.get(tag)) is not None and vr in _COLLECTED:
            text = charsets.decode(value, vr)
            parts = [text] if vr in ("LT", "ST", "UT") else [part.strip() for part in text.split("\\")]
            if actions[tag] is Action.KEEP:
                _add_kept(tag, vr, parts, found)
            else:
                _add_identifying(row, vr, parts, found)


def _add_kept(tag: int, vr: str, parts: list[str], found: Identifiers) -> None:
    if vr in TEXT:
        found.kept.update(parts)
    elif vr in ("DA", "DT") and tag not in CONTENT_DATES:
        for part in parts:
            found.kept_dates.update(all_dates(part[:8]))


def _add_identifying(row: Row, vr: str, parts: list[str], found: Identifiers) -> None:
    if vr in ("DA", "DT"):
        for part in parts:
            found.add_dates(part[:8] if vr == "DT" else part)
    elif vr == "UI":
        if row.basic == "U":
            found.uids.update(uid for uid in parts if uid and not STANDARD_UID.match(uid))
    elif vr != "CS" and not _NEVER_COLLECTED.intersection(row.options):
        for part in parts:
            if not _UNKNOWN_EVERYBODY.fullmatch(part):
                found.add(part)


def _add_names(tag: int, text: str, found: Identifiers) -> None:
    for name in text.split("\\"):
        if name.strip() and not _UNKNOWN_EVERYBODY.fullmatch(name.strip(" ^=")):
            (found.patient_names if tag in _PATIENT_NAMES else found.names).add(name.strip())
