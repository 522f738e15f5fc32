"""Which clips a personalisation trains on."""

import collections
import dataclasses
from pathlib import Path

import pytest

from configs import drawn_person
from pvchat_jax.config.drawn_person_schema import CLIP_SETS
from pvchat_jax.data.records import Record
from pvchat_jax.personalisation.run import choose_clips, training_stages
from pvchat_jax.world.people import Identity, people_group
from pvchat_jax.world.plan import plan_video
from pvchat_jax.world.questions import ask

CONFIG = dataclasses.replace(drawn_person.tiny(), video="one.mp4", output_dir="out", seed=3)
CLIPS = [
    Record(
        video=f"/{index}.mp4", subject="<Wilson>", role=plan.role, origin="rendered", questions=ask(plan, "<Wilson>"), truth=plan.truth()
    )
    for index in range(20)
    for plan in [plan_video(0, "train", index)]
]

OTHERS = sum(clip.role == "hard_negative" and people_group(Identity(**clip.truth["identity"])) == "base" for clip in CLIPS)


@pytest.mark.parametrize(
    ("clip_set", "roles"),
    [
        ("one_positive", {"positive": 1}),
        ("negatives", {"positive": 1, "easy_negative": 2}),
        ("synthetic_positives", {"positive": 10, "easy_negative": 2}),
        ("other_look_alikes", {"positive": 10, "easy_negative": 2, "hard_negative": OTHERS}),
        ("look_alikes", {"positive": 10, "easy_negative": 2, "hard_negative": 8}),
    ],
)
def test_each_set_has_what_the_one_before_has_and_more(clip_set: str, roles: dict[str, int]) -> None:
    chosen = choose_clips(CLIPS, dataclasses.replace(CONFIG, clip_set=clip_set))
    assert collections.Counter(record.role for record in chosen) == roles
    if roles["positive"] == 1:
        (one,) = (record for record in chosen if record.role == "positive")
        assert one.video == str(Path("one.mp4").absolute()) and one.truth == {}


def test_stages_are_wired_to_each_other_and_to_the_clips() -> None:
    first, second = training_stages(dataclasses.replace(CONFIG, with_stage1=True), Path("out/train.jsonl"))
    assert (first.stage, second.stage) == (1, 2)
    assert (first.init_from, second.init_from) == ("", first.output_dir)
    for stage in (first, second):
        assert (stage.data.train, stage.seed, stage.data.seed, stage.weights) == ("out/train.jsonl", 3, 3, "tiny")
        assert stage.data.balance_presence
    (only,) = training_stages(CONFIG, Path("out/train.jsonl"))
    assert (only.stage, only.init_from) == (2, "")


def test_one_positive_alone_is_not_balanced() -> None:
    alone = dataclasses.replace(CONFIG, clip_set=CLIP_SETS[0])
    assert not any(stage.data.balance_presence for stage in training_stages(alone, Path("x")))
