"""What the parts of cleaning share: attributes by name, their values as text, the log."""

from collections import defaultdict
from dataclasses import dataclass, field

from medcli.deidentify.charsets import ASCII, Charsets, charsets_of
from medcli.deidentify.tables import rows
from medcli.deidentify.wire import Dataset, dictionary_vr
from medcli.deidentify.wire.elements import tag_text

PATIENT_ID, PATIENT_NAME, ACCESSION = 0x00100020, 0x00100010, 0x00080050
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
CHARSET, PIXEL_DATA, ENCAPSULATED, CONTENT = 0x00080005, 0x7FE00010, 0x00420011, 0x0040A730
DIRECTORY_RECORDS = 0x00041220
CONTENT_DATES = frozenset({0x0040A120, 0x0040A121})
"""Dates of content items: of anything, also of birth."""
TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS"})
"""Value representations whose values are texts."""
_BIRTH_DATE = 0x00100030


@dataclass
class Log:
    """What was done, by attribute; never a value."""

    done: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    notes: list[str] = field(default_factory=list)

    def as_lists(self) -> dict[str, list[str]]:
        return {word: [tag_text(tag) for tag in sorted(tags)] for word, tags in sorted(self.done.items())}


def text_of(dataset: Dataset, tag: int, charsets: Charsets | None = None) -> str:
    """A value as text; empty where it is absent or not text."""
    element = dataset.get(tag)
    if element is None or not isinstance(element.value, bytes | memoryview):
        return ""
    charsets = charsets or charsets_of(raw(dataset, CHARSET), ASCII)
    return charsets.decode(element.value, element.vr).strip(" \0")


def known_vr(tag: int) -> str:
    """From the dictionary, else from Table E.1-1, which is newer; UN where neither knows."""
    vr = dictionary_vr(tag)
    row = rows().get(tag) if vr == "UN" else None
    return row.vr if row is not None and row.vr else vr


def raw(dataset: Dataset, tag: int) -> bytes | memoryview | None:
    element = dataset.get(tag)
    return element.value if element is not None and isinstance(element.value, bytes | memoryview) else None


def patient_of(dataset: Dataset) -> str:
    """What stands for the patient: the Patient ID, else name and birth date, else the study; "" when nothing does."""
    if patient := text_of(dataset, PATIENT_ID):
        return patient
    if name := text_of(dataset, PATIENT_NAME):
        return f"{name}|{text_of(dataset, _BIRTH_DATE)}"
    return text_of(dataset, STUDY)
