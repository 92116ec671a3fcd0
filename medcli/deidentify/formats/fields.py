"""Named values outside of DICOM: what identifies in them, and what becomes of each by the standard's table.

What no rule knows by its name is free text, where what was collected is masked and what looks like an identifier.
"""

import re
from collections.abc import Mapping

from medcli.deidentify.formats.meanings import PATIENTS, VERSION, Meaning, meaning_of, words_of
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.names import clean_part
from medcli.deidentify.patterns import STANDARD_UID, UID, all_dates
from medcli.deidentify.policy import Policy
from medcli.deidentify.profile import Action, actions_for
from medcli.deidentify.tables import rows

_OLDEST = 90
_DAY = re.compile(
    r"((?:18|19|20)\d\d)([-/.:]?)([01]\d)\2([0-3]\d)"
    r"(?:(?=[T _]?\d)[T _]?(?P<clock>[\d:.]+))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
)
_CLOCK = re.compile(r"[0-2]?\d:[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?|(?:[01]\d|2[0-3])[0-5]\d[0-5]\d(?:\.\d+)?")
_UID_BREAKS = re.compile(r"[\\\s,;]+")
_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\[^\\]|~?/[^/\s]+/|file:")
_FILE = re.compile(
    r"(?P<scheme>bids:\w*:)?(?P<place>[^\s/\\:]+(?:/[^\s/\\:]+)*"
    r"\.(?:nii|nii\.gz|hdr|img|json|dcm|ima|png|jpe?g|tiff?|bval|bvec|tsv|csv))",
    re.IGNORECASE,
)
"""A file of the same set, by its relative place."""
_AGE = re.compile(r"(?P<age>\d+(?:\.\d+)?)\s*(?P<unit>[YMWD]|years?|months?|weeks?|days?)?", re.IGNORECASE)
_PER_YEAR = {"m": 12.0, "w": 52.18, "d": 365.25}


# --- values -------------------------------------------------------------------------------------------------------


def action_on(meaning: Meaning, policy: Policy) -> Action:
    if meaning is VERSION:
        return Action.KEEP
    return policy.actions("").get(meaning.tag, Action.REMOVE)


def cleaned_text(text: str, meaning: Meaning | None, policy: Policy) -> str | None:
    """The text that may stay in place of this one; None: nothing may."""
    if meaning is None or not text.strip():
        return _unknown_text(text, policy)
    if meaning.vr == "TM" and meaning.text_only and not _CLOCK.fullmatch(text.strip()):
        return _unknown_text(text, policy)
    action = action_on(meaning, policy)
    if action in (Action.EMPTY, Action.DUMMY) and meaning.keyword in _PSEUDONYMS:
        return _pseudonym(text, meaning, policy)
    if action is Action.UID:
        return _uids(text, policy)
    if action is Action.SHIFT:
        return text if meaning.vr in ("TM", "SH") else _moved(text, policy)
    if action is Action.CLEAN:
        return policy.text(text)
    if action is not Action.KEEP:
        return None
    return _kept(text, meaning, policy)


def cleaned_number(text: str, meaning: Meaning | None, policy: Policy) -> str | None:
    """As `cleaned_text`, for a number as it was spelled."""
    if meaning is None or meaning.text_only:
        return _unknown_number(text, policy)
    if meaning.keyword == "DateTime" and meaning.vr == "DT" and len(_digits(text)) < 8:
        return text  # a count of days or seconds, by a name that only has the word for date in it
    if action_on(meaning, policy) in (Action.KEEP, Action.CLEAN):
        return capped_age(policy.finder.mask_number(text), meaning.keyword)
    return cleaned_text(text, meaning, policy)


_PSEUDONYMS = frozenset({"PatientID", "PatientName", "AccessionNumber"})


def _kept(text: str, meaning: Meaning, policy: Policy) -> str | None:
    """What the options keep, as far as it is what its name says, and nothing that was collected."""
    if meaning.vr in ("DA", "DT", "TM"):
        return None if policy.finder.hits(text) else text
    if meaning.vr == "UI":
        return text if all(map(UID.fullmatch, _UID_BREAKS.split(text.strip()))) else policy.text(text)
    return capped_age(policy.finder.mask(text), meaning.keyword)


def _pseudonym(text: str, meaning: Meaning, policy: Policy) -> str | None:
    if meaning.keyword == "AccessionNumber":
        return policy.pseudonyms.accession(text)
    if meaning.keyword == "PatientID":
        return policy.pseudonyms.patient(text)
    return policy.patient_id if policy.patient else None


def _uids(text: str, policy: Policy) -> str | None:
    """Every UID in the text replaced, unless it says what kind of thing something is."""
    uids = _UID_BREAKS.split(text.strip())
    return "\\".join(uid if STANDARD_UID.match(uid) else policy.pseudonyms.uid(uid) for uid in uids)


def _unknown_text(text: str, policy: Policy) -> str | None:
    if _DAY.fullmatch(text.strip()):
        return _unknown_day(text, policy)
    if _PATH.match(text.strip()):
        return None
    if found := _FILE.fullmatch(text.strip()):
        return (found["scheme"] or "") + _renamed(found["place"], policy)
    return policy.text(text)


def _renamed(place: str, policy: Policy) -> str:
    """The place under which the file that is meant is written."""
    new_uids = "uids" not in policy.options
    parts = place.split("/")
    return "/".join(clean_part(part, policy.finder, policy.pseudonyms, new_uids=new_uids) for part in parts)


def _unknown_number(text: str, policy: Policy) -> str | None:
    digits = _digits(text)
    if len(digits) == 8 and _DAY.fullmatch(digits):
        return _unknown_day(digits, policy)
    return None if policy.finder.mask_number(digits) != digits else text


def _unknown_day(text: str, policy: Policy) -> str | None:
    """It may be the birth date, which is collected; study dates are collected too unless they are kept."""
    found = _DAY.fullmatch(text.strip())
    day = "".join(found.group(1, 3, 4)) if found else ""
    if "modified-dates" not in policy.options and policy.finder.knows_date(day):
        return None
    return _moved(text, policy)


def _digits(text: str) -> str:
    """A whole number without sign, however it is spelled; other numbers give what is before the point."""
    try:
        value = abs(float(text))
        return str(int(value)) if value < 1e17 else text
    except (ValueError, OverflowError):
        return text


def _moved(text: str, policy: Policy) -> str | None:
    """A date or a date with time, in its own spelling, as the options ask."""
    found = _DAY.fullmatch(text.strip())
    if not found:
        return None
    year, between, month, day = found.groups()[:4]
    new = policy.date(year + month + day)
    if new is None:
        return None
    return between.join((new[:4], new[4:6], new[6:8])) + text.strip()[found.end(4) :]


def capped_age(text: str, keyword: str) -> str:
    """An age above 89 years becomes 90 of the same unit; other text and other attributes stay."""
    found = _AGE.fullmatch(text.strip()) if keyword == "PatientAge" else None
    if not found:
        return text
    most = int(_OLDEST * _PER_YEAR.get((found["unit"] or "")[:1].lower(), 1.0))
    if float(found["age"]) <= most:
        return text
    width = len(found["age"]) if found["age"][0] == "0" or (found["unit"] or "").isupper() else 0
    return str(most).zfill(width) + text.strip()[found.end("age") :]


# --- collecting ---------------------------------------------------------------------------------------------------

_NOBODY = re.compile(r"(?i)anonym\w*|unknown|removed|de-?identified|test|none|null|n/?a|user|admin|root|XX*")
_LINE = re.compile(r"([^:=\n]{2,40}?)\s*[:=]\s*(\S.*)", re.DOTALL)
_AFTER_NAME = re.compile(r"\d|[;(]|\b(?:id|mrn|pid|dob|born|age[d]?|sex|seen|was|is)\b", re.IGNORECASE)
_MOST_WORDS = 5
_COLLECTED_VRS = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR", "AE"})


class Collector:
    """Takes named values in, and adds to `Identifiers` those that identify.

    Attributes:
        patient: The first Patient ID that was met.
    """

    def __init__(self, identifiers: Identifiers, actions: Mapping[int, Action] | None = None):
        """`actions`: what is kept by them is not collected; None: those of the Basic Profile."""
        self.identifiers = identifiers
        self.actions = actions_for(frozenset(), "") if actions is None else actions
        self.patient: str | None = None

    def field(self, name: str, text: str, parent: str = "", *, certain: bool = True) -> None:
        """A named value; `certain`: it stands in a place for it, so a Patient ID is the file's."""
        meaning, text = meaning_of(name, parent), text.strip(" \0\t\r\n")
        if meaning is None or not text or len(text) > 1000 or _NOBODY.fullmatch(text):
            return
        if meaning.vr == "PN" and (not certain or meaning.keyword == "PersonName"):
            text = " ".join(_AFTER_NAME.split(text, maxsplit=1)[0].split()[:_MOST_WORDS]).strip(" ,")
        of_patient = meaning.keyword == "PatientID"
        if of_patient and frozenset(words_of(name)) <= PATIENTS and not re.search(r"\d", text):
            self.identifiers.patient_names.add(text)  # `Patient: Jane Doe`
            return
        if of_patient and certain:
            self.patient = self.patient or text
        self._add(meaning, text)

    def _add(self, meaning: Meaning, text: str) -> None:
        row = rows().get(meaning.tag)
        if not text:
            return
        if meaning.vr == "PN":
            own = meaning.keyword in ("PatientName", "OtherPatientNames", "PatientBirthName")
            (self.identifiers.patient_names if own else self.identifiers.names).add(text)
        elif meaning.vr in ("DA", "DT"):
            kept = self.actions.get(meaning.tag) is Action.KEEP
            days = self.identifiers.kept_dates if kept else self.identifiers.dates
            days.update(all_dates(_DAY.sub(lambda found: "-".join(found.group(1, 3, 4)), text)))
        elif row is None or self.actions.get(meaning.tag) is Action.KEEP:
            return
        elif meaning.vr == "UI" and row.basic == "U":
            uids = filter(UID.fullmatch, _UID_BREAKS.split(text))
            self.identifiers.uids.update(uid for uid in uids if not STANDARD_UID.match(uid))
        elif meaning.vr in _COLLECTED_VRS and not {"descriptors", "patient"} & set(row.options):
            self.identifiers.add(text)

    def lines(self, text: str) -> None:
        """Free text with named values in it: `Patient ID: 123; Operator = ...`."""
        for part in re.split(r"[\r\n;|]+", text[:100_000]):
            found = _LINE.fullmatch(part[:2000].strip())
            if found:
                self.field(found[1], found[2], certain=False)
