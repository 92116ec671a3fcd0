"""What is named on the command line becomes cases, in order, with unique names that tell no patient."""

from pathlib import Path

import numpy as np
import pytest
from dicom_files import planes, save, save_series, slice_dataset
from pydicom.uid import generate_uid

from medcli.case import Source
from medcli.errors import DataError, FormatError
from medcli.io.inputs import find_inputs
from medcli.io.readers import read_image


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(cases):
    return [case.name for case in cases]


def test_files_folders_and_globs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    touch(*(tmp_path / "x" / name for name in ("a10.png", "a2.png", "b.nii.gz", ".hidden.png", "readme.txt")))
    assert names(find_inputs(["x"])) == ["a2", "a10", "b"]
    assert names(find_inputs(["x/b.nii.gz", Path("x/a10.png")])) == ["b", "a10"]
    assert names(find_inputs(["x/a*.png"])) == ["a2", "a10"]
    assert names(find_inputs(["*/*.nii.gz", "x/a2.png"])) == ["b", "a2"]


def test_names_are_made_unique_by_their_folders(tmp_path):
    touch(tmp_path / "p1/scan/ct.nii.gz", tmp_path / "p2/scan/ct.nii.gz", tmp_path / "p2/scan/mr.nii.gz")
    assert names(find_inputs([tmp_path])) == ["p1_scan_ct", "p2_scan_ct", "mr"]
    touch(tmp_path / "q/a.png", tmp_path / "q/a.jpg")
    assert (
        names(find_inputs([tmp_path / "q"])) == ["a", "a_2"]
        or len(set(names(find_inputs([tmp_path / "q"])))) == 2
    )


def test_what_is_missing_is_an_error(tmp_path):
    for item in (tmp_path / "none", tmp_path / "*.png"):
        with pytest.raises(DataError, match=r"there is no such file or folder|no file matches"):
            find_inputs([item])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No images were found in"):
        find_inputs([tmp_path / "empty"])


def test_the_pattern_of_the_training_data_chooses_and_names(tmp_path):
    for case in ("S1", "S2"):
        touch(*(tmp_path / "new" / case / name for name in ("PET.nii.gz", "CT.nii.gz", "mask.nii.gz")))
    cases = find_inputs([tmp_path / "new"], "nifti/{case}/PET.nii.gz")
    assert names(cases) == ["S1", "S2"]
    assert cases[0].images == (Source(tmp_path / "new/S1/PET.nii.gz"),)
    assert names(find_inputs([tmp_path / "new/S2/PET.nii.gz"], "nifti/{case}/PET.nii.gz")) == ["S2"]
    everything = find_inputs([tmp_path / "new"], "somewhere/{case}.png")  # does not fit
    assert names(everything) == ["S1_CT", "S1_mask", "S1_PET", "S2_CT", "S2_mask", "S2_PET"]


def test_channels_of_a_case_are_joined_and_a_missing_one_is_named(tmp_path):
    touch(*(tmp_path / "new" / name for name in ("S1_0000.nii.gz", "S1_0001.nii.gz", "S2_0000.nii.gz")))
    pattern = {"T1": "images/{case}_0000.nii.gz", "T2": "images/{case}_0001.nii.gz"}
    cases = find_inputs([tmp_path / "new"], pattern)
    assert names(cases) == ["S1", "S2"]
    assert [source.path.name for source in cases[0].images] == ["S1_0000.nii.gz", "S1_0001.nii.gz"]
    assert (
        cases[1].images[1].path == tmp_path / "new/S2_0001.nii.gz"
    )  # does not exist; reading it will say so
    by_files = find_inputs([tmp_path / "new/S1_0001.nii.gz", tmp_path / "new/S1_0000.nii.gz"], pattern)
    assert by_files == cases[:1]
    with pytest.raises(DataError, match="the model needs the channels T1, T2"):
        touch(tmp_path / "other.nii.gz")
        find_inputs([tmp_path / "other.nii.gz"], pattern)


def test_tables_keep_their_order(tmp_path):
    touch(tmp_path / "images/b.png", tmp_path / "images/a.png")
    (tmp_path / "list.csv").write_text(
        "case,image,age\nsecond one,images/b.png,3\n,images/a.png,4\n,images/gone.png,5\n"
    )
    cases = find_inputs([tmp_path / "list.csv"])
    assert names(cases) == ["second_one", "a", "gone"]
    assert cases[1].images[0].path == tmp_path / "images/a.png"
    (tmp_path / "ids.tsv").write_text("image_id\timage_note\nimages/a\tx\n")
    assert find_inputs([tmp_path / "ids.tsv"])[0].images[0].path == tmp_path / "images/a.png"
    (tmp_path / "bad.csv").write_text("x,y\n1,2\n")
    with pytest.raises(DataError, match=r"a column image, file, .* was expected, x, y were found"):
        find_inputs([tmp_path / "bad.csv"])


def test_arrays_of_images(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        test_images=np.zeros((2, 5, 5)),
        val_images=np.zeros((1, 5, 5)),
        test_labels=[[0], [1]],
    )
    cases = find_inputs([tmp_path / "a.npz"])
    assert names(cases) == ["test_00000", "test_00001", "val_00000"]
    assert cases[1].images[0] == Source(tmp_path / "a.npz", "test_images[1]")
    np.savez(tmp_path / "b.npz", images=np.zeros((1, 5, 5)))
    np.savez(tmp_path / "c.npz", volume=np.zeros((5, 5, 5)))
    assert names(find_inputs([tmp_path / "b.npz", tmp_path / "c.npz"])) == ["00000", "c"]


def test_dicom_series_are_named_by_their_folders(tmp_path):
    save_series(tmp_path / "in/one scan", planes(3), [0.0, 1.0, 2.0])
    save_series(tmp_path / "in/two", planes(2), [0.0, 1.0])
    other = generate_uid()
    save_series(tmp_path / "in/two", planes(2), [0.0, 1.0], names=["IM1", "IM2"], SeriesInstanceUID=other)
    report = slice_dataset(planes(1)[0], Modality="SR")
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    save(report, tmp_path / "in/one scan/report.dcm")
    cases = find_inputs([tmp_path / "in"])
    assert names(cases) == ["one_scan", "two_series1", "two_series2"]
    assert cases[0].images == (Source(tmp_path / "in/one scan"),)
    assert {case.images[0].part for case in cases[1:]} == {
        other,
        slice_dataset(planes(1)[0]).SeriesInstanceUID,
    }
    assert find_inputs([tmp_path / "in/two"])[0].images[0].path == tmp_path / "in/two"


def test_radiographs_in_one_folder_are_cases_of_their_own(tmp_path):
    for name in ("b", "a"):
        save(
            slice_dataset(planes(1)[0], Modality="DX", SeriesInstanceUID=generate_uid()),
            tmp_path / f"{name}.dcm",
        )
    cases = find_inputs([tmp_path])
    assert names(cases) == ["a", "b"]
    assert cases[0].images == (Source(tmp_path / "a.dcm"),)


def test_unreadable_dicom_is_a_case_of_its_own_or_spoils_its_series(tmp_path):
    save(slice_dataset(planes(1)[0], Modality="DX"), tmp_path / "a.dcm")
    (tmp_path / "broken.dcm").write_bytes(b"not DICOM at all")
    assert names(find_inputs([tmp_path])) == ["a", "broken"]
    save_series(tmp_path, planes(3), [0.0, 1.0, 2.0])
    (tmp_path / "a.dcm").unlink()
    (case,) = find_inputs([tmp_path])
    assert case.images == (Source(tmp_path),)
    with pytest.raises(FormatError, match=r"broken\.dcm: a DICOM file was expected"):
        read_image(case.images[0])
