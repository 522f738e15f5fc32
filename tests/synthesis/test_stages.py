import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.records import sha256_of
from pvchat_jax.synthesis.shards import Shard, parse_shard
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of, seed_of

WORK = Work(stage="generate", version=1, tool="compositor 1", inputs={"video": "ab"}, settings={"width": 64}, seed=3)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"tool": "compositor 2"}, {"inputs": {"video": "ac"}}, {"settings": {"width": 66}}, {"seed": 4}, {"stage": "ask"}],
)
def test_whatever_a_result_depends_on_changes_its_key(tmp_path, change):
    store = StageStore(tmp_path)
    store.keep(WORK, [1])
    assert StageStore(tmp_path).find(WORK) == [1]
    assert StageStore(tmp_path).find(dataclasses.replace(WORK, **change)) is None


def test_a_result_whose_file_is_gone_or_changed_is_made_again(tmp_path):
    store = StageStore(tmp_path)
    video = tmp_path / "clips" / "a.mp4"
    video.parent.mkdir()
    video.write_bytes(b"video")
    store.keep(WORK, {"video": "clips/a.mp4"}, {"clips/a.mp4": sha256_of(video)})
    assert store.find(WORK) == {"video": "clips/a.mp4"}
    video.write_bytes(b"videx")
    assert store.find(WORK) is None
    video.unlink()
    assert store.find(WORK) is None


@pytest.mark.parametrize("damage", [lambda text: text[: len(text) // 2], lambda text: "", lambda text: text.replace("[7]", "[8]")])
def test_a_damaged_entry_is_as_good_as_none(tmp_path, damage):
    store = StageStore(tmp_path)
    store.keep(WORK, [7])
    (path,) = (tmp_path / "stages").rglob("*.json")
    path.write_text(damage(path.read_text()))
    assert store.find(WORK) is None
    assert store.once(WORK, lambda: [7]) == [7]


def test_what_all_workers_need_is_written_by_its_owner_alone(tmp_path):
    made = []

    def work(index: int) -> list[int]:
        return StageStore(tmp_path / str(index), Shard(index, 5)).once(WORK, lambda: made.append(index) or [1])

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(work, range(5))) == [[1]] * 5
    assert len(list(tmp_path.rglob("*.json"))) == 1 and sorted(made) == list(range(5))


def test_the_manifest_counts_pieces_by_stage_and_tool_and_does_not_depend_on_order(tmp_path):
    works = [dataclasses.replace(WORK, seed=seed) for seed in range(4)]
    manifests = []
    for order in (works, works[::-1]):
        store = StageStore(tmp_path)
        for work in order:
            store.once(work, lambda: 1)
        manifests.append(json.dumps(store.manifest()))
    assert manifests[0] == manifests[1]
    assert json.loads(manifests[0])[0] | {"keys": ""} == {
        "stage": "generate",
        "version": 1,
        "tool": "compositor 1",
        "pieces": 4,
        "keys": "",
    }


@given(st.integers(1, 40), st.lists(st.text(), max_size=30))
@settings(deadline=None)
def test_every_piece_has_one_owner(count, items):
    shards = [parse_shard(f"{index}/{count}") for index in range(count)]
    for item in items:
        assert sum(shard.owns(digest_of(item)) for shard in shards) == 1


def test_work_is_spread_over_the_shards():
    owned = [sum(Shard(index, 8).owns(digest_of(item)) for item in range(800)) for index in range(8)]
    assert min(owned) > 60


@pytest.mark.parametrize("text", ["8/8", "1", "a/b", "-1/2", "0/0", "1/2/3", "01/4"])
def test_a_shard_that_cannot_be_is_refused(text):
    with pytest.raises(UserError, match="--shard is"):
        parse_shard(text)


def test_seeds_depend_on_all_their_parts():
    assert len({seed_of(0, "a"), seed_of(1, "a"), seed_of(0, "b"), seed_of(0, "a", 0), seed_of("0a")}) == 5
