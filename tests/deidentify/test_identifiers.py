"""Identifiers are found in every order, spelling and encoding, and clinical words stay."""

import pytest

from medcli.deidentify.identifiers import Finder, Identifiers
from medcli.deidentify.pseudonyms import Pseudonyms


@pytest.fixture(scope="module")
def finder():
    found = Identifiers()
    found.patient_names |= {
        "Müller^Anna Maria^^Dr.",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "Żółkiewska^Ewa",
        "Li^Wei",
    }
    found.names |= {"White^John", "Baumgartner^Xaver"}
    for text in (
        "MRN-482913",
        "7719",
        "Charité Campus Mitte",
        "12 Linden Avenue, Springfield",
        "+49 30 1234567",
    ):
        found.add(text)
    found.add_dates("19620304")
    found.uids.add("1.2.826.0.1.3680043.8.498.1")
    return Finder(found, Pseudonyms(b"k" * 32))


@pytest.mark.parametrize(
    "text",
    [
        "Anna Müller", "MÜLLER, ANNA", "mueller_anna", "muller.a", "A. Mueller", "annamueller",
        "Zolkiewska", "ŻÓŁKIEWSKA", "山田太郎", "太郎 山田", "ＹＡＭＡＤＡ", "Li Wei", "WeiLi", "John White",
        "white^john",
        "mrn 482913", "MRN_482913", "no 7719", "Charite", "linden avenue", "030/1234567"[4:],
        "+49 (30) 123-4567",
        "19620304", "1962-03-04", "04.03.1962", "4.3.1962", "3/4/1962", "4 March 1962", "March 4th, 1962",
        "04-Mar-1962", "1962年3月4日",
    ],
)  # fmt: skip
def test_masked_wherever_it_stands(finder, text):
    for around in ("{}", "scan of {} done", "({})", "x_{}_y"):
        masked = finder.mask(around.format(text))
        assert "XXX" in masked and finder.hits(around.format(text)) and not finder.hits(masked), masked


@pytest.mark.parametrize(
    "text",
    [
        "white matter lesion", "T2 FLAIR axial post contrast", "chest PA and lateral", "slice 77190 of 8",
        "1962", "5 mm",
        "AnnArbor", "weight bearing", "T1 MR Brain axial", "MR Angiography", "MS Plaques",
        "liver, portal venous phase", "version 1.2.3", "b1000 ADC", "1.2.840.10008.1.2.1",
    ],
)  # fmt: skip
def test_clinical_words_stay(finder, text):
    assert finder.mask(text, free=True) == text
    assert not finder.hits(text)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("seen on 12.05.2019 again", "seen on XXX again"),
        ("Dr. Brown called", "Dr. XXX called"),
        ("Mr. Brown and Ms Green", "Mr. XXX and Ms XXX"),
        ("taken 2019:07:16 10:00", "taken XXX 10:00"),
        ("tel 555-123-4567 now", "tel XXX now"),
        ("a.b@example.org", "XXX"),
        ("MRN: 99812 knee", "MRN: XXX knee"),
        ("93-year-old woman", "XXX-year-old woman"),
        ("89-year-old woman", "89-year-old woman"),
        ("SSN 123-45-6789", "SSN XXX"),
    ],
)
def test_free_text_loses_what_looks_identifying(finder, text, masked):
    assert finder.mask(text, free=True) == masked
    assert finder.mask(text) == text


def test_uids_in_text_become_their_pseudonyms(finder):
    uid = Pseudonyms(b"k" * 32).uid("1.2.826.0.1.3680043.8.498.1")
    assert finder.mask("see 1.2.826.0.1.3680043.8.498.1.") == f"see {uid}."


@pytest.mark.parametrize("charset", ["utf-8", "utf-16-le", "utf-16-be", "latin-1", "cp1252"])
def test_bytes_in_any_encoding(finder, charset):
    content = b"\1\2" + "Fr. Müller".encode(charset) + b"\3\4"
    assert finder.in_bytes(content)
    scrubbed = finder.scrub(content)
    assert len(scrubbed) == len(content) and not finder.in_bytes(scrubbed)
    assert scrubbed[:2] == b"\1\2" and scrubbed[-2:] == b"\3\4"


@pytest.mark.parametrize(
    ("text", "charset"), [("山田太郎", "shift_jis"), ("山田太郎", "iso2022_jp"), ("żółkiewska", "iso8859-2")]
)
def test_bytes_in_national_encodings(finder, text, charset):
    assert finder.in_bytes(b"\0\0" + text.encode(charset) + b"\0")


def test_numbers_inside_longer_numbers_are_no_hits(finder):
    assert not finder.in_bytes(b"2.25.1196203047") and finder.in_bytes(b"x19620304 ")
    assert finder.mask_number("482913") == "482913" and finder.mask_number("19620304 ") == "0"


def test_order_of_collection_does_not_matter():
    one, other, both = Identifiers(), Identifiers(), Identifiers()
    one.names.add("Baumgartner^Xaver")
    other.add("ID99887")
    both.join(one)
    both.join(other)
    other.join(one)
    assert both == other


def test_placeholders_are_not_collected():
    found = Identifiers()
    for text in ("", "  ", "XXX", "\0"):
        found.add(text)
    assert found == Identifiers()
