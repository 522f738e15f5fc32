import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.privacy.consent import CONSENT_FILE, SCOPES, Consent, ask_consent, read_consent, require_consent, write_consent

TODAY = datetime.date(2026, 3, 1)
FIELDS = {"given_by": "Wilson", "date": "2026-01-31", "scope": ["train"], "expires": "2026-12-31"}


@given(
    st.text(min_size=1).filter(str.strip),
    st.dates(datetime.date(2000, 1, 1), datetime.date(2090, 1, 1)),
    st.integers(0, 1000),
    st.sets(st.sampled_from(SCOPES)),
)
def test_what_is_stored_is_what_was_given(tmp_path_factory, given_by, date, days, scope):
    consent = Consent(given_by=given_by, date=date, scope=("train", *sorted(scope - {"train"})), expires=date + datetime.timedelta(days))
    folder = tmp_path_factory.mktemp("set")
    write_consent(folder, consent)
    assert read_consent(folder / CONSENT_FILE) == consent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"given_by": " "}, "is empty"),
        ({"scope": ["share"]}, "lacks 'train'"),
        ({"scope": ["train", "everything"]}, "unknown everything"),
        ({"expires": "2025-12-31"}, "before the date"),
        ({"expires": "2036-12-31"}, "more than three years"),
        ({"expires": "tomorrow"}, "field expires is 'tomorrow'"),
        ({"scpe": []}, "scpe"),
        ({"scope": "train"}, "scope"),
        ({"date": None}, "date"),
    ],
)
def test_a_record_that_does_not_hold_together_is_one_sentence(tmp_path, change, message):
    path = tmp_path / "consent.json"
    path.write_text(json.dumps({**FIELDS, **change}))
    with pytest.raises(UserError, match=message) as caught:
        read_consent(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("today", [datetime.date(2027, 1, 1), datetime.date(2026, 1, 30)])
def test_outside_of_its_time_a_consent_covers_nothing(tmp_path, today):
    (tmp_path / "c.json").write_text(json.dumps(FIELDS))
    consent = read_consent(tmp_path / "c.json")
    require_consent(consent, TODAY)
    with pytest.raises(UserError, match="outside of"):
        require_consent(consent, today)


def test_frames_may_leave_the_machine_only_where_the_consent_says_so(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(FIELDS))
    with pytest.raises(UserError, match="but not remote"):
        require_consent(read_consent(tmp_path / "c.json"), TODAY, "remote")


def test_it_is_asked_for_and_a_no_ends_it():
    answers = iter(["yes", "Wilson", "", "share"])
    consent = ask_consent("<Wilson>", TODAY, lambda question: next(answers))
    assert consent == Consent(given_by="Wilson", date=TODAY, scope=("train", "share"), expires=datetime.date(2027, 3, 1))
    with pytest.raises(UserError, match="nothing is made"):
        ask_consent("<Wilson>", TODAY, lambda question: "no")
