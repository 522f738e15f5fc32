import re
from pathlib import Path

from pvchat_jax.data.tokenizer import PACKAGED_DIRECTORY, load_tokenizer
from pvchat_jax.models.config import TINY
from pvchat_jax.world.base_questions import all_features
from pvchat_jax.world.vocabulary import CONTROL_TOKENS, VOCAB_SIZE, sentences, train_tokenizer, write_tokenizer


def test_packaged_files_are_what_is_generated(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    generated = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    packaged = {path.name: path.read_text(encoding="utf-8") for path in PACKAGED_DIRECTORY.iterdir()}
    assert sorted(packaged) == ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
    assert packaged == generated, "the wording has changed; write the packaged tokenizer again (see vocabulary.py)"


def test_size_is_that_of_the_tiny_model() -> None:
    assert train_tokenizer().get_vocab_size() == VOCAB_SIZE == TINY.language_model.vocab_size


def test_every_word_of_the_world_is_one_token() -> None:
    tokenizer = load_tokenizer("", ["<Wilson>"])
    for sentence in sentences("<Wilson>"):
        ids = tokenizer.encode_plain(sentence)
        pieces = re.findall(r"<Wilson>|\w+|[^\w\s]", sentence)
        lone_spaces = sentence.count(" <Wilson>")
        assert len(ids) == len(pieces) + lone_spaces
        assert tokenizer.decode(ids) == sentence


def test_most_words_that_describe_people_are_one_token() -> None:
    tokenizer = load_tokenizer("", ["<person>"])
    words = {f" {word}" for feature in all_features() for word in feature.split()}
    split = [word for word in words if len(tokenizer.encode_plain(word)) > 1]
    assert len(split) <= 0.1 * len(words), split


def test_any_text_survives() -> None:
    tokenizer = load_tokenizer("", ["<Wilson>"])
    text = "Où est <Wilson>? 早上好 🙂\t\n  12 <Video>"
    assert tokenizer.decode(tokenizer.encode_plain(text)) == text


def test_loads_like_a_pretrained_tokenizer() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(PACKAGED_DIRECTORY, local_files_only=True)
    assert len(tokenizer) == VOCAB_SIZE
    assert tokenizer("Yes,").input_ids == [tokenizer.bos_token_id, *tokenizer.encode("Yes,", add_special_tokens=False)]
    named = (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token)
    assert named == CONTROL_TOKENS[:4] == tuple(tokenizer.convert_ids_to_tokens(range(4)))


def test_layout_takes_one_token_per_mark() -> None:
    tokenizer = load_tokenizer("", ["<Wilson>"])
    for mark in ("[INST]", "[/INST]", "<Video>", "</Video>"):
        assert len(tokenizer.encode(mark, add_bos=False)) == 1
    assert len(tokenizer.encode("</Video>[/INST] [INST][<Wilson>]", add_bos=False)) == 7
