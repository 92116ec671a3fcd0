"""The configs of the public data sets find what their READMEs say."""

from pathlib import Path

import pytest

from medcli.config.loading import load_config
from medcli.io.cases import discover

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

EXPECTED = {
    "pneumoniamnist": (5232, 5232, ["normal", "pneumonia"], {"train": 4708, "val": 524}),
    "nih_cxr64": (806, 203, ["normal", "abnormal"], {None: 806}),
    "isic_uda1": (417, 417, ["benign", "malignant"], {None: 417}),
    "bccd": (292, 292, ["RBC", "WBC", "Platelets"], {"train": 205, "val": 87}),
    "chase_db1": (20, 10, ["vessel"], {None: 20}),
    "dsb2018_nuclei": (470, 470, ["nucleus"], {None: 470}),
    "msd_hippocampus": (187, 187, ["anterior", "posterior"], {None: 187}),
    "sts_pet_mr": (38, 38, ["tumour"], {None: 38}),
}
"""Cases, patients, classes, cases per given split."""


def found_in(shared_data: Path, name: str):
    return discover(load_config(CONFIGS / f"{name}.yaml", [f"data.root={shared_data / name}"]))


@pytest.mark.parametrize("name", EXPECTED)
def test_counts(shared_data, name):
    found = found_in(shared_data, name)
    cases, patients, classes, splits = EXPECTED[name]
    assert len(found.cases) == cases
    assert len({case.patient for case in found.cases}) == patients
    assert found.classes == classes
    assert {split: sum(case.split == split for case in found.cases) for split in splits} == splits
    assert not [problem for problem in found.problems if problem.left_out]


def test_class_balance(shared_data):
    def count(name: str, label: str) -> int:
        return sum(label in case.classes for case in found_in(shared_data, name).cases)

    assert count("pneumoniamnist", "pneumonia") == 3494 + 389
    assert count("nih_cxr64", "abnormal") == 415
    assert count("isic_uda1", "malignant") == 119


def test_bccd_boxes_and_its_two_faults(shared_data):
    found = found_in(shared_data, "bccd")
    boxes = [case.boxes for case in found.cases]
    assert sum(map(len, boxes)) == 2382 + 214 + 209 + 968 + 87 + 83 - 2
    assert {problem.case for problem in found.problems} == {"BloodImage_00338", "BloodImage_00343"}
    assert min(box.corners.min() for box in boxes) == 0
    assert max(box.corners[:, 2].max() for box in boxes) == 640


def test_groups_are_joined(shared_data):
    first = found_in(shared_data, "sts_pet_mr").cases[0]
    assert (first.name, first.patient, dict(first.groups)) == (
        "STS_001",
        "STS_001",
        {"sex": "M", "age": "59"},
    )
    unknown = [case for case in found_in(shared_data, "isic_uda1").cases if not case.groups["sex"]]
    assert len(unknown) == 192
