"""Files of a sweep: what a crash leaves, and what several processes write."""

import json
from pathlib import Path

import pytest

from pvchat_jax.distributed.apart import Share
from pvchat_jax.errors import UserError
from pvchat_jax.sweeps.results import ItemFolder, read_item


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_item_goes_on(tmp_path: Path) -> None:
    folder = ItemFolder(tmp_path, "item", Share(0, 2))
    folder.append({"unit": 0, "answers": ["ä"]})
    part = next(tmp_path.rglob("*.jsonl"))
    with part.open("a", encoding="utf-8") as file:
        file.write('{"unit": 2, "answ')
    again = ItemFolder(tmp_path, "item", Share(0, 2))
    assert list(again.units()) == [0]
    again.append({"unit": 4})
    assert list(again.units()) == [0, 4]
    assert len(part.read_text(encoding="utf-8").splitlines()) == 2


def test_units_of_all_processes_count_whatever_their_number_was(tmp_path: Path) -> None:
    for share, unit in ((Share(0, 2), 0), (Share(1, 2), 1), (Share(0, 1), 2)):
        ItemFolder(tmp_path, "item", share).append({"unit": unit})
    assert sorted(ItemFolder(tmp_path, "item", Share(2, 3)).units()) == [0, 1, 2]


def test_a_failure_is_known_until_the_item_is_done(tmp_path: Path) -> None:
    folder = ItemFolder(tmp_path, "item", Share())
    assert folder.reason is None
    folder.fail("why")
    assert folder.reason == "why" and not folder.is_done
    folder.append({"unit": 0})
    folder.finish({"set_aside": [], "activity": None}, [])
    assert folder.reason is None and folder.is_done and folder.units() == {}


@pytest.mark.parametrize("damage", ['{"format": 9}', "{", '{"format": 1, "set_aside": [], "activity": null}'])
def test_damage_is_explained(tmp_path: Path, damage: str) -> None:
    (tmp_path / "item.json").write_text(damage)
    (tmp_path / "answers.jsonl").write_text(json.dumps({"video": "a"}) + "\n")
    with pytest.raises(UserError):
        read_item(tmp_path)
    with pytest.raises(UserError, match="there is no"):
        read_item(tmp_path / "nothing")
