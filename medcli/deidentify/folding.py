"""Text made comparable: without case, accents and width, with the way back to the original characters."""

import re
import unicodedata
from functools import lru_cache
from importlib.resources import files

_INSEPARABLE = {
    "ł": "l", "Ł": "l", "đ": "d", "Đ": "d", "ø": "o", "Ø": "o", "æ": "ae", "Æ": "ae", "œ": "oe", "Œ": "oe", "þ": "th",
    "Þ": "th", "ð": "d", "Ð": "d", "ı": "i", "İ": "i", "ħ": "h", "Ħ": "h", "ŧ": "t", "Ŧ": "t", "ŋ": "n",
}  # fmt: skip
"""Letters that Unicode does not take apart into a base letter and its mark."""
_SPELLED_OUT = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("å", "aa"), ("ø", "oe"), ("æ", "ae"))


def fold(text: str) -> str:
    """Lower case, no accents, full-width letters narrow, ligatures and sharp s spelled out."""
    if text.isascii():
        return text.lower()
    return "".join(_fold_character(character) for character in text)


def fold_with_places(text: str) -> tuple[str, list[int] | None]:
    """The folded text, and for each of its characters (and its end) the place in the original; None: the same."""
    if text.isascii():
        return text.lower(), None
    pieces = [_fold_character(character) for character in text]
    places = [place for place, piece in enumerate(pieces) for _ in piece]
    return "".join(pieces), [*places, len(text)]


@lru_cache(maxsize=20_000)
def _fold_character(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", _INSEPARABLE.get(character, character).casefold())
    return "".join(part for part in decomposed if not unicodedata.combining(part)).casefold()


def spellings(word: str) -> set[str]:
    """Folded spellings under which a name is met: Müller gives muller and mueller; Mueller gives both too."""
    word = unicodedata.normalize("NFC", word.lower())
    spelled = word
    for letter, letters in _SPELLED_OUT:
        spelled = spelled.replace(letter, letters)
    result = {fold(word), fold(spelled)}
    return result | {re.sub("ae|oe|ue", lambda found: found[0][0], form) for form in result}


@lru_cache(maxsize=1)
def common_words() -> frozenset[str]:
    """Folded words of medicine and of hospitals that identify nobody, one per line in data/common_words.txt."""
    text = (files("medcli.deidentify") / "data" / "common_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def is_common(text: str) -> bool:
    """Whether all words of a text are common ones (or numbers below 100, or single letters); not several numbers."""
    words = re.findall(r"[^\W_]+", fold(text))
    if len(words) > 1 and all(word.isdigit() for word in words):
        return False
    return all(
        word in common_words() or len(word) < 2 or (word.isdigit() and len(word) < 3) for word in words
    )
