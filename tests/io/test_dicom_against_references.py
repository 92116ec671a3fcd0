"""Real scans read as DICOM against dcm2niix's NIfTI, or the publisher's, of the same scan, in world space."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy.ndimage import map_coordinates

from medcli.case import Source
from medcli.errors import FormatError
from medcli.image import Image
from medcli.io.inputs import find_inputs
from medcli.io.masks import mask_names, read_mask
from medcli.io.readers import read_image


def on_grid_of(image: Image, reference: Path) -> np.ndarray:
    """The reference's values at the voxels of the image; asserts that every centre meets one."""
    nifti = nib.load(reference)
    data = np.asanyarray(nifti.dataobj)
    if data.dtype.names:
        data = np.stack([data[name] for name in "RGB"], axis=-1)
    transform = np.linalg.inv(nifti.affine) @ image.affine
    whole = np.rint(transform)
    corners = np.array(np.meshgrid(*((0, length - 1) for length in image.shape), [1])).reshape(4, -1)
    assert np.abs((transform - whole) @ corners).max() < 1e-4 * max(image.shape)
    index = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij")).reshape(3, -1)
    index = (whole[:3, :3] @ index + whole[:3, 3:]).astype(int)
    assert index.min() >= 0
    assert (index.max(axis=1) == np.array(data.shape[:3]) - 1).all()
    return data[tuple(index)].reshape(*image.shape, -1)


SCANS = {
    "classic": ("classic_vs_enhanced/cl", "classic_vs_enhanced/Ref/1901_WIP_3DpCASL_cl.nii.gz"),
    "enhanced": ("classic_vs_enhanced/enh", "classic_vs_enhanced/Ref/1901_WIP_3DpCASL_enh_real.nii.gz"),
    "several enhanced files": ("enhanced/Siemens/XA10", "enhanced/Ref/Siemens_REST1_w_SMS_PF7-8_6.nii"),
    "time points": ("enhanced_xa30/25_asl_2d_tra", "enhanced_xa30/Ref/25_asl_2d_tra.nii"),
    "colour": ("enhanced_xa30/14_DWI_dir80_PA", "enhanced_xa30/Ref/14_DWI_dir80_PA.nii"),
    "sagittal": ("enhanced_xa30/5_anat-T1w_acq-tfl", "enhanced_xa30/Ref/5_anat-T1w_acq-tfl.nii"),
    "mosaic axial": ("orientation/ax/axasc35", "orientation/Ref/ax_asc_35sl_6.nii"),
    "mosaic interleaved": ("orientation/ax/axint36", "orientation/Ref/ax_int_36sl_12.nii"),
    "mosaic coronal": ("orientation/cor/corasc35", "orientation/Ref/cor_asc_35sl_16.nii"),
    "mosaic sagittal": ("orientation/sag/sagasc35", "orientation/Ref/sag_asc_35sl_22.nii"),
    "mosaic in JPEG Lossless": ("orientation/axmb/AxAsc36mb2a", "orientation/Ref/fMRI_MB_asc_25.nii"),
    "mosaic in JPEG 2000": ("orientation/axmb/AxInt36mb", "orientation/Ref/fMRI_MB_int_26.nii"),
}


@pytest.mark.parametrize("scan", SCANS)
def test_same_values_at_the_same_places_as_dcm2niix(shared_data, scan):
    folder, reference = SCANS[scan]
    image = read_image(shared_data / "dicom_qa" / folder)
    expected = on_grid_of(image, shared_data / "dicom_qa" / reference)
    np.testing.assert_allclose(
        image.array, expected, rtol=0, atol=2e-5 if "ssic" in scan or scan == "enhanced" else 0
    )


def test_two_kinds_of_image_in_one_file_are_two_stacks(shared_data):
    folder = shared_data / "dicom_qa/enhanced/Philips"
    with pytest.raises(FormatError, match=r"2 were found .*T1 M echo 1\.52 ms.*FIELD_MAP"):
        read_image(folder)
    field_map = read_image(Source(folder, "2"))
    expected = on_grid_of(
        field_map, shared_data / "dicom_qa/enhanced/Ref/Philips_WIP_B0_NS_801_e2_fieldmaphz.nii"
    )
    np.testing.assert_allclose(field_map.array, expected, atol=0.01)  # -500 to 500 Hz
    magnitude = read_image(Source(folder, "1"))
    expected = on_grid_of(magnitude, shared_data / "dicom_qa/enhanced/Ref/Philips_WIP_B0_NS_801_e1.nii")
    assert np.corrcoef(magnitude.array.ravel(), expected.ravel())[0, 1] > 1 - 1e-9  # Philips' other scaling


def test_tilted_ct_with_uneven_gaps(shared_data):
    image = read_image(shared_data / "dicom_qa/ct/GE")
    assert image.notes[0] == "a gantry tilt of 18.5 degrees was undone by shifting the slices"
    assert "1.08 to 7.00 mm" in image.notes[1]
    np.testing.assert_allclose(image.spacing, [4.0, 0.488, 0.488], atol=0.01)
    slices = sorted((shared_data / "dicom_qa/ct/GE").glob("*.dcm"))
    for path in (slices[4], slices[20]):  # sampled where its own header puts it, each slice is found again
        header = pydicom.dcmread(path)
        rows, columns = np.mgrid[0:512:3, 0:512:3].reshape(2, -1)
        row_step, column_step = header.PixelSpacing
        along_row, along_column = np.reshape(header.ImageOrientationPatient, (2, 3)).astype(float)
        place = np.array(header.ImagePositionPatient, float)[:, None]
        place = place + np.outer(along_row, columns * column_step) + np.outer(along_column, rows * row_step)
        place = np.vstack([-place[:2], place[2], np.ones(rows.size)])
        index = (np.linalg.inv(image.affine) @ place)[:3]
        found = map_coordinates(image.array[..., 0], index, order=1)
        expected = header.pixel_array[rows, columns] * header.RescaleSlope + header.RescaleIntercept
        assert np.corrcoef(found, expected)[0, 1] > (0.99 if path is slices[4] else 0.95)


def test_scan_series_with_secondary_captures_are_single_pictures(shared_data):
    cases = find_inputs([shared_data / "dicom_qa/ct/Philips"])
    assert [case.name for case in cases] == ["I10", "I20", "I30", "I40", "I50", "I60"]
    assert read_image(cases[3].images[0]).array.shape == (741, 650, 3)


@pytest.mark.parametrize("modality", ["CT", "PET", "MR_T1"])
@pytest.mark.parametrize("case", ["STS_008", "STS_019", "STS_025"])
def test_sarcoma_dicom_equals_nifti_and_contours_equal_mask(shared_data, case, modality):
    root = shared_data / "sts_pet_mr"
    image = read_image(root / f"dicom/{case}/{modality}/image")
    expected = on_grid_of(image, root / f"nifti/{case}/{modality}_image.nii.gz")
    assert np.abs(image.array - expected).max() <= (2e-6 if modality == "PET" else 0)

    source = Source(root / f"dicom/{case}/{modality}/mask")
    mask = read_mask([source], image)
    truth = on_grid_of(image, root / f"nifti/{case}/{modality}_mask.nii.gz")[..., 0] > 0
    assert mask_names(source) == {1: f"GTV_Mass_{modality}"}
    assert 2 * ((mask == 1) & truth).sum() / ((mask == 1).sum() + truth.sum()) >= 0.97
