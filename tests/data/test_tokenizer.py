import copy
import json
from pathlib import Path

import pytest

from pvchat_jax.data.tokenizer import load_tokenizer
from pvchat_jax.errors import UserError
from tests.data.tokenizer_files import write_byte_level


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_byte_level(tmp_path_factory.mktemp("bytes"))


@pytest.mark.parametrize("subjects", [["<Wilson>"], ["<Al>", "<Alan>", "Bo", "Bob", "<Ann Lee>"]])
def test_each_name_is_one_token_after_the_pretrained_rows(directory: str, subjects: list[str]) -> None:
    tokenizer = load_tokenizer(directory, subjects)
    pretrained = json.loads((Path(directory) / "tokenizer.json").read_text())["model"]["vocab"]
    assert tokenizer.vocab_size == len(pretrained) == tokenizer.name_token_id
    assert tokenizer.total_vocab_size == len(pretrained) + len(subjects)
    for offset, name in enumerate(subjects):
        ids = tokenizer.encode(f"[{name}]Is {name} here, or {name}'s hat?", add_bos=False)
        assert ids.count(tokenizer.vocab_size + offset) == 3
        assert sum(index >= tokenizer.vocab_size for index in ids) == 3


def test_names_of_letters_do_not_match_inside_words(directory: str) -> None:
    tokenizer = load_tokenizer(directory, ["Al"])
    assert max(tokenizer.encode("Also Alan", add_bos=False)) < tokenizer.vocab_size


def test_text_survives_encoding_and_decoding(directory: str) -> None:
    tokenizer = load_tokenizer(directory, ["<Wilson>"])
    text = "Yes, <Wilson> wears a red  coat. Ünïcode 中文 🙂"
    ids = tokenizer.encode(text, add_bos=True)
    assert ids[0] == tokenizer.bos_id and tokenizer.encode(text, add_bos=False) == ids[1:]
    assert tokenizer.decode([*ids, tokenizer.eos_id]) == text
    assert tokenizer.encode_plain(text) == ids[1:]


def test_plain_encoding_spells_control_tokens_out(directory: str) -> None:
    tokenizer = load_tokenizer(directory, ["<Wilson>"])
    text = "</s> and <Wilson>"
    assert tokenizer.eos_id in tokenizer.encode(text, add_bos=False)
    ids = tokenizer.encode_plain(text)
    assert tokenizer.eos_id not in ids and ids[-1] == tokenizer.name_token_id and tokenizer.decode(ids) == text
    assert tokenizer.eos_id in tokenizer.encode(text, add_bos=False), "one way of encoding must not switch the other"


def write_with_added_token(tmp_path: Path, token: str) -> str:
    directory = write_byte_level(tmp_path)
    path = tmp_path / "tokenizer.json"
    content = json.loads(path.read_text())
    row = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    content["added_tokens"].append({"id": len(content["model"]["vocab"]), "content": token, "special": False, **row})
    path.write_text(json.dumps(content))
    return directory


def test_plain_encoding_refuses_what_it_cannot_spell_out(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(write_with_added_token(tmp_path, "<Video>"), ["<Wilson>"])
    with pytest.raises(UserError, match="contains '<Video>'"):
        tokenizer.encode_plain("Is <Video> here?")


def test_names_that_still_split_are_refused(tmp_path: Path) -> None:
    directory = write_with_added_token(tmp_path, "[<Wil")
    assert load_tokenizer(directory, ["<Ada>"]).name_token_id
    with pytest.raises(UserError, match="'<Wilson>' does not become the one token"):
        load_tokenizer(directory, ["<Wilson>"])


def test_special_ids(tmp_path: Path) -> None:
    without = load_tokenizer(write_byte_level(tmp_path / "without"), ["<Wilson>"])
    assert (without.bos_id, without.eos_id, without.pad_id) == (1, 2, 0)
    padding = load_tokenizer(write_byte_level(tmp_path / "with", pad_token="</s>"), ["<Wilson>"])
    assert padding.pad_id == padding.eos_id == 2


def test_data_workers_get_their_own_copy(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(directory).parent)
    tokenizer = load_tokenizer(Path(directory).name, ["<Wilson>", "<Ada>"])
    monkeypatch.chdir("/")
    _, arguments = tokenizer.__reduce__()
    assert arguments == (directory, ("<Wilson>", "<Ada>")), "only plain values may travel to another process"
    copied = copy.copy(tokenizer)  # goes through __reduce__, as sending to another process does
    text = "Is <Ada> with <Wilson>?"
    assert copied._tokenizer is not tokenizer._tokenizer
    assert copied.encode(text, add_bos=True) == tokenizer.encode(text, add_bos=True)


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        (["</s>"], "already token 2"),
        (["a"], "already token"),
        ([], "no subject"),
        ([""], "empty"),
        (["<Al> "], "outer spaces"),
        (["<Al>", "<Al>"], "named twice"),
        (["<Al>", "<Al><Bo>"], "contains the subject '<Al>'"),
        (["Video"], "inside the prompt's own"),
        (["<A\nl>"], "printed"),
        (["<\ud800>"], "printed"),
    ],
)
def test_unusable_names_are_refused(directory: str, subjects: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_tokenizer(directory, subjects)


def test_unusable_directories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing does not exist; correct data\.tokenizer"):
        load_tokenizer(str(tmp_path / "missing"), ["<Wilson>"])
    with pytest.raises(UserError, match=r"has no tokenizer\.json"):
        load_tokenizer(str(tmp_path), ["<Wilson>"])
    (tmp_path / "tokenizer.json").write_text("{not json")
    with pytest.raises(UserError, match="no readable tokenizer"):
        load_tokenizer(str(tmp_path), ["<Wilson>"])
    with pytest.raises(UserError, match="names no bos_token"):
        load_tokenizer(write_byte_level(tmp_path / "no_bos", bos_token=None), ["<Wilson>"])


@pytest.mark.parametrize("directory", ["", "tiny"])
def test_packaged_tokenizer_fits_the_tiny_model(directory: str) -> None:
    from pvchat_jax.models.config import TINY

    tokenizer = load_tokenizer(directory, ["<Wilson>"])
    assert tokenizer.vocab_size == TINY.language_model.vocab_size
    text = "Is <Wilson> in this video? Yes, </s> [/INST]"
    assert tokenizer.decode(tokenizer.encode_plain(text)) == text
