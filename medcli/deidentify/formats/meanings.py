"""What names outside of DICOM mean: the attribute of the standard's table for a JSON key, a column, a text's keyword.

A name may be a keyword (`PatientName`), a spelling of it (`patient_name`, `Patient's Name`), a tag (`00100010`,
`(0010,0010)`), or words that mean the like (`dob`, `attending_physician`, `hospital`).
"""

import re
from functools import lru_cache
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, tag_for_keyword

from medcli.deidentify.tables import rows


class Meaning(NamedTuple):
    """The attribute that a name stands for.

    `text_only`: a name so general that only words are meant by it; numbers under it are something else.
    """

    keyword: str
    vr: str
    tag: int
    text_only: bool = False


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PRIVATE = Meaning("private attribute", "UN", -1)
VERSION = Meaning("version", "LO", -2)
"""Makers, models and versions, which no row of the table names: their numbers are not taken for dates."""

_ALIASES = {
    "PatientID": "patient patientid patientnumber patientnummer patientenid subject subjectid subjectnumber "
    "participant participantid mrn medicalrecordnumber hospitalnumber pid caseid casenumber bidssubject",
    "PatientName": "patientenname nameofpatient nameofthepatient",
    "PatientBirthDate": "dob dateofbirth birthdate birthday geburtsdatum",
    "PatientSex": "geschlecht",
    "InstitutionName": "center centre centername centrename centerid centreid medicalcenter studycenter krankenhaus "
    "klinik",
    "AccessionNumber": "accession accno accnum",
    "PerformedProcedureStepDescription": "procedurestepdescription",
    "PersonAddress": "adresse strasse plz wohnort",
    "PersonTelecomInformation": "telefon handy",
    "PersonName": "arzt vorname nachname by createdby",
}
"""Keyword -> further names, without case and separators."""

_PERSONS = _set(
    "physician doctor operator radiologist technologist technician surgeon nurse clinician radiographer sonographer "
    "cardiologist pathologist reader observer author reviewer annotator rater referrer referer guardian mother father "
    "spouse relative investigator performer requester contact acknowledgement owner user creator sender recipient "
    "artist byline experimenter"
)
PATIENTS = frozenset({"patient", "subject", "participant", "person", "case"})
_DOERS = _set(
    "scanned performed read reported signed acquired created modified entered approved verified requested referred "
    "reviewed annotated operated interpreted updated edited uploaded taken"
)
_OF_NAMES = frozenset(
    {"first", "last", "family", "given", "middle", "full", "maiden", "nick", "birth", "sur"}
)
_OF_SITES = frozenset(
    {"site", "id", "name", "study", "code", "number", "scan", "scanner", "acquisition", "acq"}
)
_NUMBERS = frozenset({"id", "identifier", "number", "no", "nr", "num", "code", "key"})
_CONTACTS: tuple[tuple[str, str], ...] = (
    ("PersonTelecomInformation", "email mail phone telephone tel mobile fax telecom"),
    ("PersonAddress", "address street city zip zipcode postcode postal residence"),
    ("GPSLatitude", "gps latitude longitude geolocation"),
    ("PatientID", "mrn"),
    ("MedicalRecordLocator", "ssn passport insurance nhs ethic"),
)
_WORDS: tuple[tuple[str, str], ...] = (
    ("PatientBirthDate", "birth birthdate birthday dob born"),
    (
        "PersonName",
        "firstname lastname surname forename middlename fullname maidenname nickname username login",
    ),
    ("AccessionNumber", "accession"),
    ("SOPInstanceUID", "uid"),
    ("DeviceSerialNumber", "serial serialnumber"),
    ("StationName", "station hostname host computer workstation"),
    (
        "InstitutionName",
        "hospital clinic institution institutional institute department ward organization organisation affiliation "
        "laboratory university employer",
    ),
    ("PatientAge", "age"),
    ("PatientSex", "sex gender"),
    ("EthnicGroup", "race ethnicity"),
    ("PatientReligiousPreference", "religion"),
    ("Occupation", "occupation profession"),
    ("CountryOfResidence", "country nationality"),
    ("PregnancyStatus", "pregnant pregnancy"),
    ("SmokingStatus", "smoker smoking"),
)
"""(keyword, words that give a name this meaning wherever they stand in it); the first that fits."""
_COMMENTS = _set(
    "comment note remark history report finding impression narrative anamnesis indication letter conclusion"
)
_LABELS = _set("label code class score count number type flag id")
_VERSIONS = _set("version software manufacturer model")
_DATES = frozenset({"date", "datetime", "timestamp", "datum"})
_TIMES = frozenset({"time", "start", "end", "stop", "begin", "clock", "zero"})
_DATE_ENDING = re.compile(r"(?<!up|di)(?:date|datum|datetime|timestamp)\Z")
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4})[,|]?\s?([0-9A-Fa-f]{4})\)?")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@lru_cache(maxsize=10_000)
def meaning_of(name: str, parent: str = "") -> Meaning | None:
    """The attribute that this name means (inside of what `parent` names); None: it is not known."""
    return _by_tag(name) or _by_keyword(name) or _by_words(words_of(name)) or _inside(name, parent)


def _by_tag(name: str) -> Meaning | None:
    found = _TAG.fullmatch(name.strip())
    if not found:
        return None
    tag = int(found[1] + found[2], 16)
    if tag >> 16 & 1:
        return _PRIVATE
    return _listed(tag) or _unlisted(tag)


def _by_keyword(name: str) -> Meaning | None:
    if (tag := _names().get(_squashed(name))) is not None:
        return _listed(tag)
    known = tag_for_keyword(name.strip())
    return None if known is None else _unlisted(int(known))


def _listed(tag: int) -> Meaning | None:
    row = rows().get(tag)
    if row is None:
        return None
    return Meaning(row.keyword, row.vr or "", tag, text_only=row.keyword in ("Time", "Impressions"))


def _unlisted(tag: int) -> Meaning | None:
    """Names and dates that the table forgot."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return _called({"PN": "PersonName", "DA": "DateTime", "DT": "DateTime"}.get(vr, ""))


@lru_cache(maxsize=1)
def _keywords() -> dict[str, int]:
    return {row.keyword: tag for tag, row in rows().items() if row.keyword}


@lru_cache(maxsize=1)
def _names() -> dict[str, int]:
    names = {_squashed(keyword): tag for keyword, tag in _keywords().items()}
    for keyword, aliases in _ALIASES.items():
        names |= {_squashed(alias): _keywords()[keyword] for alias in aliases.split()}
    return names


def _called(keyword: str, *, text_only: bool = False) -> Meaning | None:
    tag = _keywords().get(keyword)
    if tag is None:
        return None
    return Meaning(keyword, rows()[tag].vr or "", tag, text_only)


def _squashed(name: str) -> str:
    """Without case, separators and the letter s, by which `Patient's Name` and `patient_name` differ."""
    return re.sub(r"[\W_s]", "", name.lower())


def words_of(name: str) -> tuple[str, ...]:
    """Lower case, in the singular."""
    words = [word.lower() for word in _WORD.findall(name)]
    return tuple(
        word[:-1] if len(word) > 3 and word[-1] == "s" and word[-2] != "s" else word for word in words
    )


def _by_words(words: tuple[str, ...]) -> Meaning | None:
    found = frozenset(words)
    for keyword, these in _CONTACTS:
        if found & frozenset(these.split()):
            return _called(keyword)
    if found & {"name", "initial"} and found & PATIENTS:
        return _called("PatientName")
    if found & _COMMENTS and not found & _LABELS:
        return _called("ImageComments", text_only=True)
    if found & _PERSONS or (found & {"name"} and found & _OF_NAMES):
        return _called("PersonName")
    if words[-1:] == ("by",) and found & _DOERS:
        return _called("PersonName")
    for keyword, these in _WORDS:
        if found & frozenset(these.split()):
            return _called(keyword)
    if found & PATIENTS and found & _NUMBERS:
        return _called("PatientID")
    if "device" in found and found & _NUMBERS:
        return _called("DeviceSerialNumber")
    if "site" in found and found <= _OF_SITES:
        return _called("InstitutionName")
    if "weight" in found and found & (PATIENTS | {"body"}):
        return _called("PatientWeight")
    if found & _VERSIONS:
        return VERSION
    if found & _DATES or (words and _DATE_ENDING.search(words[-1])):
        return _called("DateTime")
    if found & _TIMES:
        return _called("Time", text_only=True)
    return None


def _inside(name: str, parent: str) -> Meaning | None:
    """`name` inside of `patient` is a patient's name."""
    around = words_of(parent)
    return _by_words(around + words_of(name)) if frozenset(around) & (PATIENTS | _PERSONS) else None
