"""Pseudonyms: the same from the same key, another from another, and nothing that can be guessed without it."""

import stat
import sys
from datetime import datetime
from itertools import pairwise

import pydicom.uid
import pytest

from medcli.deidentify.pseudonyms import Pseudonyms, load_key
from medcli.errors import DataError

ONE, OTHER = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)


def test_the_key_alone_decides():
    again = Pseudonyms(b"1" * 32)
    for kind in ("uid", "patient", "accession", "day_shift"):
        assert getattr(ONE, kind)("1.2.3") == getattr(again, kind)("1.2.3") != getattr(OTHER, kind)("1.2.3")


def test_uids_are_valid_and_differ():
    uids = {ONE.uid(f"1.2.{number}") for number in range(2000)}
    assert len(uids) == 2000
    assert all(pydicom.uid.UID(uid).is_valid and len(uid) < 65 and uid.startswith("2.25.") for uid in uids)


def test_kinds_do_not_mix():
    assert ONE.token("patient", "x") != ONE.token("accession", "x")


def test_dates_move_back_by_whole_days_and_keep_their_intervals():
    def day(text):
        return datetime.strptime(text, "%Y%m%d")

    moved = [ONE.shift(text, "patient 7") for text in ("20190228", "20190301", "20200301")]
    assert [(day(b) - day(a)).days for a, b in pairwise(moved)] == [1, 366]
    assert 1 <= (day("20190228") - day(moved[0])).days <= 3650
    assert ONE.shift("20190228101500.5+0100", "patient 7") == moved[0] + "101500.5+0100"
    assert len({ONE.day_shift(f"patient {number}") for number in range(200)}) > 150


@pytest.mark.parametrize("text", ["", "2019", "20191301", "yesterday", "00000000"])
def test_no_date_no_shift(text):
    assert ONE.shift(text, "patient 7") is None


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "keys" / "study.key"
    key = load_key(path)
    assert len(key) == 32 and load_key(path) == key
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_any_long_secret_will_do_and_a_short_one_not(tmp_path):
    path = tmp_path / "own.key"
    path.write_bytes(b"\xff\x00 a secret of my own making")
    assert load_key(path) == b"\xff\x00 a secret of my own making"
    path.write_text("secret")
    with pytest.raises(DataError, match="at least 16 bytes"):
        load_key(path)
