"""The DICOM reader and writer: the same as pydicom on sound files, and nothing hidden or lost on damaged ones."""

import io
import mmap
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from medcli.deidentify import wire
from medcli.deidentify.wire import Dataset, Element, File, Fragments
from medcli.errors import FormatError

UNDEFINED = 0xFFFFFFFF
SECRET_NAME, SECRET_UID = b"ZELENKA^ANNA", b"1.2.826.0.1.999.777.55\0"
PREAMBLE = bytes(range(128))

# ---- files made by hand


def explicit(tag: int, vr: str, value: bytes = b"", *, length: int | None = None) -> bytes:
    """An element in explicit VR, with a wrong length if one is given."""
    length = len(value) if length is None else length
    if vr in {"OB", "OW", "SQ", "UN", "UT"}:
        return struct.pack("<HH2s2xL", tag >> 16, tag & 0xFFFF, vr.encode(), length) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length) + value


def implicit(tag: int, value: bytes = b"", *, length: int | None = None) -> bytes:
    """An element in implicit VR, an item or a delimiter."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(content: bytes = b"", *, length: int | None = None) -> bytes:
    return implicit(0xFFFEE000, content, length=length)


ITEM_END, SEQUENCE_END = implicit(0xFFFEE00D), implicit(0xFFFEE0DD)


def file_of(
    body: bytes, syntax: str | None = ExplicitVRLittleEndian, *, group_length: int | None = None
) -> bytes:
    meta = explicit(0x00020002, "UI", b"1.2.3\0")
    if syntax:
        meta += explicit(0x00020010, "UI", syntax.encode() + b"\0" * (len(syntax) % 2))
    stated = struct.pack("<L", len(meta) if group_length is None else group_length)
    return PREAMBLE + b"DICM" + explicit(0x00020000, "UL", stated) + meta + body


def shown(dataset: Dataset) -> dict[int, object]:
    """Elements as tag and value, items as dictionaries."""
    return {
        tag: [shown(each) for each in element.value]
        if isinstance(element.value, list)
        else bytes(element.value)
        for tag, element in dataset.items()
    }


STUDY, DATE, NAME, NUMBER, COMMENTS = 0x00081030, 0x00080020, 0x00100010, 0x00100020, 0x00104000
SEQUENCE, PRIVATE, ROWS, PIXELS = 0x00081110, 0x00191001, 0x00280010, 0x7FE00010
UID = 0x00081155
FIRST = explicit(DATE, "DA", b"20200101") + explicit(STUDY, "LO", b"CT HEAD ")
LAST = explicit(ROWS, "US", b"\x02\0") + explicit(PIXELS, "OW", b"abcd")
FIRST_SHOWN = {DATE: b"20200101", STUDY: b"CT HEAD "}
LAST_SHOWN = {ROWS: b"\x02\0", PIXELS: b"abcd"}
IMPLICIT_FIRST = implicit(DATE, b"20200101") + implicit(STUDY, b"CT HEAD ")
IMPLICIT_LAST = implicit(ROWS, b"\x02\0") + implicit(PIXELS, b"abcd")
NAMED = explicit(NAME, "PN", b"DOE^JANE")
NAMED_SHOWN = {NAME: b"DOE^JANE"}
IMPLICIT_NAMED = implicit(NAME, b"DOE^JANE")

# ---- against pydicom

FILES = Path(pydicom.__file__).parent / "data"
PACKAGED = sorted(
    path
    for folder in ("test_files", "charset_files")
    for path in (FILES / folder).rglob("*")
    if path.is_file() and wire.looks_like_dicom(path.read_bytes()[:256])
)
# what pydicom leaves inside opaque values, or takes for a value, and we do not; each has a test of its own
SEEN_BY_US_ALONE = {"priv_SQ.dcm", "GH179A.dcm", "GH626.dcm", "GH364.dcm"}
# pydicom raises inside of its nested UN sequences
NOT_READ_BY_PYDICOM = {"GH177_D_CLUNIE_CT1_IVRLE_BigEndian_undefined_length.dcm"}


def values_by_pydicom(data: bytes) -> dict[tuple[object, ...], object]:
    """All values by path as pydicom reads them: bytes as stored, or decoded where numbers are in big endian."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(data), force=True)
        return dict(_walk(dataset, ()))


def _walk(dataset, path):
    big = dataset.original_encoding == (False, False)
    for tag in sorted(dataset.keys()):
        if tag.element == 0 or tag == 0xFFFCFFFC:
            continue
        raw = dataset.get_item(tag).value
        if dataset[tag].VR == "SQ":
            yield (*path, int(tag)), len(dataset[tag].value)
            for number, each in enumerate(dataset[tag].value):
                yield from _walk(each, (*path, int(tag), number))
        elif isinstance(raw, bytes) and dataset[tag].VR == "OW" and big:
            kind = ">u4" if tag == PIXELS and dataset.get("BitsAllocated") == 32 else ">u2"
            yield (*path, int(tag)), np.frombuffer(raw, kind).astype(kind.replace(">", "<")).tobytes()
        elif isinstance(raw, bytes) and dataset[tag].VR in {"OB", "UN", "OW"}:
            yield (*path, int(tag)), raw + b"\0" * (len(raw) % 2)
        else:
            yield (*path, int(tag)), str(dataset[tag].value).rstrip("\0 ")


def assert_same_as_pydicom(data: bytes) -> None:
    assert values_by_pydicom(wire.write(wire.read(data))) == values_by_pydicom(data)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.name)
def test_what_pydicom_reads_is_read_and_written_the_same(path):
    if path.name in SEEN_BY_US_ALONE:
        assert wire.read(path.read_bytes()).dataset
    else:
        assert_same_as_pydicom(path.read_bytes())


def test_enough_files_are_compared():
    assert len(PACKAGED) > 165


def test_shared_files_are_read_and_written_the_same(shared_data):
    paths = sorted(path for path in (shared_data / "deid" / "dicom").rglob("*") if path.is_file())
    assert len(paths) == 80
    for path in paths:
        file = wire.read(path.read_bytes())
        assert wire.write(wire.read(wire.write(file))) == wire.write(file), path.name
        if path.name not in SEEN_BY_US_ALONE | NOT_READ_BY_PYDICOM:
            assert_same_as_pydicom(path.read_bytes())


def test_big_endian_pixels_are_the_same_pixels():
    for name in ("MR_small_bigendian.dcm", "rtdose_expb_1frame.dcm", "SC_rgb_small_odd_big_endian.dcm"):
        data = (FILES / "test_files" / name).read_bytes()
        file = wire.read(data)
        assert file.transfer_syntax == ExplicitVRBigEndian
        ours = pydicom.dcmread(io.BytesIO(wire.write(file)))
        assert file.transfer_syntax == ours.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        np.testing.assert_array_equal(ours.pixel_array, pydicom.dcmread(io.BytesIO(data)).pixel_array)


def test_a_wrongly_sized_element_hides_nothing(shared_data):
    folder = shared_data / "deid" / "dicom" / "fo-dicom"
    swallowed = wire.read((folder / "GH179A.dcm").read_bytes())
    assert bytes(swallowed.dataset[0x00280120].value) == b"\0\0"
    assert swallowed.dataset[0x00280120].vr == "SS"
    request = swallowed.dataset[0x00400275].value[0]
    assert len(request[0x00081110].value[0][UID].value) == 28
    nested = wire.read((folder / "GH626.dcm").read_bytes()).dataset[0x2005140F].value[0]
    assert [bytes(each[0x00189178].value) for each in nested[0x00189176].value] == [
        b"IEC_NORMAL",
        b"IEC_NORMAL",
        b"IEC_NORMAL",
    ]


def test_an_item_without_its_sequence_is_left_out_but_known(shared_data):
    file = wire.read((shared_data / "deid" / "dicom" / "fo-dicom" / "GH364.dcm").read_bytes())
    assert 0x00186012 in {element.tag for element in file.dropped}
    assert 0x00186012 not in file.dataset
    assert isinstance(file.dataset[PIXELS].value, Fragments)


def test_a_private_sequence_of_defined_length_in_implicit_vr_is_seen():
    dataset = wire.read((FILES / "test_files" / "priv_SQ.dcm").read_bytes()).dataset
    assert len(dataset[0x3F031001].value[0][0x00080090].value) == 16


# ---- the frame of a file


def test_preamble_and_meta_are_kept_and_the_group_length_is_fresh():
    file = wire.read(file_of(FIRST, group_length=999))
    assert file.preamble == PREAMBLE
    assert "the file meta information has a wrong group length" in file.notes
    written = wire.write(file)
    assert written[:132] == PREAMBLE + b"DICM"
    assert wire.read(written).notes == []
    length = struct.unpack_from("<L", written, 140)[0]
    assert written[144 + length :] == FIRST


@pytest.mark.parametrize(
    ("data", "syntax"),
    [
        (FIRST + LAST, ExplicitVRLittleEndian),
        (IMPLICIT_FIRST + IMPLICIT_LAST, ImplicitVRLittleEndian),
        (PREAMBLE + b"DICM" + FIRST + LAST, ExplicitVRLittleEndian),
        (PREAMBLE + b"DICM" + IMPLICIT_FIRST + IMPLICIT_LAST, ImplicitVRLittleEndian),
        (file_of(FIRST + LAST)[128:], ExplicitVRLittleEndian),
        (file_of(FIRST + LAST)[132:], ExplicitVRLittleEndian),
        (file_of(FIRST + LAST, None), ExplicitVRLittleEndian),
        (file_of(IMPLICIT_FIRST + IMPLICIT_LAST, None), ImplicitVRLittleEndian),
        (file_of(IMPLICIT_FIRST + IMPLICIT_LAST), ImplicitVRLittleEndian),
        (file_of(FIRST + LAST, ImplicitVRLittleEndian), ExplicitVRLittleEndian),
        (file_of(FIRST + LAST, ExplicitVRBigEndian), ExplicitVRLittleEndian),
        (file_of(FIRST + LAST, DeflatedExplicitVRLittleEndian), ExplicitVRLittleEndian),
    ],
)
def test_the_coding_is_that_of_the_data(data, syntax):
    file = wire.read(data)
    assert shown(file.dataset) == FIRST_SHOWN | LAST_SHOWN
    assert file.transfer_syntax == syntax
    again = wire.read(wire.write(file))
    assert (again.dataset, again.transfer_syntax, again.notes) == (file.dataset, syntax, [])


def test_big_endian_without_meta():
    body = struct.pack(
        ">HH2sH8sHH2sHHHH2sHH",
        8,
        0x20,
        b"DA",
        8,
        b"20200101",
        0x28,
        0x10,
        b"US",
        2,
        258,
        0x28,
        0x11,
        b"US",
        2,
        3,
    )
    file = wire.read(body)
    assert file.transfer_syntax == ExplicitVRBigEndian
    assert shown(file.dataset) == {DATE: b"20200101", ROWS: b"\x02\x01", 0x00280011: b"\x03\0"}


def test_compressed_pixels_in_implicit_vr_are_written_in_explicit_vr():
    pixels = implicit(PIXELS, item() + item(b"\xff\xd8\xff\xd9") + SEQUENCE_END, length=UNDEFINED)
    file = wire.read(file_of(IMPLICIT_FIRST + pixels, JPEGBaseline8Bit))
    assert file.transfer_syntax == JPEGBaseline8Bit
    written = pydicom.dcmread(io.BytesIO(wire.write(file)))
    assert written["PixelData"].VR == "OB"
    assert written.StudyDescription == "CT HEAD"
    with pytest.raises(FormatError, match="no transfer syntax says how"):
        wire.read(file_of(IMPLICIT_FIRST + pixels, None))


def test_deflated_data_are_inflated_and_deflated_again():
    stream = zlib.compressobj(wbits=-15)
    data = file_of(stream.compress(FIRST + LAST) + stream.flush(), DeflatedExplicitVRLittleEndian)
    file = wire.read(data)
    assert shown(file.dataset) == FIRST_SHOWN | LAST_SHOWN
    assert pydicom.dcmread(io.BytesIO(wire.write(file))).Rows == 2
    cut = wire.read(data[:-3])
    assert "the deflated data set is truncated" in cut.notes


def test_a_deflate_bomb_is_refused(monkeypatch):
    monkeypatch.setattr("medcli.deidentify.wire.syntax._FREE_SIZE", 2**20)
    bomb = zlib.compress(bytes(2**21))[2:-4]
    with pytest.raises(FormatError, match="inflates beyond all measure"):
        wire.read(file_of(bomb, DeflatedExplicitVRLittleEndian))


def test_group_2_in_the_data_set_is_dropped_but_named_and_kept_aside():
    file = wire.read(file_of(FIRST + explicit(0x00020016, "AE", b"SCANNER1") + LAST))
    assert shown(file.dataset) == FIRST_SHOWN | LAST_SHOWN
    assert "(0002,0016) is in the data set: dropped" in file.notes
    assert [bytes(element.value) for element in file.dropped] == [b"SCANNER1"]


@pytest.mark.parametrize(
    ("head", "is_dicom"),
    [
        (file_of(FIRST)[:256], True),
        (file_of(FIRST)[128:], True),
        (FIRST, True),
        (IMPLICIT_FIRST, True),
        (struct.pack(">HH2sH8s", 8, 0x20, b"DA", 8, b"20200101"), True),
        (b"", False),
        (b"\x89PNG\r\n\x1a\n" + bytes(248), False),
        (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(240), False),
        (b"II*\0\x08\0\0\0" + bytes(248), False),
        (struct.pack("<L", 348) + bytes(252), False),
        (bytes(256), False),
        (b"patient,age,name\n" * 16, False),
        (b'{"PatientName": "x"}' * 12, False),
        (b"PK\x03\x04" + bytes(252), False),
    ],
)
def test_dicom_is_told_from_the_first_bytes(head, is_dicom):
    assert wire.looks_like_dicom(head) is is_dicom


# ---- repairs, each with what must be visible afterwards

PRIVATE_ITEM_SHOWN = {PRIVATE: [NAMED_SHOWN]}
REPAIRS = {
    "private UN of undefined length holds implicit items": (
        explicit(PRIVATE, "UN", item(IMPLICIT_NAMED) + SEQUENCE_END, length=UNDEFINED),
        PRIVATE_ITEM_SHOWN,
        "(0019,1001) was written as UN but is a sequence",
    ),
    "private UN of undefined length holds explicit items": (
        explicit(PRIVATE, "UN", item(NAMED + ITEM_END, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED),
        PRIVATE_ITEM_SHOWN,
        "(0019,1001) was written as UN but is a sequence",
    ),
    "private UN of defined length": (
        explicit(PRIVATE, "UN", item(IMPLICIT_NAMED)),
        PRIVATE_ITEM_SHOWN,
        "(0019,1001) was written as UN but is a sequence",
    ),
    "private OB": (
        explicit(PRIVATE, "OB", item(NAMED)),
        PRIVATE_ITEM_SHOWN,
        "(0019,1001) was written as OB but is a sequence",
    ),
    "a UN inside a UN": (
        explicit(PRIVATE, "UN", item(implicit(PRIVATE, item(IMPLICIT_NAMED)))),
        {PRIVATE: [{PRIVATE: [NAMED_SHOWN]}]},
        "(0019,1001) was written as UN but is a sequence",
    ),
    "a standard sequence as UN": (
        explicit(0x00102202, "UN", item(NAMED)),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,2202) was written as UN but is a sequence",
    ),
    "a standard sequence without an item": (
        explicit(0x00102202, "SQ", NAMED),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,2202) has elements without an item: put into one",
    ),
    "an item that is shorter than it says": (
        explicit(0x00102202, "SQ", item(NAMED, length=80) + item(NAMED)),
        {0x00102202: [NAMED_SHOWN, NAMED_SHOWN]},
        "(0010,2202) has an item of wrong length",
    ),
    "a sequence that is longer than it says": (
        explicit(0x00102202, "SQ", item(NAMED) + item(NAMED), length=24),
        {0x00102202: [NAMED_SHOWN, NAMED_SHOWN]},
        "(0010,2202) goes on after its length: all items kept",
    ),
    "a sequence that ends before its length": (
        explicit(0x00102202, "SQ", item(NAMED), length=24 + 10),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,2202) ends before its length",
    ),
    "an item and a sequence that are longer than they say": (
        explicit(0x00102202, "SQ", item(NAMED, length=10), length=18),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,0010) ran past the end of its sequence, which was too short",
    ),
    "a sequence without delimiter": (
        explicit(0x00102202, "SQ", item(NAMED), length=UNDEFINED),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,2202) ends before its length or has no delimiter",
    ),
    "an item without delimiter": (
        explicit(0x00102202, "SQ", item(NAMED, length=UNDEFINED) + SEQUENCE_END, length=UNDEFINED),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,2202) has an item of wrong length or without delimiter",
    ),
    "a value that runs past its item": (
        explicit(0x00102202, "SQ", item(explicit(NAME, "PN", b"DOE^JANE", length=12))),
        {0x00102202: [NAMED_SHOWN]},
        "(0010,0010) ran past the end of its sequence: cut",
    ),
    "a value that swallows the next one in an item": (
        explicit(
            0x00102202,
            "SQ",
            item(explicit(NAME, "PN", b"DOE^JANE", length=40) + explicit(NUMBER, "LO", b"1234")),
        ),
        {0x00102202: [NAMED_SHOWN | {NUMBER: b"1234"}]},
        "(0010,0010) held the elements that follow it: cut",
    ),
    "a text that swallows exactly the next element": (
        explicit(NAME, "PN", b"DOE^JANE", length=8 + 12) + explicit(NUMBER, "LO", b"1234"),
        NAMED_SHOWN | {NUMBER: b"1234"},
        "(0010,0010) held the elements that follow it: cut",
    ),
    "a text whose length runs past the end of the file": (
        explicit(COMMENTS, "UT", b"note", length=10**6),
        {COMMENTS: b"note"},
        "(0010,4000) held the elements that follow it: cut",
    ),
    "a VR of blanks": (
        explicit(0x00180050, "  ", b"2.5 "),
        {0x00180050: b"2.5 "},
        "(0018,0050) has no valid VR or a wrong form of header",
    ),
    "an element in implicit VR among explicit ones": (
        implicit(0x00180050, b"2.5 "),
        {0x00180050: b"2.5 "},
        "(0018,0050) has no valid VR or a wrong form of header",
    ),
    "a long VR in the short form": (
        struct.pack("<HH2sH", 0x0019, 0x1002, b"OB", 4) + b"1234",
        {0x00191002: b"1234"},
        "(0019,1002) has no valid VR or a wrong form of header",
    ),
    "an odd length": (explicit(NAME, "PN", b"DOE"), {NAME: b"DOE"}, "values of odd length: padded"),
    "an odd length that leaves out the padding": (
        explicit(NAME, "PN", b"DOE ", length=3),
        {NAME: b"DOE"},
        "values of odd length: padded",
    ),
    "a delimiter outside of sequences": (
        NAMED + SEQUENCE_END,
        NAMED_SHOWN,
        "an item or delimiter outside of all sequences: dropped",
    ),
    "elements out of order": (
        explicit(NUMBER, "LO", b"1234") + NAMED,
        {NUMBER: b"1234"} | NAMED_SHOWN,
        "(0010,0010) is out of order",
    ),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_keeps_all_that_was_there(name):
    middle, expected, note = REPAIRS[name]
    file = wire.read(file_of(FIRST + middle + LAST))
    assert shown(file.dataset) == FIRST_SHOWN | expected | LAST_SHOWN
    assert any(each.startswith(note) for each in file.notes), file.notes
    again = wire.read(wire.write(file))
    assert again.notes == []
    assert set(again.dataset) == set(file.dataset)


def test_private_sequences_in_implicit_vr_are_seen_and_stay_sequences():
    for middle in (
        implicit(PRIVATE, item(IMPLICIT_NAMED)),
        implicit(PRIVATE, item(IMPLICIT_NAMED) + SEQUENCE_END, length=UNDEFINED),
        implicit(PRIVATE, item(NAMED)),
    ):
        file = wire.read(file_of(IMPLICIT_FIRST + middle + IMPLICIT_LAST, ImplicitVRLittleEndian))
        assert shown(file.dataset) == FIRST_SHOWN | PRIVATE_ITEM_SHOWN | LAST_SHOWN
        assert pydicom.dcmread(io.BytesIO(wire.write(file)))[PRIVATE].value[0].PatientName == "DOE^JANE"


def test_a_known_attribute_written_as_un_takes_the_vr_of_the_dictionary():
    dataset = wire.read(file_of(FIRST + explicit(NAME, "UN", b"DOE^JANE") + LAST)).dataset
    assert dataset[NAME] == Element(NAME, "PN", b"DOE^JANE")


def test_pixel_representation_decides_between_us_and_ss_where_no_vr_does():
    smallest = implicit(0x00280106, b"\xff\xff")
    for signed, vr in ((b"\0\0", "US"), (b"\1\0", "SS")):
        body = IMPLICIT_FIRST + implicit(0x00280103, signed) + smallest
        assert wire.read(file_of(body, ImplicitVRLittleEndian)).dataset[0x00280106].vr == vr


def test_of_two_elements_with_one_tag_the_last_is_kept_and_the_first_known():
    file = wire.read(file_of(FIRST + NAMED + explicit(NAME, "PN", b"ROE^JOHN") + LAST))
    assert bytes(file.dataset[NAME].value) == b"ROE^JOHN"
    assert [bytes(element.value) for element in file.dropped] == [b"DOE^JANE"]
    assert file.notes == ["(0010,0010) is there twice: the last is kept"]


@pytest.mark.parametrize(
    ("tail", "note"),
    [
        (bytes(500), "zero bytes after the end: dropped"),
        (b"\r\n", "bytes after the end that are no element: dropped"),
        (b"<html>not found</html>" * 9, "bytes after the end that are no element: dropped"),
        (explicit(0xFFFCFFFC, "OB", b"DOE^JANE" * 9), "padding after the end: dropped"),
    ],
)
def test_what_follows_the_end_is_dropped(tail, note):
    for file in (
        wire.read(file_of(FIRST + LAST + tail)),
        wire.read(
            file_of(IMPLICIT_FIRST + IMPLICIT_LAST + tail.replace(b"OB\0\0", b""), ImplicitVRLittleEndian)
        ),
    ):
        assert file.notes == [note]
        assert shown(file.dataset) == FIRST_SHOWN | LAST_SHOWN


def test_truncated_pixels_are_kept_but_what_hides_behind_them_is_not():
    pixels = explicit(PIXELS, "OW", b"abcdef", length=10**6)
    assert bytes(wire.read(file_of(FIRST + pixels)).dataset[PIXELS].value) == b"abcdef"
    padding = explicit(0xFFFCFFFC, "OB", b"DOE^JANE")
    with pytest.raises(FormatError, match="damaged"):
        wire.read(file_of(FIRST + pixels + padding))


def test_truncated_fragments_are_kept():
    pixels = explicit(PIXELS, "OB", item() + item(b"abcdef", length=1000), length=UNDEFINED)
    file = wire.read(file_of(FIRST + pixels, JPEGBaseline8Bit))
    assert file.dataset[PIXELS].value == Fragments([b"", b"abcdef"])
    assert "encapsulated pixel data are truncated: kept what is there" in file.notes
    assert wire.read(wire.write(file)).dataset == file.dataset


REFUSED = {
    "nothing": b"",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(1000),
    "a text": b"patient,age,name\nDOE^JANE,40,x\n" * 100,
    "a preamble and a text": PREAMBLE + b"DICM" + b"patient,age,name\n" * 20,
    "a value in the middle that is longer than it says": file_of(
        FIRST + explicit(NAME, "PN", b"DOE^JANE", length=4) + LAST
    ),
    "a standard sequence that is none": file_of(FIRST + explicit(0x00102202, "SQ", b"DOE^JANE") + LAST),
    "a standard sequence as UN that is none": file_of(FIRST + explicit(0x00102202, "UN", b"DOE^JANE") + LAST),
    "a text that holds items": file_of(FIRST + explicit(NAME, "PN", item(NAMED)) + LAST),
    "bytes that swallow elements": file_of(
        FIRST
        + explicit(PRIVATE, "OB", b"1234", length=4 + 26)
        + explicit(0x0020000D, "UI", SECRET_UID[:18])
        + LAST
    ),
    "an item tag that is damaged": file_of(
        FIRST + explicit(0x00102202, "SQ", implicit(0xFFFFE000, NAMED)) + LAST
    ),
    "fragments of wrong lengths": file_of(
        FIRST
        + explicit(PIXELS, "OB", item() + item(b"abcdefghijkl", length=4) + SEQUENCE_END, length=UNDEFINED),
        JPEGBaseline8Bit,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_repaired_for_sure_is_refused(name):
    with pytest.raises(FormatError) as caught:
        wire.read(REFUSED[name])
    assert "JANE" not in str(caught.value)


# ---- limits


def test_a_length_of_gigabytes_costs_nothing():
    for middle in (
        explicit(PIXELS, "OB", b"abcd", length=0xFFFFFFF0),
        explicit(0x00102202, "SQ", item(NAMED, length=0xFFFFFFF0), length=0xFFFFFFF0),
        explicit(0x00102202, "SQ", item(length=0xFFFFFFF0) * 50, length=0xFFFFFFF0),
    ):
        tracemalloc.start()
        wire.read(file_of(FIRST + middle))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000


def nested(depth: int) -> bytes:
    content = NAMED
    for _ in range(depth):
        content = explicit(SEQUENCE, "SQ", item(content))
    return content


def test_sequences_nest_a_hundred_deep_and_no_deeper():
    dataset = wire.read(file_of(FIRST + nested(100))).dataset
    for _ in range(100):
        dataset = dataset[SEQUENCE].value[0]
    assert shown(dataset) == NAMED_SHOWN
    for depth in (101, 3000):
        with pytest.raises(FormatError, match="nested"):
            wire.read(file_of(FIRST + nested(depth)))
    with pytest.raises(FormatError, match="nested"):
        wire.read(
            file_of(FIRST + (explicit(PRIVATE, "UN", length=UNDEFINED) + item(length=UNDEFINED)) * 5000)
        )


def test_large_values_are_views_of_the_file(tmp_path):
    data = file_of(FIRST + explicit(PIXELS, "OW", bytes(10_000)))
    value = wire.read(data).dataset[PIXELS].value
    assert isinstance(value, memoryview)
    assert value.obj is data
    path = tmp_path / "mapped.dcm"
    path.write_bytes(data)
    with open(path, "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        file = wire.read(mapped)
        assert bytes(file.dataset[STUDY].value) == b"CT HEAD "
        assert wire.write(file) == wire.write(wire.read(data))
        del file
    assert wire.read(memoryview(data)).dataset == wire.read(data).dataset


def test_no_value_is_ever_shown():
    file = wire.read(file_of(NAMED + explicit(SEQUENCE, "SQ", item(NAMED)) + NAMED))
    assert "JANE" not in f"{file!r}{file.dataset!r}{file.dataset[NAME]!r}{Fragments([b'JANE'])!r}{file.notes}"


# ---- writing


def test_the_writer_sorts_pads_and_leaves_out_group_lengths():
    dataset = Dataset()
    for tag, vr, value in [
        (NAME, "PN", b"DOE"),
        (0x00080000, "UL", b"\1\0\0\0"),
        (UID, "UI", b"1.2.3"),
        (PRIVATE, "OB", b"abc"),
        (COMMENTS, "LT", b"x" * 65536),
        (SEQUENCE, "SQ", [Dataset({NAME: Element(NAME, "PN", b"A")}), Dataset()]),
    ]:
        dataset[tag] = Element(tag, vr, value)
    written = wire.write(File(Dataset(), dataset, ExplicitVRLittleEndian))
    expected = (
        explicit(SEQUENCE, "SQ", item(explicit(NAME, "PN", b"A ")) + item())
        + explicit(UID, "UI", b"1.2.3\0")
        + explicit(NAME, "PN", b"DOE ")
        + explicit(COMMENTS, "UN", b"x" * 65536)
        + explicit(PRIVATE, "OB", b"abc\0")
    )
    assert written.endswith(expected)
    assert written[:132] == bytes(128) + b"DICM"
    assert pydicom.dcmread(io.BytesIO(written)).PatientName == "DOE"


def test_fragments_are_written_with_their_offset_table():
    dataset = Dataset({PIXELS: Element(PIXELS, "OB", Fragments([b"\0\0\0\0", b"abc", b"de"]))})
    written = wire.write(File(Dataset(), dataset, JPEGBaseline8Bit))
    expected = item(b"\0\0\0\0") + item(b"abc\0") + item(b"de") + SEQUENCE_END
    assert written.endswith(explicit(PIXELS, "OB", expected, length=UNDEFINED))


# ---- properties

TAGS = {
    0x00080005: "CS", 0x00080018: "UI", 0x00080020: "DA", 0x00080030: "TM", 0x00080050: "SH", 0x00081030: "LO",
    0x00100010: "PN", 0x00101010: "AS", 0x00104000: "LT", 0x00180050: "DS", 0x00189087: "FD", 0x00200013: "IS",
    0x00280009: "AT", 0x00280010: "US", 0x00281201: "OW", 0x00289001: "UL", 0x00420011: "OB", 0x00189219: "SS",
    0x00186020: "SL", 0x00189306: "FD", 0x00186030: "UN", 0x7FE00008: "OF", 0x0040A168: "SQ", 0x00081110: "SQ",
    0x00191001: "SQ", 0x00191002: "OB", 0x00191003: "LO", 0x00191004: "UN", 0x00191005: "US", 0x00081190: "UR",
}  # fmt: skip
NUMBERS = {"FD": 8, "AT": 4, "US": 2, "OW": 2, "UL": 4, "SS": 2, "SL": 4, "OF": 4}
TEXT = st.text("ABCdef^123= ", max_size=12).map(lambda text: text.strip().encode())


def values(vr: str, datasets):
    if vr == "SQ":
        return st.just([]) if datasets is None else st.lists(datasets, max_size=3)
    if vr in NUMBERS:
        return st.binary(max_size=2).map(lambda some: some.hex().encode().ljust(8, b"7") * 2)
    if vr in {"OB", "UN"}:
        return st.binary(max_size=20).filter(lambda some: some[:2] not in (b"\xfe\xff", b"\xff\xfe"))
    return TEXT


def dataset_of(datasets):
    elements = st.sampled_from(sorted(TAGS)).flatmap(
        lambda tag: st.builds(Element, st.just(tag), st.just(TAGS[tag]), values(TAGS[tag], datasets))
    )
    return st.lists(elements, max_size=8).map(
        lambda found: Dataset({each.tag: each for each in sorted(found, key=lambda each: each.tag)})
    )


DATASETS = st.recursive(dataset_of(None), dataset_of, max_leaves=12)


def even(dataset: Dataset) -> dict[int, object]:
    """Elements as shown, padded to an even length."""
    return {
        tag: [even(each) for each in element.value]
        if isinstance(element.value, list)
        else bytes(element.value) + wire.elements.VRS[element.vr].padding * (len(element.value) % 2)
        for tag, element in dataset.items()
    }


@settings(max_examples=120, deadline=None)
@given(
    DATASETS,
    st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]),
)
def test_what_is_written_is_read_again(dataset, syntax):
    dataset = (
        Dataset({DATE: Element(DATE, "DA", b"20200101"), STUDY: Element(STUDY, "LO", b"HEAD")}) | dataset
    )
    again = wire.read(wire.write(File(Dataset(), Dataset(dataset), str(syntax))))
    assert even(again.dataset) == dict(sorted(even(Dataset(dataset)).items()))
    assert again.transfer_syntax == syntax
    assert again.notes == []


def in_big_endian(dataset: Dataset) -> bytes:
    """An independent writer of Explicit VR Big Endian."""
    parts = []
    for tag, element in dataset.items():
        value = element.value
        if isinstance(value, list):
            contents = [in_big_endian(each) for each in value]
            value = b"".join(struct.pack(">HHL", 0xFFFE, 0xE000, len(each)) + each for each in contents)
        elif element.vr in NUMBERS:
            size = 2 if element.vr == "AT" else NUMBERS[element.vr]
            value = np.frombuffer(value, f"<u{size}").byteswap().tobytes()
        kind = ">HH2s2xL" if element.vr in {"OB", "OW", "OF", "SQ", "UN", "UR"} else ">HH2sH"
        parts.append(struct.pack(kind, tag >> 16, tag & 0xFFFF, element.vr.encode(), len(value)) + value)
    return b"".join(parts)


@settings(max_examples=60, deadline=None)
@given(DATASETS)
def test_big_endian_is_read_as_little_endian(dataset):
    dataset = Dataset({DATE: Element(DATE, "DA", b"20200101")} | dataset)
    file = wire.read(file_of(in_big_endian(dataset), ExplicitVRBigEndian))
    assert shown(file.dataset) == shown(dataset)
    assert shown(wire.read(wire.write(file)).dataset) == even(dataset)


# ---- damage


def planted(syntax: str) -> bytes:
    """A small file with a name and a UID in all kinds of places."""

    def elements(*found: tuple[int, str, object]) -> Dataset:
        return Dataset({tag: Element(tag, vr, value) for tag, vr, value in found})

    inner = elements((0x00080050, "SH", b"12345678"), (UID, "UI", SECRET_UID), (NAME, "PN", SECRET_NAME))
    dataset = elements(
        (DATE, "DA", b"20200101"),
        (0x00080090, "PN", SECRET_NAME),
        (STUDY, "LO", b"CT HEAD "),
        (SEQUENCE, "SQ", [inner, inner]),
        (NAME, "PN", SECRET_NAME),
        (COMMENTS, "LT", b"no comments "),
        (0x00190010, "LO", b"ACME 1.1"),
        (PRIVATE, "SQ", [elements((0x00191002, "SQ", [inner]))]),
        (0x00191003, "OB", b"\1\2\3\4" * 5),
        (0x0020000D, "UI", SECRET_UID),
        (ROWS, "US", b"\2\0"),
        (0x00280011, "US", b"\2\0"),
        (0x00400275, "SQ", [inner]),
        (0x00400310, "ST", SECRET_NAME),
        (PIXELS, "OW", bytes(range(8))),
    )
    return wire.write(File(Dataset(), dataset, syntax))


def leaves(dataset: Dataset):
    for element in dataset.values():
        if isinstance(element.value, list):
            for each in element.value:
                yield from leaves(each)
        else:
            yield bytes(element.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_no_single_wrong_byte_hides_an_identifier_inside_another_value(syntax):
    sound = planted(syntax)
    outcomes = {True: 0, False: 0}
    for place in range(132, len(sound)):
        byte = sound[place]
        for wrong in {
            0,
            255,
            byte ^ 1,
            byte ^ 8,
            byte ^ 64,
            (byte + 10) % 256,
            (byte + 20) % 256,
            (byte - 8) % 256,
        }:
            damaged = bytearray(sound)
            damaged[place] = wrong
            try:
                file = wire.read(bytes(damaged))
            except FormatError:
                outcomes[False] += 1
                continue
            outcomes[True] += 1
            for value in leaves(file.dataset):
                assert SECRET_NAME[:8] not in value or len(value) <= len(SECRET_NAME) + 4, (place, wrong)
                assert SECRET_UID[:16] not in value or len(value) <= len(SECRET_UID) + 4, (place, wrong)
            wire.read(wire.write(file))
    assert outcomes[True] > 5 * outcomes[False] > 0


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtplan.dcm", "MR_small_bigendian.dcm", "JPEG-lossy.dcm"])
def test_a_truncated_file_is_read_or_refused(name):
    data = (FILES / "test_files" / name).read_bytes()[:4000]
    for length in range(0, len(data), 37):
        try:
            wire.write(wire.read(data[:length]))
        except FormatError:
            continue


@settings(max_examples=300, deadline=500)
@given(
    st.sampled_from(
        ["rtplan.dcm", "reportsi.dcm", "UN_sequence.dcm", "MR_small_implicit.dcm", "image_dfl.dcm"]
    ),
    st.lists(st.tuples(st.integers(132, 2500), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_random_damage_is_read_or_refused(name, faults):
    data = bytearray((FILES / "test_files" / name).read_bytes())
    for place, byte in faults:
        data[place % len(data)] = byte
    try:
        file = wire.read(bytes(data))
    except FormatError as refusal:
        assert str(refusal).isprintable()
    else:
        wire.read(wire.write(file))
