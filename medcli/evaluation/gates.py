"""Bars that a run must clear: `dice>=0.85` on the command line becomes an exit code."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import ge, gt, le, lt

from medcli.errors import UsageError

COMPARISONS: dict[str, Callable[[float, float], bool]] = {">=": ge, ">": gt, "<=": le, "<": lt}
_FORM = re.compile(r"^\s*(?P<measure>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<bar>[^\s<>=]+)\s*$")


@dataclass(frozen=True)
class Gate:
    """One bar: the measure compared by `sign` with `bar`."""

    measure: str
    sign: str
    bar: float

    def met(self, value: float) -> bool:
        """A measure that is undefined (NaN) meets nothing."""
        return not math.isnan(value) and COMPARISONS[self.sign](value, self.bar)

    def __str__(self) -> str:
        return f"{self.measure}{self.sign}{self.bar:g}"


def parse_gate(text: str) -> Gate:
    """Read `measure>=number`; raises UsageError for anything else.

    Example:
        >>> str(parse_gate("dice/left lung >= 0.85"))
        'dice/left lung>=0.85'
    """
    found = _FORM.match(text)
    try:
        bar = float(found["bar"]) if found else math.nan
    except ValueError:
        bar = math.nan
    if found is None or math.isnan(bar):
        raise UsageError(
            f"--gate: expected a measure, one of {' '.join(COMPARISONS)} and a number such as 'dice>=0.85', "
            f"got '{text}'."
        )
    return Gate(found["measure"], found["sign"], bar)


def check_known(gates: Sequence[Gate], known: Sequence[str]) -> None:
    """Raises UsageError that lists the known measures when a gate names another."""
    for gate in gates:
        if gate.measure not in known:
            near = get_close_matches(gate.measure, known, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise UsageError(
                f"--gate: unknown measure '{gate.measure}'{hint}; the measures of this run are "
                f"{', '.join(known)}."
            )


def unmet(gates: Sequence[Gate], measures: Mapping[str, float]) -> list[str]:
    """One text per gate that is not met, such as `dice>=0.85 (found 0.8132)`."""
    return [
        f"{gate} (found {_found(measures[gate.measure])})"
        for gate in gates
        if not gate.met(measures[gate.measure])
    ]


def _found(value: float) -> str:
    return "no value: undefined on these cases" if math.isnan(value) else f"{value:.4f}"
