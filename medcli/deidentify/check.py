"""A folder looked through for what still identifies, without knowing what the inputs held."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medcli.deidentify import dicom, formats, wire
from medcli.deidentify.charsets import Charsets, charsets_of
from medcli.deidentify.dummies import WORD
from medcli.deidentify.identifiers import Finder, Identifiers
from medcli.deidentify.inputs import Item, find_items
from medcli.deidentify.profile import Action, actions_for
from medcli.deidentify.report import FOLDER
from medcli.deidentify.tables import OPTIONS
from medcli.deidentify.wire import Dataset, File, dictionary_vr
from medcli.deidentify.wire.elements import tag_text
from medcli.errors import DataError, FormatError, UsageError
from medcli.progress import Progress, ignore

_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR"})
_OURS = ("P-", "A-", WORD)
_CODES = {code: name for name, (code, _) in OPTIONS.items()}


@dataclass
class Findings:
    """`findings`: path in the folder -> what may identify there, by attribute or place, never a value."""

    files: int = 0
    findings: dict[str, list[str]] = field(default_factory=dict)


def check_folder(folder: Path, progress: Progress = ignore) -> Findings:
    """Check every file as a release: the marks of de-identification, each attribute that its options do not keep, and
    text that looks like a date, a phone number, a mail address, a record number or a titled name.

    Raises UsageError when the folder is missing, DataError when it holds nothing.
    """
    if not folder.is_dir():
        raise UsageError(f"--check {folder}: expected a folder.")
    items = [item for item in find_items([folder]) if item.place.parts[0] != FOLDER]
    if not items:
        raise DataError(f"{folder}: no files were found.")
    result = Findings(len(items))
    finder = Finder(Identifiers(), None)
    for done, item in enumerate(items, 1):
        reasons = _check_item(item, finder)
        if reasons:
            result.findings[str(item.place)] = reasons
        progress("checking", done, len(items))
    return result


def _check_item(item: Item, finder: Finder) -> list[str]:
    try:
        content = item.read()
        if wire.looks_like_dicom(content[:512]):
            return _check_dicom(wire.read(content), finder)
        form = formats.format_of(content[:512], item.place.name)
        if form is None:
            return ["is of no format that is handled"]
        found = Identifiers()
        formats.collect(form, content, found)
        kinds: dict[str, Collection[object]] = {
            "names": found.patient_names | found.names,
            "IDs": found.ids,
            "phrases": found.phrases,
            "dates": found.dates,
        }
        ours = {
            kind: [value for value in values if not str(value).startswith(_OURS)]
            for kind, values in kinds.items()
        }
        return [f"holds {kind}" for kind, values in ours.items() if values]
    except (FormatError, OSError) as error:
        return [str(error) if isinstance(error, FormatError) else f"cannot be read ({type(error).__name__})"]


def _check_dicom(file: File, finder: Finder) -> list[str]:
    if dicom.DIRECTORY_RECORDS in file.dataset:
        return []
    reasons = []
    if dicom.text_of(file.dataset, 0x00120062) != "YES":
        reasons.append("is not marked as de-identified: Patient Identity Removed is not YES")
    if any(file.preamble):
        reasons.append("has a preamble")
    options = _options_of(file.dataset)
    actions = actions_for(options, dicom.text_of(file.dataset, dicom.SOP_CLASS))
    reasons += _left(file.dataset, actions, actions_for(options, ""), options, Charsets(), finder)
    return list(dict.fromkeys(reasons))


def _options_of(dataset: Dataset) -> frozenset[str]:
    """The options that the object says it was cleaned with."""
    element = dataset.get(0x00120064)
    items = element.value if element is not None and isinstance(element.value, list) else []
    return frozenset(_CODES[code] for item in items if (code := dicom.text_of(item, 0x00080100)) in _CODES)


def _left(
    dataset: Dataset,
    actions: dict[int, Action],
    nested: dict[int, Action],
    options: frozenset[str],
    charsets: Charsets,
    finder: Finder,
) -> Iterator[str]:
    element = dataset.get(dicom.CHARSET)
    if element is not None and isinstance(element.value, bytes | memoryview):
        charsets = charsets_of(element.value, charsets)
    for tag, element in dataset.items():
        value, action = element.value, actions.get(tag)
        if tag & 0x00010000 and "safe-private" not in options:
            yield f"{tag_text(tag)} is private"
        elif action is Action.REMOVE:
            yield f"{tag_text(tag)} should be removed"
        elif isinstance(value, list):
            if action is not Action.DUMMY:
                for item in value:
                    yield from _left(item, nested, nested, options, charsets, finder)
        elif isinstance(value, bytes | memoryview) and value:
            vr = element.vr if element.vr != "UN" else dictionary_vr(tag)
            text = charsets.decode(value, vr) if vr in (*_TEXT, "PN", "DA", "DT", "CS", "AE", "SH") else ""
            if action is Action.EMPTY and not text.startswith(_OURS):
                yield f"{tag_text(tag)} should be empty"
            elif action is None and vr == "PN" and not text.startswith(_OURS):
                yield f"{tag_text(tag)} names a person"
            elif action in (None, Action.CLEAN) and vr in _TEXT and finder.mask(text, free=True) != text:
                yield f"{tag_text(tag)} looks like it holds a date, a number or a name"
