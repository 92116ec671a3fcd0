"""Made-up people: several pictures each, with sex, age and site, for grouped splits and fair reports."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SITES = ("A", "B", "C")


@dataclass(frozen=True)
class Person:
    """sex: F, M, or "" as happens in real tables; age: in years; site: one of `SITES`."""

    number: int
    sex: str
    age: int
    site: str

    @property
    def name(self) -> str:
        return f"person_{self.number:03d}"

    @property
    def dicom_name(self) -> str:
        return f"Madeup^Person {self.number:03d}"


@dataclass(frozen=True)
class Picture:
    """One picture to draw.

    Attributes:
        name: The case's.
        key: What its identifiers follow from; unlike those of other seeds and kinds.
        visit: Counts from 1.
        rng: Belongs to this picture alone.
        person_rng: Gives the same numbers for every picture of the person.
    """

    name: str
    key: str
    person: Person
    visit: int
    rng: np.random.Generator
    person_rng: np.random.Generator


def pictures(cases: int, seed: int, kind: str) -> Iterator[Picture]:
    """Pictures of people with one to three each; a longer set begins as the shorter one of its seed."""
    number, made = 0, 0
    key = [seed, *kind.encode()]
    while made < cases:
        number += 1
        rng = np.random.default_rng([*key, number])
        sex = "" if rng.random() < 0.05 else str(rng.choice(["F", "M"]))
        person = Person(number, sex, int(np.clip(rng.normal(55, 18), 18, 95)), str(rng.choice(SITES)))
        for visit in range(1, int(rng.integers(1, 4)) + 1):
            if made == cases:
                return
            made += 1
            name = f"{person.name}_{visit}"
            own = np.random.default_rng([*key, number, visit])
            yield Picture(
                name, f"{seed} {kind} {name}", person, visit, own, np.random.default_rng([*key, number, 0])
            )
