"""What all tests share. Tests on the shared real data skip where it is absent."""

from pathlib import Path

import pytest

from medcli.quiet import silence

silence(python_warnings=False)

LONGEST = (
    "test_detection_training", "test_training", "test_fine_tuning", "test_cascade", "test_pretraining",
    "test_detection_learning", "test_deidentify", "test_faces", "test_detection_samples", "test_datasets",
    "test_clinical", "test_anomaly", "test_compare", "test_folds", "test_baseline", "test_fairness",
)  # fmt: skip
"""Files that take longest. They come first, so that no worker is left with one of them in the end."""

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public data sets that `data/README.md` lists."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data at {SHARED_DATA.name}/; see data/README.md")
    return SHARED_DATA


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(LONGEST)))
