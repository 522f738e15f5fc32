import datetime
import json
import subprocess
import sys

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.privacy import personal_data
from pvchat_jax.synthesis.privacy.forgetting import forget
from pvchat_jax.synthesis.privacy.personal_data import SUBJECT_FILE, claim_folder, find_places, places_of, require_claim

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


def make_people(root):
    """Two training sets, a run and a pack of the first person elsewhere, and a run of the second."""
    for name, folder in (("<Wilson>", "data/wilson"), ("<Ada>", "data/ada")):
        claim_folder(root / folder, name, root / "wilson.mp4")
        (root / folder / "clips").mkdir()
        (root / folder / "clips" / "a.mp4").write_bytes(b"12345")
        (root / folder / "stage2").mkdir()
        (root / folder / "stage2" / "config.json").write_text(json.dumps({"data": {"subject": name}}))
    for name, folder in (("<Wilson>", "runs/w"), ("<Ada>", "runs/a")):
        (root / folder / "checkpoints").mkdir(parents=True)
        (root / folder / "config.json").write_text(json.dumps({"data": {"subject": name}}))
    (root / "runs/packs/w").mkdir(parents=True)
    (root / "runs/packs/w/pack.json").write_text(json.dumps({"subject": "<Wilson>"}))
    (root / "runs/other").mkdir()
    (root / "runs/other/config.json").write_text("[1]")
    return [root / "data", root / "runs"]


def all_text(root) -> str:
    return "\n".join(f"{path.relative_to(root)} {path.read_bytes()}" for path in root.rglob("*") if path.is_file())


def test_everything_of_a_person_is_found_and_erased_and_the_receipt_names_nobody(tmp_path):
    roots = make_people(tmp_path)
    places = places_of("Wilson", find_places(roots))
    assert [(place.kind, place.folder.name) for place in places] == [("training set", "wilson"), ("pack", "w"), ("training run", "w")]
    receipt = forget(places, tmp_path / "receipts", NOW)
    assert "ilson" not in all_text(tmp_path).replace(str(tmp_path / "wilson.mp4"), "")
    assert sorted(place.folder.name for place in find_places(roots)) == ["a", "ada"]
    values = json.loads(receipt.read_text())
    assert values["done"] and values["erased"][0] == {"kind": "training set", "files": 3, "bytes": values["erased"][0]["bytes"]}
    assert str(tmp_path) not in receipt.read_text()


def test_what_a_crash_left_is_found_again(tmp_path, monkeypatch):
    roots = make_people(tmp_path)
    removed = []
    erase = personal_data.shutil.rmtree

    def crash(path):
        removed.append(path)
        if len(removed) > 1:
            raise KeyboardInterrupt
        erase(path)

    monkeypatch.setattr(personal_data.shutil, "rmtree", crash)
    with pytest.raises(KeyboardInterrupt):
        forget(places_of("Wilson", find_places(roots)), tmp_path / "receipts", NOW)
    monkeypatch.undo()
    assert not json.loads(next((tmp_path / "receipts").glob("*.json")).read_text())["done"]
    forget(places_of("Wilson", find_places(roots)), tmp_path / "receipts", NOW)
    with pytest.raises(UserError, match="known are Ada"):
        places_of("Wilson", find_places(roots))


def test_links_are_removed_and_not_followed(tmp_path):
    claim_folder(tmp_path / "data/wilson", "<Wilson>", tmp_path / "v.mp4")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/keep.txt").write_text("keep")
    (tmp_path / "data/wilson/link").symlink_to(tmp_path / "mine")
    (tmp_path / "data/wilson/clips").mkdir()
    (tmp_path / "data/wilson/clips/link").symlink_to(tmp_path / "mine")
    forget(places_of("<Wilson>", find_places([tmp_path / "data"])), tmp_path / "receipts", NOW)
    assert (tmp_path / "mine/keep.txt").read_text() == "keep" and not (tmp_path / "data/wilson").exists()


def test_a_receipt_does_not_vanish_with_what_it_is_about(tmp_path):
    claim_folder(tmp_path / "wilson", "<Wilson>", tmp_path / "v.mp4")
    with pytest.raises(UserError, match="--receipts"):
        forget(find_places([tmp_path]), tmp_path / "wilson" / "receipts", NOW)
    assert (tmp_path / "wilson" / SUBJECT_FILE).is_file()


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("data/wilson", "<Ada>", "training set of <Wilson>"),
        ("data/other", "<Wilson>", "already that of"),
        ("runs/w", "<Bo>", "something else"),
    ],
)
def test_a_name_has_one_folder_and_a_folder_one_name(tmp_path, folder, name, message):
    make_people(tmp_path)
    with pytest.raises(UserError, match=message):
        claim_folder(tmp_path / folder, name, tmp_path / "v.mp4")


def test_a_claimed_folder_is_continued_and_a_shard_needs_one(tmp_path):
    with pytest.raises(UserError, match="not prepared"):
        require_claim(tmp_path / "w", "<Wilson>")
    for _ in range(2):
        claim_folder(tmp_path / "w", "<Wilson>", tmp_path / "v.mp4")
        (tmp_path / "w" / "clips").mkdir(exist_ok=True)
    require_claim(tmp_path / "w", "<Wilson>")


def test_the_command_lists_and_forgets(tmp_path):
    make_people(tmp_path)
    (tmp_path / "wilson.mp4").write_bytes(b"video")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pvchat_jax.subjects", *arguments, f"--root={tmp_path / 'data'}", f"--root={tmp_path / 'runs'}"]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={"COLUMNS": "250", "PATH": ""}
        )

    listed = call("list")
    assert listed.returncode == 0 and listed.stdout.count("Wilson") == 3 and listed.stdout.count("Ada") == 2
    refused = call("forget", "Wilson")
    assert refused.returncode == 2 and "add --yes" in refused.stderr
    erased = call("forget", "Wilson", "--yes")
    assert erased.returncode == 0 and "was left" in erased.stdout and (tmp_path / "wilson.mp4").is_file()
    assert call("show", "Wilson").returncode == 2
