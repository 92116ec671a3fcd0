"""Every attribute at every depth by its action."""

import re
import struct

from pydicom import datadict

from medcli.deidentify.charsets import ASCII, Charsets, charsets_of
from medcli.deidentify.dicom.marks import fresh_meta
from medcli.deidentify.dicom.pixel_data import trim_pixels
from medcli.deidentify.dicom.values import (
    ACCESSION,
    CHARSET,
    CONTENT,
    ENCAPSULATED,
    PATIENT_ID,
    PATIENT_NAME,
    PIXEL_DATA,
    SOP_CLASS,
    TEXT,
    Log,
    known_vr,
    raw,
    text_of,
)
from medcli.deidentify.dummies import WORD, dummy, dummy_content, dummy_document, dummy_items
from medcli.deidentify.overlays import clean_overlays
from medcli.deidentify.patterns import STANDARD_UID
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action
from medcli.deidentify.tables import safe_private
from medcli.deidentify.wire import Dataset, Element, File
from medcli.deidentify.wire.elements import VRS

_KIND_UIDS = frozenset({  # say what something is, not which one it is
    SOP_CLASS, 0x0008001A, 0x0008001B, 0x00080062, 0x0008010C, 0x0008010D, 0x00080117, 0x00081150, 0x0008115A,
    0x00041510, 0x00041512, 0x00083002, 0x04000010, 0x04000404, 0x00741042,
})  # fmt: skip
_BYTES = frozenset({"OB", "OW", "UN", "OF", "OD", "OL", "OV"})
_LIMITS = {"SH": 16, "CS": 16, "AE": 16, "LO": 64}


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
        trim_pixels(dataset, file.transfer_syntax, self._notes, keep_overlays="graphics" in self._options)
        self._dataset(dataset, self._policy.actions(sop_class), ASCII)
        self._patient(dataset)
        _replace_document(dataset)
        changed = clean_overlays(dataset) if "graphics" in self._options else []
        if changed:
            self._done["blanked"].update(changed)
        file.meta = fresh_meta(dataset, file.transfer_syntax)
        file.preamble = bytes(128)
        file.dropped = []

    def _patient(self, dataset: Dataset) -> None:
        """Patient's name and ID carry the pseudonym, whatever was there."""
        for tag in (PATIENT_ID, PATIENT_NAME):
            if tag in dataset:
                dataset[tag].value = self._policy.patient_id.encode("ascii")

    def _dataset(self, dataset: Dataset, actions: dict[int, Action], charsets: Charsets) -> None:
        charsets = charsets_of(raw(dataset, CHARSET), charsets)
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
        elif vr in TEXT:
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
