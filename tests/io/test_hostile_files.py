"""Damaged and hostile files: one sentence, no patient's data, no memory taken first."""

import gzip
import struct
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import planes, save, slice_dataset
from PIL import Image as Pillow
from pydicom.uid import RLELossless

from medcli.case import Source
from medcli.errors import FormatError
from medcli.io import limits
from medcli.io.dicom import files
from medcli.io.readers import read_image


def refused(path, match):
    with pytest.raises(FormatError, match=match) as caught:
        read_image(path)
    assert "secret" not in str(caught.value).lower()
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_such_file_and_empty_files(tmp_path):
    refused(tmp_path / "none.nii.gz", "there is no such file")
    for name, match in {
        "a.nii": "a NIfTI header was expected",
        "a.nii.gz": "a NIfTI header was expected",
        "a.png": "a picture .* was expected",
        "a.dcm": "a DICOM file was expected",
        "a.npy": "a NumPy array of numbers was expected",
        "a.npz": "an .npz of NumPy arrays was expected",
        "a.nrrd": "damaged or truncated",
        "a.unknown": "the content is none of them",
    }.items():
        (tmp_path / name).write_bytes(b"")
        refused(tmp_path / name, match)


def test_another_format_under_a_known_suffix(tmp_path):
    Pillow.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.nii.gz").write_bytes((tmp_path / "a.png").read_bytes())
    refused(tmp_path / "b.nii.gz", "a NIfTI file was expected by its name, its content looks like picture")
    (tmp_path / "c.dcm").write_text(
        "this is text, and a good deal longer than the DICOM mark would have it" * 5
    )
    refused(tmp_path / "c.dcm", "a DICOM file was expected, something else was found")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_truncated_nifti(tmp_path, name):
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).integers(0, 99, (9, 9, 9)).astype(np.int16), np.eye(4)),
        tmp_path / name,
    )
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
    refused(tmp_path / name, "1458 bytes of voxels were expected")


def test_damaged_gzip(tmp_path):
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).normal(size=(9, 9, 9)), np.eye(4)), tmp_path / "a.nii.gz"
    )
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    (tmp_path / "a.nii.gz").write_bytes(content)
    refused(tmp_path / "a.nii.gz", "damaged|bytes of voxels were expected")


def huge_nifti(dimensions, *, kind=16) -> bytes:
    header = nib.Nifti1Header()
    header["dim"][: len(dimensions) + 1] = [len(dimensions), *dimensions]
    header["datatype"], header["bitpix"], header["vox_offset"], header["magic"] = kind, 32, 352, b"n+1"
    return header.binaryblock + bytes(104)


def test_nifti_that_asks_for_too_much(tmp_path):
    (tmp_path / "a.nii").write_bytes(huge_nifti([32767, 32767, 32767]))
    refused(tmp_path / "a.nii", r"its header asks for 131060\.0 GiB \(32767 x")
    (tmp_path / "b.nii").write_bytes(huge_nifti([500, 500, 500]))
    refused(tmp_path / "b.nii", "500000000 bytes of voxels were expected, 100 were found")
    (tmp_path / "c.nii").write_bytes(huge_nifti([5, -3, 5]))
    refused(tmp_path / "c.nii", "a size of at least 1 was expected on every axis")
    (tmp_path / "d.nii").write_bytes(huge_nifti([2, 2, 2], kind=32))
    refused(tmp_path / "d.nii", "whole numbers or floats were expected as voxels, complex64 was found")


def test_gzip_bomb(tmp_path, monkeypatch):
    """33 kB that unpack to 32 MiB of zeros, as the header announces; the true threshold is 1 GiB."""
    monkeypatch.setattr(limits, "_SUSPICIOUS_BYTES", 2**20)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(huge_nifti([203, 203, 203]) + bytes(2**25)))
    refused(tmp_path / "a.nii.gz", "refused as a decompression bomb")


def test_an_empty_mask_packs_as_well_as_a_bomb_and_is_read(tmp_path):
    empty = nib.Nifti1Image(np.zeros((200, 200, 200), np.uint8), np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(empty))
    assert (tmp_path / "a.nii.gz").stat().st_size < 200**3 / 500
    assert not read_image(tmp_path / "a.nii.gz").array.any()


def test_deflated_dicom_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_DEFLATED_BYTES", 2**22)
    dataset = slice_dataset(planes(1)[0])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    path = save(dataset, tmp_path / "a.dcm")
    start = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    path.write_bytes(path.read_bytes()[:start] + zlib.compress(bytes(2**23), 9, -15))
    refused(path, "refused as a decompression bomb")


def test_dicom_that_asks_for_too_much(tmp_path):
    dataset = slice_dataset(np.zeros((16, 16), np.uint16))
    dataset.compress(RLELossless)
    dataset.Rows = dataset.Columns = 65535
    refused(save(dataset, tmp_path / "a.dcm"), "its header asks for 8.0 GiB")
    dataset.Rows = dataset.Columns = 20000
    refused(save(dataset, tmp_path / "b.dcm"), "cannot hold them")
    frames = slice_dataset(np.zeros((16, 16), np.uint16), NumberOfFrames=1000)
    refused(
        save(frames, tmp_path / "c.dcm"),
        "512000 bytes of pixel data were expected by the header, 512 were found",
    )
    refused(save(slice_dataset(planes(1)[0], Rows=0), tmp_path / "d.dcm"), "a size of at least 1")


def test_dicom_with_deep_sequences(tmp_path):
    path = save(slice_dataset(planes(1)[0]), tmp_path / "a.dcm")
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    sequence = struct.pack("<HH2sHL", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF)
    content = path.read_bytes()
    place = content.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    path.write_bytes(content[:place] + (sequence + item) * 3000 + content[place:])
    refused(path, "nested too deeply")


def test_dicom_element_that_claims_4_gib(tmp_path):
    path = save(slice_dataset(planes(1)[0]), tmp_path / "a.dcm")
    content = path.read_bytes()
    place = content.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    path.write_bytes(content[: place + 8] + struct.pack("<L", 0xFFFFFFF0) + b"abc")
    refused(path, "damaged or truncated|bytes of pixel data were expected")


def test_dicom_cut_anywhere_never_shows_a_traceback(tmp_path):
    content = save(slice_dataset(planes(1)[0]), tmp_path / "a.dcm").read_bytes()
    for length in range(0, len(content), 37):
        (tmp_path / "a.dcm").write_bytes(content[:length])
        refused(tmp_path / "a.dcm", ".")


def test_dicom_of_random_bytes_never_shows_a_traceback(tmp_path):
    content = save(slice_dataset(planes(1)[0]), tmp_path / "a.dcm").read_bytes()
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for place in random.integers(132, len(content), 12):
            damaged[place] = random.integers(256)
        (tmp_path / "a.dcm").write_bytes(damaged)
        try:
            read_image(tmp_path / "a.dcm")
        except FormatError as error:
            assert "secret" not in str(error).lower()


def test_png_bomb(tmp_path):
    """A header of 12000 x 12000 pixels: 144 million, where Pillow would only warn."""
    header = struct.pack(">IIBBBBB", 12000, 12000, 8, 0, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    refused(tmp_path / "a.png", "decompression bomb")


def test_truncated_picture(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a.png", "a.jpg", "a.tif"):
        Pillow.fromarray(array).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        refused(tmp_path / name, "damaged")


def test_numpy_files_with_code_or_false_sizes(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    refused(tmp_path / "a.npy", "holds Python objects")
    np.savez(tmp_path / "b.npz", images=np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"holds Python objects|not as long"):
        read_image(Source(tmp_path / "b.npz", "images[0]"))
    np.save(tmp_path / "c.npy", np.zeros((4, 4)))
    content = (tmp_path / "c.npy").read_bytes().replace(b"(4, 4), ", b"(99999, 99999), ")
    (tmp_path / "c.npy").write_bytes(content)
    refused(tmp_path / "c.npy", "asks for 74.5 GiB|damaged")


def test_header_that_points_to_another_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(24))
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = "
        "../secret.raw\n"
    )
    refused(tmp_path / "x/a.mhd", "points elsewhere, which is not followed")
    (tmp_path / "x/b.mhd").write_text(
        (tmp_path / "x/a.mhd").read_text().replace("../secret.raw", "LIST\n../secret.raw")
    )
    refused(tmp_path / "x/b.mhd", "points elsewhere")


def test_gzip_of_something_else(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"hello" * 500))
    refused(tmp_path / "a.nii.gz", "a NIfTI header was expected")
