"""One DICOM object cleaned: every attribute at every depth by its action, then what marks it as de-identified."""

import io
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pydicom
from pydicom import datadict

import medcli
from medcli.deidentify import wire
from medcli.deidentify.charsets import ASCII, Charsets, charsets_of
from medcli.deidentify.dummies import WORD, dummy, dummy_content, dummy_document, dummy_items
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.overlays import clean_overlays
from medcli.deidentify.patterns import STANDARD_UID, all_dates
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action
from medcli.deidentify.tables import OPTIONS, PROFILE_CODE, Row, rows, safe_private
from medcli.deidentify.wire import Dataset, Element, File, Fragments, dictionary_vr
from medcli.deidentify.wire.elements import VRS, tag_text

PATIENT_ID, PATIENT_NAME, ACCESSION = 0x00100020, 0x00100010, 0x00080050
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
CHARSET, PIXEL_DATA, ENCAPSULATED, CONTENT = 0x00080005, 0x7FE00010, 0x00420011, 0x0040A730
DIRECTORY_RECORDS = 0x00041220
_BIRTH_DATE = 0x00100030
_PATIENT_NAMES = {PATIENT_NAME, 0x00101001, 0x00101005, 0x00101060}
_CONTENT_DATES = frozenset({0x0040A120, 0x0040A121})
"""Dates of content items: of anything, also of birth."""
_KIND_UIDS = frozenset({  # say what something is, not which one it is
    SOP_CLASS, 0x0008001A, 0x0008001B, 0x00080062, 0x0008010C, 0x0008010D, 0x00080117, 0x00081150, 0x0008115A,
    0x00041510, 0x00041512, 0x00083002, 0x04000010, 0x04000404, 0x00741042,
})  # fmt: skip
_TEXT = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE", "CS"})
_COLLECTED = _TEXT | {"DA", "DT", "UI"}
_BYTES = frozenset({"OB", "OW", "UN", "OF", "OD", "OL", "OV"})
_LIMITS = {"SH": 16, "CS": 16, "AE": 16, "LO": 64}
_NEVER_COLLECTED = frozenset({"descriptors", "patient", "modified-dates"})
"""Options of rows whose texts are free, common to many, or times: they are not identifiers as a whole."""
_DUMMY_DATE = date(1900, 1, 1)
_UNKNOWN_EVERYBODY = re.compile(r"(?i)anonym|unknown|removed|deidentified|de-identified|test|none|null")


@dataclass
class Log:
    """What was done, by attribute; never a value."""

    done: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    notes: list[str] = field(default_factory=list)

    def as_lists(self) -> dict[str, list[str]]:
        return {word: [tag_text(tag) for tag in sorted(tags)] for word, tags in sorted(self.done.items())}


# --- collecting ---------------------------------------------------------------------------------------------------


def text_of(dataset: Dataset, tag: int, charsets: Charsets | None = None) -> str:
    """A value as text; empty where it is absent or not text."""
    element = dataset.get(tag)
    if element is None or not isinstance(element.value, bytes | memoryview):
        return ""
    charsets = charsets or charsets_of(_raw(dataset, CHARSET), ASCII)
    return charsets.decode(element.value, element.vr).strip(" \0")


def known_vr(tag: int) -> str:
    """From the dictionary, else from Table E.1-1, which is newer; UN where neither knows."""
    vr = dictionary_vr(tag)
    row = rows().get(tag) if vr == "UN" else None
    return row.vr if row is not None and row.vr else vr


def _raw(dataset: Dataset, tag: int) -> bytes | memoryview | None:
    element = dataset.get(tag)
    return element.value if element is not None and isinstance(element.value, bytes | memoryview) else None


def patient_of(dataset: Dataset) -> str:
    """What stands for the patient: the Patient ID, else name and birth date, else the study; "" when nothing does."""
    if patient := text_of(dataset, PATIENT_ID):
        return patient
    if name := text_of(dataset, PATIENT_NAME):
        return f"{name}|{text_of(dataset, _BIRTH_DATE)}"
    return text_of(dataset, STUDY)


def collect(file: File, actions: dict[int, Action]) -> Identifiers:
    """What in this object identifies, unless its action keeps it."""
    found = Identifiers()
    charsets = charsets_of(_raw(file.dataset, CHARSET), ASCII)
    for dataset in (file.dataset, file.meta, *_dropped(file)):
        _collect(dataset, actions, charsets, found)
    found.dates.discard(_DUMMY_DATE)
    return found


def _dropped(file: File) -> Iterator[Dataset]:
    for element in file.dropped:
        yield Dataset({element.tag: element})


def _collect(dataset: Dataset, actions: dict[int, Action], charsets: Charsets, found: Identifiers) -> None:
    charsets = charsets_of(_raw(dataset, CHARSET), charsets)
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
    if vr in _TEXT:
        found.kept.update(parts)
    elif vr in ("DA", "DT") and tag not in _CONTENT_DATES:
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


_META_TITLES = frozenset({0x00020016, 0x00020017, 0x00020018})


def _add_names(tag: int, text: str, found: Identifiers) -> None:
    for name in text.split("\\"):
        if name.strip() and not _UNKNOWN_EVERYBODY.fullmatch(name.strip(" ^=")):
            (found.patient_names if tag in _PATIENT_NAMES else found.names).add(name.strip())


# --- cleaning -----------------------------------------------------------------------------------------------------


def clean(file: File, policy: Policy) -> Log:
    """Clean the headers of an object in place (see `stamp` for what is written into it at the end)."""
    log = Log(notes=list(file.notes))
    _Cleaner(policy, log).clean(file)
    return log


class _Cleaner:
    def __init__(self, policy: Policy, log: Log):
        self._policy = policy
        self._options = policy.options
        self._done = log.done
        self._notes = log.notes
        self._nested = policy.actions("")
        self._safe = safe_private() if "safe-private" in policy.options else {}

    def clean(self, file: File) -> None:
        dataset = file.dataset
        sop_class = text_of(dataset, SOP_CLASS)
        _trim_pixels(dataset, file.transfer_syntax, self._notes, keep_overlays="graphics" in self._options)
        self._dataset(dataset, self._policy.actions(sop_class), ASCII)
        self._patient(dataset)
        _replace_document(dataset)
        changed = clean_overlays(dataset) if "graphics" in self._options else []
        if changed:
            self._done["blanked"].update(changed)
        file.meta = _fresh_meta(dataset, file.transfer_syntax)
        file.preamble = bytes(128)
        file.dropped = []

    def _patient(self, dataset: Dataset) -> None:
        """Patient's name and ID carry the pseudonym, whatever was there."""
        for tag in (PATIENT_ID, PATIENT_NAME):
            if tag in dataset:
                dataset[tag].value = self._policy.patient_id.encode("ascii")

    def _dataset(self, dataset: Dataset, actions: dict[int, Action], charsets: Charsets) -> None:
        charsets = charsets_of(_raw(dataset, CHARSET), charsets)
        creators = _creators(dataset, charsets) if self._safe else {}
        kept_blocks: set[int] = set()
        for tag, element in list(dataset.items()):
            group = tag >> 16
            if group & 1:
                keep = self._private(tag, element, creators, kept_blocks, charsets)
            elif _goes_with_its_group(group, self._options) or not tag & 0xFFFF:
                keep = False
            else:
                keep = self._standard(tag, element, actions.get(tag), charsets)
            if not keep:
                del dataset[tag]
                self._done["removed"].add(tag)
        for block in kept_blocks:
            dataset[block] = Element(block, "LO", charsets.encode(creators[block], "LO"))
            self._done["removed"].discard(block)

    def _standard(self, tag: int, element: Element, action: Action | None, charsets: Charsets) -> bool:
        """Change the element as its action asks; False: it has to go."""
        if element.vr == "UN" and not isinstance(element.value, list):
            element.vr = known_vr(tag)
            if element.vr == "UN" and action is None and tag != PIXEL_DATA:
                return False  # neither the standard's dictionary nor its table knows it
        if action is None:
            return self._unlisted(tag, element, charsets)
        if action is Action.REMOVE:
            return False
        if action is Action.EMPTY:
            self._empty(tag, element, charsets)
        elif action is Action.DUMMY:
            self._dummy(tag, element)
        elif action is Action.UID:
            self._uid(tag, element, charsets)
        elif action is Action.SHIFT:
            self._shift(tag, element)
        elif element.vr == "UI":
            pass
        elif element.vr == "AS":
            self._age(element)
        elif element.vr in ("DA", "DT"):
            self._known_dates(tag, element)
        elif action is Action.CLEAN and element.vr in _BYTES and tag >> 24 not in (0x50, 0x60):
            return False  # bytes of unknown make cannot be cleaned
        elif element.vr != "TM":
            self._unlisted(tag, element, charsets, free=action is Action.CLEAN)
        return True

    def _empty(self, tag: int, element: Element, charsets: Charsets) -> None:
        if tag == ACCESSION and element.value:
            original = charsets.decode(element.value, "SH").strip()  # type: ignore[arg-type]
            element.value = self._policy.pseudonyms.accession(original).encode("ascii") if original else b""
            self._done["pseudonym"].add(tag)
        elif tag == PATIENT_ID and element.value:
            original = charsets.decode(element.value, "LO").strip()  # type: ignore[arg-type]
            element.value = self._policy.pseudonyms.patient(original).encode("ascii")
            self._done["pseudonym"].add(tag)
        else:
            element.value = [] if element.vr == "SQ" else b""
            self._done["emptied"].add(tag)

    def _dummy(self, tag: int, element: Element) -> None:
        if isinstance(element.value, list):
            items = element.value
            element.value = dummy_content() if tag == CONTENT else dummy_items(items, self._new_uids)
        elif element.vr == "UI":
            element.value = self._new_uids(bytes(element.value))  # type: ignore[arg-type]
        elif tag != ENCAPSULATED:  # that one needs its type: see _replace_document
            element.value = dummy(element.vr)
        self._done["dummy"].add(tag)

    def _uid(self, tag: int, element: Element, charsets: Charsets) -> None:
        if isinstance(element.value, list):
            self._items(element.value, charsets)
        else:
            element.value = self._new_uids(bytes(element.value), always=True)  # type: ignore[arg-type]
            self._done["new uid"].add(tag)

    def _new_uids(self, value: bytes, *, always: bool = False) -> bytes:
        new = self._policy.pseudonyms.uid if always else self._policy.uid
        uids = (uid if not uid or STANDARD_UID.match(uid) else new(uid) for uid in _split_uids(value))
        return "\\".join(uids).encode("ascii")

    def _shift(self, tag: int, element: Element) -> None:
        """A date moves by the patient's days; what cannot be read as a date is emptied; times of day stay."""
        if element.vr in ("TM", "SH"):
            return None
        if element.vr not in ("DA", "DT") or not isinstance(element.value, bytes | memoryview):
            return self._dummy(tag, element)
        moved = []
        for text in bytes(element.value).decode("latin-1").split("\\"):
            text = text.strip(" \0")
            if re.fullmatch(r"\d{4}\.\d\d\.\d\d", text):
                text = text.replace(".", "")  # as ACR-NEMA wrote dates
            moved.append((self._policy.date(text) or "") if text else "")
        element.value = "\\".join(moved).encode("ascii", "replace")
        self._done["shifted"].add(tag)
        return None

    def _known_dates(self, tag: int, element: Element) -> None:
        """A date that an option keeps, unless it is one that must not be known, such as that of birth."""
        texts = bytes(element.value).decode("latin-1").split("\\")  # type: ignore[arg-type]
        if any(self._policy.finder.knows_date(text.strip()) for text in texts):
            element.value = dummy(element.vr)
            self._done["dummy"].add(tag)

    def _age(self, element: Element) -> None:
        text = bytes(element.value).decode("latin-1").strip(" \0")  # type: ignore[arg-type]
        found = re.fullmatch(r"(\d{1,3})Y", text)
        if found and int(found[1]) > 89:
            element.value = b"090Y"
            self._done["capped"].add(element.tag)

    def _unlisted(self, tag: int, element: Element, charsets: Charsets, *, free: bool = True) -> bool:
        """An attribute that the table does not name, or that an option keeps: masked by what was collected."""
        vr, value = element.vr, element.value
        if isinstance(value, list):
            self._items(value, charsets)
        elif vr in _TEXT:
            self._mask(tag, element, charsets, free=free)
        elif vr == "PN":
            if value:
                element.value = WORD.encode("ascii")
                self._done["dummy"].add(tag)
        elif vr in ("DA", "DT"):
            new = self._policy.date(bytes(value).decode("latin-1").strip(" \0")) if value else ""  # type: ignore[arg-type]
            element.value = (new or "").encode("ascii", "replace")
            self._done["shifted" if new else "emptied"].add(tag)
        elif vr == "UI":
            named = self._policy.finder.hits(bytes(value).decode("latin-1"))  # type: ignore[arg-type]
            if named or tag not in _KIND_UIDS:
                element.value = self._new_uids(bytes(value), always=named)  # type: ignore[arg-type]
                self._done["new uid"].add(tag)
        elif vr in ("IS", "DS"):
            self._mask_numbers(tag, element)
        elif vr == "AS":
            self._age(element)
        elif vr in _BYTES and tag != PIXEL_DATA and isinstance(value, bytes | memoryview):
            self._scrub(tag, element)
        return True

    def _items(self, items: list[Dataset], charsets: Charsets) -> None:
        for item in items:
            self._dataset(item, self._nested, charsets)

    def _mask(self, tag: int, element: Element, charsets: Charsets, *, free: bool) -> None:
        value = element.value
        if not value or not isinstance(value, bytes | memoryview):
            return
        text = charsets.decode(value, element.vr)
        finder = self._policy.finder
        masked = finder.mask_code(text) if element.vr == "CS" else finder.mask(text, free=free)
        if masked != text:
            if limit := _LIMITS.get(element.vr):
                masked = "\\".join(part[:limit] for part in masked.split("\\"))
            element.value = charsets.encode(masked, element.vr)
            self._done["masked"].add(tag)

    def _mask_numbers(self, tag: int, element: Element) -> None:
        value = bytes(element.value)  # type: ignore[arg-type]
        if len(value) < 6:
            return
        text = value.decode("latin-1")
        masked = "\\".join(map(self._policy.finder.mask_number, text.split("\\")))
        if masked != text:
            element.value = masked.encode("latin-1")
            self._done["masked"].add(tag)

    def _scrub(self, tag: int, element: Element) -> None:
        value = bytes(element.value)  # type: ignore[arg-type]
        scrubbed = self._policy.finder.scrub(value)
        if scrubbed != value:
            element.value = scrubbed
            self._done["masked"].add(tag)

    # --- private attributes

    def _private(
        self, tag: int, element: Element, creators: dict[int, str], kept: set[int], charsets: Charsets
    ) -> bool:
        block = tag & 0xFFFF0000 | (tag >> 8 & 0xFF)
        creator = creators.get(block)
        if creator is None:
            return False
        disposition = self._safe.get((creator, tag >> 16, tag & 0xFF))
        if disposition is None or not self._keep_private(tag, element, disposition, creator, charsets):
            return False
        kept.add(block)
        return True

    def _keep_private(
        self, tag: int, element: Element, disposition: str, creator: str, charsets: Charsets
    ) -> bool:
        if element.vr == "UN" and not isinstance(element.value, list):
            element.vr = private_vr(tag, creator)
        value = element.value
        if disposition == "h":
            if isinstance(value, bytes | memoryview):
                element.value = self._new_uids(bytes(value))
                self._done["new uid"].add(tag)
                return True
            return False
        if disposition == "oi":
            return self._shift_seconds(element)
        if disposition == "o" or element.vr in ("DA", "DT"):
            return self._shift_private(element)
        if element.vr == "UN" and _printable(value):
            element.vr = "LT"  # judged as the text that it is, stored as it was
            self._unlisted(tag, element, charsets)
            element.vr = "UN"
            return True
        return element.vr != "PN" and self._unlisted(tag, element, charsets)

    def _shift_private(self, element: Element) -> bool:
        policy = self._policy
        if not isinstance(element.value, bytes | memoryview) or policy.patient is None:
            return False
        text = bytes(element.value).decode("latin-1").strip(" \0")
        if "full-dates" in self._options and "modified-dates" not in self._options:
            return True
        moved = policy.pseudonyms.shift(text, policy.patient)
        element.value = (moved or "").encode("latin-1", "replace")
        self._done["shifted"].add(element.tag)
        return True

    def _shift_seconds(self, element: Element) -> bool:
        policy, value = self._policy, element.value
        if "full-dates" in self._options and "modified-dates" not in self._options:
            return True
        if not isinstance(value, bytes | memoryview) or policy.patient is None:
            return False
        seconds = policy.pseudonyms.day_shift(policy.patient) * 86_400
        if element.vr in ("SL", "UL", "UN", "OB") and len(value) == 4:
            moved = int.from_bytes(bytes(value), "little") + seconds
            element.value = max(moved, 0).to_bytes(4, "little")
        elif element.vr == "FD" and len(value) == 8:
            element.value = struct.pack("<d", max(struct.unpack("<d", bytes(value))[0] + seconds, 0.0))
        elif (text := bytes(value).decode("latin-1").strip(" \0")).isdigit():
            element.value = str(max(int(text) + seconds, 0)).encode("ascii")
        else:
            return False
        self._done["shifted"].add(element.tag)
        return True


def _goes_with_its_group(group: int, options: frozenset[str]) -> bool:
    """Commands, file meta and directory groups inside of a data set; curves and overlays unless they are cleaned."""
    if group in (0x0000, 0x0002, 0x0004):
        return True
    if group & 0xFF00 in (0x5000, 0x6000) and group & 0xFF <= 0x1E:
        return "graphics" not in options
    return group == 0xFFFC


def _creators(dataset: Dataset, charsets: Charsets) -> dict[int, str]:
    """Tag of the creator element -> its text."""
    return {
        tag: charsets.decode(element.value, "LO").strip()
        for tag, element in dataset.items()
        if tag & 0x00010000 and 0x10 <= tag & 0xFFFF <= 0xFF and isinstance(element.value, bytes | memoryview)
    }


def private_vr(tag: int, creator: str) -> str:
    """The VR that pydicom's private dictionary knows for a private attribute; UN where it knows none."""
    try:
        vr = datadict.private_dictionary_VR(tag, creator)
    except KeyError:
        return "UN"
    return vr if vr in VRS and vr != "SQ" else "UN"


def _printable(value: object) -> bool:
    if not isinstance(value, bytes | memoryview) or len(value) > 10_000:
        return False
    text = bytes(value).rstrip(b" \0")
    return bool(text) and all(byte > 31 or byte in b"\t\r\n\x1b" for byte in text)


def _split_uids(value: bytes) -> list[str]:
    return [text.strip(" \0") for text in value.decode("latin-1").split("\\")]


def _replace_document(dataset: Dataset) -> None:
    element = dataset.get(ENCAPSULATED)
    if element is None:
        return
    element.value = dummy_document(text_of(dataset, 0x00420012).lower())
    length = dataset.get(0x00420015)
    if length is not None:
        length.value = len(element.value).to_bytes(4, "little")


# --- file meta information ----------------------------------------------------------------------------------------

IMPLEMENTATION = "2.25.293847561029384756102938475610293847"


def _fresh_meta(dataset: Dataset, transfer_syntax: str) -> Dataset:
    texts = {
        0x00020002: ("UI", text_of(dataset, SOP_CLASS)),
        0x00020003: ("UI", text_of(dataset, SOP_INSTANCE)),
        0x00020010: ("UI", transfer_syntax),
        0x00020012: ("UI", IMPLEMENTATION),
        0x00020013: ("SH", "MEDCLI"),
    }
    meta = Dataset({0x00020001: Element(0x00020001, "OB", b"\0\1")})
    for tag, (vr, text) in texts.items():
        if text:
            meta[tag] = Element(tag, vr, text.encode("ascii", "replace"))
    return meta


# --- pixel data, without decoding it ------------------------------------------------------------------------------


def _number(dataset: Dataset, tag: int, default: int) -> int:
    value = _raw(dataset, tag)
    if value is None or len(value) < 2:
        return default
    if dataset[tag].vr == "IS":
        text = bytes(value).decode("latin-1").strip(" \0")
        return int(text) if text.isdigit() else default
    return int.from_bytes(bytes(value[:2]), "little")


def _trim_pixels(dataset: Dataset, transfer_syntax: str, notes: list[str], *, keep_overlays: bool) -> None:
    """Cut what lies behind the last pixel of native pixel data, and clear overlays hidden in unused bits."""
    value = _raw(dataset, PIXEL_DATA)
    if value is None:
        return
    rows_, columns = _number(dataset, 0x00280010, 0), _number(dataset, 0x00280011, 0)
    samples, bits = _number(dataset, 0x00280002, 1), _number(dataset, 0x00280100, 16)
    pixels = rows_ * columns * samples * max(_number(dataset, 0x00280008, 1), 1)
    size = (pixels * bits + 7) // 8
    if text_of(dataset, 0x00280004) == "YBR_FULL_422":
        size = size * 2 // 3
    if 0 < size < len(value) - 1:
        dataset[PIXEL_DATA].value = bytes(value[:size]) + b"\0" * (size % 2)
        notes.append("bytes behind the last pixel were cut")
    if bits == 16 and not keep_overlays:
        _clear_overlay_bits(dataset, notes)


def _clear_overlay_bits(dataset: Dataset, notes: list[str]) -> None:
    places = [
        _number(dataset, 0x60000102 + (group << 16), 0)
        for group in range(0, 32, 2)
        if _number(dataset, 0x60000100 + (group << 16), 1) > 1 and 0x60003000 + (group << 16) not in dataset
    ]
    places = [place for place in places if _number(dataset, 0x00280101, 16) <= place < 16]
    if places:
        pixels = np.frombuffer(bytes(dataset[PIXEL_DATA].value), "<u2").copy()  # type: ignore[arg-type]
        pixels &= np.uint16(0xFFFF ^ sum(1 << place for place in set(places)))
        dataset[PIXEL_DATA].value = pixels.tobytes()
        notes.append("overlays in unused bits of the pixels were cleared")


# --- burned-in text -----------------------------------------------------------------------------------------------


def clean_pixels(file: File, log: Log) -> bool:
    """Blank burned-in text on every frame; gives whether there was a picture to search.

    Raises FormatError when the pixels cannot be decoded.
    """
    if PIXEL_DATA not in file.dataset:
        return False
    from medcli.deidentify import pixels  # decoders and detectors load only where they are asked for

    dataset = pydicom.dcmread(io.BytesIO(wire.write(file)), force=True)
    cleaned = pixels.clean(dataset)
    if cleaned is None:
        return True
    for tag, value in cleaned.dataset_changes.items():
        if value is None:
            file.dataset.pop(tag, None)
        else:
            file.dataset[tag] = Element(tag, dictionary_vr(tag), value)
    pixel_data = cleaned.pixel_data
    stored = Fragments(list(pixel_data)) if isinstance(pixel_data, list) else pixel_data
    file.dataset[PIXEL_DATA] = Element(PIXEL_DATA, cleaned.pixel_vr, stored)
    file.transfer_syntax = cleaned.transfer_syntax
    file.meta = _fresh_meta(file.dataset, file.transfer_syntax)
    log.done["blanked"].add(PIXEL_DATA)
    log.notes.append(f"{len(cleaned.boxes)} boxes with text were blanked")
    return True


# --- what says that it was de-identified --------------------------------------------------------------------------


def stamp(dataset: Dataset, options: frozenset[str], *, pixels_cleaned: bool, face: str | None) -> None:
    """Write what was done into the object (PS3.15 E.1.1 and E.3).

    Args:
        options: Those that were asked for; Clean Pixel Data and Clean Recognizable Visual Features are only
            claimed where the work was done.
        pixels_cleaned: Whether every frame was searched for burned-in text.
        face: NO or YES for Recognizable Visual Features; None: not looked at.
    """
    done = [name for name in OPTIONS if name in options]
    done = [
        name for name in done if (name != "pixels" or pixels_cleaned) and (name != "faces" or face == "NO")
    ]
    if "full-dates" in done and "modified-dates" in done:
        done.remove("full-dates")
    codes = [PROFILE_CODE, *(OPTIONS[name] for name in done)]
    dates = "MODIFIED" if "modified-dates" in done else "UNMODIFIED" if "full-dates" in done else "REMOVED"
    _set(dataset, 0x00120062, "CS", "YES")
    method = [f"medcli {medcli.__version__}", "PS3.15 2026d Basic Profile", *(f"{code}" for code, _ in codes)]
    _set(dataset, 0x00120063, "LO", "\\".join(method))
    dataset[0x00120064] = Element(0x00120064, "SQ", [_code(*code) for code in codes])
    _set(dataset, 0x00280303, "CS", dates)
    if pixels_cleaned:
        _set(dataset, 0x00280301, "CS", "NO")
    if face:
        _set(dataset, 0x00280302, "CS", face)


def _set(dataset: Dataset, tag: int, vr: str, text: str) -> None:
    dataset[tag] = Element(tag, vr, text.encode("ascii"))


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    for tag, vr, text in ((0x00080100, "SH", value), (0x00080102, "SH", "DCM"), (0x00080104, "LO", meaning)):
        _set(item, tag, vr, text)
    return item
