"""The answer key of the planted corpus: what was planted where, what must stay, and what belongs together."""

import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom.charset import convert_encodings, encode_string

SHORTEST_NEEDLE = 5  # bytes; anything shorter may occur by chance


@dataclass
class Plant:
    """One identifier at one place.

    `where` is the path of the DICOM element ("00081032[0].00080104"; of what is kept as bytes, the path of the
    whole), "path" for a file's name, else a word such as "preamble" or "tEXt". `needles` are hex; one found in the
    output is a leak. `allowed_by` names the options under which the value may stay.
    """

    id: int
    file: str
    patient: str
    category: str
    kind: str
    where: str
    value: str
    needles: list[str]
    allowed_by: list[str]


@dataclass
class Text:
    """Text burned into the frames of an image: box (x0, y0, x1, y1), half-open; frame None: all of them.

    `mask` is hex of the packed bits of the box, row by row. Text that names nobody has `identifies` False: it may go.
    """

    file: str
    frame: int | None
    box: list[int]
    mask: str
    value: str
    identifies: bool


@dataclass
class Keep:
    """A value that must stay. `relation`: equal; shifted (a date, by the patient's days); present (not empty)."""

    file: str
    where: str
    value: str
    relation: str = "equal"


@dataclass
class File:
    """What the checks need to know of one file. `number` is the InstanceNumber, unique in the corpus."""

    format: str
    kind: str
    patient: str
    number: int | None = None
    sop_class: str = ""
    syntax: str = ""
    dates: dict[str, str] = field(default_factory=dict)
    uids: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""


@dataclass
class Key:
    seed: int
    size: str
    table: str
    files: dict[str, File] = field(default_factory=dict)
    plants: list[Plant] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    keep: dict[str, list[Keep]] = field(default_factory=dict)
    words: list[dict[str, Any]] = field(default_factory=list)
    references: dict[str, list[list[str]]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Key":
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
        return cls(
            seed=raw["seed"],
            size=raw["size"],
            table=raw["table"],
            files={name: File(**row) for name, row in raw["files"].items()},
            plants=[Plant(**row) for row in raw["plants"]],
            texts=[Text(**row) for row in raw["texts"]],
            keep={name: [Keep(**row) for row in rows] for name, rows in raw["keep"].items()},
            words=raw["words"],
            references=raw["references"],
        )


def encoded(text: str, charset: Sequence[str]) -> list[bytes]:
    """The ways in which a text may stand in a file: its character set, UTF-8, UTF-16 in both orders."""
    ways = [text.encode(name) for name in ("utf-8", "utf-16-le", "utf-16-be")]
    with suppress(UnicodeError, LookupError, UserWarning), warnings.catch_warnings():
        warnings.simplefilter("error")  # of letters that the character set has not
        native = encode_string(text, convert_encodings(list(charset)))
        ways.append(native.removesuffix(b"\x1b(B"))
    with suppress(UnicodeError):
        ways.append(text.encode("latin-1"))
    return ways


class Sheet:
    """Notes for the key what is planted into one file, whose name may be set later."""

    def __init__(self, key: Key, patient: str, charset: Sequence[str]):
        self.key, self.patient, self.charset = key, patient, charset
        self.plants: list[Plant] = []
        self.texts: list[Text] = []
        self.words: list[tuple[str, list[str]]] = []
        self.keep: list[tuple[str, Keep]] = []

    def plant(
        self,
        category: str,
        kind: str,
        where: str,
        value: str,
        *,
        needles: Iterable[str | bytes] = (),
        allowed: Iterable[str] = (),
    ) -> str:
        """Note the plant; give back its value. Without `needles` the whole value is the needle."""
        raw: dict[bytes, None] = {}
        for needle in tuple(needles) or (value,):
            ways = [needle] if isinstance(needle, bytes) else encoded(needle, self.charset)
            raw.update((way, None) for way in ways if len(way) >= SHORTEST_NEEDLE)
        if not raw:
            raise ValueError(f"a plant in {where} has no needle of {SHORTEST_NEEDLE} bytes")
        self.plants.append(
            Plant(
                -1,
                "",
                self.patient,
                category,
                kind,
                where,
                value,
                [n.hex() for n in raw],
                sorted(set(allowed)),
            )
        )
        return value

    def must_stay(self, option: str, where: str, value: Any, relation: str = "equal") -> None:
        self.keep.append((option, Keep("", where, str(value), relation)))

    def close(self, name: str, file: File) -> None:
        """The file is written under this name: move the notes to the key."""
        self.key.files[name] = file
        for plant in self.plants:
            plant.id, plant.file = len(self.key.plants), name
            self.key.plants.append(plant)
        for text in self.texts:
            text.file = name
            self.key.texts.append(text)
        for option, keep in self.keep:
            keep.file = name
            self.key.keep.setdefault(option, []).append(keep)
        self.key.words += [{"file": name, "where": where, "words": words} for where, words in self.words]
        for where, uid in file.uids.items():
            self.key.references.setdefault(uid, []).append([name, where])
