"""Who comes into a registry, who is refused, and what stays as it was."""

import dataclasses
import datetime
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from configs import stage2
from pvchat_jax.config.pack_manifest import CALIBRATION_FILE, MANIFEST_FILE, TENSORS_FILE, THRESHOLD_FILE, read_manifest, write_manifest
from pvchat_jax.errors import UserError
from pvchat_jax.registry.enrolling import Grounds, enrol
from pvchat_jax.registry.handing_over import export_person
from pvchat_jax.registry.names import bare, folder_name, is_same, resolve
from pvchat_jax.registry.registry import REGISTRY_FILE, Registry
from pvchat_jax.synthesis.consent import CONSENT_FILE, Consent, write_consent
from pvchat_jax.training.weights import weights_directory
from tests.assistant.tiny_registry import decide, make_pack

TODAY = datetime.date(2026, 3, 1)
CONSENT = Consent(given_by="Wilson", date=TODAY, scope=("train", "share"), expires=datetime.date(2026, 12, 31))
INVENTED = Grounds(is_invented=True)


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packs")
    return {name: make_pack(folder / name, f"<{name}>", seed=seed) for seed, name in enumerate(("Wilson", "Ada"))}


@pytest.fixture
def registry(tmp_path: Path, packs: dict[str, Path]) -> Registry:
    """Wilson, with a consent to share, and calibrated."""
    made = Registry(tmp_path / "people")
    made.enrol(packs["Wilson"], consent=CONSENT)
    decide(made.person("wilson").folder, "present")
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_adding_people_changes_nothing_that_is_there(registry: Registry, packs: dict[str, Path]) -> None:
    before, base = content(registry.folder), content(weights_directory("tiny"))
    registry.enrol(packs["Ada"], is_invented=True)
    registry.enrol(packs["Ada"], name="<Bo>", is_invented=True)
    after = content(registry.folder)
    assert {name: after[name] for name in before} == before and content(weights_directory("tiny")) == base
    assert [person.name for person in registry.people()] == ["<Ada>", "<Bo>", "<Wilson>"]
    assert load_file(registry.person("bo").folder / TENSORS_FILE).keys() == load_file(packs["Ada"] / TENSORS_FILE).keys()
    assert "ilson" not in (registry.folder / REGISTRY_FILE).read_text()


@pytest.mark.parametrize("name", ["wilson", "<WILSON>", "Wilson"])
def test_a_name_is_one_persons_however_it_is_spelt(registry: Registry, packs: dict[str, Path], name: str) -> None:
    assert registry.person(name).name == "<Wilson>"
    before = content(registry.folder)
    with pytest.raises(UserError, match="Wilson is enrolled already; choose --name=OTHER"):
        registry.enrol(packs["Ada"], name=name, is_invented=True)
    assert content(registry.folder) == before


def test_a_new_name_is_all_that_changes(registry: Registry, packs: dict[str, Path]) -> None:
    before = content(registry.person("Wilson").folder)
    person = registry.rename("wilson", "Will")
    assert (person.name, person.manifest.config.data.subject, person.folder.name) == ("<Will>", "<Will>", "will")
    after = content(person.folder)
    assert {name for name in before if before[name] != after[name]} == {MANIFEST_FILE} and before.keys() == after.keys()
    assert [other.name for other in registry.people()] == ["<Will>"]
    assert registry.rename("will", "<WILL>").name == "<WILL>"
    registry.enrol(packs["Ada"], is_invented=True)
    with pytest.raises(UserError, match="Ada is enrolled already"):
        registry.rename("will", "ada")
    with pytest.raises(UserError, match="<s>"):
        registry.rename("will", "<s>")
    assert registry.person("will").name == "<WILL>"


def changed(pack: Path, folder: Path, change: Callable) -> Path:
    """A copy of a pack whose manifest differs."""
    shutil.copytree(pack, folder)
    write_manifest(folder, change(read_manifest(folder)))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_fingerprint": "0" * 64}, "was trained on other base weights"),
        ({"compute_dtype": "bfloat16"}, "has compute_dtype bfloat16 and the people of this registry have float32"),
        ({"data.num_frames": 2}, "has data.num_frames 2"),
        ({"model": stage2.get_config("8b").model}, "has model."),
    ],
)
def test_a_pack_that_does_not_fit_the_others_is_refused(
    registry: Registry, packs: dict[str, Path], tmp_path: Path, change: dict, message: str
) -> None:
    def apply(manifest):
        if "base_fingerprint" in change:
            return dataclasses.replace(manifest, **change)
        config = manifest.config
        if "data.num_frames" in change:
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, num_frames=2))
        elif "model" in change:
            data = dataclasses.replace(config.data, image_size=change["model"].vision.image_size)
            config = dataclasses.replace(config, model=change["model"], data=data)
        else:
            config = dataclasses.replace(config, **change)
        return dataclasses.replace(manifest, config=config)

    before = content(registry.folder)
    with pytest.raises(UserError, match=message):
        registry.enrol(changed(packs["Ada"], tmp_path / "changed", apply), is_invented=True)
    assert content(registry.folder) == before


def test_an_encoder_of_ones_own_and_damage_are_refused(registry: Registry, packs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(packs["Ada"], tmp_path / "own")
    tensors = load_file(tmp_path / "own" / TENSORS_FILE)
    save_file({**tensors, "vision_norm/scale": tensors["subject_tokens"]}, tmp_path / "own" / TENSORS_FILE)
    with pytest.raises(UserError, match="has a video encoder of its own"):
        registry.enrol(tmp_path / "own", is_invented=True)
    (tmp_path / "own" / TENSORS_FILE).write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is not a readable safetensors file"):
        registry.enrol(tmp_path / "own", is_invented=True)
    assert [person.name for person in registry.people()] == ["<Wilson>"]


@pytest.mark.parametrize("destination", ["wilson.zip", "handed/on"])
def test_what_is_exported_can_be_imported(registry: Registry, tmp_path: Path, destination: str) -> None:
    person = registry.person("wilson")
    (person.folder / "chat_history").write_text("Is he there?\n")
    export_person(person, tmp_path / destination, TODAY)
    other = Registry(tmp_path / "other")
    again = enrol(other, tmp_path / destination, name=None, grounds=Grounds(), today=TODAY)
    assert (again.name, again.consent, again.is_invented) == ("<Wilson>", CONSENT, False)
    ours, theirs = content(person.folder), content(again.folder)
    assert theirs.keys() == ours.keys() - {"chat_history"}
    assert all(theirs[name] == ours[name] for name in (TENSORS_FILE, CONSENT_FILE, CALIBRATION_FILE))
    assert (
        str(tmp_path) not in (again.folder / MANIFEST_FILE).read_text() and "quickstart" not in (again.folder / MANIFEST_FILE).read_text()
    )
    with pytest.raises(UserError, match="exists already"):
        export_person(person, tmp_path / destination, TODAY)
    assert not [path for path in tmp_path.rglob(".*")]


def test_only_what_may_be_shared_is_exported(registry: Registry, tmp_path: Path) -> None:
    write_consent(registry.person("wilson").folder, dataclasses.replace(CONSENT, scope=("train",)))
    with pytest.raises(UserError, match="the consent of Wilson covers train but not share"):
        export_person(registry.person("wilson"), tmp_path / "w.zip", TODAY)
    with pytest.raises(UserError, match="expired on 2026-12-31"):
        export_person(registry.person("wilson"), tmp_path / "w.zip", datetime.date(2027, 1, 1))
    assert not (tmp_path / "w.zip").exists()


def hostile(path: Path, name: str, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(name, "0" * 100)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 not really"), "or is damaged"),
        (lambda path: hostile(path, "../../pack.json"), "which export does not write like that"),
        (lambda path: hostile(path, MANIFEST_FILE, zipfile.ZIP_DEFLATED), "which export does not write like that"),
        (lambda path: hostile(path, THRESHOLD_FILE), "holds no pack.json"),
        (lambda path: hostile(path, MANIFEST_FILE), "does not describe a pack"),
        (lambda path: path.mkdir(), "holds neither a training run nor a pack"),
        (lambda path: None, "does not exist"),
    ],
)
def test_files_that_export_did_not_write_are_refused(registry: Registry, tmp_path: Path, make: Callable, message: str) -> None:
    make(tmp_path / "in.zip")
    before = content(registry.folder)
    with pytest.raises(UserError, match=message):
        enrol(registry, tmp_path / "in.zip", name=None, grounds=INVENTED, today=TODAY)
    assert content(registry.folder) == before


def test_nobody_comes_in_without_a_consent_for_today(packs: dict[str, Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "people")
    source = tmp_path / "wilson" / "stage2"
    shutil.copytree(packs["Wilson"], source)

    def add(grounds: Grounds, today: datetime.date = TODAY) -> Consent | None:
        person = enrol(registry, source, name=None, grounds=grounds, today=today)
        shutil.rmtree(person.folder)
        return person.consent

    with pytest.raises(UserError, match=r"there is no consent with .*--consent=FILE, or --invented"):
        add(Grounds())
    assert not registry.people()
    answers = iter(["yes", "Wilson's mother", "", ""])
    assert add(Grounds(ask=lambda question: next(answers))).given_by == "Wilson's mother"
    write_consent(source.parent, CONSENT)  # that of the training set around the run
    assert add(Grounds()) == CONSENT
    other = dataclasses.replace(CONSENT, given_by="Somebody")
    assert add(Grounds(consent=other)) == other
    assert add(INVENTED) is None
    with pytest.raises(UserError, match="and not today"):
        add(Grounds(), datetime.date(2027, 1, 1))


def test_without_a_record_nobody_is_invented(registry: Registry) -> None:
    folder = registry.person("wilson").folder
    (folder / CONSENT_FILE).unlink()
    for text in ('{"invented": "yes"}', "{", "[]"):
        (folder / "enrolment.json").write_text(text)
        with pytest.raises(UserError, match="there is no consent of Wilson"):
            registry.person("wilson").require_usable(TODAY)


def test_a_damaged_registry_is_one_sentence(registry: Registry, packs: dict[str, Path]) -> None:
    path = registry.folder / REGISTRY_FILE
    good = json.loads(path.read_text())
    for text in ("{", "[]", json.dumps({**good, "format_version": 2}), json.dumps({**good, "config": {"x": 1}}), "{}"):
        path.write_text(text)
        with pytest.raises(UserError, match=REGISTRY_FILE):
            registry.enrol(packs["Ada"], is_invented=True)
    assert [person.name for person in registry.people()] == ["<Wilson>"]


def test_a_place_that_cannot_be_written_is_one_sentence(packs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "people").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        Registry(tmp_path / "people").enrol(packs["Ada"], is_invented=True)


@given(st.text(min_size=1, max_size=20))
def test_any_name_has_one_folder(name: str) -> None:
    assert is_same(name, f"<{bare(name)}>") and resolve(name, [name]) == name
    try:
        folder = folder_name(name)
    except UserError:
        return
    assert folder not in ("", ".", "..") and not {"/", "\\", "\0"} & set(folder) and len(folder.encode()) <= 200
    assert folder_name(f"<{bare(name)}>") == folder
