"""docs/mathematics.md says the truth: its arithmetic is computed, its code is run."""

import doctest
import math
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "mathematics.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ARITHMETIC = re.compile(r"`([^`=\n]+) = (-?[\d.]+)`")
KNOWN = {name: getattr(math, name) for name in ("exp", "log", "sqrt", "erf")} | {"max": max}
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
PROSE = CODE.sub("", TEXT)


@pytest.mark.parametrize("left, right", ARITHMETIC.findall(PROSE))
def test_arithmetic(left, right):
    digits = len(right.partition(".")[2])
    assert re.fullmatch(r"[\d\s.+\-*/(),a-z]+", left) and set(re.findall("[a-z]+", left)) <= KNOWN.keys()
    assert round(eval(left, {"__builtins__": {}}, KNOWN), digits) == float(right)


def test_there_is_as_much_arithmetic_as_is_read():
    """What looks like arithmetic is found by the pattern; nothing hides from it."""
    spans = [span for span in re.findall(r"`([^`\n]+)`", PROSE) if re.search(r"\d = ", span) or " = " in span]
    assert len(spans) == len(ARITHMETIC.findall(PROSE)) > 50


def test_code():
    pytest.importorskip("keras")
    example = doctest.DocTestParser().get_doctest(
        "\n".join(CODE.findall(TEXT)), {}, "mathematics.md", str(PAGE), 0
    )
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not result.failed, "".join(said)
    assert result.attempted > 80


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.partition("\n")[0])
def test_every_section_has_arithmetic_and_code_of_medcli_and_of_another(section):
    code = "\n".join(CODE.findall(section))
    assert ARITHMETIC.search(CODE.sub("", section))
    assert "keras." in code or "sklearn" in code
    assert "medcli" in code or "build_cnn" in code or section.startswith(("2.", "5."))


def test_the_known_convolution_is_there():
    assert "[[6.0, 8.0], [12.0, 14.0]]" in SECTIONS[0]
