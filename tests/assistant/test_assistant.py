"""Questions about people over one base, with people who were never trained."""

import dataclasses
import datetime
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from pvchat_jax.assistant.assistant import Assistant, Reply
from pvchat_jax.assistant.people_over_base import prompt_row
from pvchat_jax.assistant.videos import Watched
from pvchat_jax.config.schema import MeshConfig
from pvchat_jax.data.preprocess import frame_indices, preprocess_frames
from pvchat_jax.errors import UserError
from pvchat_jax.inference.engine import Engine, PromptShape
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.registry.registry import Registry
from pvchat_jax.sharding import make_mesh
from pvchat_jax.synthesis.consent import Consent, write_consent
from pvchat_jax.synthesis.forgetting import forget
from pvchat_jax.synthesis.personal_data import erase, find_places, places_of
from pvchat_jax.training.initialise import load_run
from tests.assistant.tiny_registry import decide, make_frames, make_pack, make_registry
from tests.data.video_files import write_video

OPTIONS = DecodingOptions(max_new_tokens=4)
TIMES = (0.0, 1.0, 2.0, 3.0)
SHAPE = PromptShape(1, 32)
DOING = "What is {} doing?"


class Case(NamedTuple):
    registry: Registry
    assistant: Assistant
    watched: Watched

    def set_verdicts(self, **verdicts: str) -> None:
        for name, verdict in verdicts.items():
            decide(self.registry.person(name).folder, verdict)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    registry = make_registry(tmp_path_factory.mktemp("registry") / "people")
    assistant = Assistant.open(registry)
    return Case(registry, assistant, assistant.watch_frames([make_frames()], [TIMES], "noise")[0])


@pytest.fixture(autouse=True)
def _somebody_is_there(case: Case) -> None:
    case.set_verdicts(Wilson="present", Ada="present")


def leaves(assistant: Assistant, name: str) -> dict[str, jax.Array]:
    return flatten_dict(assistant._loaded[name].engine._params, sep="/")


def logits(assistant: Assistant, watched: Watched, name: str) -> np.ndarray:
    """Of the first token of an answer."""
    loaded = assistant._loaded[name]
    row = prompt_row(loaded.tokenizer, assistant._config, DOING.format(name))
    return np.asarray(loaded.engine.ask(loaded.engine.see(watched.features[None]), [[row]], SHAPE).logits)


def test_an_answer_is_that_of_the_pack_on_its_base_by_itself(case: Case) -> None:
    loaded = load_run(case.registry.person("wilson").folder, make_mesh(MeshConfig(data=1), jax.devices()[:1]))
    alone = case.assistant._people.engine.with_parameters(loaded.params)
    data = loaded.config.data
    features = alone.encode(preprocess_frames(make_frames(), data.image_size, data.tile_grid)[None])
    np.testing.assert_array_equal(case.watched.features, features[0])
    row = prompt_row(loaded.tokenizer, loaded.config, DOING.format("<Wilson>"))
    asked = alone.ask(alone.see(features), [[row]], SHAPE)
    np.testing.assert_array_equal(logits(case.assistant, case.watched, "<Wilson>"), asked.logits)
    said = case.assistant.reply(case.watched, ["<Wilson>"], DOING.format("<Wilson>"), OPTIONS)
    assert list(alone.answer(asked, OPTIONS)[0][0].tokens) == loaded.tokenizer.encode(said.text, add_bos=False)[: said.num_tokens]
    assert said.num_tokens > 0 and said.num_prompt_tokens == len(row.input_ids) and said.presence["<Wilson>"].verdict == "present"


def drain(pieces: Generator[str, None, Reply]) -> tuple[str, Reply]:
    """What a stream says, and what it returns."""
    said = ""
    while True:
        try:
            said += next(pieces)
        except StopIteration as end:
            return said, end.value


def test_a_stream_gives_the_reply(case: Case) -> None:
    for names in (["wilson"], ["Ada", "wilson"]):
        text, streamed = drain(case.assistant.stream(case.watched, names, "What are they doing?", OPTIONS))
        reply = case.assistant.reply(case.watched, names, "What are they doing?", OPTIONS)
        assert text == streamed.text and streamed == reply and reply.num_tokens > 0
        assert list(reply.presence) == [f"<{name.capitalize()}>" for name in names]


def test_people_share_the_arrays_of_the_base(case: Case) -> None:
    wilson, ada = leaves(case.assistant, "<Wilson>"), leaves(case.assistant, "<Ada>")
    own = {path for path in wilson if wilson[path] is not ada[path]}
    assert {path.split("/")[0] for path in own} == {"qformer", "subject_tokens", "language_model"}
    assert all("lora" in path or "added" in path for path in own if path.startswith("language_model"))
    # what the packs hold is not in memory a third time
    of_base = flatten_dict(case.assistant._people.engine._params, sep="/")
    assert of_base.keys() & own == {"subject_tokens"}


def test_another_person_compiles_nothing(case: Case) -> None:
    def ask(name: str) -> None:
        case.assistant.presence([case.watched] * 3, name)
        case.assistant.reply(case.watched, [name], DOING.format(name), OPTIONS)

    engine = case.assistant._people.engine
    programs = (engine._encode, engine._look, *vars(engine._decoder).values())
    ask("<Wilson>")
    before = [program._cache_size() for program in programs]
    ask("<Ada>")
    assert [program._cache_size() for program in programs] == before and min(before) > 0


def test_nothing_is_left_of_a_person_who_was_erased(case: Case, tmp_path: Path) -> None:
    """And somebody who was not touched is as in a system where the other never was, to the last bit."""
    registry, never = (make_registry(tmp_path / name, ["<Ada>"]) for name in ("people", "never"))
    alone = {path.name: path.read_bytes() for path in registry.person("ada").folder.iterdir()}
    registry.enrol(make_pack(tmp_path / "wilson", "<Wilson>", seed=1), is_invented=True)
    assistant = Assistant.open(registry)
    assert logits(assistant, case.watched, "<Wilson>").any()
    forget(places_of("wilson", find_places([registry.folder])), tmp_path / "receipts", datetime.datetime.now(datetime.UTC))
    with pytest.raises(UserError, match="nobody called 'Wilson' is enrolled; known are Ada"):
        assistant.reply(case.watched, ["Wilson"], "Is Wilson here?", OPTIONS)
    assert assistant.names == ("<Ada>",)
    assert {path.name: path.read_bytes() for path in registry.person("ada").folder.iterdir()} == alone
    np.testing.assert_array_equal(logits(assistant, case.watched, "<Ada>"), logits(Assistant.open(never), case.watched, "<Ada>"))


def test_what_was_seen_with_an_erased_pack_is_dropped(case: Case, tmp_path: Path) -> None:
    case.registry.enrol(make_pack(tmp_path / "pack", "<Tom>"), is_invented=True)
    case.assistant.presence([case.watched], "tom")
    assert any(name == "<Tom>" for _, name in case.assistant._looks)
    erase(places_of("Tom", find_places([case.registry.folder]))[0])
    case.assistant.refresh()
    assert not any(name == "<Tom>" for _, name in case.assistant._looks)


@pytest.mark.parametrize(("verdict", "says"), [("absent", "<Wilson> is not in this video"), ("unsure", "I am not sure whether <Wilson>")])
def test_nobody_is_described_who_may_not_be_there(case: Case, verdict: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case.set_verdicts(Wilson=verdict)
    monkeypatch.setattr(Engine, "answer", None)
    monkeypatch.setattr(Engine, "stream", None)
    for question in ("What is he wearing?", "Is Wilson here?", "Is he wearing a hat?"):
        said = case.assistant.reply(case.watched, ["wilson"], question, OPTIONS)
        assert says.lower() in said.text.lower() and said.num_tokens == 0
        assert "".join(case.assistant.stream(case.watched, ["wilson"], question, OPTIONS)) == said.text


def test_several_people_are_answered_about_together(case: Case) -> None:
    case.set_verdicts(Wilson="absent")
    names = ["wilson", "ada"]
    assert case.assistant.reply(case.watched, names, "Are Wilson and Ada in the video?", OPTIONS).text == (
        "Only <Ada> is in this video, <Wilson> is not."
    )
    first, second = case.assistant.reply(case.watched, names, "What are they doing?", OPTIONS).text.split("\n")
    assert first.startswith("<Wilson> is not in this video") and second.startswith("<Ada>")


def test_a_question_is_completed_by_the_last_one(case: Case) -> None:
    turn = case.assistant.prepare(case.watched, ["ada"], "And Ada?", [("What is Wilson wearing?", "A hat.")])[0]
    assert turn.question == "What is <Ada> wearing?"


def test_windows_are_scored_alike_one_by_one_and_together(case: Case) -> None:
    windows = [make_frames(seed) for seed in range(3)]
    watched = case.assistant.watch_frames(windows, [TIMES] * 3, "many")
    together = case.assistant.log_odds(watched, "ada")
    np.testing.assert_allclose(together, [case.assistant.log_odds([one], "ada")[0] for one in watched], atol=1e-4)
    assert len(set(np.round(together, 4))) == 3
    halved = dataclasses.replace(watched[2], features=watched[2].features.astype(np.float16))
    np.testing.assert_allclose(case.assistant.log_odds([halved], "ada"), together[2:], atol=2e-2)


def test_a_part_of_a_video_is_looked_at(case: Case, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 50)
    whole, part = case.assistant.watch(path), case.assistant.watch(path, start=0.4, end=1.2)
    rate = 1 / whole.frame_times[-1] * frame_indices(50, 4)[-1]
    np.testing.assert_allclose(whole.frame_times, frame_indices(50, 4) / rate, atol=1e-6)
    assert all(0.4 <= time < 1.2 for time in part.frame_times) and part.source == str(path)
    assert not np.allclose(whole.features, part.features)
    with pytest.raises(UserError, match="shows nothing from 90 s to its end"):
        case.assistant.watch(path, start=90)


def test_who_comes_changes_name_or_loses_consent_is_noticed(case: Case, tmp_path: Path) -> None:
    registry, assistant = case.registry, case.assistant
    today, past = datetime.date.today(), datetime.date(2020, 5, 1)
    consent = Consent(given_by="Zoe", date=today, scope=("train",), expires=today)
    registry.enrol(make_pack(tmp_path / "pack", "<Zoe>"), consent=consent)
    before = assistant.presence([case.watched], "zoe")
    registry.rename("zoe", "Zara")
    assert assistant.presence([case.watched], "Zara") == before and "<Zoe>" not in assistant.names
    write_consent(registry.person("zara").folder, dataclasses.replace(consent, date=past, expires=past))
    for ask in (lambda: assistant.presence([case.watched], "Zara"), lambda: assistant.reply(case.watched, ["zara"], "Where?", OPTIONS)):
        with pytest.raises(UserError, match="the consent of Zara expired on 2020-05-01"):
            ask()
    erase(places_of("Zara", find_places([registry.folder]))[0])


def test_what_cannot_be_opened_says_why(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody is enrolled in"):
        Assistant.open(Registry(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="needs words and the name"):
        case.assistant.reply(case.watched, [], "Who?", OPTIONS)
    with pytest.raises(UserError, match=r"nobody called 'Wilsn' is enrolled; known are Ada, Wilson; did you mean"):
        case.assistant.presence([case.watched], "Wilsn")
    with pytest.raises(UserError, match="at most 512 tokens are read; shorten it"):
        case.assistant.reply(case.watched, ["ada"], "Is Ada here? " * 200, OPTIONS)
    shutil.copytree(case.registry.folder, tmp_path / "copy")
    base = tmp_path / "copy" / "registry.json"
    base.write_text(base.read_text().replace('"weights": "tiny"', '"weights": "/nowhere"', 1))
    with pytest.raises(UserError, match="base /nowhere does not exist"):
        Assistant.open(Registry(tmp_path / "copy"))


def test_parameters_are_float32_where_they_were_trained(case: Case) -> None:
    assert {leaf.dtype for path, leaf in leaves(case.assistant, "<Ada>").items() if "lora" in path} == {jnp.dtype("float32")}
