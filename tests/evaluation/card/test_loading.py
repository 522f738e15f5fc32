"""What can be scored, and what is wrong with what cannot."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.card.leaks import VideoHashes, find_leaks, training_videos
from pvchat_jax.evaluation.card.loading import load_systems, named_apart
from tests.evaluation.card.made import drawn_answers, result_json, write_item, write_sweep
from tests.synthesis.stubs import RED, draw


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_seeds_and_subjects_are_one_system_and_steps_are_several(tmp_path: Path) -> None:
    entries = []
    for subject in ("<Wilson>", "<Mara>"):
        for step in (200, 400):
            for seed in (0, 1):
                answers = drawn_answers(subject, 0.8, videos=4, seed=seed)
                entries.append(write_item(tmp_path, f"{subject[1:-1]}{step}{seed}", answers, step=step, seed=seed))
        entries.append(write_item(tmp_path, f"{subject[1:-1]}no", drawn_answers(subject, 0.5, videos=4), system="always_no", step=None))
    write(tmp_path / "sweep.json", {"items": entries})
    systems = load_systems(tmp_path)
    models = [system for system in systems if system.kind == "model"]
    assert [model.name for model in models] == ["personalized, step 200", "personalized, step 400"]
    assert all(len(model.answers) == 2 * 2 * 16 for model in models)
    given = [system for system in systems if system.short == "always_no"]
    assert len(given) == 2 and len(given[0].answers) == len(models[0].answers)  # one seed is kept, and stands for both
    assert [system.short for system in systems if system.beside == models[1].name] == ["always_no", "always_yes", "majority"]


def test_a_sweep_without_a_finished_model_says_so(tmp_path: Path) -> None:
    write(tmp_path / "sweep.json", {"items": [{"item": "a", "state": "failed", "reason": "no memory"}]})
    with pytest.raises(UserError, match="no finished item of a model"):
        load_systems(tmp_path)


def test_results_about_two_people_are_read_for_each(tmp_path: Path) -> None:
    pairs = [
        {"question": "Is <Aa> or <Bb> here?", "answer": "<Aa> is here, but <Bb> is absent.", "generated_answer": "<Aa> and <Bb> are here."},
        {"question": "What is <Aa> doing?", "answer": "<Aa> waves.", "generated_answer": "<Aa> waves.", "is_special": False},
    ]
    pairs[0]["is_special"] = True
    path = write(tmp_path / "both.json", {"model_name": "x", "results": [{"video_path": "v.mp4", "qa_pairs": pairs}]})
    [model, *_] = load_systems(path)
    assert [(a.subject, a.present, a.type) for a in model.answers] == [
        ("<Aa>", True, "existence"),
        ("<Aa>", True, "action"),
        ("<Bb>", False, "existence"),
    ]
    assert {answer.subject for answer in load_systems(path, "<Bb>")[0].answers} == {"<Bb>"}


def test_answers_that_are_missing_count_as_wrong_and_are_told(tmp_path: Path) -> None:
    value = result_json(drawn_answers("<Wilson>", 1.0, videos=4))
    del value["results"][0]["qa_pairs"][0]["generated_answer"]
    [model, *_] = load_systems(write(tmp_path / "part.json", value))
    assert model.answers[0].answer == "" and model.facts["unanswered"].startswith("1 questions have no generated answer")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "neither results nor answers"),
        ("{", "not valid JSON"),
        ('{"results": []}', "names nobody"),
        ('{"results": [{"video_path": "a", "qa_pairs": [{"question": "Is <Aa> here?"}]}]}', r"results\[0\], field 'qa_pairs\[0\]\.answer'"),
        ('{"answers": [{"video": "a"}]}', "answer 1 is no answer"),
    ],
)
def test_a_file_that_is_no_result_is_told_in_a_sentence(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_systems(path)


def test_a_damaged_item_is_named(tmp_path: Path) -> None:
    write_sweep(tmp_path, subjects=("<Wilson>",), videos=4)
    folder = next((tmp_path / "items").glob("*personalized"))
    lines = (folder / "answers.jsonl").read_text()
    (folder / "answers.jsonl").write_text(lines[: len(lines) // 2])
    with pytest.raises(UserError, match=r"answers\.jsonl, line \d+, is not JSON"):
        load_systems(tmp_path)
    (folder / "item.json").write_text("{}")
    with pytest.raises(UserError, match=r"item\.json lacks system"):
        load_systems(tmp_path)


def test_inputs_of_the_same_names_are_told_apart(tmp_path: Path) -> None:
    systems = load_systems(write_sweep(tmp_path, subjects=("<Wilson>",), videos=4))
    names = [system.name for system in named_apart([("old", systems), ("new", systems)])]
    assert "old: personalized" in names and "new: personalized" in names and len(set(names)) == len(names)
    besides = {system.beside for system in named_apart([("old", systems), ("new", systems)])}
    assert besides == {"", "old: personalized", "new: personalized"}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stills, which are videos of one frame: three to train on, and of three to test with one that is among them, but smaller."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("videos")
    for name, seed in (("train0", 0), ("train1", 1), ("train2", 2), ("test0", 3), ("test1", 1), ("test2", 4)):
        picture = Image.fromarray(draw([(RED, 2)], seed=seed)[0])
        picture.resize((96, 96)).save(folder / f"{name}.png")
    return folder


def test_a_test_video_that_was_trained_on_is_found(videos: Path, tmp_path: Path) -> None:
    train, test = (sorted(map(str, videos.glob(f"{kind}*"))) for kind in ("train", "test"))
    hashes = VideoHashes(tmp_path / "hashes.json")
    check = find_leaks(train, [*test, str(videos / "gone.mp4")], hashes)
    assert [(Path(leak.test).name, Path(leak.train).name) for leak in check.leaks] == [("test1.png", "train1.png")]
    assert (check.num_train, check.num_test, check.nearest) == (3, 3, 0.0)
    assert "1 videos could not be read" in check.not_checked[0] and "gone.mp4" in check.not_checked[0]
    kept = VideoHashes(tmp_path / "hashes.json")
    assert find_leaks(train, test, kept) == check._replace(not_checked=())
    shutil.copy(videos / "train0.png", tmp_path / "changed.png")
    first = kept.of(str(tmp_path / "changed.png"))
    shutil.copy(videos / "test2.png", tmp_path / "changed.png")
    assert kept.of(str(tmp_path / "changed.png")) != first  # what is kept is of another size or time


def test_training_videos_come_from_files_or_from_the_runs(tmp_path: Path) -> None:
    from pvchat_jax.data.record_files import write_records
    from pvchat_jax.data.records import Question, Record

    question = Question(question="Is <Wilson> here?", answer="Yes.", type="existence")
    write_records(
        tmp_path / "train.jsonl", [Record(video="a.mp4", subject="<Wilson>", role="positive", origin="real", questions=(question,))]
    )
    assert training_videos((), [tmp_path / "train.jsonl"]) == ([str(tmp_path / "a.mp4")], ())
    videos, (reason,) = training_videos(("runs/gone",), ())
    assert videos == [] and reason.startswith("The training videos are not known (runs/gone holds no run") and "--train" in reason
    assert "--train" in training_videos((), ())[1][0]
