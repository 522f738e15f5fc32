import dataclasses
import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from pvchat_jax.data.record_files import load_records
from pvchat_jax.errors import UserError
from pvchat_jax.world.build import WORLD_VERSION, build_world
from pvchat_jax.world.people import Outfit
from pvchat_jax.world.plan import Subject, plan_video, reference_video, subject_identity, subject_of
from pvchat_jax.world.questions import ask
from pvchat_jax.world.staging import NUM_FRAMES, frame_truth

SIZES = {"num_train": 4, "num_calibration": 1, "num_test": 2}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, **SIZES, seed=0)
    return folder


def test_records_tell_the_truth_about_files_that_play(world: Path) -> None:
    digests = set()
    for split, number in (("reference", 1), ("train", 4), ("calibration", 1), ("test", 2)):
        records = load_records(world / f"{split}.jsonl", "<Wilson>")
        assert len(records) == number
        for index, record in enumerate(records):
            plan = reference_video(0) if split == "reference" else plan_video(0, split, index)
            assert (record.role, record.origin) == (plan.role, "rendered")
            assert record.truth == plan.truth() | {"frames": frame_truth(plan)}
            assert record.questions == ask(plan, "<Wilson>")
            assert record.sha256 == hashlib.sha256(Path(record.video).read_bytes()).hexdigest()
            digests.add(record.sha256)
            with av.open(record.video) as container:
                assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES
    assert len(digests) == 8


def test_same_seed_gives_the_same_bytes_with_any_number_of_processes(world: Path, tmp_path: Path) -> None:
    build_world(tmp_path, **SIZES, seed=0, workers=2)
    assert contents(tmp_path) == contents(world)


def test_interrupted_build_continues(world: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_world(tmp_path, **SIZES, seed=0, progress=interrupt)
    assert not (tmp_path / "train.jsonl").exists()
    with open(tmp_path / "videos.sha256", "a", encoding="utf-8") as ledger:
        ledger.write("0123abc")  # half a line, as a crash leaves it
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").iterdir()}
    seen: list[tuple[int, int]] = []
    build_world(tmp_path, **SIZES, seed=0, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 8), (4, 8), (5, 8), (6, 8), (7, 8), (8, 8)]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert contents(tmp_path) == contents(world)


def test_damaged_and_missing_videos_are_rendered_again(world: Path) -> None:
    before = contents(world)
    (world / "videos/train_000001.mp4").write_bytes(b"damaged")
    (world / "videos/test_000000.mp4").unlink()
    seen: list[int] = []
    build_world(world, **SIZES, seed=0, progress=lambda done, total: seen.append(done))
    assert seen == [6, 7, 8]
    assert contents(world) == before


def test_a_world_can_grow_and_be_renamed(tmp_path: Path) -> None:
    build_world(tmp_path, num_train=1, num_test=1, seed=4)
    seen: list[int] = []
    paths = build_world(tmp_path, num_train=2, num_test=1, seed=4, subject="<Ada>", progress=lambda done, total: seen.append(done))
    assert seen == [3, 4]
    assert [record.subject for record in load_records(paths.train, "<Ada>")] == ["<Ada>", "<Ada>"]


def test_another_world_in_the_folder_is_kept(world: Path) -> None:
    before = contents(world)
    with pytest.raises(UserError, match=r"'seed': 0.*choose another folder"):
        build_world(world, **SIZES, seed=1)
    assert contents(world) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subject": ""}, "the subject '' is empty"),
        ({"num_test": -1}, "num_test is -1"),
        ({"num_calibration": -2}, "num_calibration is -2"),
        ({"seed": -1}, "the seed -1 is negative"),
        ({"num_frames": 5}, "num_frames is 5; choose a divisor of 16"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_world(tmp_path / "world", **({"seed": 0} | SIZES | arguments))
    assert not (tmp_path / "world").exists()


def test_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file cannot be written"):
        build_world(tmp_path / "file", **SIZES, seed=0)
    (tmp_path / "world.json").write_text("{")
    with pytest.raises(UserError, match=r"world\.json is not JSON"):
        build_world(tmp_path, **SIZES, seed=0)


def test_settings_name_the_version_and_the_seed(world: Path) -> None:
    assert json.loads((world / "world.json").read_text()) == {
        "version": WORLD_VERSION,
        "seed": 0,
        "believed": None,
        "num_frames": NUM_FRAMES,
    }


def test_splits_without_videos_have_no_file(tmp_path: Path) -> None:
    paths = build_world(tmp_path, num_test=1, seed=0)
    assert [path.name for path in paths if path.exists()] == ["reference.jsonl", "test.jsonl"]
    (reference,) = load_records(paths.reference, "<Wilson>")
    assert reference.present
    assert Path(reference.video).name == "reference.mp4"


def test_clips_of_a_believed_subject_need_no_reference_video(tmp_path: Path) -> None:
    right = subject_identity(0)
    wrong = Subject(dataclasses.replace(right, eyes="green" if right.eyes != "green" else "brown"), Outfit(colour="red", garment="shirt"))
    paths = build_world(tmp_path, num_train=4, num_calibration=2, seed=0, believed=wrong)
    assert not paths.reference.exists()
    records = load_records(paths.train, "<Wilson>")
    assert [record.present for record in records] == [True, False, True, False]
    for record in records:
        assert (record.truth["identity"] == dataclasses.asdict(wrong.identity)) == record.present
    assert load_records(paths.calibration, "<Wilson>")[1].truth["outfit"] == dataclasses.asdict(wrong.outfit)
    with pytest.raises(UserError, match="choose another folder"):
        build_world(tmp_path, num_train=4, num_calibration=1, seed=0, believed=subject_of(0))


def test_videos_with_fewer_frames_show_the_same_in_the_same_time(tmp_path: Path) -> None:
    whole, few = build_world(tmp_path / "whole", num_test=8, seed=0), build_world(tmp_path / "few", num_test=8, seed=0, num_frames=4)
    firsts = set()
    for record, short in zip(load_records(whole.test, "<Wilson>"), load_records(few.test, "<Wilson>"), strict=True):
        assert short.questions == record.questions
        heads = [record.truth["frames"]["head"].index(box) for box in short.truth["frames"]["head"]]
        assert np.diff(heads).tolist() == [4, 4, 4]
        firsts.add((heads[0], record.present))
        with av.open(record.video) as long_file, av.open(short.video) as short_file:
            all_pixels = [frame.to_ndarray(format="rgb24") for frame in long_file.decode(video=0)]
            pixels = [frame.to_ndarray(format="rgb24") for frame in short_file.decode(video=0)]
            assert float(long_file.duration) == pytest.approx(float(short_file.duration), rel=0.01)
        assert len(pixels) == 4
        for shown, number in zip(pixels, heads, strict=True):
            assert np.abs(shown.astype(int) - all_pixels[number]).mean() < 3
    assert len(firsts) > 4  # which frames are kept does not tell whether the subject is there
