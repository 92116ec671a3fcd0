"""Faces in head volumes: taken with the brain kept, or left with a reason."""

import nibabel
import numpy as np
import pydicom
import pytest
from deidentify.made_up_head import HIGHEST, LOWEST, Head, make_head
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from medcli.deidentify import defacing
from medcli.deidentify.faces import Face, find_face, remove_face
from medcli.deidentify.pixels import decoding
from medcli.errors import FormatError
from medcli.io.readers import read_image
from tests import unruly
from tests.dicom_files import save, slice_dataset


@pytest.fixture(scope="module")
def t1() -> Head:
    return make_head("T1")


@pytest.fixture(scope="module")
def t1_face(t1) -> Face:
    return find_face(t1.volume, t1.affine)


@pytest.fixture(scope="module")
def ct() -> Head:
    """With a table."""
    return make_head("CT")


@pytest.fixture(scope="module")
def ct_face(ct) -> Face:
    return find_face(ct.volume, ct.affine)


def assert_face_gone_and_brain_kept(head: Head, face: Face, *, share: float = 0.93) -> None:
    assert face.verdict == "face", face.reason
    assert face.mask is not None and face.mask.dtype == bool and face.mask.shape == head.volume.shape
    assert face.mask[head.brain].mean() < 0.001
    assert face.mask[head.features].mean() > share


HEADS = {
    "T2": {"kind": "T2"},
    "thick axial slices": {"spacing": (1.2, 1.2, 5.0)},
    "chin up": {"pose": (20, 0, 0)},
    "chin down": {"pose": (-20, 0, 0)},
    "turned and leaning": {"pose": (5, 8, -15)},
    "oblique CT": {"kind": "CT", "oblique": (-15, 5, 10)},
    "a child": {"size": 0.85},
    "a large head": {"size": 1.1, "low": (-110, -130, -180), "high": (110, 156, 115)},
    "noise": {"noise": 0.1},
}


def test_a_face_in_mr(t1, t1_face):
    assert_face_gone_and_brain_kept(t1, t1_face)


def test_a_face_in_ct_told_or_guessed(ct, ct_face):
    assert_face_gone_and_brain_kept(ct, ct_face)
    assert np.array_equal(find_face(ct.volume, ct.affine, modality="CT").mask, ct_face.mask)


@pytest.mark.parametrize("name", HEADS)
def test_the_face_goes_and_the_brain_stays(name):
    head = make_head(**HEADS[name])
    assert_face_gone_and_brain_kept(head, find_face(head.volume, head.affine))


@pytest.mark.parametrize("codes", ["PIR", "SRA"])
def test_the_order_and_direction_of_axes_do_not_matter(t1, t1_face, codes):
    to_codes = ornt_transform(io_orientation(t1.affine), axcodes2ornt(codes))
    turned = nibabel.apply_orientation(t1.volume, to_codes)
    affine = t1.affine @ inv_ornt_aff(to_codes, t1.volume.shape)
    face = find_face(turned, affine, modality="MR")
    expected = nibabel.apply_orientation(t1_face.mask, to_codes)
    assert np.mean(face.mask != expected) < 1e-3


def test_the_new_front_is_smooth(t1, t1_face):
    """A cut of equal depth everywhere would keep the shape of the nose; what is left must be a plain sheet."""
    left = remove_face(t1.volume, t1_face) > 150
    front = left.shape[1] - left[:, ::-1].argmax(1)
    middle, tip = (
        round((0 - LOWEST[0]) / 2),
        round((-48 - LOWEST[2]) / 3),
    )  # of the nose; steps are 2, 2.5, 3 mm
    profile = front[middle - 15 : middle + 16, tip] * 2.5
    places = np.arange(31)
    assert np.abs(profile - np.polyval(np.polyfit(places, profile, 2), places)).max() < 5
    assert np.ptp(t1.volume[middle - 15 : middle + 16, :, tip].__gt__(150)[:, ::-1].argmax(1)) * 2.5 > 30


@pytest.fixture(scope="module")
def cubes() -> Head:
    return make_head("CT", spacing=(3, 3, 3))


WRONG_WAY = {
    "back to front": lambda v: v[:, ::-1],
    "upside down": lambda v: v[:, :, ::-1],
    "right is front": lambda v: v.swapaxes(0, 1),
    "front is top": lambda v: v.swapaxes(1, 2),
    "right is top": lambda v: v.swapaxes(0, 2),
}


@pytest.mark.parametrize("name", WRONG_WAY)
def test_a_wrong_orientation_is_uncertain(cubes, name):
    face = find_face(WRONG_WAY[name](cubes.volume), cubes.affine)
    assert (face.verdict, face.mask) == ("uncertain", None)


def cut(axis: int, low: float | None = None, high: float | None = None) -> dict:
    """A field of view that ends at these millimetres along an axis."""
    lowest, highest = list(LOWEST), list(HIGHEST)
    lowest[axis] = low if low is not None else lowest[axis]
    highest[axis] = high if high is not None else highest[axis]
    return {"low": lowest, "high": highest}


UNCLEAR = {
    "the top": (cut(2, high=65), "The top of the head, if it is one, is outside of the field of view."),
    "a side": (cut(0, low=-30), "A side of the head, if it is one, is outside of the field of view."),
    "the front": (
        cut(1, high=85),
        "There is no air in front of the head: the field of view ends within the face.",
    ),
    "a slab": (cut(2, low=-60, high=0), "It is a slab, too thin to tell whether it shows a face."),
    "no nose": ({"nose": False}, None),
    "the forehead alone": (cut(2, low=-25), None),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_what_is_cut_off_is_uncertain(name):
    changes, reason = UNCLEAR[name]
    head = make_head(**changes)
    face = find_face(head.volume, head.affine)
    assert (face.verdict, face.mask) == ("uncertain", None)
    assert reason in (None, face.reason)


def test_a_field_of_view_that_ends_within_the_nose_still_loses_eyes_and_nose():
    head = make_head("CT", **cut(2, low=-52))
    face = find_face(head.volume, head.affine)
    assert_face_gone_and_brain_kept(head, face)
    assert "root of a nose" in face.reason


def test_a_cut_tip_of_the_nose_is_removed_but_not_when_it_may_turn_up_at_the_back():
    head = make_head("T1", **cut(1, high=108))
    assert_face_gone_and_brain_kept(head, find_face(head.volume, head.affine))
    wrapped = head.volume.copy()
    wrapped[46:55, :4, 38:46] = 700  # behind the head, level with the nose
    face = find_face(wrapped, head.affine)
    assert face.reason == "The tip of the nose is cut off and may be wrapped around to the back."


def test_a_head_on_a_trunk_loses_its_face_alone():
    head = make_head("CT", spacing=(5, 5, 4), low=(-220, -150, -500), high=(220, 145, 110), trunk=True)
    face = find_face(head.volume, head.affine, modality="CT")
    assert_face_gone_and_brain_kept(head, face)
    lowest = np.nonzero(face.mask)[2].min() * 4 - 500
    assert lowest > -220


def test_a_skull_stripped_brain_is_uncertain(t1):
    stripped = np.where(t1.brain, t1.volume, 0)
    assert find_face(stripped, t1.affine).verdict == "uncertain"


def ball(shape, spacing, radii, value) -> tuple[np.ndarray, np.ndarray]:
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = (
        sum(((g - n / 2) * s / r) ** 2 for g, n, s, r in zip(grids, shape, spacing, radii, strict=True)) < 1
    )
    random = np.random.default_rng(0).normal(0, 5, shape)
    return (np.where(inside, value, 0) + np.abs(random)).astype(np.float32), np.diag([*spacing, 1.0])


def test_a_phantom_is_uncertain():
    assert find_face(*ball((70, 90, 80), (2.9, 2.4, 2.6), (75, 90, 80), 500)).verdict == "uncertain"


def test_a_knee_is_uncertain():
    volume, affine = ball((64, 60, 80), (2.5, 2.5, 2.5), (65, 70, 1e4), 500)
    assert find_face(volume, affine, modality="MR").verdict == "uncertain"


def test_a_trunk_is_no_head():
    volume, affine = ball((100, 70, 60), (4, 4, 5), (170, 110, 1e4), 1040)
    face = find_face(volume - 1000, affine, modality="CT")
    assert (face.verdict, face.reason) == ("no head", "Every level is as wide as a trunk.")


def test_a_crop_smaller_than_a_face_is_no_head():
    values = np.random.default_rng(0).normal(100, 20, (36, 50, 35)).astype(np.float32)
    assert find_face(values, np.eye(4)).verdict == "no head"


@pytest.mark.parametrize("values", [0.0, 7.0, np.nan])
def test_an_empty_volume_is_no_head(values):
    assert find_face(np.full((100, 100, 100), values, np.float32), np.eye(4)).verdict == "no head"


ODD = {
    "a picture": (np.ones((100, 100)), np.eye(4)),
    "a series of volumes": (np.ones((60, 60, 60, 4)), np.diag([3, 3, 3, 1])),
    "complex numbers": (np.ones((60, 60, 60), complex), np.diag([3, 3, 3, 1])),
    "no place in the world": (np.arange(60.0**3).reshape(60, 60, 60), np.zeros((4, 4))),
    "an affine of nan": (np.arange(60.0**3).reshape(60, 60, 60), np.full((4, 4), np.nan)),
    "gigantic voxels": (np.arange(60.0**3).reshape(60, 60, 60), np.diag([1e6, 1e6, 1e6, 1])),
    "noise": (np.random.default_rng(0).normal(0, 100, (60, 60, 60)), np.diag([3, 3, 3, 1])),
    "one bright voxel": (np.pad([[[1.0]]], 30), np.diag([3, 3, 3, 1])),
    "all one ramp": (np.arange(60.0**3).reshape(60, 60, 60), np.diag([3, 3, 3, 1])),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_odd_input_is_never_a_face_and_never_a_fault(name, modality):
    assert find_face(*ODD[name], modality=modality).mask is None


def test_only_mr_and_ct_are_looked_at(t1):
    assert find_face(t1.volume, t1.affine, modality="PT").reason == "It is neither MR nor CT."


def test_not_a_number_outside_of_the_head_does_no_harm(t1):
    volume = np.where(t1.volume < 30, np.nan, t1.volume)
    assert_face_gone_and_brain_kept(t1, find_face(volume, t1.affine))


def test_reasons_hold_no_numbers(t1):
    for volume in (t1.volume[:, :80], t1.volume[:, :, :80], t1.volume[:, :, :20]):
        assert not any(character.isdigit() for character in find_face(volume, t1.affine).reason)


def test_only_the_masked_voxels_change(ct, ct_face):
    before = ct.volume.copy()
    after = remove_face(ct.volume, ct_face)
    assert after.dtype == np.int16
    assert np.array_equal(ct.volume, before)
    assert np.array_equal(after[~ct_face.mask], before[~ct_face.mask])
    assert set(after[ct_face.mask]) == {-1000}


@pytest.mark.parametrize(
    ("values", "background"),
    [
        (np.array([24, 1000], np.uint16), 24),  # CT as stored, offset by 1024
        (np.array([-3024, 40], np.int16), -1000),  # CT with padding
        (np.array([-1000.5, 40], np.float32), -1000),
        (np.array([-3, 400], np.float32), 0),
        (np.array([0, 255], np.uint8), 0),
    ],
)
def test_the_background_is_air(values, background):
    removed = remove_face(values, Face(np.array([False, True]), "face", ""))
    assert removed.dtype == values.dtype
    assert removed.tolist() == [values[0], background]


def test_without_a_mask_nothing_changes(t1):
    assert np.array_equal(remove_face(t1.volume, Face(None, "uncertain", "")), t1.volume)


# --- Real volumes -------------------------------------------------------------------------------------------------


def test_a_real_head_loses_its_face(shared_data):
    folder = shared_data / "dicom_qa/enhanced_xa30/5_anat-T1w_acq-tfl"
    image = read_image(next(folder.glob("*.dcm")))
    face = find_face(image.array[..., 0], image.affine, modality="MR")
    assert face.verdict == "face"

    def masked(*millimetres: float) -> bool:
        return face.mask[tuple(np.rint(np.linalg.solve(image.affine, (*millimetres, 1))[:3]).astype(int))]

    # Read off by eye: tip of the nose, the eyes' fronts, lips, chin; then poles of the frontal and temporal lobes.
    gone = [(4, 128, -34), (-26, 96, -4), (32, 92, -4), (2, 108, -70), (2, 104, -100)]
    kept = [(2, 84, 12), (-26, 84, 16), (32, 80, 16), (-26, 38, -14), (2, 60, 4), (2, 94, 40)]
    assert [masked(*place) for place in gone] == [True] * 5
    assert [masked(*place) for place in kept] == [False] * 6


def test_no_crop_of_the_hippocampus_is_a_head(shared_data):
    for path in sorted((shared_data / "msd_hippocampus/imagesTr").glob("*.nii.gz"))[::10]:
        image = nibabel.load(path)
        assert find_face(np.asarray(image.dataobj), image.affine, modality="MR").verdict == "no head"


def test_no_tumour_of_a_limb_is_a_face(shared_data):
    for path in sorted((shared_data / "sts_pet_mr/nifti").glob("*/[CM]*_image.nii.gz"))[::2]:
        image = nibabel.load(path)
        modality = path.name[:2]
        assert find_face(np.asarray(image.dataobj), image.affine, modality=modality).mask is None


# --- compressed slices ----------------------------------------------------------------------------------------------


def head_slices(folder, syntax):
    """Four planes of a made-up volume, each with other values."""
    for number in range(4):
        values = np.random.default_rng(number).integers(-900, 900, (64, 72)).astype(np.int16)
        dataset = slice_dataset(values, (0.0, 0.0, 3.0 * number), InstanceNumber=number, RescaleSlope=2)
        dataset.SOPInstanceUID = generate_uid()
        if syntax is not None:
            dataset.compress(syntax, generate_instance_uid=False)
        save(dataset, folder / f"{number}.dcm")
    return [pydicom.dcmread(folder / f"{number}.dcm") for number in range(4)]


def volume_of(datasets):
    frames = [frame for index, dataset in enumerate(datasets) for frame in defacing._frames(index, dataset)]
    return defacing._volume(datasets, frames)


@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda syntax: syntax.name
)
def test_compressed_slices_make_the_same_volume(tmp_path, syntax):
    native = volume_of(head_slices(tmp_path / "native", None))
    compressed = volume_of(head_slices(tmp_path / "compressed", syntax))
    assert native is not None and compressed is not None
    for one, other in zip(native, compressed, strict=True):
        assert np.array_equal(one, other)


def test_a_series_on_which_the_decoder_crashes_is_left_as_uncertain(tmp_path, monkeypatch):
    head_slices(tmp_path, JPEG2000Lossless)
    monkeypatch.setattr(decoding, "_by_pydicom", unruly.crash)
    with pytest.raises(
        FormatError, match=r"Of its files the pixel data \(JPEG 2000 .*\): the library .* crashed"
    ):
        defacing.deface_series(tmp_path, [f"{number}.dcm" for number in range(4)], frozenset())
