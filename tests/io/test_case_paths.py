import pytest

from medcli.errors import ConfigError
from medcli.io.case_paths import check_pattern, find_cases


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_case_takes_one_part_of_a_name(tmp_path):
    touch(tmp_path, "a_1_img.png", "a_10_img.png", "a_2_img.png", "b.png", ".a_3_img.png")
    assert list(find_cases("{case}_img.png", tmp_path)) == ["a_1", "a_2", "a_10"]


def test_case_may_be_a_folder_and_occur_twice(tmp_path):
    touch(tmp_path, "p1/p1_t1.nii.gz", "p2/p1_t1.nii.gz", "p3/p3_t1.nii.gz")
    found = find_cases("{case}/{case}_t1.nii.gz", tmp_path)
    assert found == {"p1": tmp_path / "p1/p1_t1.nii.gz", "p3": tmp_path / "p3/p3_t1.nii.gz"}


def test_a_pattern_may_end_at_a_folder(tmp_path):
    touch(tmp_path, "dicom/s1/CT/1.dcm", "dicom/s2/MR/1.dcm")
    assert find_cases("dicom/{case}/CT", tmp_path) == {"s1": tmp_path / "dicom/s1/CT"}


def test_stars_stand_for_one_level(tmp_path):
    touch(tmp_path, "x/a.png", "x/a.jpg", "y/b.jpg", "y/z/c.jpg")
    assert find_cases("*/{case}.*", tmp_path) == {"a": tmp_path / "x/a.jpg", "b": tmp_path / "y/b.jpg"}


def test_signs_of_regular_expressions_mean_themselves(tmp_path):
    touch(tmp_path, "a+(1).png", "a+(1)xpng")
    assert list(find_cases("{case}.png", tmp_path)) == ["a+(1)"]


def test_a_missing_folder_holds_nothing(tmp_path):
    assert find_cases("nowhere/{case}.png", tmp_path) == {}


def test_a_pattern_without_case_is_refused():
    with pytest.raises(ConfigError, match=r"^data.images: expected a pattern with \{case\}.*got 'images'\.$"):
        check_pattern("images", "data.images")
