"""The people of the planted corpus: names in many scripts and forms, numbers, dates, places; no two alike."""

import datetime
import random
import string
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.charset import convert_encodings, decode_bytes, encode_string

PEOPLE = (
    # character sets, name in all its groups, a word for hospital in the script
    (["ISO_IR 100"], "Quintbergsmüller^Annelore^Brünhild^Dr.", "Klinikum Süd"),
    (
        ["", "ISO 2022 IR 87"],
        "Teshigawara^Misako=勅使河原^美沙子=てしがわら^みさこ",
        "総合病院",
    ),
    (["ISO_IR 192"], "Wojciechowsko-Żółkiewska^Świętosława", "Szpital Łódź"),
    ([""], "Vandersmythe^Ottoline^Kestrel^Rev^Jr", "Hospital"),
    (["", "ISO 2022 IR 149"], "Namgungsuk^Hayoonae=南宮淑^夏潤愛=남궁숙^하윤애", "종합병원"),
    (["GB18030"], "Ouyangfeng^Xiaoxuanlu=欧阳凤^晓萱露", "人民医院"),
    (["ISO_IR 144"], "Вознесенскова^Евпраксия^Святогоровна", "Больница"),
    (["ISO_IR 127"], "الزعفراني^شمسالنهار", "مستشفى"),
    (["ISO_IR 126"], "Παπαχριστοδούλου^Θεοπίστη", "Νοσοκομείο"),
    (["ISO_IR 192"], "Ólafsbrandsdóttir^Þjóðhildur^Æsa", "Sjúkrahús"),
)
SYLLABLES = [
    "brak",
    "vel",
    "thorm",
    "quis",
    "dorn",
    "zel",
    "wich",
    "prax",
    "olm",
    "gund",
    "fesk",
    "yar",
    "jost",
    "krel",
    "tumb",
    "nax",
    "ulf",
    "pir",
]
FOLDED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "o", "ł": "l", "þ": "th", "ð": "d", "æ": "ae"}
)
MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


class Source:
    """Random values from a seed; what must be unique is."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self._given: set[str] = set()

    def _unique(self, make) -> str:
        while (value := make()) in self._given:
            pass
        self._given.add(value)
        return value

    def token(self, length: int = 9) -> str:
        """Capitals, small letters and digits in turns, as no word and no code has them."""
        alphabets = ("QXZVWK", "vwxzkq", string.digits)
        return self._unique(
            lambda: "".join(self.random.choice(alphabets[place % 3]) for place in range(length))
        )

    def digits(self, length: int = 9) -> str:
        return self._unique(
            lambda: (
                self.random.choice("3456789")
                + "".join(self.random.choice(string.digits) for _ in range(length - 1))
            )
        )

    def surname(self) -> str:
        return self._unique(
            lambda: "".join(self.random.choice(SYLLABLES) for _ in range(3)).capitalize() + "stern"
        )

    def person(self) -> str:
        return f"{self.surname()}^{self.surname()[:-5]}ine"

    def uid(self) -> str:
        return "1.2.826.0.1.3680043.9." + self.digits(4) + "." + self.digits(12) + "." + self.digits(9)

    def date(self, first: int = 1950, last: int = 2023) -> str:
        """DA, nowhere else given."""

        def make() -> str:
            year, month = self.random.randint(first, last), self.random.randint(1, 12)
            return f"{year}{month:02}{self.random.randint(13, 28):02}"

        return self._unique(make)

    def time(self) -> str:
        clock = f"{self.random.randint(10, 22)}{self.random.randint(10, 59)}{self.random.randint(10, 59)}"
        return clock + "." + self.digits(6)

    def phone(self) -> str:
        return f"+49 {self.random.randint(151, 179)} {self.digits(8)}"

    def mail(self) -> str:
        return f"{self.token().lower()}@{self.surname().lower()}.example"


@dataclass
class Study:
    uid: str
    date: str
    time: str
    accession: str
    study_id: str
    frame_of_reference: str
    later: str  # DA: some days after, for series that were made later
    referring: str
    performing: str
    reading: str
    operator: str


@dataclass
class Patient:
    label: str
    charset: list[str]
    name: str
    hospital: str
    id: str
    other_id: str
    birth_date: str
    sex: str
    address: str
    phone: str
    mail: str
    institution: str
    institution_address: str
    department: str
    station: str
    serial: str
    studies: list[Study] = field(default_factory=list)

    def age(self, study: Study) -> int:
        return int(study.date[:4]) - int(self.birth_date[:4]) - (study.date[4:] < self.birth_date[4:])

    def can_write(self, text: str) -> bool:
        """Whether the character sets of this patient's files hold the text."""
        return writable(text, self.charset)


def writable(text: str, charset: list[str]) -> bool:
    if text.isascii():
        return True
    encodings = convert_encodings(charset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cannot be written is replaced
        return charset != [""] and decode_bytes(encode_string(text, encodings), encodings, set()) == text


def make_patients(source: Source, count: int, studies: int) -> list[Patient]:
    """The first `count` of the people; every fourth is over 89 years old."""
    return [_patient(source, index, studies) for index in range(count)]


def _patient(source: Source, index: int, studies: int) -> Patient:
    charset, name, hospital = PEOPLE[index % len(PEOPLE)]
    born = source.date(1924, 1927) if index % 4 == 0 else source.date(1931, 1979)
    patient = Patient(
        label=f"patient-{index}",
        charset=charset,
        name=name,
        hospital=hospital,
        id=f"{source.token(6)}-{source.digits(7)}" if index % 2 else source.digits(10),
        other_id=source.token(10),
        birth_date=born,
        sex="FM"[index % 2],
        address=f"{source.surname()}weg {source.digits(4)}",
        phone=source.phone(),
        mail=source.mail(),
        institution=f"{hospital} {source.surname()}heim",
        institution_address=f"{source.surname()}allee {source.digits(4)}",
        department=f"{source.surname()} Abteilung",
        station=source.token(10),
        serial=source.token(11),
    )
    patient.studies = [_study(source) for _ in range(studies)]
    return patient


def _study(source: Source) -> Study:
    date = source.date(2018, 2023)
    day = datetime.datetime.strptime(date, "%Y%m%d") + datetime.timedelta(source.random.randint(1, 9))
    return Study(
        uid=source.uid(), date=date, time=source.time(), accession=source.token(4) + source.digits(8),
        study_id=source.token(8), frame_of_reference=source.uid(), later=day.strftime("%Y%m%d"),
        referring=source.person(), performing=source.person(), reading=source.person(),
        operator=source.person(),
    )  # fmt: skip


def fold(text: str) -> str:
    """Lower case, without accents: ü is written ue."""
    plain = unicodedata.normalize("NFKD", text.lower().translate(FOLDED))
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def name_forms(name: str) -> list[tuple[str, tuple[str, ...]]]:
    """Ways to write a person name (PN) in running text, each with the needles that betray it."""
    groups = name.split("=")
    forms: list[tuple[str, tuple[str, ...]]] = []
    for group in groups:
        surname, given = group.split("^")[:2]
        middle = [*group.split("^"), "", ""][2]
        wide = not group.isascii() and ord(group[0]) > 0x1100
        if wide:
            forms += [(f"{surname} {given}", (surname, given)), (surname + given, (surname + given,))]
            continue
        forms += [
            (f"{given} {surname}", (surname, given)),
            (f"{surname}, {given}", (surname, given)),
            (f"{surname.upper()}, {given.upper()}", (surname.upper(), given.upper())),
            (f"{given[0]}. {surname}", (surname,)),
            (f"{surname} {given[0]}.", (surname,)),
            (f"{given}{surname}", (surname, given)),
            (f"{surname}^{given}", (surname, given)),
            (f"{surname.split('-')[-1]}", (surname.split("-")[-1],)),
        ]
        if middle:
            forms.append((f"{given} {middle} {surname}", (surname, given)))
        apart = unicodedata.normalize("NFD", f"{given} {surname}")
        if apart != f"{given} {surname}":  # letters and accents as two characters each
            forms.append((apart, tuple(apart.split(" "))))
        if group.isascii():  # as Japanese, Chinese and Korean devices write Latin letters
            forms.append((widened(surname), (widened(surname),)))
        small, first = fold(surname), fold(given)
        if small.isascii():
            forms += [(f"{small}_{first}", (small, first)), (f"{first}.{small}", (small, first))]
            forms.append(
                (f"{small[0].upper()}{small[1:]}{first[0].upper()}{first[1:]}", (small[1:], first[1:]))
            )
    return [(text, (text, *needles)) for text, needles in forms]


def widened(text: str) -> str:
    """In the letters that are as wide as ideographs."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


def date_forms(date: str) -> list[str]:
    """Ways to write a date (DA) in running text."""
    year, month, day = date[:4], date[4:6], date[6:]
    word = MONTHS[int(month) - 1]
    return [
        date, f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{int(day)} {word} {year}",
        f"{day}/{month}/{year}", f"{month}/{day}/{year}", f"{int(day)}-{word[:3].upper()}-{year}",
        f"{word} {int(day)}, {year}", f"{year}/{month}/{day}",
    ]  # fmt: skip


@dataclass(frozen=True)
class Identifier:
    """Something in running text that must go: known from other attributes, or of a known pattern."""

    kind: str
    text: str
    needles: tuple[str, ...]
    allowed: tuple[str, ...] = ()


def identifiers(source: Source, patient: Patient, study: Study) -> Iterator[Identifier]:
    """An endless, changing row of identifiers that this patient's files can write."""
    pick = source.random.choice
    everyone = [study.referring, study.performing, study.reading, study.operator]
    while True:
        names = [form for form in name_forms(patient.name) if patient.can_write(form[0])]
        for _ in range(2):
            text, needles = pick(names)
            yield Identifier("name", text, needles)
        yield Identifier("id", patient.id, (patient.id,))
        born = patient.birth_date
        short = f"{born[6:]}.{born[4:6]}.{born[2:4]}"
        yield _written("birth date", pick([*date_forms(born), short]))
        text, needles = pick([form for form in name_forms(pick(everyone)) if patient.can_write(form[0])])
        yield Identifier("staff", f"Dr. {text}", needles)
        yield _written("phone", f"Tel. {source.phone()}", drop="Tel. ")
        text, needles = pick(names)
        yield Identifier("name", text, needles)
        yield Identifier("accession", study.accession, (study.accession,))
        yield _written("mail", source.mail())
        yield _written("date", pick(date_forms(source.date())), allowed=("full-dates", "modified-dates"))
        yield _written("record number", f"MRN: {source.digits(8)}", drop="MRN: ")
        yield _written("address", patient.address)
        yield Identifier("id", patient.other_id, (patient.other_id,))
        yield _written("institution", patient.institution, allowed=("institution",))
        yield _written("device", patient.serial, allowed=("device",))
        yield _written("uid", study.uid, allowed=("uids",))


def _written(kind: str, text: str, *, drop: str = "", allowed: tuple[str, ...] = ()) -> Identifier:
    return Identifier(kind, text, (text.removeprefix(drop),), allowed)
