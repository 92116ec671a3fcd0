"""JSON sidecars and tables: each name by the standard's table, everything else as it was."""

import json

import pytest
from deidentify.format_files import (
    BORN,
    FAMILY,
    NAME,
    PATIENT_ID,
    PSEUDONYMS,
    STUDIED,
    cleaned,
    known,
    left,
    policy,
)

from medcli.deidentify.formats.fields import Collector, capped_age
from medcli.deidentify.formats.meanings import meaning_of
from medcli.deidentify.identifiers import Identifiers
from medcli.deidentify.names import clean_part
from medcli.errors import FormatError

PSEUDONYM = PSEUDONYMS.patient(PATIENT_ID)


def after(content, *options: str, **how) -> dict:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return json.loads(cleaned(raw, "a.json", options, **how).content)


@pytest.mark.parametrize(
    ("name", "keyword"),
    [
        ("PatientName", "PatientName"), ("patient_name", "PatientName"), ("Patient's Name", "PatientName"),
        ("OperatorName", "OperatorsName"), ("00100010", "PatientName"), ("(0010,0020)", "PatientID"),
        ("0010|0030", "PatientBirthDate"), ("MRN", "PatientID"), ("subject_id", "PatientID"),
        ("dob", "PatientBirthDate"),
        ("attendingPhysician", "PersonName"), ("reported_by", "PersonName"), ("EvaluatorName", "PersonName"),
        ("hospital", "InstitutionName"), ("contact_email", "PersonTelecomInformation"), ("scandate", "DateTime"),
        ("serial_no", "DeviceSerialNumber"), ("age_at_scan", "PatientAge"), ("ReportNotes", "ImageComments"),
        ("UserComment", "ImageComments"),
        ("00091001", "private attribute"), ("ConversionSoftwareVersion", "version"),
    ],
)  # fmt: skip
def test_names_mean_attributes_of_the_standard(name, keyword):
    assert meaning_of(name).keyword == keyword


@pytest.mark.parametrize(
    "name",
    ["PatientPosition", "ImageOrientationPatientDICOM", "WindowCenter", "anatom_site_general",
     "SliceTiming", "TaskName",
     "Description", "GeneratedBy", "BodyPartExamined", "CoilString", "AcquisitionNumber", "candidate",
     "update", "onset",
     "finding_labels", "initial_velocity", "diagnosis"],
)  # fmt: skip
def test_names_of_science_mean_nothing_of_the_patient(name):
    assert meaning_of(name) is None


def test_patient_and_accession_get_pseudonyms():
    new = after({"PatientID": PATIENT_ID, "PatientName": NAME, "AccessionNumber": "A77"})
    assert new == {
        "PatientID": PSEUDONYM,
        "PatientName": PSEUDONYM,
        "AccessionNumber": PSEUDONYMS.accession("A77"),
    }


def test_a_number_as_patient_id_becomes_a_pseudonym_too():
    assert after(b'{"PatientID": 7712345678}') == {"PatientID": PSEUDONYMS.patient("7712345678")}


def test_a_name_without_an_id_goes():
    assert after({"PatientName": NAME, "FlipAngle": 9}, patient=None) == {"FlipAngle": 9}


def test_uids_are_replaced_or_kept_and_kinds_always_kept():
    uid, kind = "1.2.826.0.1.3680043.9.1234.567890123456", "1.2.840.10008.5.1.4.1.1.4"
    content = {"StudyInstanceUID": uid, "ReferencedSOPInstanceUID": [uid], "SOPClassUID": kind}
    new = PSEUDONYMS.uid(uid)
    assert after(content) == {"StudyInstanceUID": new, "ReferencedSOPInstanceUID": [new], "SOPClassUID": kind}
    assert after(content, "uids") == content


@pytest.mark.parametrize(
    "text", ["20190716", "2019-07-16", "2019-07-16T10:11:12.500", "20190716101112.5", "2019:07:16 10:11:12"]
)
def test_dates_go_stay_or_move_in_their_own_spelling(text):
    content = {"AcquisitionDateTime": text, "scan_date": text}
    assert after(content) == {}
    assert after(content, "full-dates") == content
    day = PSEUDONYMS.shift("20190716", PATIENT_ID)
    between = text[4] if not text[4].isdigit() else ""
    moved = between.join((day[:4], day[4:6], day[6:])) + text[len("2019" + between + "07" + between + "16") :]
    assert after(content, "modified-dates") == {"AcquisitionDateTime": moved, "scan_date": moved}


def test_a_moved_date_needs_a_patient():
    assert after({"StudyDate": "20190716"}, "modified-dates", patient=None) == {}


@pytest.mark.parametrize("option", ["full-dates", "modified-dates"])
def test_the_birth_date_never_stays(option):
    content = {"PatientBirthDate": BORN, "when": BORN, "seed": 19510304, "list": [BORN, "x"]}
    assert (
        left(cleaned(json.dumps(content).encode(), "a.json", [option]).content, "a.json", (BORN, "19510304"))
        == []
    )


def test_times_of_day_go_with_the_dates_and_stay_with_them():
    content = {"AcquisitionTime": "10:11:12.5", "TimeZero": "10:11:12", "EchoTime": 0.003, "Time": [0.5, 1.5]}
    assert after(content) == {"EchoTime": 0.003, "Time": [0.5, 1.5]}
    assert after(content, "modified-dates") == content


@pytest.mark.parametrize(
    ("age", "capped"),
    [
        ("091Y", "090Y"),
        ("90", "90"),
        ("95", "90"),
        ("95 years", "90 years"),
        ("034Y", "034Y"),
        ("1200M", "1080M"),
        ("x", "x"),
    ],
)
def test_ages_above_89_become_90(age, capped):
    assert capped_age(age, "PatientAge") == capped


def test_ages_stay_only_with_the_option_and_capped():
    content = {"PatientAge": "093Y", "age": 101, "sex": "F", "PatientWeight": 71.5}
    assert after(content) == {}
    assert after(content, "patient") == {"PatientAge": "090Y", "age": 90, "sex": "F", "PatientWeight": 71.5}


def test_options_keep_what_they_name_and_mask_what_identifies_in_it():
    content = {
        "InstitutionName": "Southern Hospital",
        "DeviceSerialNumber": "QX77",
        "SeriesDescription": f"T1 {FAMILY}",
    }
    assert after(content) == {}
    assert after(content, "institution") == {"InstitutionName": "Southern Hospital"}
    assert after(content, "device") == {"DeviceSerialNumber": "QX77"}
    assert after(content, "descriptors") == {"SeriesDescription": "T1 XXX"}


def test_what_is_known_is_masked_at_every_depth_also_in_keys():
    content = {"a": [{"b": {f"of {FAMILY}": f"{FAMILY} came", "c": [f"{PATIENT_ID}"]}}], "d": "knee"}
    assert after(content) == {"a": [{"b": {"of XXX": "XXX came", "c": ["XXX"]}}], "d": "knee"}


def test_masked_keys_stay_apart():
    assert after({f"1 {FAMILY}": 1, f"{FAMILY}": 2, f"{FAMILY} ": 3, "XXX": 4}).values()
    assert sorted(after({f"{FAMILY}": 2, f"{FAMILY[:]}^": 3}).values()) == [2, 3]


def test_a_patient_inside_of_an_object():
    content = {
        "patient": {"name": NAME, "id": PATIENT_ID, "position": "HFS"},
        "physician": {"name": "Foo", "id": 7},
    }
    assert after(content) == {"patient": {"name": PSEUDONYM, "id": PSEUDONYM, "position": "HFS"}}


def test_the_dicom_json_model():
    content = {
        "00080020": {"vr": "DA", "Value": ["20190716"]},
        "00080090": {"vr": "PN", "Value": [{"Alphabetic": "Foo^Bar"}]},
        "00091002": {"vr": "LO", "Value": ["private"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": NAME, "Ideographic": "x"}]},
        "00280010": {"vr": "US", "Value": [512]},
    }
    day = PSEUDONYMS.shift("20190716", PATIENT_ID)
    assert after(content, "modified-dates") == {
        "00080020": {"vr": "DA", "Value": [day]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": PSEUDONYM, "Ideographic": PSEUDONYM}]},
        "00280010": {"vr": "US", "Value": [512]},
    }


def test_numbers_that_are_ids_or_dates_go():
    found = Identifiers(ids={"4711000815"})
    content = b'{"Seed": 4711000815, "made": 2.0190716e7, "many": [1, 4711000815, 3], "n": 12}'
    assert after(content, identifiers=found) == {"many": [1, None, 3], "n": 12}


def test_versions_are_not_taken_for_dates():
    content = {"ConversionSoftwareVersion": "v1.0.20210317", "SoftwareVersions": "syngo MR XA30"}
    assert after(content) == content


def test_paths_of_computers_go_and_files_of_the_set_are_named_as_they_are_written():
    rules = policy(known())
    renamed = clean_part(f"{FAMILY}.nii.gz", rules.finder, PSEUDONYMS, new_uids=True)
    content = {
        "source": "/home/someone/x.nii",
        "from": r"C:\data\x",
        "IntendedFor": [f"anat/{FAMILY}.nii.gz"],
    }
    assert after(content) == {"IntendedFor": [f"anat/{renamed}"]}


def test_order_indentation_and_spelling_of_numbers_stay():
    text = '{\n\t"b": 1.50e-3,\n\t"a": [1, 2.0, -0],\n\t"InstitutionName": "x",\n\t"c": {\n\t\t"d": NaN\n\t}\n}\n'
    expected = text.replace('\t"InstitutionName": "x",\n', "")
    assert cleaned(text.encode(), "a.json").content.decode() == expected


def test_a_clean_file_stays_byte_for_byte():
    content = b'{"a" :[ 1,2 ],\r\n "b":"M\\u00fcsli" }'
    assert cleaned(content, "a.json").content == content


def test_both_of_two_equal_keys_are_cleaned():
    content = cleaned(
        f'{{"x": "{FAMILY}", "PatientName": "{NAME}", "x": "{NAME}"}}'.encode(), "a.json"
    ).content
    assert left(content, "a.json") == []


def test_a_byte_order_mark_and_utf_16_become_plain_utf_8():
    for coding in ("utf-8-sig", "utf-16", "utf-32"):
        content = cleaned(
            json.dumps({"a": f"für {FAMILY}"}, ensure_ascii=False).encode(coding), "a.json"
        ).content
        assert content.decode("utf-8") == '{"a": "für XXX"}'


def test_texts_that_are_not_utf_8_go_and_it_is_said():
    result = cleaned('{"a": "Süd", "b": ["Süd", 1], "c": "Sud"}'.encode("latin-1"), "a.json")
    assert json.loads(result.content) == {"b": ["XXX", 1], "c": "Sud"}
    assert result.notes == ["2 texts that are not UTF-8 were removed"]


@pytest.mark.parametrize("content", [b'{"a": 1', b"{} {}", b'{"a": 1}\x00' + FAMILY.encode(), b"[" * 200_000])
def test_what_is_not_json_is_refused(content):
    with pytest.raises(FormatError, match="JSON"):
        cleaned(content, "a.json")


def test_names_of_identity_are_collected_with_their_kind():
    found = Identifiers()
    collector = Collector(found)
    for name, text in (
        ("PatientName", NAME), ("OperatorsName", "Foo^Bar"), ("InstitutionName", "South Clinic"),
        ("StationName", "MR77"),
        ("PatientBirthDate", BORN), ("StudyInstanceUID", "1.2.3.4.5.6"), ("SeriesDescription", "T1"),
        ("PatientSex", "F"),
        ("OtherPatientIDs", "unknown"),
    ):  # fmt: skip
        collector.field(name, text)
    assert (found.patient_names, found.names, found.ids) == ({NAME}, {"Foo^Bar"}, {"MR77"})
    assert (found.phrases, found.uids, found.dates) == (
        {"South Clinic"},
        {"1.2.3.4.5.6"},
        known().dates - _studied(),
    )


def _studied():
    found = Identifiers()
    found.add_dates(STUDIED)
    return found.dates


def test_a_person_in_place_of_an_id_is_a_name():
    found = Identifiers()
    collector = Collector(found)
    collector.lines("Patient: Jane Doe; MRN: 4711; size = 3; Operator: Foo, Bar, born 1951 in a town")
    assert (found.patient_names, found.names) == ({"Jane Doe"}, {"Foo, Bar"})
    assert (found.ids, collector.patient) == ({"4711"}, None)


# --- tables -------------------------------------------------------------------------------------------------------


def rows(content: str, *options: str, name: str = "participants.tsv") -> list[str]:
    return cleaned(content.encode(), name, options).content.decode().splitlines()


def test_columns_go_stay_or_are_replaced_by_their_names():
    table = "participant_id\tage\tsex\tgroup\tscore\nP01x\t34\tF\tcontrol\t1.50\nP02x\t95\tM\tn/a\t\n"
    first, second = PSEUDONYMS.patient("P01x"), PSEUDONYMS.patient("P02x")
    assert rows(table) == ["participant_id\tgroup\tscore", f"{first}\tcontrol\t1.50", f"{second}\tn/a\t"]
    assert rows(table, "patient")[2] == f"{second}\t90\tM\tn/a\t"


def test_each_row_moves_by_the_days_of_its_own_patient():
    table = "participant_id,scan_date\nP01x,2019-07-16\nP02x,2019-07-16\n"
    new = [line.split(",")[1] for line in rows(table, "modified-dates", name="a.csv")[1:]]
    days = [PSEUDONYMS.shift("20190716", patient) for patient in ("P01x", "P02x")]
    assert new == [f"{day[:4]}-{day[4:6]}-{day[6:]}" for day in days]
    assert new[0] != new[1]


def test_files_of_a_scans_table_keep_their_names_and_lose_their_times():
    table = "filename\tacq_time\nfunc/run-1_bold.nii.gz\t2019-07-16T10:11:12\n"
    assert rows(table) == ["filename\tacq_time", "func/run-1_bold.nii.gz\tn/a"]


def test_a_table_of_numbers_without_names_stays():
    content = "1,2.50,-3e-4\n4,5,6\n"
    assert rows(content, name="a.csv") == content.splitlines()


def test_what_is_behind_the_last_column_goes():
    assert rows(f"a,b\n1,2,{FAMILY}\n", name="a.csv") == ["a,b", "1,2"]


def test_line_endings_and_quotes_stay():
    content = b'a;b\r\n"x;y";2\r\n'
    assert cleaned(content, "a.csv").content == content


@pytest.mark.parametrize("content", ["a\tb\nSüd\t1\n".encode("latin-1"), b'a,b\n"1,2\n'])
def test_what_is_not_a_table_in_utf_8_is_refused(content):
    with pytest.raises(FormatError, match="UTF-8"):
        cleaned(content, "a.csv")
