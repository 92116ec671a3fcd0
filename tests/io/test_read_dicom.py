"""DICOM files made in code: sorting, copies, gaps, tilt, depth, sign, colour, compression."""

import gzip

import numpy as np
import pydicom
import pytest
from dicom_files import planes, save, save_series, slice_dataset
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless, generate_uid

from medcli.case import Source
from medcli.errors import FormatError
from medcli.io.readers import read_image

# RAS affine of a series at LPS (10, 20, depth), rows of 0.5 mm, columns of 0.75 mm: x and y change sign.
AFFINE = np.array([[0, 0, -0.75, -10], [0, -0.5, 0, -20], [2.5, 0, 0, -3], [0, 0, 0, 1]])


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path):
    values = planes(3)
    save_series(tmp_path, values, [2.0, -3.0, -0.5], names=["a.dcm", "c.dcm", "b.dcm"])
    image = read_image(tmp_path)
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array[..., 0], values[[1, 2, 0]])
    np.testing.assert_allclose(image.affine, AFFINE)
    assert image.spacing == (2.5, 0.5, 0.75)
    assert (image.modality, image.notes, len(image.sources)) == ("CT", (), 3)


def test_slope_and_intercept_of_each_slice(tmp_path):
    values = planes(2)
    for index, (slope, intercept) in enumerate([(2.0, -1000.0), (0.5, 8.0)]):
        save(
            slice_dataset(values[index], (0, 0, index), RescaleSlope=slope, RescaleIntercept=intercept),
            tmp_path / f"{index}.dcm",
        )
    array = read_image(tmp_path).array[..., 0]
    np.testing.assert_array_equal(array[0], values[0] * 2.0 - 1000)
    np.testing.assert_array_equal(array[1], values[1] * 0.5 + 8)


def test_missing_slices_are_interpolated_and_counted(tmp_path):
    values = planes(6)
    kept = [0, 1, 4, 5]
    save_series(tmp_path, values[kept], [2.5 * index for index in kept])
    image = read_image(tmp_path)
    np.testing.assert_allclose(
        image.array[..., 0], values, atol=1e-3
    )  # values grow evenly from plane to plane
    assert image.notes == ("2 slices are missing and were interpolated between their neighbours",)


def test_uneven_steps_are_resampled_to_the_usual_one(tmp_path):
    depths = [0.0, 2.0, 4.0, 7.0, 9.0]
    values = np.stack([np.full((4, 6), 10 * depth, np.int16) for depth in depths])
    image = read_image(save_series(tmp_path, values, depths))
    assert image.spacing == (2.0, 0.5, 0.75)
    np.testing.assert_allclose(image.array[:, 0, 0, 0], [0, 20, 40, 60, 80], atol=1e-3)  # 10 times the depth
    assert "uneven steps between slices (2.00 to 3.00 mm) were resampled to 2.00 mm" in image.notes


def test_gantry_tilt_is_undone(tmp_path):
    """Slices 2 mm apart, each 1 mm (2 rows of 0.5 mm) further along y: atan(1 / 2) = 26.6 degrees."""
    values = np.zeros((3, 4, 6), np.int16)
    values[:, 1, 2] = 100
    image = read_image(save_series(tmp_path, values, [0.0, 2.0, 4.0], shear=0.5))
    assert image.shape == (3, 8, 6)  # 2 planes x 2 rows of shift are added
    for plane in range(3):
        assert np.argwhere(image.array[plane, ..., 0] == 100).tolist() == [[1 + 2 * plane, 2]]
        # the bright voxel lies where the slice's own header puts it: y = 20 + depth / 2 + row * 0.5, negated
        # in RAS
        place = image.affine @ [plane, 1 + 2 * plane, 2, 1]
        np.testing.assert_allclose(place[:3], [-(10 + 2 * 0.75), -(20 + plane + 0.5), 2 * plane])
    assert image.notes == ("a gantry tilt of 26.6 degrees was undone by shifting the slices",)


def test_copies_are_dropped_and_contradictions_refused(tmp_path):
    values = planes(3)
    dataset = slice_dataset(values[1], (10, 20, 2.5))
    save_series(tmp_path, values[[0, 2]], [0.0, 5.0])
    save(dataset, tmp_path / "x.dcm")
    save(dataset, tmp_path / "copy of x.dcm")
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.array[..., 0], values)
    assert image.notes == ("1 duplicate slices were left out",)

    save(slice_dataset(values[1] + 1, (10, 20, 2.5)), tmp_path / "other.dcm")
    with pytest.raises(FormatError, match="different ones were found at 1 of 3 places"):
        read_image(tmp_path)


def test_equal_slices_under_another_uid_are_copies_too(tmp_path):
    values = planes(3)
    save_series(tmp_path, values, [0.0, 2.5, 5.0])
    copy = slice_dataset(values[2], (10, 20, 5.0), InstanceNumber=9, ContentTime="101010")
    save(copy, tmp_path / "z.dcm")
    assert read_image(tmp_path).notes == ("1 duplicate slices were left out",)


def test_a_slice_far_away_is_refused(tmp_path):
    save_series(tmp_path, planes(4), [0.0, 1.0, 2.0, 900.0])
    with pytest.raises(
        FormatError, match=r"about 1\.00 mm apart were expected, a gap of 898\.00 mm was found"
    ):
        read_image(tmp_path)


def test_slices_beside_one_another_are_refused(tmp_path):
    for index, place in enumerate([(0, 0, 0), (0, 0, 1), (40, 0, 2), (0, 0, 3)]):
        save(slice_dataset(planes(1)[0], place), tmp_path / f"{index}.dcm")
    with pytest.raises(FormatError, match="stacked along one line were expected"):
        read_image(tmp_path)


def test_time_points_become_channels(tmp_path):
    values = planes(4).reshape(2, 2, 4, 6)
    for time in (1, 0):
        save_series(
            tmp_path,
            values[time],
            [0.0, 3.0],
            names=[f"{time}0.dcm", f"{time}1.dcm"],
            AcquisitionNumber=10 - time,
        )
    image = read_image(tmp_path)
    np.testing.assert_array_equal(image.array, np.moveaxis(values[::-1], 0, -1))
    assert image.notes == ("2 images at every place (time points or the like) were read as channels",)


def test_several_series_are_listed_unless_one_is_named(tmp_path):
    other = generate_uid()
    save_series(tmp_path, planes(2), [0.0, 1.0])
    save_series(
        tmp_path,
        planes(3) + 1,
        [0.0, 1.0, 2.0],
        names=["a", "b", "c"],
        SeriesInstanceUID=other,
        Modality="PT",
    )
    with pytest.raises(FormatError, match="one DICOM series was expected, 2 were found") as caught:
        read_image(tmp_path)
    assert f"{other} (PT, 3 files)" in str(caught.value)
    image = read_image(Source(tmp_path, other))
    assert (image.shape, image.modality) == ((3, 4, 6), "PT")


def test_stacks_of_other_orientation_are_listed_unless_one_is_named(tmp_path):
    save_series(tmp_path, planes(3), [0.0, 1.0, 2.0])
    save(
        slice_dataset(planes(1)[0], (0, 0, 0), ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        tmp_path / "scout.dcm",
    )
    with pytest.raises(FormatError, match=r"2 were found \(1: 3 frames of 4 x 6; 2: 1 frames"):
        read_image(tmp_path)
    assert read_image(Source(tmp_path, "1")).shape == (3, 4, 6)


def test_other_objects_in_the_folder_are_ignored(tmp_path):
    save_series(tmp_path, planes(2), [0.0, 1.0])
    report = slice_dataset(planes(1)[0], Modality="SR")
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "report.dcm")
    (tmp_path / "notes.txt").write_text("hello")
    assert read_image(tmp_path).shape == (2, 4, 6)


def test_slices_without_position_are_refused_as_a_volume(tmp_path):
    save_series(tmp_path, planes(2), [0.0, 1.0], Modality="OT")
    save(
        slice_dataset(planes(1)[0], ImagePositionPatient=None, ImageOrientationPatient=None),
        tmp_path / "z.dcm",
    )
    with pytest.raises(FormatError, match="1 of 3 images have none; read the files one by one"):
        read_image(tmp_path)


def test_a_single_file_is_a_picture_with_the_integers_stored(tmp_path):
    values = np.array([[0, 4095, 7], [1, 2, 3]], np.uint16)
    image = read_image(save(slice_dataset(values, BitsStored=12, HighBit=11), tmp_path / "a.dcm"))
    assert (image.array.dtype, image.shape, image.affine, image.spacing) == (
        np.uint16,
        (2, 3),
        None,
        (0.5, 0.75),
    )
    np.testing.assert_array_equal(image.array[..., 0], values)


def test_a_folder_with_one_ct_slice_is_a_volume_and_with_a_radiograph_a_picture(tmp_path):
    save(slice_dataset(planes(1)[0]), tmp_path / "ct/a.dcm")
    assert read_image(tmp_path / "ct").shape == (1, 4, 6)
    radiograph = slice_dataset(planes(1)[0], Modality="DX", ImagePositionPatient=None)
    save(radiograph, tmp_path / "dx/a.dcm")
    assert read_image(tmp_path / "dx").shape == (4, 6)


@pytest.mark.parametrize(
    ("stored", "signed", "expected"),
    [(0x0FFF, 0, 4095), (0xF001, 0, 1), (0x0FFF, 1, -1), (0x0800, 1, -2048), (0x07FF, 1, 2047)],
)
def test_12_bit_values_with_sign_and_dirty_high_bits(tmp_path, stored, signed, expected):
    values = np.full((2, 2), stored, np.uint16)
    dataset = slice_dataset(values, BitsStored=12, HighBit=11, PixelRepresentation=signed)
    assert read_image(save(dataset, tmp_path / "a.dcm")).array[0, 0, 0] == expected


@pytest.mark.parametrize(
    ("bits", "signed", "stored", "expected"), [(12, 0, 95, 4000), (8, 0, 5, 250), (16, 1, -5, 4)]
)
def test_monochrome1_is_inverted(tmp_path, bits, signed, stored, expected):
    """Within the stored bits: 4095 - 95, 255 - 5, and -1 - (-5) for signed values."""
    kind = np.uint8 if bits == 8 else (np.int16 if signed else np.uint16)
    dataset = slice_dataset(
        np.full((2, 2), stored, kind), Modality="DX", PhotometricInterpretation="MONOCHROME1"
    )
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    image = read_image(save(dataset, tmp_path / "a.dcm"))
    assert image.array[0, 0, 0] == expected
    assert image.notes == ("MONOCHROME1 was inverted: larger is brighter",)


def test_palette_becomes_rgb(tmp_path):
    dataset = slice_dataset(np.array([[0, 1], [2, 1]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, entries in {
        "Red": [1, 2, 3, 0],
        "Green": [10, 20, 30, 0],
        "Blue": [100, 110, 120, 0],
    }.items():
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", bytes(entries))
    array = read_image(save(dataset, tmp_path / "a.dcm")).array
    assert array[0].tolist() == [[1, 10, 100], [2, 20, 110]]
    assert array[1].tolist() == [[3, 30, 120], [2, 20, 110]]


def test_rgb_by_plane_and_by_pixel(tmp_path):
    values = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    by_pixel = read_image(save(slice_dataset(values), tmp_path / "a.dcm")).array
    planar = slice_dataset(values, PlanarConfiguration=1, PixelData=np.moveaxis(values, -1, 0).tobytes())
    by_plane = read_image(save(planar, tmp_path / "b.dcm")).array
    np.testing.assert_array_equal(by_pixel, values)
    np.testing.assert_array_equal(by_plane, values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_lossless_compression_changes_nothing(tmp_path, syntax, kind):
    values = np.random.default_rng(0).integers(0, 4000, (32, 40)).astype(kind)
    plain = slice_dataset(values, RescaleSlope=1, RescaleIntercept=-1024)
    packed = slice_dataset(values, RescaleSlope=1, RescaleIntercept=-1024)
    packed.compress(syntax)
    expected = read_image(save(plain, tmp_path / "a.dcm")).array
    np.testing.assert_array_equal(read_image(save(packed, tmp_path / "b.dcm")).array, expected)


def test_gzipped_deflated_big_endian_and_bare_files(tmp_path):
    values = planes(1)[0]
    path = save(slice_dataset(values), tmp_path / "a.dcm")
    (tmp_path / "b.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "c.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "1.2.840").write_bytes(path.read_bytes())
    deflated = slice_dataset(values)
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    save(deflated, tmp_path / "d.dcm")
    big = slice_dataset(values, PixelData=values.astype(">i2").tobytes())
    big.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    save(big, tmp_path / "e.dcm")
    bare = path.read_bytes()[132:]
    (tmp_path / "f.dcm").write_bytes(bare)
    for name in ("b.dcm.gz", "c.gz", "1.2.840", "d.dcm", "e.dcm", "f.dcm"):
        image = read_image(tmp_path / name)
        np.testing.assert_array_equal(image.array[..., 0], values, err_msg=name)
        assert image.array.dtype == np.dtype("=i2")


def test_cine_frames_without_place_become_even_planes(tmp_path):
    values = planes(3).astype(np.uint8)
    dataset = slice_dataset(values[0], Modality="US", NumberOfFrames=3, PixelData=values.tobytes())
    image = read_image(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(image.array[..., 0], values)
    assert "the file gives the frames no place; they are read as even planes" in image.notes


def test_no_message_holds_patient_data(tmp_path):
    dataset = slice_dataset(planes(1)[0], Rows=400)
    with pytest.raises(FormatError, match="bytes of pixel data were expected") as caught:
        read_image(save(dataset, tmp_path / "a.dcm"))
    assert "secret" not in str(caught.value).lower()
