"""What all tests share. Tests on the shared real data skip where it is absent."""

from pathlib import Path

import pytest

from medcli.quiet import silence

silence(python_warnings=False)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the public data sets that `data/README.md` lists."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no data at {SHARED_DATA.name}/; see data/README.md")
    return SHARED_DATA
