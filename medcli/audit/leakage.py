"""What is on both sides of a division of the cases: patients, studies, the same picture twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medcli.audit.duplicates import Pair
from medcli.audit.findings import Finding, Level, plural, some


@dataclass(frozen=True, eq=False)
class Division:
    """Attributes:
    name: For people, such as "the column source_split".
    parts: Per case train, val or test; "" when it has none.
    in_use: Whether training would use it.
    """

    name: str
    parts: list[str]
    in_use: bool

    @property
    def level(self) -> Level:
        return "leak" if self.in_use else "warning"

    def advice(self, remedy: str) -> str:
        if self.in_use:
            return f"Measures on it would be too good; {remedy}."
        return "It is not used now; do not use it."


def torn(values: Sequence[str], parts: Sequence[str]) -> dict[str, dict[str, list[int]]]:
    """Values that stand in several parts, with their cases by part; "" counts for nothing."""
    places: dict[str, dict[str, list[int]]] = {}
    for index, (value, part) in enumerate(zip(values, parts, strict=True)):
        if value and part:
            places.setdefault(value, {}).setdefault(part, []).append(index)
    return {value: by_part for value, by_part in places.items() if len(by_part) > 1}


def shared_values(
    division: Division, what: str, values: Sequence[str], names: Sequence[str]
) -> list[Finding]:
    """One finding when a value (a patient, a study) is in several parts. The values are not told."""
    found = torn(values, division.parts)
    if not found:
        return []
    examples = max(found.values(), key=lambda by_part: min(map(len, by_part.values())))
    example = " and ".join(f"{names[cases[0]]} ({part})" for part, cases in examples.items())
    known = {value for value, part in zip(values, division.parts, strict=True) if part == "train"}
    numbers: dict[str, Any] = {"shared": len(found), "of": len(set(filter(None, values)))}
    shares = []
    for part in ("val", "test"):
        here = [value for value, own in zip(values, division.parts, strict=True) if own == part]
        if here:
            seen = sum(value in known for value in here)
            numbers[f"{part} cases also in train"] = seen
            shares.append(f"{seen} of {len(here)} {part} cases have their {what} in train as well")
    text = (
        f"{division.name}: {len(found)} of {numbers['of']} {what}s are in more than one part, such as {example}"
        f"{'; ' + ', '.join(shares) if shares else ''}. {division.advice(f'divide by {what}')}"
    )
    cases = [names[index] for by_part in found.values() for own in by_part.values() for index in own]
    return [Finding(division.level, f"{what} leakage", text, cases, numbers)]


def shared_pictures(division: Division, pairs: Sequence[Pair], names: Sequence[str]) -> list[Finding]:
    """Findings on exact and on near duplicates in different parts."""
    findings = []
    for exact, kind in ((True, "exact duplicates"), (False, "near-duplicates")):
        across = [
            pair
            for pair in pairs
            if pair.exact == exact
            and division.parts[pair.first]
            and division.parts[pair.second]
            and division.parts[pair.first] != division.parts[pair.second]
        ]
        if across:
            texts = [pair_text(pair, names, division.parts) for pair in across]
            text = (
                f"{division.name}: {plural(len(across), 'pair')} of {kind} in different parts: {some(texts)}. "
                f"{division.advice('keep such pictures in one part')}"
            )
            cases = [names[index] for pair in across for index in (pair.first, pair.second)]
            findings.append(Finding(division.level, kind, text, cases, {"pairs": len(across)}))
    return findings


def pair_text(pair: Pair, names: Sequence[str], parts: Sequence[str] | None = None) -> str:
    one, other = (
        names[index] + (f" ({parts[index]})" if parts is not None and parts[index] else "")
        for index in (pair.first, pair.second)
    )
    how = "" if pair.exact else f" (correlation {pair.correlation:.2f}{', ' * bool(pair.turn)}{pair.turn})"
    return f"{one} = {other}{how}"


def all_pictures(
    pairs: Sequence[Pair], names: Sequence[str], patients: Sequence[str], labels: Sequence[str]
) -> list[Finding]:
    """Findings on duplicates wherever they are: counted as different patients, or labelled differently."""
    findings = []
    for exact, kind in ((True, "exact duplicates"), (False, "near-duplicates")):
        own = [pair for pair in pairs if pair.exact == exact]
        strangers = [pair for pair in own if patients[pair.first] != patients[pair.second]]
        same = len(own) - len(strangers)
        if strangers:
            kept = " `preprocess` keeps exact duplicates in one part." if exact else " Give them one patient."
            text = (
                f"{plural(len(strangers), 'pair')} of {kind} counted as different patients: "
                f"{some([pair_text(pair, names) for pair in strangers])}.{kept}"
            )
            cases = [names[index] for pair in strangers for index in (pair.first, pair.second)]
            findings.append(Finding("warning", kind, text, cases, {"pairs": len(strangers)}))
        if same:
            cases = [
                names[index]
                for pair in own
                if patients[pair.first] == patients[pair.second]
                for index in (pair.first, pair.second)
            ]
            findings.append(
                Finding(
                    "note",
                    kind,
                    f"{plural(same, 'pair')} of {kind} within one patient: {some(cases, 2)}.",
                    cases,
                    {"pairs": same},
                )
            )
    against = [pair for pair in pairs if labels[pair.first] != labels[pair.second] and pair.exact]
    if against:
        texts = [pair_text(pair, names) for pair in against]
        cases = [names[index] for pair in against for index in (pair.first, pair.second)]
        text = f"{plural(len(against), 'pair')} of the same picture with different labels: {some(texts)}."
        findings.append(Finding("warning", "label errors", text, cases, {"pairs": len(against)}))
    return findings


def by_part(parts: Sequence[str]) -> Mapping[str, list[int]]:
    """Indices of the cases of train, val and test, in this order; without those that have none."""
    return {
        part: here
        for part in ("train", "val", "test")
        if (here := [index for index, own in enumerate(parts) if own == part])
    }
