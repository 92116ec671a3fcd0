"""Counts what is left of a planted corpus in a folder of outputs, and checks what must have stayed.

    python tests/deidentify/leaks.py CORPUS OUTPUT [--options uids,device]

CORPUS is the folder that `planted.py` wrote. Nothing of medcli is used here.
"""

import argparse
import json
import sys
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from deidentify.leaks_checks import check_consistency, check_kept, check_pixels, check_words
from deidentify.leaks_reading import Output, match_outputs, read_outputs
from deidentify.planted_key import Key, Plant

Mapping = Callable[[Key, list[Output]], dict[str, str]]


@dataclass(frozen=True)
class Leak:
    """A planted value that was found in an output file, at these places (or "raw": somewhere in its bytes)."""

    plant: Plant
    output: str
    places: tuple[str, ...]


@dataclass
class Verdict:
    leaks: list[Leak] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # inputs without an output
    kept: list[str] = field(default_factory=list)  # violations: what should have stayed and did not
    consistency: list[str] = field(default_factory=list)  # violations
    texts: dict[str, Any] = field(default_factory=dict)
    words: tuple[int, int] = (0, 0)  # kept, of

    def by_category(self) -> dict[str, int]:
        return dict(sorted(Counter(leak.plant.category for leak in self.leaks).items()))

    def by_kind(self) -> dict[str, int]:
        return dict(sorted(Counter(leak.plant.kind for leak in self.leaks).items()))


class Needles:
    """Finds many short byte strings at once: by their first three bytes, then exactly."""

    def __init__(self, needles: Iterable[bytes]):
        self._by_start: dict[bytes, list[bytes]] = defaultdict(list)
        self._starts = np.zeros(1 << 24, bool)
        for needle in set(needles):
            self._by_start[needle[:5]].append(needle)
            self._starts[needle[0] << 16 | needle[1] << 8 | needle[2]] = True

    def find(self, content: bytes) -> list[tuple[int, bytes]]:
        """Places and needles."""
        data = np.frombuffer(content, np.uint8)
        if len(data) < 5:
            return []
        found = []
        for begin in range(0, len(data), 1 << 22):
            part = data[begin : begin + (1 << 22) + 2].astype(np.uint32)
            starts = part[:-2] << 16 | part[1:-1] << 8 | part[2:]
            for place in (np.nonzero(self._starts[starts])[0] + begin).tolist():
                for needle in self._by_start.get(content[place : place + 5], ()):
                    if content.startswith(needle, place):
                        found.append((place, needle))
        return found


def judge(
    corpus: Path,
    output: Path,
    *,
    options: Collection[str] = (),
    mapping: Mapping = match_outputs,
    key: Key | None = None,
    pixels: bool = False,
) -> Verdict:
    """Everything at once. `options`: the retain and clean options that were on; `pixels`: also judge burned-in text."""
    key = key or Key.load(corpus / "key.json")
    outputs = read_outputs(output)
    found = mapping(key, outputs)
    inputs_found = set(found.values())
    verdict = Verdict(
        leaks=find_leaks(key, outputs, found, options),
        missing=sorted(name for name in key.files if name not in inputs_found),
        kept=check_kept(key, outputs, found, options),
        consistency=check_consistency(key, outputs, found, options),
        words=check_words(key, outputs, found) if "descriptors" in options else (0, 0),
    )
    if pixels:
        verdict.texts = check_pixels(key, corpus / "files", outputs, found)
    return verdict


def find_leaks(
    key: Key, outputs: list[Output], mapping: dict[str, str], options: Collection[str] = ()
) -> list[Leak]:
    """Every plant that may not be there and is. A value planted several times counts where it is found."""
    by_file: dict[str, list[Plant]] = defaultdict(list)
    by_needle: dict[bytes, list[Plant]] = defaultdict(list)
    for plant in key.plants:
        by_file[plant.file].append(plant)
        for needle in plant.needles:
            by_needle[bytes.fromhex(needle)].append(plant)
    search = Needles(by_needle)
    leaks = []
    for one in outputs:
        plants = by_file.get(mapping.get(one.name, ""), [])
        hits = find_in(search, one)
        leaks += [Leak(p, one.name, places) for p, places in attribute(plants, hits, one, set(options))]
        known = {bytes.fromhex(needle) for plant in plants for needle in plant.needles}
        leaks += strangers(one, hits, known, by_needle, leaks, set(options))
    return leaks


def find_in(search: Needles, one: Output) -> dict[bytes, set[str]]:
    """Needle to the paths where it was found; "path": in the file's name."""
    names = list(one.units)
    starts, blob = [], bytearray()
    for name in names:
        starts.append(len(blob))
        blob += one.units[name] + b"\0\0\0\0\0"
    starts.append(len(blob))
    hits: dict[bytes, set[str]] = defaultdict(set)
    for place, needle in search.find(bytes(blob)):
        hits[needle].add(names[bisect_right(starts, place) - 1])
    for form in ("NFC", "NFD"):
        for _, needle in search.find(unicodedata.normalize(form, one.name).encode()):
            hits[needle].add("path")
    return hits


def attribute(
    plants: list[Plant], hits: dict[bytes, set[str]], one: Output, options: set[str]
) -> list[tuple[Plant, tuple[str, ...]]]:
    """Which plants of the file leaked: those found at their own place, then one for every place left to explain."""
    paths = {p.id: {w for n in p.needles for w in hits.get(bytes.fromhex(n), ())} for p in plants}
    leaked, covered, told = [], set(), set()
    for plant in plants:
        own = {w for w in paths[plant.id] if at(w, plant.where) or list(one.units) == ["raw"]}
        if own:
            covered |= own
            told |= {n for n in plant.needles if hits.get(bytes.fromhex(n))}
            if not options & set(plant.allowed_by):
                leaked.append((plant, tuple(sorted(own))))
    for plant in plants:
        rest = paths[plant.id] - covered - {"raw"}
        if "modified-dates" in options and plant.kind in ("date", "birth date"):
            rest -= one.dates  # another date that was shifted onto this one
            told |= set(plant.needles) if not rest else set()
        if rest and not options & set(plant.allowed_by):
            leaked.append((plant, tuple(sorted(rest))))
            covered |= rest
            told |= set(plant.needles)
    for plant in plants:
        unexplained = {n for n in plant.needles if "raw" in hits.get(bytes.fromhex(n), ())} - told
        if unexplained and not paths[plant.id] & covered and not options & set(plant.allowed_by):
            leaked.append((plant, ("raw",)))
            told |= set(plant.needles)
    return leaked


def at(path: str, where: str) -> bool:
    """Whether a path is that place or lies in it, or holds it as bytes."""
    return path == where or path.startswith((where + "[", where + ".")) or where.startswith(path + "[")


def strangers(
    one: Output,
    hits: dict[bytes, set[str]],
    known: set[bytes],
    by_needle: dict[bytes, list[Plant]],
    leaks: list[Leak],
    options: set[str],
) -> list[Leak]:
    """Values that were planted in other files only and turn up in this one: in a report, say."""
    here = {place for leak in leaks if leak.output == one.name for place in leak.places}
    found = []
    for needle, places in hits.items():
        plants = [plant for plant in by_needle[needle] if not options & set(plant.allowed_by)]
        places = places - here - ({"raw"} if here or one.dataset is not None else set())
        if "modified-dates" in options and plants and plants[0].kind in ("date", "birth date"):
            places = places - one.dates
        if needle not in known and plants and len(plants) == len(by_needle[needle]) and places:
            found.append(Leak(plants[0], one.name, tuple(sorted(places))))
            here |= places
    return found


def report(verdict: Verdict) -> dict[str, Any]:
    return {
        "leaks": len(verdict.leaks),
        "by category": verdict.by_category(),
        "by kind": verdict.by_kind(),
        "inputs without output": len(verdict.missing),
        "not kept": len(verdict.kept),
        "inconsistent": len(verdict.consistency),
        "texts": verdict.texts,
        "clinical words kept": list(verdict.words),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--options", default="")
    parser.add_argument("--pixels", action="store_true")
    parser.add_argument("--list", type=int, default=0, help="show so many leaks and violations of each sort")
    arguments = parser.parse_args()
    options = [word for word in arguments.options.split(",") if word]
    verdict = judge(arguments.corpus, arguments.output, options=options, pixels=arguments.pixels)
    print(json.dumps(report(verdict), indent=2))
    for leak in verdict.leaks[: arguments.list]:
        plant = leak.plant
        print(
            "leak",
            plant.category,
            plant.kind,
            plant.where,
            repr(plant.value),
            "in",
            leak.output,
            *leak.places,
        )
    for title, rows in (
        ("missing", verdict.missing),
        ("kept", verdict.kept),
        ("consistency", verdict.consistency),
    ):
        for row in rows[: arguments.list]:
            print(title, row)


if __name__ == "__main__":
    main()
