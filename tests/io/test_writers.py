"""Results in the geometry of the image they were made from."""

import nibabel as nib
import numpy as np
import SimpleITK
from dicom_files import planes, save_series
from PIL import Image as Pillow

from medcli.io.masks import read_mask
from medcli.io.readers import read_image
from medcli.io.writers import write_labels, write_picture, write_probabilities

AFFINE = np.array([[0.0, -2.0, 0.3, 11], [1.5, 0, 0, -7], [0, 0.2, 3, 5], [0, 0, 0, 1]])


def test_nifti_gets_the_shape_and_affine_of_its_file_to_the_bit(tmp_path):
    for name, shape in {
        "a.b.nii.gz": (2, 3, 4),
        "flat.nii": (2, 3),
        "time.nii.gz": (2, 3, 4, 5),
        "one.nii": (2, 3, 1),
    }.items():
        nifti = nib.Nifti1Image(np.zeros(shape, np.int16), AFFINE)
        nifti.header["descrip"] = b"Secret Name"
        nifti.set_qform(AFFINE, 1)
        nib.save(nifti, tmp_path / name)
        original = nib.load(tmp_path / name)
        image = read_image(tmp_path / name)
        labels = np.arange(np.prod(image.shape)).reshape(image.shape)
        path = write_labels(tmp_path / "out" / "a.b", labels, image)
        assert path == tmp_path / "out" / "a.b.nii.gz"
        written = nib.load(path)
        assert written.shape == shape[:3]
        np.testing.assert_array_equal(written.affine, original.affine)
        for key in ("sform_code", "qform_code"):
            assert written.header[key] == original.header[key]
        assert written.get_data_dtype() == np.uint8
        assert b"Secret" not in written.header.binaryblock
        np.testing.assert_array_equal(np.asarray(written.dataobj).reshape(image.shape[::-1]).T, labels)

        chances = np.random.default_rng(0).random((*image.shape, 2)).astype(np.float32)
        path = write_probabilities(tmp_path / "out" / "a.b", chances, image)
        assert path.name == "a.b_prob.nii.gz"
        found = nib.load(path)
        assert found.shape == (*shape[:3], 2)
        np.testing.assert_array_equal(
            np.asarray(found.dataobj).reshape(*image.shape[::-1], 2).transpose(2, 1, 0, 3), chances
        )


def test_many_labels_need_16_bits(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), AFFINE), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz")
    path = write_labels(tmp_path / "b", np.full((4, 3, 2), 300), image)
    assert nib.load(path).get_data_dtype() == np.uint16


def test_dicom_and_nrrd_become_nifti_at_the_same_place(tmp_path):
    folder = save_series(tmp_path / "ct", planes(3), [4.0, 2.0, 0.0])
    written = SimpleITK.GetImageFromArray(planes(3))
    written.SetSpacing((0.5, 0.75, 2.5))
    written.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    SimpleITK.WriteImage(written, str(tmp_path / "a.nrrd"))
    for source in (folder, tmp_path / "a.nrrd"):
        image = read_image(source)
        labels = (image.array[..., 0] > 30).astype(int)
        path = write_labels(tmp_path / f"{source.name}-labels", labels, image)
        from medcli.case import Source

        np.testing.assert_array_equal(read_mask([Source(path)], image), labels)


def test_pictures_become_png(tmp_path):
    Pillow.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    labels = np.arange(12).reshape(3, 4)
    path = write_labels(tmp_path / "x.y", labels, image)
    assert path.name == "x.y.png"
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), labels)
    path = write_labels(tmp_path / "z", labels * 100, image)
    np.testing.assert_array_equal(np.asarray(Pillow.open(path)), labels * 100)
    path = write_probabilities(tmp_path / "z", np.ones((3, 4, 2)), image)
    assert (path.name, np.load(path).shape, np.load(path).dtype) == ("z_prob.npy", (3, 4, 2), np.float32)
    path = write_picture(tmp_path / "shown.png", np.zeros((3, 4, 3), np.uint8))
    assert (path.name, Pillow.open(path).mode) == ("shown.png", "RGB")
