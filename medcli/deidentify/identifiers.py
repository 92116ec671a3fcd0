"""What identifies: collected over all files of a patient, then found again wherever it hides."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise

import ahocorasick_rs

from medcli.deidentify.folding import fold, fold_with_places, is_common, spellings
from medcli.deidentify.patterns import (
    ANYWHERE,
    DATE,
    NAMED,
    RECORD,
    SHORT_DATE,
    STANDARD_UID,
    UID,
    all_dates,
    dates,
    is_short_form,
)
from medcli.deidentify.pseudonyms import Pseudonyms

MASK = "XXX"
_MASK_ONLY = re.compile(r"[X\s\W_]*")
_TITLES = frozenset({
    "dr", "prof", "mr", "mrs", "ms", "miss", "herr", "frau", "med", "dent", "dipl", "ing", "phd", "md",
    "jr", "sr", "ii", "iii", "von", "van", "de", "der", "da", "di",
})  # fmt: skip
_SEPARATORS = r"[\s,.;:_^=/&+\-]{0,3}"
_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_DIGIT = re.compile(r"\d")
_LETTER_BEFORE, _LETTER_AFTER = r"(?<![^\W\d_])", r"(?![^\W\d_])"
_COUNTING = "01234567890123456789"
"""As 16-bit numbers, part of any table that counts up."""
_DIGITS = b"0123456789"
_CHARSETS = (
    "utf-8", "latin-1", "iso8859-2", "iso8859-5", "iso8859-6", "iso8859-7", "iso8859-8", "iso8859-9",
    "cp874", "shift_jis", "euc_jp", "iso2022_jp", "euc_kr", "gb18030", "big5", "cp1251", "koi8-r",
)  # fmt: skip


@dataclass
class Identifiers:
    """What was collected, as text; sets, so that collections of many files can be joined in any order."""

    patient_names: set[str] = field(default_factory=set)
    """Person names of the patient, in DICOM's form (`family^given=...`) or free."""
    names: set[str] = field(default_factory=set)
    """Person names of others: physicians, operators, relatives."""
    ids: set[str] = field(default_factory=set)
    """Patient IDs, accession numbers, serial numbers."""
    phrases: set[str] = field(default_factory=set)
    """Addresses, institutions, telephone numbers."""
    dates: set[date] = field(default_factory=set)
    kept_dates: set[date] = field(default_factory=set)
    """Dates that an option keeps in attributes of their own; the same day is no secret elsewhere."""
    uids: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Texts that an option keeps, such as the institution: their words are no secret, unless they name the patient."""

    def add(self, text: str) -> None:
        """A value whose kind is not known: an ID where it is one word with a digit, else a phrase."""
        text = text.strip(" \0\t\r\n")
        if not text or _MASK_ONLY.fullmatch(text):
            return
        single = not re.search(r"\s", text)
        (self.ids if single and re.search(r"\d", text) else self.phrases).add(text)

    def add_dates(self, text: str) -> None:
        """Every date in the text (also YYYYMMDD and date-times)."""
        self.dates.update(all_dates(text))

    def join(self, other: "Identifiers") -> None:
        for name, values in vars(other).items():
            getattr(self, name).update(values)


class Finder:
    """Finds and masks what was collected, in text and in bytes.

    Args:
        identifiers: Of one patient, or of all where the patient is not known.
        pseudonyms: Give the new UIDs for UIDs that stand in text; None: they are kept.
        keep_dates: What merely looks like a date stays (the options to retain dates); collected dates never do.
    """

    def __init__(self, identifiers: Identifiers, pseudonyms: Pseudonyms | None, *, keep_dates: bool = False):
        self._identifiers = identifiers
        self._pseudonyms = pseudonyms
        self._keep_dates = keep_dates
        self._dates = frozenset(identifiers.dates - identifiers.kept_dates)
        alternatives = sorted(_text_patterns(identifiers), key=len, reverse=True)
        self._pattern = re.compile("|".join(alternatives)) if alternatives else None
        self._exact_numbers = {
            text for text in map(str.strip, identifiers.ids) if text.isdigit() and len(text) > 5
        }
        self._exact_numbers |= {day.strftime("%Y%m%d") for day in self._dates}
        self._masked: dict[tuple[str, bool], str] = {}
        self._hit: dict[str, bool] = {}

    @cached_property
    def beyond_ascii(self) -> bool:
        """Whether anything that is searched in bytes has other letters than those of ASCII."""
        found = self._identifiers
        return not all(
            text.isascii()
            for texts in (found.patient_names, found.names, found.ids, found.phrases)
            for text in texts
        )

    @cached_property
    def _short_dates(self) -> frozenset[tuple[int, int, int]]:
        return frozenset((day.year % 100, day.month, day.day) for day in self._dates)

    @cached_property
    def _bytes(self) -> "_ByteSearch":
        return _ByteSearch(_byte_patterns(self._identifiers, self._dates), uids_stay=self._pseudonyms is None)

    def mask_code(self, text: str) -> str:
        """A coded string: as `mask`, but a common word (TEXT, HEAD, ...) stays, whoever is called so."""
        return text if is_common(text) else self.mask(text, free=True)

    def mask(self, text: str, *, free: bool = False) -> str:
        """The text with every identifier replaced by XXX, and UIDs by their pseudonyms.

        `free`: also what merely looks like a date, a phone number, a mail address, a record number or a titled name.
        """
        key = (text, free)
        known = self._masked.get(key)
        if known is None:
            known = self._mask(text, free)
            if len(text) < 1000 and len(self._masked) < 50_000:
                self._masked[key] = known
        return known

    def mask_but_uids(self, text: str) -> str:
        """As `mask`, but UIDs stay."""
        for start, end in _joined(self._collected(text)):
            text = text[:start] + MASK + text[end:]
        return text

    def mask_number(self, text: str) -> str:
        """A decimal or integer string: "0" where it is a collected number or date as a whole."""
        return "0" if text.strip() in self._exact_numbers else text

    def knows_date(self, text: str) -> bool:
        """Whether a date, or date-time, that starts with YYYYMMDD is a collected one."""
        found = DATE.match(text[:8])
        return found is not None and not self._dates.isdisjoint(dates(found))

    def hits(self, text: str) -> bool:
        """Whether collected identifiers are in the text (what only looks like one does not count)."""
        known = self._hit.get(text)
        if known is None:
            known = next(self._collected(text), None) is not None
            if len(text) < 1000 and len(self._hit) < 50_000:
                self._hit[text] = known
        return known

    def in_bytes(self, content: bytes | bytearray | memoryview) -> bool:
        """Whether strong identifiers (long enough not to occur by chance) are in the bytes, in any likely encoding."""
        return next(self._bytes.spans(bytes(content)), None) is not None

    def scrub(self, content: bytes) -> bytes:
        """The bytes with every strong identifier overwritten by X; the length stays."""
        result = None
        for start, end in self._bytes.spans(content):
            result = result or bytearray(content)
            result[start:end] = b"X" * (end - start)
        return content if result is None else bytes(result)

    def _mask(self, text: str, free: bool) -> str:
        spans = list(self._collected(text))
        if free:
            spans += _looks_identifying(text, dates_too=not self._keep_dates)
        for start, end in _joined(spans):
            text = text[:start] + MASK + text[end:]
        if self._pseudonyms and text.count(".") > 3:
            text = UID.sub(self._new_uid, text)
        return text

    def _new_uid(self, found: re.Match[str]) -> str:
        uid = found[0]
        assert self._pseudonyms is not None
        known = uid in self._identifiers.uids or (len(uid) > 20 and not STANDARD_UID.match(uid))
        return self._pseudonyms.uid(uid) if known else uid

    def _collected(self, text: str) -> Iterator[tuple[int, int]]:
        folded, places = fold_with_places(text)
        spans = [found.span() for found in self._pattern.finditer(folded)] if self._pattern else []
        if self._dates and any(character.isdigit() for character in folded):
            spans += [
                found.span() for found in DATE.finditer(folded) if not self._dates.isdisjoint(dates(found))
            ]
            spans += [
                found.span()
                for found in SHORT_DATE.finditer(folded)
                if is_short_form(found, self._short_dates)
            ]
        for start, end in spans:
            yield (start, end) if places is None else (places[start], places[end - 1] + 1)


def _looks_identifying(text: str, *, dates_too: bool) -> Iterator[tuple[int, int]]:
    if dates_too:
        yield from (found.span() for found in DATE.finditer(text) if any(True for _ in dates(found)))
    for pattern in ANYWHERE:
        for found in pattern.finditer(text):
            group = next((name for name in pattern.groupindex if found[name]), 0)
            span = found.span(group)
            if pattern not in (RECORD, NAMED) or not is_common(text[slice(*span)]):
                yield span


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that touch become one; from the last to the first."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result[::-1]


# --- patterns for text (folded) -----------------------------------------------------------------------------------


def _text_patterns(identifiers: Identifiers) -> set[str]:
    patterns: set[str] = set()
    for names, own in ((identifiers.patient_names, True), (identifiers.names, False)):
        for name in names:
            patterns.update(_name_patterns(name, own=own))
    for text in identifiers.ids - identifiers.kept:
        patterns.update(_id_patterns(text))
    open_words = frozenset(word for text in identifiers.kept for word in _WORD.findall(fold(text)))
    for text in identifiers.phrases:
        patterns.update(_phrase_patterns(text, open_words))
    return patterns


def name_words(name: str) -> list[list[str]]:
    """The words of each component group (alphabetic, ideographic, phonetic) of a person name; none with digits."""
    groups = ([word for word in _NAME.findall(group) if not _DIGIT.search(word)] for group in name.split("="))
    return [words for words in groups if words]


def _name_patterns(name: str, *, own: bool) -> Iterator[str]:
    for words in name_words(name):
        words = [
            word for word in words if (len(word) > 1 or not word.isascii()) and word.lower() not in _TITLES
        ]
        forms = [sorted(spellings(word)) for word in words]
        for place, variants in enumerate(forms):
            others = [other for index, group in enumerate(forms) if index != place for other in group]
            for word in variants:
                if not is_common(word) or (own and len(word) > 2):
                    yield from _word_pattern(word)
                yield from (
                    re.escape(word) + _SEPARATORS + re.escape(other)
                    for other in others
                    if len(word + other) > 3
                )


def _word_pattern(word: str) -> Iterator[str]:
    """Long words also inside of others; short ones only by themselves; single letters of an alphabet never."""
    if len(word) > 4 or (_unspaced(word) and len(word) > 1):
        yield re.escape(word)
    elif len(word) > 2 or (len(word) == 2 and not is_common(word)):
        yield rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"


def _unspaced(word: str) -> bool:
    """Scripts written without spaces, where a name stands inside a run of letters."""
    return all(ord(character) >= 0x1100 and not 0x1E00 <= ord(character) < 0x2000 for character in word)


def _id_patterns(text: str) -> Iterator[str]:
    chunks = re.findall(r"[^\W_]+", fold(text))
    joined = "".join(chunks)
    if len(joined) < 4 or is_common(text):
        return
    body = r"[\W_]{0,2}".join(map(re.escape, chunks))
    if joined.isdigit():
        yield rf"(?<!\d){body}(?!\d)"
    elif len(joined) < 6:
        yield rf"(?<![^\W_]){body}(?![^\W_])"
    else:
        yield body
    for digits in re.findall(r"\d{6,}", joined):
        yield rf"(?<!\d){digits}(?!\d)"


def _phrase_patterns(text: str, open_words: frozenset[str]) -> Iterator[str]:
    if is_common(text) or all(word in open_words for word in _WORD.findall(fold(text))):
        return
    words = re.findall(r"[^\W_]+", fold(text))
    if len("".join(words)) < 4:
        return
    yield rf"{_LETTER_BEFORE}{_phrase(words)}{_LETTER_AFTER}"
    digits = re.sub(r"\D", "", text)
    if len(digits) > 6:
        spaced = r"[\W_]{0,2}".join(digits)
        yield rf"(?<!\d){spaced}(?!\d)"
    for part in re.split(r"[,;^\r\n\\=]+", text):
        piece = re.findall(r"[^\W_]+", fold(part))
        if len("".join(piece)) > 4 and not is_common(part) and not open_words.issuperset(piece):
            yield rf"{_LETTER_BEFORE}{_phrase(piece)}{_LETTER_AFTER}"
    for word in words:
        if len(word) > 4 and not is_common(word) and word not in open_words:
            yield rf"{_LETTER_BEFORE}{re.escape(word)}{_LETTER_AFTER}" if word.isalpha() else re.escape(word)


def _phrase(words: list[str]) -> str:
    return r"[\W_]{0,3}".join(map(re.escape, words))


# --- patterns for bytes (lower case) ------------------------------------------------------------------------------


class _ByteSearch:
    """Many byte strings searched at once, without regard to the case of ASCII letters."""

    def __init__(self, patterns: set[bytes], *, uids_stay: bool):
        self._patterns = sorted(patterns)
        self._uids_stay = uids_stay
        self._automaton = ahocorasick_rs.BytesAhoCorasick(self._patterns) if self._patterns else None

    def spans(self, content: bytes) -> Iterator[tuple[int, int]]:
        if self._automaton is None:
            return
        lowered = content.lower()
        for index, start, end in self._automaton.find_matches_as_indexes(lowered):
            if not (
                self._patterns[index][-1] in _DIGITS
                and _inside_number(lowered, start, end, uids_stay=self._uids_stay)
            ):
                yield start, end


def _inside_number(content: bytes, start: int, end: int, *, uids_stay: bool) -> bool:
    """Whether a number or UID goes on before its start or after its end; or, where UIDs stay, it is a part of one."""
    dots = content.count(b".", start, end)
    if not content[start:end].replace(b".", b"").isdigit():
        return False
    before, after = content[max(start - 1, 0) : start], content[end : end + 2]
    if before.isdigit() or after[:1].isdigit():
        return True
    if uids_stay and before == b"." and content[max(start - 2, 0) : start - 1].isdigit():
        return True
    return dots > 2 and (before == b"." or (after[:1] == b"." and after[1:].isdigit()))


def _byte_patterns(identifiers: Identifiers, days: Iterable[date]) -> set[bytes]:
    strong: set[str] = set()
    for name in identifiers.patient_names | identifiers.names:
        strong.update(_strong_names(name))
    for text in identifiers.ids - identifiers.kept:
        compact = text.strip()
        if not is_common(compact) and len(compact) > (7 if compact.isdigit() else 5):
            strong.add(compact)
    open_texts = [fold(text) for text in identifiers.kept]
    for text in map(str.strip, identifiers.phrases):
        if len(text) > 6 and not is_common(text) and not any(fold(text) in kept for kept in open_texts):
            strong.add(text)
    for day in days:
        strong |= {
            day.strftime("%Y%m%d"),
            day.isoformat(),
            day.strftime("%d.%m.%Y"),
            day.strftime("%m/%d/%Y"),
            day.strftime("%d/%m/%Y"),
        }
    patterns = {encoded for text in strong for encoded in _encoded(text)}
    patterns |= {uid.encode() for uid in identifiers.uids if len(uid) > 12}
    return patterns


def _strong_names(name: str) -> Iterator[str]:
    for words in name_words(name):
        long = 5 if words[0].isascii() else 3
        yield from (word for word in words if len(word) >= long and not is_common(word))
        for first, second in pairwise(words):
            yield from (
                first + between + second
                for between in ("^", " ", ", ", "_", "-", "")
                if len(first + second) >= long
            )
            yield from (
                second + between + first
                for between in ("^", " ", ", ", "_", "-", "")
                if len(first + second) >= long
            )


def _encoded(text: str) -> Iterator[bytes]:
    """The text in lower case in every encoding that can write it.

    UTF-16 of ASCII goes without its outer zero byte, which fits both byte orders.
    """
    for form in {text, text.lower(), text.upper()}:
        for charset in ("ascii",) if form.isascii() else _CHARSETS:
            try:
                encoded = form.encode(charset)
            except UnicodeEncodeError:
                continue
            if len(encoded) > 4:
                yield encoded.lower()
        if form.isascii():
            if form not in _COUNTING:
                yield form.encode("utf-16-le")[:-1].lower()
        else:
            yield from (form.encode("utf-16-le").lower(), form.encode("utf-16-be").lower())
