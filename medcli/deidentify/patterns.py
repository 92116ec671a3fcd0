"""What looks like an identifier whoever it belongs to: dates, phone numbers, mail addresses, record numbers, titles."""

import re
from collections.abc import Iterator
from datetime import date
from functools import lru_cache

_MONTHS = (
    ("jan", "january", "januar", "janvier", "enero"),
    ("feb", "february", "februar", "fevrier", "febrero"),
    ("mar", "march", "marz", "maerz", "mrz", "mars", "marzo"),
    ("apr", "april", "avril", "abril"),
    ("may", "mai", "mayo"),
    ("jun", "june", "juni", "juin", "junio"),
    ("jul", "july", "juli", "juillet", "julio"),
    ("aug", "august", "aout", "agosto"),
    ("sep", "sept", "september", "septembre", "septiembre"),
    ("oct", "okt", "october", "oktober", "octobre", "octubre"),
    ("nov", "november", "novembre", "noviembre"),
    ("dec", "dez", "december", "dezember", "decembre", "diciembre"),
)
_MONTH = {name: number for number, names in enumerate(_MONTHS, 1) for name in names}
_NAMED = "|".join(sorted(_MONTH, key=len, reverse=True))

DATE = re.compile(
    rf"""(?<!\d)(?:
    (?P<y1>(?:18|19|20)\d\d)(?P<s1>[-./_:\ ]?)(?P<m1>[01]\d)(?P=s1)(?P<d1>[0-3]\d)
    | (?P<y5>(?:18|19|20)\d\d)[-./](?P<m5>\d\d?)[-./](?P<d5>\d\d?)
    | (?P<d2>\d\d?)(?P<s2>[-./_\ ])(?P<m2>\d\d?)(?P=s2)(?P<y2>(?:18|19|20)\d\d)
    | (?P<d6>[0-3]\d)(?P<m6>[01]\d)(?P<y6>(?:18|19|20)\d\d)
    | (?P<d3>\d\d?)(?:st|nd|rd|th)?[-.,/_\ ]*(?:of\ )?(?P<m3>{_NAMED})\b[-.,/_\ ]*(?P<y3>(?:18|19|20)\d\d)
    )(?!\d)
    | (?<![^\W\d_])(?P<m4>{_NAMED})[-.,/_\ ]*(?P<d4>\d\d?)(?:st|nd|rd|th)?[-.,/_\ ]+(?P<y4>(?:18|19|20)\d\d)(?!\d)
    | (?<!\d)(?P<y7>(?:18|19|20)\d\d)[-.,/_\ ]*(?P<m7>{_NAMED})[-.,/_\ ]*(?P<d7>\d\d?)(?!\d)
    | (?<!\d)(?P<y8>(?:18|19|20)\d\d)年(?P<m8>\d\d?)月(?P<d8>\d\d?)日
    | (?<!\d)(?P<y9>(?:18|19|20)\d\d)(?P<m9>[01]\d)(?P<d9>[0-3]\d)(?=(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?(?!\d))""",
    re.VERBOSE | re.IGNORECASE,
)
SHORT_DATE = re.compile(
    r"(?<!\d)(\d\d?)[-./_\s](\d\d?|[a-z]{3,9})[-./_\s](\d\d)(?!\d)|(?<!\d)(\d\d)(\d\d)(\d\d)(?!\d)",
    re.IGNORECASE,
)
"""A date with two digits for the year: too common to be taken for one, unless the day is known."""
UID = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){4,}(?![\d])")
STANDARD_UID = re.compile(r"1\.2\.840\.10008(?:\.|$)")
MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URL = re.compile(r"(?:https?|ftp|file)://[^\s\"'<>]+", re.IGNORECASE)
PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[\s./-]?\(?\d{1,5}\)?(?:[\s./-]?\d{2,}){1,5}"
    r"|\(\d{2,5}\)[\s./-]?\d{3,}(?:[\s./-]\d{2,})*"
    r"|\d{3}[-.]\d{3}[-.]\d{4}"
    r"|0\d{2,4}[\s/-]\d{4,}(?:[\s/-]\d{2,})*)(?![\w])"
)
CALL = re.compile(
    r"\b(?:tel|phone|fax|mobile|telefon)\b\.?\s*(?:no\.?)?\s*[:=]?\s*(?P<rest>\+?[\d()][\d\s()./-]{4,}\d)",
    re.IGNORECASE,
)
RECORD = re.compile(
    r"\b(?:mrn|patient[\s_-]*(?:id|no|number|nr)|pat[\s._-]*(?:id|nr|no)|pid|record(?:\s*(?:no|number))?|case\s*(?:no|number|nr)"
    r"|acc(?:ession)?(?:\s*(?:no|number|nr|\#))?|ssn|nhs(?:\s*(?:no|number))?|insurance(?:\s*(?:no|number))?|id)"
    r"\b[\s.:\#=]*(?P<rest>(?=[\w/-]*\d)[A-Za-z0-9][\w/-]{2,})",
    re.IGNORECASE,
)
SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
TITLED = re.compile(
    r"\b(?:(?i:dr|prof|mrs|miss|herr|frau|dott|dra)\b\.?|(?:Mr|Ms|mr|ms)\b\.?|(?:MR|MS)\.)"
    r"\s+(?:(?i:med|dent|dr|prof)\.?\s+)*"
    r"(?P<rest>(?:[A-Z]\.\s*)*[^\W\d_a-z][^\W\d_]+(?:[\s-]+[^\W\d_a-z][^\W\d_]+)?)"
)
NAMED = re.compile(
    r"\b(?i:name|patient|pat|physician|referred\s+by|reported\s+by|signed\s+by|operator|read\s+by|technologist|dob|born|date\s+of\s+birth)"
    r"\s*[:=]\s*(?P<rest>[^\W\d_][\w'.-]*(?:[,\s^]+[^\W\d_a-z][\w'.-]*){0,3})"
)
AGE = re.compile(
    r"(?<![\d.])(?P<rest>9\d|1[0-2]\d)(?=[\s-]*(?:years?|yrs?|y\.?\s?o\.?|y/o|y|jahre|jährige?r?|ans|años|anni)\b)"
    r"|\bage[ds]?\s*[:=]?\s*(?P<rest2>9\d|1[0-2]\d)\b",
    re.IGNORECASE,
)
"""An age over 89."""
ANYWHERE = (MAIL, URL, CALL, PHONE, SSN, RECORD, TITLED, NAMED, AGE)
"""Masked in free text whatever was collected; a group `rest` marks the part to mask."""


def dates(found: re.Match[str]) -> Iterator[date]:
    """The days that a match of DATE can mean: day and month are taken both ways where they can be."""
    parts = {
        name[0]: value for name, value in found.groupdict().items() if value is not None and name[0] != "s"
    }
    month = _MONTH.get(_plain(parts["m"])) or int(parts["m"])
    year, day = int(parts["y"]), int(parts["d"])
    for one, other in dict.fromkeys(((month, day), (day, month))):
        try:
            yield date(year, one, other)
        except ValueError:
            continue


def is_short_form(found: re.Match[str], days: frozenset[tuple[int, int, int]]) -> bool:
    """Whether a match of SHORT_DATE is one of these days (year of the century, month, day), in any order."""
    parts = [
        _MONTH.get(_plain(part)) or (int(part) if part.isdigit() else -1) for part in found.groups() if part
    ]
    first, second, third = parts
    return bool({(third, second, first), (third, first, second), (first, second, third)} & days)


@lru_cache(maxsize=10_000)
def all_dates(text: str) -> frozenset[date]:
    """Every day that the text may name."""
    return frozenset(day for found in DATE.finditer(text) for day in dates(found))


def _plain(month: str) -> str:
    return month.lower().replace("ä", "a").replace("é", "e").replace("û", "u")
