"""Masks of every format on the grid of their image."""

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import skimage.draw
from dicom_files import FRAME, save, save_series, slice_dataset
from highdicom.seg import Segmentation, SegmentDescription
from PIL import Image as Pillow
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import RTStructureSetStorage, generate_uid

from medcli.case import Source
from medcli.errors import FormatError
from medcli.io.dicom.rtstruct import polygon_coverage
from medcli.io.masks import mask_names, read_mask
from medcli.io.readers import read_image

AFFINE = np.array([[0.0, -2.0, 0, 11], [1.5, 0, 0, -7], [0, 0, 3, 5], [0, 0, 0, 1]])


def nifti(path, data, affine=AFFINE):
    nib.save(nib.Nifti1Image(data, affine), path)
    return Source(path)


def test_one_file_gives_its_values(tmp_path):
    ids = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) * 10
    image = read_image(nifti(tmp_path / "a.nii.gz", ids.astype(np.int16)))
    for kind in (np.uint8, np.float64):
        mask = read_mask([nifti(tmp_path / "m.nii.gz", ids.astype(kind))], image)
        assert mask.dtype == np.int32
        np.testing.assert_array_equal(mask, ids.T)


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinity was found"), (1.6, r"values between them were found \(such as 1.6\)")],
)
def test_values_that_are_no_labels_are_refused(tmp_path, value, message):
    image = read_image(nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.int16)))
    ids = np.zeros((2, 3, 4), np.float32)
    ids[0, 0] = [0.4, 0.6, 2.001, value]
    with pytest.raises(FormatError, match=message):
        read_mask([nifti(tmp_path / "m.nii.gz", ids)], image)
    ids[0, 0, 3] = -1
    mask = read_mask([nifti(tmp_path / "m.nii.gz", ids)], image)
    assert mask[:, 0, 0].tolist() == [0, 1, 2, -1]


def test_of_several_files_the_later_one_wins(tmp_path):
    image = read_image(nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.int16)))
    first, second = np.zeros((2, 2, 3, 4), np.uint8)
    first[0], second[:, 1] = 255, 7
    masks = [nifti(tmp_path / "1.nii.gz", first), nifti(tmp_path / "2.nii.gz", second)]
    expected = np.where(second > 0, 2, np.where(first > 0, 1, 0))
    np.testing.assert_array_equal(read_mask(masks, image), expected.T)


def test_shape_and_place_must_be_those_of_the_image(tmp_path):
    image = read_image(nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.int16)))
    with pytest.raises(FormatError, match=r"the shape \(4, 3, 2\) of .* was expected, \(3, 3, 2\) was found"):
        read_mask([nifti(tmp_path / "b.nii.gz", np.zeros((2, 3, 3), np.uint8))], image)
    moved = AFFINE.copy()
    moved[2, 3] += 0.5
    with pytest.raises(FormatError, match=r"the corners lie up to 0\.5 mm apart"):
        read_mask([nifti(tmp_path / "c.nii.gz", np.zeros((2, 3, 4), np.uint8), moved)], image)
    moved = AFFINE + 1e-4
    moved[3] = [0, 0, 0, 1]
    read_mask([nifti(tmp_path / "d.nii.gz", np.zeros((2, 3, 4), np.uint8), moved)], image)


def test_a_mask_of_the_same_grid_with_axes_turned_is_put_in_order(tmp_path):
    image = read_image(nifti(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.int16)))
    ids = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for axes in ("RAS", "LPI", "SLA", "PIR"):
        turned = nib.Nifti1Image(ids, AFFINE)
        turned = turned.as_reoriented(nib.io_orientation(turned.affine))  # to RAS
        turned = turned.as_reoriented(nib.orientations.axcodes2ornt(tuple(axes)))
        nib.save(turned, tmp_path / "m.nii.gz")
        np.testing.assert_array_equal(read_mask([Source(tmp_path / "m.nii.gz")], image), ids.T, err_msg=axes)


def test_pictures_of_one_bit_palette_16_bit_and_colour(tmp_path):
    ids = np.array([[0, 1, 2], [3, 0, 1]], np.uint8)
    Pillow.fromarray(ids).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")

    palette = Pillow.fromarray(ids, mode="P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 9, 9, 9])
    palette.save(tmp_path / "palette.png")
    Pillow.fromarray(ids > 0).save(tmp_path / "bit.png")
    Pillow.fromarray(ids.astype(np.uint16) * 1000).save(tmp_path / "deep.png")
    Pillow.fromarray(np.dstack([ids, ids, ids, np.full_like(ids, 255)])).save(tmp_path / "rgba.png")
    expected = {"palette": ids, "bit": ids > 0, "deep": ids.astype(int) * 1000, "rgba": ids}
    for name, values in expected.items():
        np.testing.assert_array_equal(
            read_mask([Source(tmp_path / f"{name}.png")], image), values, err_msg=name
        )


def test_coverage_of_a_square_with_a_hole():
    """From -0.5 to 2.5 are the pixels 0, 1, 2; the hole takes the right half of pixel (1, 1)."""
    outer = np.array([[-0.5, -0.5], [-0.5, 2.5], [2.5, 2.5], [2.5, -0.5]])
    hole = np.array([[0.5, 1.0], [0.5, 1.5], [1.5, 1.5], [1.5, 1.0]])
    coverage = polygon_coverage([outer, hole], (4, 5))
    expected = np.zeros((4, 5))
    expected[:3, :3] = 1
    expected[1, 1] = 0.5
    np.testing.assert_allclose(coverage, expected)


def test_coverage_against_scikit_image():
    angle = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    star = np.stack([20 + (12 + 6 * np.cos(5 * angle)) * np.sin(angle), 25 + 15 * np.cos(angle)], axis=1)
    fine = skimage.draw.polygon2mask((400, 500), (star + 0.5) * 10 - 0.5)
    expected = fine.reshape(40, 10, 50, 10).mean(axis=(1, 3))
    np.testing.assert_allclose(polygon_coverage([star], (40, 50)), expected, atol=0.1)
    assert abs(polygon_coverage([star], (40, 50)).sum() - expected.sum()) < 1


def structure_set(path, contours):
    """ROI name to list of (n, 3) LPS contours."""
    dataset = slice_dataset(
        np.zeros((2, 2), np.uint8), Modality="RTSTRUCT", SOPClassUID=RTStructureSetStorage
    )
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, outlines) in enumerate(contours.items()):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber = drawn.ReferencedROINumber = 7 + number
        roi.ROIName = name
        drawn.ContourSequence = []
        for points in outlines:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [round(float(value), 4) for value in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(roi)
        dataset.ROIContourSequence.append(drawn)
    return Source(save(dataset, path))


def rectangle(depth, rows, columns):
    """Around the pixels of these half-open ranges, in LPS of the series below."""
    y0, y1 = (20 + 0.5 * (row - 0.5) for row in rows)
    x0, x1 = (10 + 0.75 * (column - 0.5) for column in columns)
    return np.array([[x0, y0, depth], [x1, y0, depth], [x1, y1, depth], [x0, y1, depth]])


def test_contours_fill_planes_holes_are_left_and_later_rois_win(tmp_path):
    image = read_image(save_series(tmp_path / "ct", np.zeros((4, 8, 9), np.int16), [0.0, 2.0, 4.0, 6.0]))
    source = structure_set(
        tmp_path / "rs/rs.dcm",
        {
            "organ": [
                rectangle(2.0, (1, 7), (2, 8)),
                rectangle(2.0, (3, 5), (4, 6)),
                rectangle(4.0, (1, 7), (2, 8)),
            ],
            "lesion": [rectangle(4.3, (2, 4), (3, 5))],
        },
    )
    expected = np.zeros((4, 8, 9), int)
    expected[1:3, 1:7, 2:8] = 1
    expected[1, 3:5, 4:6] = 0
    expected[2, 2:4, 3:5] = 2
    np.testing.assert_array_equal(read_mask([source], image), expected)
    np.testing.assert_array_equal(read_mask([Source(tmp_path / "rs")], image), expected)  # alone in a folder
    assert mask_names(source) == {1: "organ", 2: "lesion"}


def test_contours_on_every_other_plane_fill_those_between(tmp_path):
    image = read_image(save_series(tmp_path / "ct", np.zeros((5, 8, 9), np.int16), [0.0, 2.0, 4.0, 6.0, 8.0]))
    source = structure_set(
        tmp_path / "rs.dcm", {"a": [rectangle(depth, (1, 7), (2, 8)) for depth in (0.0, 4.0, 8.0)]}
    )
    assert read_mask([source], image).any(axis=(1, 2)).all()


def test_contours_elsewhere_or_across_planes_are_refused(tmp_path):
    image = read_image(save_series(tmp_path / "ct", np.zeros((4, 8, 9), np.int16), [0.0, 2.0, 4.0, 6.0]))
    with pytest.raises(FormatError, match="all lie outside"):
        read_mask([structure_set(tmp_path / "a.dcm", {"a": [rectangle(90.0, (1, 7), (2, 8))]})], image)
    crossing = rectangle(0.0, (1, 7), (2, 8))
    crossing[2:, 2] = 6.0
    with pytest.raises(FormatError, match="parallel to the planes"):
        read_mask([structure_set(tmp_path / "b.dcm", {"a": [crossing]})], image)


def segmentation(folder, masks, kind, path):
    """A SEG of (plane, row, column, segment) for the files of a folder, sorted by depth."""
    sources = sorted(
        (pydicom.dcmread(file) for file in folder.iterdir()), key=lambda file: file.ImagePositionPatient[2]
    )
    for source in sources:
        for keyword in (
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "StudyTime",
            "StudyID",
            "AccessionNumber",
        ):
            setattr(source, keyword, "")
        source.StudyInstanceUID = FRAME
    descriptions = [
        SegmentDescription(
            number,
            f"part {number}",
            codes.SCT.Organ,
            codes.SCT.Liver,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number in range(1, masks.shape[-1] + 1)
    ]
    written = Segmentation(
        sources,
        masks,
        kind,
        descriptions,
        generate_uid(),
        1,
        generate_uid(),
        1,
        "maker",
        "model",
        "1",
        "serial",
        omit_empty_frames=True,
    )
    written.save_as(path)
    return Source(path)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_placed_by_position(tmp_path, kind):
    folder = save_series(tmp_path / "ct", np.zeros((4, 8, 9), np.int16), [6.0, 0.0, 4.0, 2.0])
    image = read_image(folder)
    masks = np.zeros((4, 8, 9, 2), bool)
    masks[1:3, 2:5, 3:8, 0] = True
    masks[2, 4:7, 1:5, 1] = True
    if kind == "LABELMAP":
        masks[..., 0] &= ~masks[..., 1]
    source = segmentation(
        folder, masks.astype(float) if kind == "FRACTIONAL" else masks, kind, tmp_path / "seg.dcm"
    )
    expected = np.where(masks[..., 1], 2, masks[..., 0])
    np.testing.assert_array_equal(read_mask([source], image), expected)
    assert mask_names(source) == {1: "part 1", 2: "part 2"}

    one_slice = read_image(image.sources[0])  # depth 6.0 comes first by name: nothing there
    assert one_slice.ndim == 2
    third = next(path for path in image.sources if pydicom.dcmread(path).ImagePositionPatient[2] == 4.0)
    np.testing.assert_array_equal(read_mask([source], read_image(third)), expected[2])


def test_fractions_count_from_one_half(tmp_path):
    folder = save_series(tmp_path / "ct", np.zeros((2, 4, 6), np.int16), [0.0, 2.0])
    masks = np.zeros((2, 4, 6, 1))
    masks[0, 1, 1:5, 0] = [0.2, 0.45, 0.55, 1.0]
    source = segmentation(folder, masks, "FRACTIONAL", tmp_path / "seg.dcm")
    assert read_mask([source], read_image(folder))[0, 1].tolist() == [0, 0, 0, 1, 1, 0]


def test_a_segmentation_of_another_scan_is_refused(tmp_path):
    folder = save_series(tmp_path / "ct", np.zeros((2, 4, 6), np.int16), [0.0, 2.0])
    source = segmentation(folder, np.ones((2, 4, 6, 1), bool), "BINARY", tmp_path / "seg.dcm")
    other = save_series(tmp_path / "other", np.zeros((2, 4, 6), np.int16), [100.0, 102.0])
    with pytest.raises(FormatError, match="it lies outside"):
        read_mask([source], read_image(other))


def test_published_segmentation_of_one_ct_slice(shared_data):
    folder = shared_data / "dicom_qa/seg_objects"
    image = read_image(folder / "ct_image.dcm")
    source = Source(folder / "seg_image_ct_binary_single_frame.dcm")
    expected = pydicom.dcmread(source.path).pixel_array
    np.testing.assert_array_equal(read_mask([source], image), expected)
    assert mask_names(Source(folder / "ct_image.dcm")) == {}
