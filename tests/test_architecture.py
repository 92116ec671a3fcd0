"""The shape of the project: imports point one way, and TensorFlow stays where tensors are."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import medcli

PACKAGE = Path(medcli.__file__).parent
ORDER = (
    {"errors", "image", "boxes", "volume_boxes", "case", "progress", "quiet", "machine"},
    {
        "files",
        "parallel",
        "sandbox",
        "sliding",
        "tiles",
        "drawing",
        "report",
        "devices",
        "grouping",
        "clinical",
    },
    {"config"},
    {"io", "sampledata"},
    {"preprocessing"},
    {"features"},
    {"datasets"},
    {"models"},
    {"losses"},
    {"metrics"},
    {"instances"},
    {"tasks"},
    {"run", "calibration", "group_thresholds", "operating", "postprocessing", "refusal"},
    {"training"},
    {"prediction"},
    {"explain"},
    {"evaluation"},
    {"ensemble", "search"},
    {"doctor", "deidentify", "audit"},
    {"embedding"},
    {"cli"},
    {"__main__"},
)
"""What may import what: each row those above it, and itself."""
WITH_TENSORFLOW = {"datasets", "models", "losses", "tasks", "training", "prediction", "explain", "ensemble"}
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "medcli":
                yield from (f"medcli.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    names = imported(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    own = {name.split(".")[1] for name in names if name.startswith("medcli.")} - {"__version__"}
    assert {name for name in own if RANK[name] > RANK[part(path)]} == set()


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part(path) not in WITH_TENSORFLOW],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_tensorflow_is_imported_only_where_tensors_are(path):
    at_import = iter(ast.parse(path.read_text(encoding="utf-8")).body)
    assert [name for name in imported(at_import) if name.split(".")[0] in {"tensorflow", "keras"}] == []
