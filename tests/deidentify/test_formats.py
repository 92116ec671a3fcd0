"""What every format promises: nothing of the patient is left, the same input gives the same output, damage is said."""

import random
import time

import numpy as np
import pytest
from deidentify.format_files import DOCTOR, FAMILY, FILES, GIVEN, PATIENT_ID, cleaned, known, left, policy

from medcli.deidentify import formats
from medcli.deidentify.formats import FORMATS
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.tables import OPTIONS
from medcli.errors import FormatError

TEXTS = ("sidecar.json", "participants.tsv")
BINARY = [name for name in FILES if name not in TEXTS]


@pytest.mark.parametrize("name", FILES)
def test_the_files_of_these_tests_hold_what_must_go(name):
    assert len(left(FILES[name], name)) > 3


@pytest.mark.parametrize("name", FILES)
def test_nothing_of_the_patient_is_left(name):
    assert left(cleaned(FILES[name], name).content, name) == []


@pytest.mark.parametrize("name", BINARY)
def test_texts_go_even_when_nothing_is_known_of_the_patient(name):
    form = formats.format_of(FILES[name][:512], name)
    content = formats.clean(form, FILES[name], policy(Identifiers(), patient=None)).content
    assert left(content, name) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in ("institution", "device")])
def test_no_option_keeps_names_or_ids(name, option):
    content = cleaned(FILES[name], name, [option]).content
    assert left(content, name, (FAMILY, GIVEN, DOCTOR, PATIENT_ID, "1951-03-04")) == []


@pytest.mark.parametrize("name", FILES)
def test_the_same_input_gives_the_same_output(name):
    first, second = cleaned(FILES[name], name), cleaned(FILES[name], name)
    assert (first.content, first.actions, first.notes) == (second.content, second.actions, second.notes)


@pytest.mark.parametrize("name", BINARY)
def test_a_clean_file_stays_as_it_is(name):
    once = cleaned(FILES[name], name).content
    assert cleaned(once, name).content == once


@pytest.mark.parametrize("name", FILES)
def test_what_was_done_is_said_without_values(name):
    result = cleaned(FILES[name], name)
    assert result.actions
    said = " ".join([*result.actions, *result.actions.values(), *result.notes]).lower()
    assert not [
        needle
        for needle in ("quint", "annelore", "teshi", "1234567", "1951", "2019", "qzv")
        if needle in said
    ]


@pytest.mark.parametrize("name", BINARY)
def test_the_content_chooses_the_format_not_the_name(name):
    form = formats.format_of(FILES[name][:512], "nothing.dcm")
    assert form is formats.format_of(FILES[name][:512], name) is not None


@pytest.mark.parametrize(
    "head",
    [
        b"GIF89a" + bytes(506),
        b"BM" + bytes(510),
        b"RIFF\0\0\0\0WEBP" + bytes(500),
        b"%PDF-1.7",
        b"",
        bytes(512),
    ],
)
def test_other_formats_are_not_claimed(head):
    assert formats.format_of(head, "file.gif") is None


def test_a_name_alone_does_not_make_a_format():
    assert formats.format_of(b"not json", "x.json") is None
    assert formats.format_of(bytes(512), "x.tsv") is None


@pytest.mark.parametrize("name", FILES)
def test_the_patient_is_collected(name):
    found = Identifiers()
    form = formats.format_of(FILES[name][:512], name)
    patient = formats.collect(form, FILES[name], found)
    if name.startswith(("volume", "sidecar")):
        assert patient == PATIENT_ID
    names = " ".join(found.patient_names | found.names)
    assert DOCTOR in names


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut short, with other bytes (mostly near the start, where headers are), or with a part put in twice."""
    spoiled = bytearray(content)
    place = chance.randrange(chance.choice((64, 400, len(content))) % len(content) + 1)
    match chance.randrange(4):
        case 0:
            return bytes(spoiled[: chance.randrange(len(spoiled))])
        case 1:
            spoiled[place % len(spoiled)] ^= 1 << chance.randrange(8)
        case 2:
            spoiled[place : place + 4] = chance.choice(
                (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0")
            )
        case 3:
            spoiled[place:place] = spoiled[: chance.randrange(200)]
    return bytes(spoiled)


def _is_found(form, content: bytes) -> bool:
    """Whether verification sees it: a damaged header may call a part of the texts voxels."""
    finder = policy(known()).finder
    return any(finder.in_bytes(part) for part in (content, *formats.opaque_parts(form, content)))


@pytest.mark.parametrize("name", FILES)
def test_damage_ends_in_a_format_error_or_a_clean_file_and_soon(name):
    chance, outcomes = random.Random(3), set()
    for _ in range(120):
        content = _damaged(FILES[name], chance)
        form = formats.format_of(content[:512], name)
        if form is None:
            continue
        start = time.process_time()
        try:
            formats.collect(form, content, Identifiers())
            result = formats.clean(form, content, policy(known()))
            outcomes.add("cleaned")
            assert not left(result.content, name, (FAMILY, DOCTOR)) or _is_found(form, result.content)
        except FormatError as error:
            outcomes.add("refused")
            assert not any(needle in str(error) for needle in (FAMILY, GIVEN, DOCTOR, PATIENT_ID))
        assert time.process_time() - start < 2
    assert "refused" in outcomes


@pytest.mark.parametrize("name", BINARY)
def test_half_a_file_is_refused(name):
    content = FILES[name][: len(FILES[name]) // 3]
    form = formats.format_of(content[:512], name)
    with pytest.raises(FormatError):
        formats.clean(form, content, policy(known()))


def test_every_format_has_its_functions_and_a_suffix():
    assert len({form.name for form in FORMATS}) == len(FORMATS)
    assert all(form.suffixes and all(suffix.startswith(".") for suffix in form.suffixes) for form in FORMATS)


@pytest.mark.parametrize("name", ["b.bval", "b.bvec"])
def test_gradients_stay_if_they_are_numbers(name):
    content = b"0 1000 1000\n-0.5 1e-3 NaN\n"
    assert cleaned(content, name).content == content
    with pytest.raises(FormatError, match="numbers"):
        cleaned(b"0 1000 Doe", name)
    with pytest.raises(FormatError, match="identifier"):
        cleaned(b"0 7712345678", name, identifiers=Identifiers(ids={"7712345678"}))


# --- public data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "dsb2018_nuclei/**/*.png",
        "chase_db1/**/*.png",
        "nih_cxr64/**/*.png",
        "isic_uda1/**/*.jp*g",
        "bccd/**/*.jpg",
    ],
)
def test_pixels_of_public_pictures_stay(shared_data, pattern):
    from PIL import Image

    paths = sorted(shared_data.glob(pattern))[:4]
    assert paths
    for path in paths:
        result = cleaned(path.read_bytes(), path.name, identifiers=Identifiers(), patient=None)
        with Image.open(path) as old, Image.open(_stream(result.content)) as new:
            assert new.mode == old.mode and new.info.get("dpi") == old.info.get("dpi")
            assert np.array_equal(np.asarray(new), np.asarray(old))


@pytest.mark.parametrize(
    "pattern", ["dicom_qa/**/*.nii*", "sts_pet_mr/**/*.nii.gz", "msd_hippocampus/**/*.nii.gz"]
)
def test_voxels_of_public_volumes_stay(shared_data, pattern):
    import nibabel

    paths = sorted(shared_data.glob(pattern))[:6]
    assert paths
    for path in paths:
        result = cleaned(path.read_bytes(), path.name, identifiers=Identifiers(), patient=None)
        raw = formats.nifti.unpack(result.content)[0]
        old, new = nibabel.load(path), nibabel.Nifti1Image.from_bytes(raw)
        assert np.array_equal(np.asarray(new.dataobj.get_unscaled()), np.asarray(old.dataobj.get_unscaled()))
        assert np.array_equal(new.affine, old.affine)
        for field in (
            "pixdim",
            "scl_slope",
            "scl_inter",
            "qform_code",
            "sform_code",
            "intent_code",
            "dim",
            "datatype",
        ):
            assert np.array_equal(new.header[field], old.header[field], equal_nan=True), field
        assert not bytes(new.header["descrip"].item()) and not new.header.extensions


def test_sidecars_of_public_data_keep_their_science(shared_data):
    import json

    paths = sorted(shared_data.glob("dicom_qa/**/*.json"))
    assert len(paths) > 10
    for path in paths:
        result = cleaned(path.read_bytes(), path.name, identifiers=Identifiers(), patient=None)
        old, new = json.loads(path.read_bytes()), json.loads(result.content)
        gone = {
            "InstitutionName",
            "InstitutionAddress",
            "DeviceSerialNumber",
            "StationName",
            "AcquisitionTime",
        }
        assert not gone & new.keys()
        numbers = {key for key, value in old.items() if isinstance(value, int | float) and key not in gone}
        assert {key: new.get(key) for key in numbers} == {key: old[key] for key in numbers}
        assert new["ConversionSoftwareVersion"] == old["ConversionSoftwareVersion"]
        assert new["ImageType"] == old["ImageType"]


def _stream(content: bytes):
    import io

    return io.BytesIO(content)
