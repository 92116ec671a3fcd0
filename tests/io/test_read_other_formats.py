"""NIfTI, pictures, NumPy, NRRD and MetaImage: values, axes and places."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image as Pillow

from medcli.case import Source
from medcli.errors import FormatError
from medcli.io.readers import read_channels, read_image, stem_of

AFFINE = np.array(
    [[0.0, -2.0, 0.3, 11.0], [1.5, 0.0, 0.0, -7.0], [0.0, 0.2, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]]
)  # a rotated, slightly sheared grid with steps of about 1.5, 2 and 3 mm


def volume(dtype=np.int16, channels=()):
    return np.arange(2 * 3 * 4 * int(np.prod(channels, initial=1))).reshape(2, 3, 4, *channels).astype(dtype)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_axes_are_turned_and_the_affine_with_them(tmp_path, name, kind):
    data = volume()
    nib.save(kind(data, AFFINE), tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.array.shape, image.array.dtype) == ((4, 3, 2, 1), np.float32)
    assert image.array[3, 1, 0, 0] == data[0, 1, 3]
    np.testing.assert_allclose(image.affine @ [3, 1, 0, 1], AFFINE @ [0, 1, 3, 1], atol=1e-5)
    np.testing.assert_allclose(image.spacing, [np.hypot(0.3, 3), np.hypot(2, 0.2), 1.5], rtol=1e-6)


def test_nifti_scaling_channels_and_big_endian(tmp_path):
    data = volume(np.uint8, (5,))
    nifti = nib.Nifti1Image(data, AFFINE)
    nifti.header.set_slope_inter(0.5, -10)
    (tmp_path / "a.nii").write_bytes(raw_nifti(nifti.header, data))
    image = read_image(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.array[3, 1, 0], data[0, 1, 3] * 0.5 - 10)

    swapped = nifti.header.as_byteswapped()
    swapped.set_data_dtype(">i2")
    (tmp_path / "b.nii").write_bytes(raw_nifti(swapped, data.astype(">i2")))
    np.testing.assert_array_equal(read_image(tmp_path / "b.nii").array, image.array)


def raw_nifti(header, data) -> bytes:
    header = header.copy()
    header.set_data_shape(data.shape)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    return header.binaryblock + bytes(4) + data.tobytes(order="F")


def test_nifti_values_that_are_no_numbers_become_zero(tmp_path):
    data = volume(np.float32)
    data[0, 0, 0], data[1, 2, 3] = np.nan, np.inf
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    assert np.isfinite(image.array).all()
    assert image.notes == ("2 values that were no finite numbers were set to 0",)


@pytest.mark.parametrize(("name", "kind"), [("a.nrrd", np.int16), ("a.mha", np.float32), ("a.mhd", np.uint8)])
def test_itk_formats_have_the_place_that_nifti_gives_them(tmp_path, name, kind):
    written = SimpleITK.GetImageFromArray(np.arange(24).reshape(2, 3, 4).astype(kind))
    written.SetSpacing((0.5, 0.75, 2.5))
    written.SetOrigin((1, -2, 3))
    written.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(written, str(tmp_path / name))
    SimpleITK.WriteImage(written, str(tmp_path / "same.nii.gz"))
    image, same = read_image(tmp_path / name), read_image(tmp_path / "same.nii.gz")
    assert (image.array.dtype, image.spacing) == (np.float32, (2.5, 0.75, 0.5))
    np.testing.assert_array_equal(image.array, same.array)
    np.testing.assert_allclose(image.affine, same.affine, atol=1e-6)


def save_png(path, array, **options):
    Pillow.fromarray(array).save(path, **options)
    return path


def test_grey_and_colour_pictures_keep_their_depth(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    deep = grey.astype(np.uint16) * 5000
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for array in (grey, deep, colour):
        image = read_image(save_png(tmp_path / "a.png", array))
        assert (image.array.dtype, image.spacing, image.affine) == (array.dtype, None, None)
        np.testing.assert_array_equal(image.array, array.reshape(3, 4, -1))


def test_16_bit_colour_png_is_not_cut_to_8_bits(tmp_path):
    colour = np.arange(36, dtype=np.uint16).reshape(3, 4, 3) * 1001
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, colour)


@pytest.mark.parametrize(
    ("alpha", "notes"), [([255] * 12, ()), ([0, *[255] * 11], ("the transparency varies and is not used",))]
)
def test_transparency_is_dropped(tmp_path, alpha, notes):
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    with_alpha = np.dstack([colour, np.array(alpha, np.uint8).reshape(3, 4)])
    image = read_image(save_png(tmp_path / "a.png", with_alpha))
    np.testing.assert_array_equal(image.array, colour)
    assert image.notes == notes


def test_exif_orientation_turns_the_picture(tmp_path):
    picture = Pillow.fromarray(np.arange(8, dtype=np.uint8).reshape(2, 4) * 30)
    exif = picture.getexif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    picture.save(tmp_path / "a.jpg", exif=exif, quality=100)
    shown = read_image(tmp_path / "a.jpg").array[..., 0]
    assert shown.shape == (4, 2)
    np.testing.assert_allclose(shown, np.rot90(np.asarray(Pillow.open(tmp_path / "a.jpg")), -1))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 3)])
def test_tiff(tmp_path, kind, shape):
    array = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb" if len(shape) == 3 else "minisblack")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array, array.reshape(3, 4, -1))
    assert image.array.dtype == kind


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_of_a_tiff_are_no_transparency(tmp_path, channels):
    array = np.arange(12 * channels, dtype=np.uint16).reshape(channels, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, np.moveaxis(array, 0, -1))


def test_tiff_of_pages_is_a_volume(tmp_path):
    array = np.arange(60, dtype=np.uint16).reshape(5, 3, 4)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[..., 0], array)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 6), (5, 6, 1)), ((5, 6, 3), (5, 6, 3)), ((4, 5, 6), (4, 5, 6, 1)), ((4, 5, 6, 2), (4, 5, 6, 2))],
)
def test_numpy_axes(tmp_path, shape, expected):
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert (image.array.shape, image.array.dtype) == (expected, np.float32)
    np.testing.assert_array_equal(image.array.ravel(), array.ravel())


def test_npz_parts(tmp_path):
    images = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6)
    np.savez_compressed(tmp_path / "a.npz", train_images=images, train_labels=np.zeros((2, 1)))
    image = read_image(Source(tmp_path / "a.npz", "train_images[1]"))
    np.testing.assert_array_equal(image.array[..., 0], images[1])
    with pytest.raises(FormatError, match="holds 2 images, number 2 was asked for"):
        read_image(Source(tmp_path / "a.npz", "train_images[2]"))
    with pytest.raises(FormatError, match="it holds train_images, train_labels"):
        read_image(Source(tmp_path / "a.npz", "test_images[0]"))


def test_channels_of_several_files_are_joined_on_one_grid(tmp_path):
    first, second = volume(), volume() + 100
    nib.save(nib.Nifti1Image(first, AFFINE), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(second, AFFINE), tmp_path / "b.nii.gz")
    image = read_channels([Source(tmp_path / "a.nii.gz"), Source(tmp_path / "b.nii.gz")])
    assert image.array.shape == (4, 3, 2, 2)
    assert image.array[3, 1, 0].tolist() == [first[0, 1, 3], second[0, 1, 3]]

    moved = AFFINE.copy()
    moved[0, 3] += 1
    nib.save(nib.Nifti1Image(second, moved), tmp_path / "c.nii.gz")
    nib.save(nib.Nifti1Image(second[:1], AFFINE), tmp_path / "d.nii.gz")
    with pytest.raises(FormatError, match="corners lie up to 1 mm apart"):
        read_channels([Source(tmp_path / "a.nii.gz"), Source(tmp_path / "c.nii.gz")])
    with pytest.raises(FormatError, match=r"the shape \(4, 3, 2\) of .* was expected, \(4, 3, 1\) was found"):
        read_channels([Source(tmp_path / "a.nii.gz"), Source(tmp_path / "d.nii.gz")])


def test_format_is_told_by_content_where_the_name_does_not(tmp_path):
    nib.save(nib.Nifti1Image(volume(), AFFINE), tmp_path / "a.nii.gz")
    (tmp_path / "scan").write_bytes(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    assert read_image(tmp_path / "scan").shape == (4, 3, 2)


def test_stems(tmp_path):
    names = ["a.b.nii.gz", "c.PNG", "1.2.840.113", "d.dcm.gz", "e.gz"]
    assert [stem_of(tmp_path / name) for name in names] == ["a.b", "c", "1.2.840.113", "d", "e"]
