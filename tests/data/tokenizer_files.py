"""Small tokenizers as directories of files, for tests."""

import json
from collections.abc import Mapping
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL_TOKENS = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")


def write_byte_level(directory: Path, *, control: tuple[str, ...] = CONTROL_TOKENS, **config: str | None) -> str:
    """A byte-level BPE that can spell out any text; returns the directory."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=list(control), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["What is the person in this video doing? The person is here."] * 3, trainer)
    return _write(directory, tokenizer, config)


def write_word_level(directory: Path, ids: Mapping[str, int], vocab_size: int) -> str:
    """One token for each word, punctuation mark and tag, with the given ids; other ids below `vocab_size` stay unused."""
    words = {index: f"unused{index}" for index in range(vocab_size)}
    words |= dict(enumerate(CONTROL_TOKENS)) | {index: word for word, index in ids.items()}
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in words.items()}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"</?Video>|\w+|[^\w\s]"), behavior="removed", invert=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS])
    return _write(directory, tokenizer, {})


def _write(directory: Path, tokenizer: Tokenizer, config: Mapping[str, str | None]) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", **config}
    values = {name: value for name, value in values.items() if value is not None}
    (directory / "tokenizer_config.json").write_text(json.dumps(values))
    return str(directory)
