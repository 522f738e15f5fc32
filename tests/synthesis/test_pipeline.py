"""The stages together, with stand-ins for the backends and everything else real."""

import dataclasses
import json
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pvchat_jax.data.record_files import load_records
from pvchat_jax.data.validation import check_file
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.exporting.splitting import find_crossings
from pvchat_jax.synthesis.pipeline import STAGES
from pvchat_jax.synthesis.shards import WHOLE, Shard
from tests.synthesis.fakes import OTHER, SUBJECT, SquareGenerator, film
from tests.synthesis.worlds import Silent, backends, contents, make_job, run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with what is filmed, and in `set` what was made of it."""
    folder = tmp_path_factory.mktemp("whole")
    job = make_job(folder)
    return folder, job, run(job, folder / "set")


def test_the_set_passes_the_validator_and_labels_nobody_wrongly(whole):
    folder, _, outcome = whole
    assert outcome.verdict.is_good, outcome.verdict.sentences()
    assert set(outcome.files) == {"train", "calibration", "test", "stage1"}
    for path in outcome.files.values():
        assert not check_file(path, "<Wilson>").problems
        load_records(path, "<Wilson>")
        assert not check_file(folder / "set" / "original_json" / f"{path.stem}.json", "<Wilson>").problems
    subject = outcome.made.source.sha256
    test = next(used.clip.source for used in outcome.made.of("test") if used.clip.role == "positive")
    for used in outcome.made.used:
        assert (used.clip.source in (subject, test)) or used.clip.role != "positive"
        assert used.clip.role != "hard_negative" or used.clip.source not in (subject, test)


def test_nothing_that_was_made_is_tested_and_no_source_is_in_two_splits(whole):
    _, _, outcome = whole
    assert not find_crossings(outcome.made.used)
    assert {used.clip.origin for used in outcome.made.of("test")} == {"real", "retrieved"}
    assert {used.clip.origin for used in outcome.made.of("calibration")} == {"composited"}


def test_positives_and_negatives_come_through_the_same_generator_with_the_same_prompts(whole):
    _, _, outcome = whole
    made = [used.clip for used in outcome.made.used if used.clip.tool == SquareGenerator.name]
    firsts = {label: {clip.settings["text"] for clip in made if (clip.role == "positive") == label} for label in (True, False)}
    assert len(firsts[True] & firsts[False]) >= 5
    counted = outcome.counted.tools[SquareGenerator.name]
    assert abs(counted["present"] - counted["absent"]) <= 4  # as far as rejects allow


def test_each_positive_is_like_the_negative_of_its_number_that_passed(whole):
    _, _, outcome = whole
    made = [used.clip for used in outcome.made.used if used.clip.tool == SquareGenerator.name]
    numbers = {
        label: {(clip.name.split("-")[0], clip.name.split("-")[2]): clip for clip in made if (clip.role == "positive") == label}
        for label in (True, False)
    }
    pairs = [(clip, numbers[False][number]) for number, clip in numbers[True].items() if number in numbers[False]]
    assert len(pairs) >= 5 and all(negative.settings["like"] is None for _, negative in pairs)
    assert all(positive.settings["like"] == negative.seed for positive, negative in pairs)
    assert all(positive.settings["text"] == negative.settings["text"] for positive, negative in pairs)


def test_what_cannot_be_used_is_set_aside_and_rejects_are_shown_with_reasons(whole):
    folder, _, outcome = whole
    reasons = {item.stage: item.reason for item in outcome.made.set_aside}
    assert "cannot be decoded" in reasons["corpus"] and "'broken' cannot be drawn" in reasons["generate"]
    assert any("not that of the person" in clip.rejected for clip in outcome.made.rejected)
    page = (folder / "set" / "contact_sheet.html").read_text()
    assert "not that of the person" in page and "broken.mp4" in page and "data:image/jpeg" in page
    assert "http" not in page.replace("http-equiv", "")
    lines = [json.loads(line) for line in (folder / "set" / "set_aside.jsonl").read_text().splitlines()]
    assert len(lines) == len(outcome.made.set_aside)


def test_a_second_run_makes_nothing_and_writes_the_same_bytes(whole):
    folder, job, _ = whole
    before = contents(folder / "set")
    tools, generator = backends()
    run(job, folder / "set", tools=tools)
    assert generator.made == before["set_aside.jsonl"].decode().count("'broken, stand'")  # what failed is tried again
    assert contents(folder / "set") == before


def test_a_changed_setting_makes_anew_only_what_it_changes(whole, tmp_path):
    folder, job, _ = whole
    shutil.copytree(folder / "set", tmp_path / "set")
    more = dataclasses.replace(job, config=dataclasses.replace(job.config, num_clips=job.config.num_clips + 4))
    tools, generator = backends()
    outcome = run(more, tmp_path / "set", tools=tools)
    aside = sum(item.stage == "generate" for item in outcome.made.set_aside)  # what failed is tried again
    assert 4 <= generator.made - aside <= 12


def test_shards_make_together_what_one_run_makes_and_nothing_twice(whole, tmp_path):
    folder, job, _ = whole
    out = tmp_path / "set"
    run(job, out, until="cast")
    made = []
    for shard in (Shard(2, 3), Shard(0, 3), WHOLE):  # the worker between them is lost
        tools, generator = backends()
        outcome = run(job, out, shard=shard, until="export" if shard.is_whole else "ask", tools=tools)
        made.append(generator.made)
    assert contents(out) == contents(folder / "set")
    kept = sum(1 for _ in (out / "stages" / "generate").rglob("*.json"))
    failed = sum(item.stage == "generate" for item in outcome.made.set_aside)
    assert min(made) > 0 and kept + failed <= sum(made) <= kept + 2 * failed  # what failed is tried again at the end


def test_the_last_stage_is_not_for_a_shard(whole, tmp_path):
    _, job, _ = whole
    with pytest.raises(UserError, match="without --shard"):
        run(job, tmp_path / "set", shard=Shard(0, 2))


@pytest.mark.parametrize("stage", ["watch", "find", "cast", "film", "generate", "ask"])
def test_a_stage_does_what_it_needs_and_no_more(whole, tmp_path, stage):
    _, job, _ = whole
    run(dataclasses.replace(job, config=dataclasses.replace(job.config, num_clips=4)), tmp_path / "set", until=stage)
    done = {path.name for path in (tmp_path / "set" / "stages").iterdir()}
    needs = {"watch": set(), "find": {"watch"}, "cast": {"watch", "find"}, "film": {"watch", "find"}, "generate": {"check", "find"}}
    needs["ask"] = {"watch", "find", "film", "generate", "check"}
    assert done >= needs[stage] | ({stage} - {"cast"})
    assert not done & {name for name in STAGES if list(STAGES).index(name) > list(STAGES).index(stage)}
    assert not list((tmp_path / "set").glob("*.jsonl"))


def test_the_subject_is_asked_for_once_where_there_are_several(whole, tmp_path):
    _, job, _ = whole
    asked = []
    for _ in range(2):
        report = Silent()
        run(job, tmp_path / "set", until="find", report=report)
        asked.append(report.asked)
    assert asked == [1, 0]
    report = Silent()
    run(dataclasses.replace(job, person=1), tmp_path / "set", until="find", report=report)
    assert not report.asked


def test_bad_videos_are_one_sentence(whole, tmp_path):
    _, job, _ = whole
    (tmp_path / "text.mp4").write_bytes(b"text")
    film(tmp_path / "nobody.mp4")
    for video, message in {"text.mp4": "text.mp4", "nobody.mp4": "no face was found", "none.mp4": "there is no video"}.items():
        with pytest.raises(UserError, match=message):
            run(dataclasses.replace(job, video=tmp_path / video), tmp_path / "set")
    with pytest.raises(UserError, match="which is trained on"):
        run(dataclasses.replace(job, tests=(job.video,)), tmp_path / "set")


def test_a_test_video_of_other_people_is_set_aside(whole, tmp_path):
    _, job, _ = whole
    other = film(tmp_path / "other.mp4", OTHER, grey=200)
    config = dataclasses.replace(job.config, num_clips=4)
    outcome = run(dataclasses.replace(job, tests=(other,), config=config), tmp_path / "set")
    assert any("only other people" in item.reason for item in outcome.made.set_aside)
    assert not any(used.clip.role == "positive" for used in outcome.made.of("test"))
    assert "the test set never shows the subject; give --test_video=FILE" in outcome.verdict.remarks


def test_who_is_seen_together_with_others_performs_only_where_nobody_else_does(tmp_path):
    job = make_job(tmp_path)
    film(tmp_path / "corpus" / "two.mp4", (200, 200, 40), (40, 160, 220), grey=100)
    config = dataclasses.replace(job.config, num_clips=4, num_filmed=0, test_share=0.0)
    performers = []
    for corpus in ("corpus", "crowded"):
        film(tmp_path / "crowded" / "two.mp4", (200, 200, 40), (40, 160, 220), grey=100)
        tools, generator = backends()

        def load(index, crowd, generator=generator):
            performers.append({Path(performer.source.video).name for performer in crowd()})
            return generator

        config = dataclasses.replace(config, corpus=str(tmp_path / corpus))
        run(
            dataclasses.replace(job, config=config, tests=()),
            tmp_path / f"set-{corpus}",
            until="generate",
            tools=dataclasses.replace(tools, load_generator=load),
        )
    assert performers == [{"one.mp4", "alike.mp4", "other.mp4", "stranger.mp4"}, {"one.mp4", "two.mp4"}]


def test_one_person_alone_is_not_enough_to_train_on(tmp_path):
    job = make_job(tmp_path)
    alone = film(tmp_path / "alone.mp4", SUBJECT)
    config = dataclasses.replace(job.config, corpus="", num_clips=8)
    outcome = run(dataclasses.replace(job, video=alone, tests=(), config=config), tmp_path / "set")
    assert not outcome.verdict.is_good
    assert any("show other people" in problem and "--corpus" in problem for problem in outcome.verdict.problems)
    assert not json.loads((tmp_path / "set" / "verdict.json").read_text())["is_good"]


@pytest.mark.slow
def test_kills_at_random_moments_change_no_byte(whole, tmp_path):
    folder, _, _ = whole
    seed = secrets.randbits(32)
    print(f"moments from seed {seed}")  # pytest shows it when the test fails
    draw = random.Random(seed)
    out = tmp_path / "set"
    command = [sys.executable, "-m", "tests.synthesis.worlds", str(folder), str(out), "0/1"]
    kills = 0
    for _ in range(60):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        before = sum(1 for _ in out.rglob("*.json"))
        while process.poll() is None and sum(1 for _ in out.rglob("*.json")) <= before + draw.randrange(60):
            time.sleep(0.01)  # so that every life gets somewhere, and none far
        time.sleep(draw.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        status = process.wait()
        kills += status == -signal.SIGKILL
        if status == 0:
            break
    assert status == 0 and kills >= 4
    assert {name: content for name, content in contents(out).items() if not name.endswith(".tmp")} == contents(folder / "set")
