"""What says that an object was de-identified, and by what."""

import medcli
from medcli.deidentify.dicom.values import SOP_CLASS, SOP_INSTANCE, text_of
from medcli.deidentify.tables import OPTIONS, PROFILE_CODE
from medcli.deidentify.wire import Dataset, Element

IMPLEMENTATION = "2.25.293847561029384756102938475610293847"


def fresh_meta(dataset: Dataset, transfer_syntax: str) -> Dataset:
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
