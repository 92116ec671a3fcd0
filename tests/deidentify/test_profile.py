"""The standard's tables in the package are those that were checked, and options turn into the actions they ask for."""

import hashlib
import json
from importlib.resources import files

import pytest

from medcli.deidentify.profile import Action, actions_for, check_options
from medcli.deidentify.tables import CLEAN, OPTIONS, RETAIN, compound_actions, rows, safe_private
from medcli.errors import UsageError

CT, MR_ENHANCED = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
PATIENT_NAME, STUDY_DATE, INSTITUTION, SERIES_DESCRIPTION = 0x00100010, 0x00080020, 0x00080080, 0x0008103E
STUDY_UID, STATION, AGE, ACQUISITION_DATE_TIME = 0x0020000D, 0x00081010, 0x00101010, 0x0008002A


@pytest.mark.parametrize(
    ("name", "digest", "count"),
    [
        ("attributes.json", "d3bf5090f5cd5937a2fcd48c10b5dddae43453d902c8ef7b7c733f6f31f25bf8", 657),
        ("compound_actions.json", "4c2927e8af5ae392bf27539921267def61f4ec9b2018a807599bf4860b3154fc", 175),
        ("safe_private.json", "ff66b63e20237908b4db11a78fa0e51d91e656a7be8318586d57bf00adc9be6e", 479),
        ("safe_private_tcia.json", "5c7d2e652b0ea0efeca4ac50f4fc922aad2f77cdf24874666853fee152178d15", 2183),
    ],
)
def test_the_tables_are_those_that_were_checked(name, digest, count):
    content = (files("medcli.deidentify") / "data" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(json.loads(content)["rows"]) == count
    assert (
        "NEMA" in json.loads(content)["source"] or "Cancer Imaging Archive" in json.loads(content)["source"]
    )


def test_the_package_holds_the_public_table(shared_data):
    table = json.loads((shared_data / "deid" / "ps3_15_e1_1_2026d.json").read_text())
    expected = {
        int(row["tag"], 16): row["basic"]
        for row in table["rows"]
        if len(row["tag"]) == 8 and "x" not in row["tag"].lower()
    }
    assert {tag: row.basic for tag, row in rows().items()} == expected


def test_every_option_has_its_code():
    assert sorted(OPTIONS) == sorted((*CLEAN, *RETAIN)) and len(OPTIONS) == 12
    assert sorted(code for code, _ in OPTIONS.values()) == [str(code) for code in range(113101, 113113)]


def test_basic_profile():
    actions = actions_for(frozenset(), CT)
    assert actions[PATIENT_NAME] is actions[STUDY_DATE] is Action.EMPTY
    assert actions[INSTITUTION] is actions[SERIES_DESCRIPTION] is Action.REMOVE
    assert actions[STUDY_UID] is Action.UID


def test_compound_actions_follow_the_type_in_the_iod():
    assert compound_actions(CT)[ACQUISITION_DATE_TIME] == "X"  # Type 3 in CT Image
    assert actions_for(frozenset(), CT)[ACQUISITION_DATE_TIME] is Action.REMOVE
    assert actions_for(frozenset(), MR_ENHANCED)[ACQUISITION_DATE_TIME] is Action.DUMMY  # Type 1C there
    assert (
        actions_for(frozenset(), "1.2.3")[ACQUISITION_DATE_TIME] is Action.REMOVE
    )  # not known: the row's first


@pytest.mark.parametrize(
    ("option", "tag", "action"),
    [
        ("uids", STUDY_UID, Action.KEEP),
        ("device", STATION, Action.KEEP),
        ("institution", INSTITUTION, Action.KEEP),
        ("patient", AGE, Action.KEEP),
        ("full-dates", STUDY_DATE, Action.KEEP),
        ("modified-dates", STUDY_DATE, Action.SHIFT),
        ("descriptors", SERIES_DESCRIPTION, Action.CLEAN),
        ("structured", 0x0040A730, Action.CLEAN),
        ("graphics", 0x00700001, Action.CLEAN),
    ],
)
def test_an_option_changes_its_rows_and_no_others(option, tag, action):
    basic, chosen = actions_for(frozenset(), CT), actions_for(frozenset([option]), CT)
    assert chosen[tag] is action
    changed = {tag for tag in basic if basic[tag] is not chosen[tag]}
    assert changed <= {tag for tag, row in rows().items() if option in row.options}


def test_moving_dates_wins_over_keeping_them():
    assert actions_for(frozenset(["full-dates", "modified-dates", "device"]), CT)[STUDY_DATE] is Action.SHIFT


def test_single_attributes_can_be_overridden():
    assert actions_for(frozenset(), CT, ((AGE, Action.KEEP),))[AGE] is Action.KEEP


def test_both_lists_of_safe_private_attributes_are_known():
    safe = safe_private()
    assert safe["Philips PET Private Group", 0x7053, 0x00] == "k"
    assert safe["GEMS_GENIE_1", 0x0009, 0x2B] == "h" and safe["GEMS_IDEN_01", 0x0009, 0x27] == "oi"


def test_unknown_options_are_refused():
    with pytest.raises(UsageError, match="'sex' is not an option"):
        check_options(["uids", "sex"])
