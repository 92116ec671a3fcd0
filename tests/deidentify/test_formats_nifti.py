"""NIfTI: the numbers of the geometry and the voxels stay bit for bit, all else is new."""

import gzip
import io
import struct

import nibabel
import numpy as np
import pytest
from deidentify.format_files import FAMILY, TEXT, cleaned, left, nifti, packed, samples

from medcli.deidentify.formats.nifti import unpack
from medcli.errors import FormatError

KINDS = {"one": nibabel.Nifti1Image, "two": nibabel.Nifti2Image}
GEOMETRY = (
    "dim", "datatype", "bitpix", "pixdim", "scl_slope", "scl_inter", "qform_code", "sform_code", "quatern_b",
    "quatern_c",
    "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "intent_code", "intent_p1",
    "cal_max",
    "xyzt_units", "toffset", "slice_code", "dim_info",
)  # fmt: skip


def load(content: bytes, kind: type = nibabel.Nifti1Image):
    return kind.from_bytes(unpack(content)[0])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.complex64])
def test_voxels_and_geometry_stay(name, dtype):
    content = nifti(KINDS[name], dtype)
    old, new = load(content, KINDS[name]), load(cleaned(content, "a.nii").content, KINDS[name])
    assert new.dataobj.get_unscaled().tobytes() == old.dataobj.get_unscaled().tobytes()
    assert new.affine.tobytes() == old.affine.tobytes()
    for field in GEOMETRY:
        assert new.header[field].tobytes() == old.header[field].tobytes(), field


@pytest.mark.parametrize("name", KINDS)
def test_texts_and_extensions_are_gone(name):
    header = load(cleaned(nifti(KINDS[name]), "a.nii").content, KINDS[name]).header
    fields = ("descrip", "aux_file", "intent_name") + (("data_type", "db_name") if name == "one" else ())
    assert [bytes(header[field].item()) for field in fields] == [b""] * len(fields)
    assert len(header.extensions) == 0 and unpack(nifti(KINDS[name]))[0][:4] == header.binaryblock[:4]


def test_big_endian_stays_big_endian():
    made = nibabel.Nifti1Image(samples(4, 5, 6, dtype=np.int16), np.diag([2.0, 3.0, 4.0, 1.0]))
    header = made.header.as_byteswapped(">")
    header["descrip"] = TEXT.encode()[:79]
    content = nibabel.Nifti1Image(np.asarray(made.dataobj), made.affine, header).to_bytes()
    new = cleaned(content, "a.nii").content
    assert load(new).header.endianness == ">"
    assert np.array_equal(load(new).dataobj, made.dataobj)


def test_descriptors_keep_the_description_and_comments_masked():
    header = load(cleaned(nifti(), "a.nii", ["descriptors"]).content).header
    assert bytes(header["descrip"].item()).startswith(b"XXX")
    assert bytes(header["intent_name"].item()) == b""
    assert [extension.get_code() for extension in header.extensions] == [6]
    assert b"Patient Name" in header.extensions[0].get_content()
    assert left(cleaned(nifti(), "a.nii", ["descriptors"]).content, "a.nii", (FAMILY,)) == []


def test_gzip_has_no_name_and_no_time_and_is_read_by_all():
    content = cleaned(packed(nifti()), "a.nii.gz").content
    assert content[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert gzip.decompress(content) == cleaned(nifti(), "a.nii").content


def test_gzip_in_several_members_is_joined():
    raw = nifti()
    content = gzip.compress(raw[:500]) + gzip.compress(raw[500:]) + b"\0\0\0"
    assert unpack(cleaned(content, "a.nii.gz").content)[0] == cleaned(raw, "a.nii").content


def test_bytes_around_the_voxels_are_dropped():
    made = nibabel.Nifti1Image(samples(2, 3, 4), np.eye(4)).to_bytes()
    content = bytearray(made[:352] + TEXT.encode().ljust(96) + made[352:] + TEXT.encode())
    struct.pack_into("<f", content, 108, 352 + 96)
    result = cleaned(bytes(content), "a.nii")
    assert result.content == made
    assert result.actions == {"bytes before the voxels": "removed", "bytes after the voxels": "removed"}


def test_codes_of_extensions_are_only_told_where_they_are_registered():
    actions = cleaned(nifti(), "a.nii").actions
    assert actions["extension 4 (AFNI)"] == actions["extension of unknown code"] == "removed"
    assert not any("99998" in place for place in actions)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [(108, struct.pack("<f", 1e9), "voxels"), (108, struct.pack("<f", float("nan")), "voxels"),
     (40, struct.pack("<h", 9), "dimensions"), (42, struct.pack("<h", -5), "dimensions"),
     (42, struct.pack("<h", 9000), "fewer voxels"), (70, struct.pack("<h", 999), "data type"),
     (108, struct.pack("<f", 360), "inside of an extension"), (344, b"ni1\0", "pair")],
)  # fmt: skip
def test_headers_that_cannot_be_right_are_refused(place, value, said):
    content = bytearray(nifti())
    content[place : place + len(value)] = value
    with pytest.raises(FormatError, match=said):
        cleaned(bytes(content), "a.nii")


def test_damaged_compression_is_refused():
    content = bytearray(packed(nifti()))
    for at, said in ((len(content) - 6, "damaged"), (len(content) // 2, "damaged|end early")):
        spoiled = bytearray(content)
        spoiled[at] ^= 0xFF
        with pytest.raises(FormatError, match=said):
            cleaned(bytes(spoiled), "a.nii.gz")
    with pytest.raises(FormatError, match="end early"):
        cleaned(bytes(content[:-9]), "a.nii.gz")


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr("medcli.deidentify.formats.nifti.MAX_BYTES", 10_000_000)
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as stream:
        stream.write(nifti() + bytes(30_000_000))
    with pytest.raises(FormatError, match="plausible"):
        cleaned(bomb.getvalue(), "a.nii.gz")
