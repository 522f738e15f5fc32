import dataclasses
import datetime
import json

import pytest

from configs import personalize, synthesis
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.arguments import find_consent, full_name, parse
from pvchat_jax.synthesis.privacy.consent import write_consent
from pvchat_jax.synthesis.shards import Shard

TODAY = datetime.date(2026, 3, 1)
NEEDED = ["--video=v.mp4", "--name=<Wilson>", "--out=set"]


def parsed(*more: str):
    return parse([*NEEDED, *more], "program", "what", "examples", ["watch", "ask"], SynthesisConfig, synthesis.get_config)


def test_settings_are_changed_by_name_and_the_rest_is_the_presets():
    arguments, config = parsed(
        "--config.num_clips=20", "--config.generators=compositor,wan", "--shard=2/8", "--only=ask", "--test_video=t.mp4"
    )
    assert config == dataclasses.replace(synthesis.get_config(), num_clips=20, generators=("compositor", "wan"))
    assert (arguments.shard, arguments.only, [str(path) for path in arguments.tests]) == (Shard(2, 8), "ask", ["t.mp4"])
    assert parsed("--config=configs/synthesis.py:tiny")[1] == synthesis.get_config("tiny")
    told = parsed("--config=configs/synthesis.py:tiny", "--config.captioner=truth", "--config.truth=/w/a.jsonl,w/b.jsonl")[1]
    assert (told.captioner, told.truth) == ("truth", "/w/a.jsonl,w/b.jsonl")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--config.num_clip=20"], "did you mean config.num_clips"),
        (["--config.num_clips=21"], "is not even"),
        (["--config.generators=wna"], "unknown"),
        (["--config.captioner=truth"], "needs files of records"),
        (["--config.captioner=reader"], "needs reader 'tiny_base'"),
        (["--config=configs/stage1.py:tiny"], "describes a TrainConfig"),
        (["--shard=8/8"], "--shard is"),
        (["--vdeo=x"], "vdeo"),
    ],
)
def test_mistakes_are_one_sentence(more, message):
    with pytest.raises(UserError, match=message):
        parsed(*more)


@pytest.mark.parametrize(
    ("text", "name"), [("<Wilson>", "<Wilson>"), ("Wilson", "<Wilson>"), ("<Anna-Lena_2>", "<Anna-Lena_2>"), ("Zoë", "<Zoë>")]
)
def test_a_name_gets_its_brackets(text, name):
    assert full_name(text) == name


@pytest.mark.parametrize("text", ["", "<>", "<Wilson", "Wilson>", "../x", "a b", "<a><b>", "x" * 60])
def test_a_name_that_texts_and_files_cannot_hold_is_refused(text):
    with pytest.raises(UserError, match="--name is"):
        full_name(text)


def test_a_consent_is_passed_in_or_stored_and_never_assumed(tmp_path):
    arguments = dataclasses.replace(parsed()[0], out=tmp_path / "set")
    with pytest.raises(UserError, match="there is no consent"):
        find_consent(arguments, TODAY)
    with pytest.raises(UserError, match="--consent_until"):
        find_consent(dataclasses.replace(arguments, consent_by="Wilson"), TODAY)
    typed = find_consent(
        dataclasses.replace(arguments, consent_by="Wilson", consent_until="2026-12-31", consent_scope="train,share"), TODAY
    )
    assert typed.scope == ("train", "share") and typed.date == TODAY
    write_consent(tmp_path / "set", typed)
    assert find_consent(arguments, TODAY) == typed
    newer = {"given_by": "Ada", "date": "2026-02-01", "scope": ["train"], "expires": "2026-06-01"}
    (tmp_path / "new.json").write_text(json.dumps(newer))
    assert find_consent(dataclasses.replace(arguments, consent=tmp_path / "new.json"), TODAY).given_by == "Ada"


def test_training_is_wired_to_the_set_and_stage_to_stage(tmp_path):
    first, second = personalize.get_config("8b").training(tmp_path, "<Ada>", ["train", "stage1", "test"])
    assert (first.data.train, second.data.train) == (str(tmp_path / "stage1.jsonl"), str(tmp_path / "train.jsonl"))
    assert first.data.subject == second.data.subject == "<Ada>" and second.init_from == first.output_dir == str(tmp_path / "stage1")
    (alone,) = personalize.get_config("tiny").training(tmp_path, "<Ada>", ["train"])
    assert alone.stage == 2 and alone.init_from == ""
