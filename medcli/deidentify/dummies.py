"""Values that stand where one must be: valid for their representation, and plainly artificial."""

import struct
from collections.abc import Callable

from medcli.deidentify.wire import Dataset, Element

WORD = "ANONYMIZED"
_TEXT = {
    "AE": WORD, "AS": "000Y", "CS": WORD, "DA": "19000101",
    "DS": "0", "DT": "19000101000000", "IS": "0", "LO": WORD, "LT": WORD,
    "PN": WORD, "SH": WORD, "ST": WORD, "TM": "000000", "UC": WORD, "UR": "https://anonymized.invalid/", "UT": WORD,
}  # fmt: skip
_NUMBERS = {
    "US": 2,
    "SS": 2,
    "AT": 4,
    "UL": 4,
    "SL": 4,
    "FL": 4,
    "FD": 8,
    "SV": 8,
    "UV": 8,
    "OF": 4,
    "OL": 4,
    "OD": 8,
    "OV": 8,
}
_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_CODE = {_CODE_VALUE: b"ANONYMIZED", _CODING_SCHEME: b"99MEDCLI", _CODE_MEANING: b"Anonymized"}


def dummy(vr: str) -> bytes:
    """The dummy of a representation; zeros for numbers and bytes. Not for UI and SQ."""
    if vr in _TEXT:
        return _TEXT[vr].encode("ascii")
    return bytes(_NUMBERS.get(vr, 2))


def dummy_items(items: list[Dataset], new_uid: Callable[[bytes], bytes]) -> list[Dataset]:
    """One item in the shape of the first: codes and texts are dummies, numbers zero, UIDs new; private ones go."""
    return [_dummy_item(item, new_uid) for item in items[:1]]


def _dummy_item(item: Dataset, new_uid: Callable[[bytes], bytes]) -> Dataset:
    result = Dataset()
    for tag, element in item.items():
        if tag & 0x00010000:
            continue
        if isinstance(element.value, list):
            result[tag] = Element(tag, "SQ", dummy_items(element.value, new_uid))
        elif isinstance(element.value, bytes | memoryview):
            value = (
                new_uid(bytes(element.value)) if element.vr == "UI" else _CODE.get(tag) or dummy(element.vr)
            )
            result[tag] = Element(tag, element.vr, value)
    return result


def dummy_content() -> list[Dataset]:
    """The content of a structured report that says only that it was removed (one TEXT item, PS3.3 C.17.3)."""
    concept = Dataset()
    for tag, vr, text in (
        (_CODE_VALUE, "SH", b"121106"),
        (_CODING_SCHEME, "SH", b"DCM"),
        (_CODE_MEANING, "LO", b"Comment"),
    ):
        concept[tag] = Element(tag, vr, text)
    item = Dataset()
    item[0x0040A010] = Element(0x0040A010, "CS", b"CONTAINS")
    item[0x0040A040] = Element(0x0040A040, "CS", b"TEXT")
    item[0x0040A043] = Element(0x0040A043, "SQ", [concept])
    item[0x0040A160] = Element(0x0040A160, "UT", WORD.encode("ascii"))
    return [item]


def dummy_document(mime_type: str) -> bytes:
    """A small valid document of this type that says that it was removed."""
    if mime_type == "application/pdf":
        return _pdf()
    if mime_type.endswith("xml"):
        start, end = b'<ClinicalDocument xmlns="urn:hl7-org:v3">', b"</ClinicalDocument>\n"
        return b'<?xml version="1.0" encoding="UTF-8"?>\n' + start + b"<title>ANONYMIZED</title>" + end
    if mime_type == "model/stl":
        return b"ANONYMIZED".ljust(80, b" ") + struct.pack("<I", 0)
    return b"# ANONYMIZED\n"


def _pdf() -> bytes:
    text = b"BT /F1 24 Tf 72 720 Td (Anonymized) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    result, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(result))
        result += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(result))
    return result + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer
