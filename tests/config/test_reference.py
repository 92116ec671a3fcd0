import json
from pathlib import Path

import pytest

from medcli.config.loading import load_config
from medcli.config.reference import json_schema, markdown, settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_reference_page_is_current():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == markdown(), "run `make docs`"


def test_every_setting_is_described():
    assert [key for key, setting in settings().items() if not setting.description] == []


def test_settings_know_their_kind():
    assert settings()["data.root"].is_path
    assert settings()["data.split"].is_section
    assert settings()["data.classes"].is_mapping
    assert settings()["task"].required
    assert settings()["train.warmup"].expected == "a number from 0 to 1"
    assert settings()["preprocess.percentiles"].expected == "a list [2 of a number]"


def test_the_schema_is_plain_json():
    schema = json.loads(json.dumps(json_schema()))
    assert schema["required"] == ["task"]
    assert schema["additionalProperties"] is False


CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.yaml") if path.name != "deid.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_project_is_right(path):
    assert load_config(path).name == path.stem
