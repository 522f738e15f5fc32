"""A pretrained tokenizer with one added token per subject name."""

import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.errors import UserError

PACKAGED_DIRECTORY = Path(__file__).parent / "tiny_tokenizer"

_FILES = ("tokenizer.json", "tokenizer.model")
# Texts that structure a conversation (conversation.py). Names must not disturb them and plain text must not become them.
_MARKUP = ("[INST]", "[/INST]", "<Video>", "</Video>", "<s>", "</s>")


class SubjectTokenizer:
    """Text to ids and back, with each subject's name as one token.

    Made by `load_tokenizer`. Pickles as its directory and names, so that data workers load their own copy.

    Attributes:
      directory: where the pretrained tokenizer was loaded from.
      subjects: the names, in the order of their ids.
      vocab_size: pretrained rows V; the names have the ids V, V + 1, ...
      bos_id: begin of sequence. eos_id: end of sequence.
      pad_id: padding; 0, as in the reference, where the tokenizer names none.
    """

    def __init__(self, directory: str, subjects: Sequence[str]) -> None:
        self.directory = directory
        self.subjects = tuple(subjects)
        self._tokenizer = _load_pretrained(directory)
        self.vocab_size = len(self._tokenizer)
        self.bos_id = self._special_id("bos")
        self.eos_id = self._special_id("eos")
        pad_id = self._tokenizer.pad_token_id
        self.pad_id = 0 if pad_id is None else int(pad_id)
        self._control_ids = self._find_control_ids()
        self._add_names()

    def __reduce__(self) -> tuple[Callable[..., "SubjectTokenizer"], tuple[str, tuple[str, ...]]]:
        return load_tokenizer, (self.directory, self.subjects)

    @property
    def name_token_id(self) -> int:
        """Id of the first subject's name."""
        return self.vocab_size

    @property
    def total_vocab_size(self) -> int:
        """Pretrained and added rows."""
        return self.vocab_size + len(self.subjects)

    def encode(self, text: str, add_bos: bool) -> list[int]:
        """Ids of `text`, in which control tokens such as `</s>` are recognised."""
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        return [self.bos_id, *ids] if add_bos else ids

    def encode_plain(self, text: str) -> list[int]:
        """Ids of text that users wrote: names are recognised, `</s>`, `[/INST]` and the like are spelt out.

        Raises:
          UserError: the tokenizer can only write a part of `text` as a control token.
        """
        ids = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        control = next((index for index in ids if index in self._control_ids), None)
        if control is not None:
            token = self._tokenizer.convert_ids_to_tokens(control)
            raise UserError(f"the text {text[:200]!r} contains '{token}', which this tokenizer reserves; remove it from the text.")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`; control tokens are left out, names are kept."""
        return self._tokenizer.decode([int(index) for index in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def save(self, directory: Path) -> None:
        """Writes the tokenizer with its names into `directory`, in the files that `transformers` reads."""
        self._tokenizer.save_pretrained(directory)

    def _special_id(self, which: str) -> int:
        value = getattr(self._tokenizer, f"{which}_token_id")
        if value is None:
            raise UserError(f"{self.directory}/tokenizer_config.json names no {which}_token, which conversations need; add it there.")
        return int(value)

    def _find_control_ids(self) -> frozenset[int]:
        ids = {*self._tokenizer.all_special_ids, self.bos_id, self.eos_id}
        for index, token in self._tokenizer.added_tokens_decoder.items():
            if token.special or token.content in _MARKUP:
                ids.add(index)
        return frozenset(ids - {self._tokenizer.unk_token_id})  # unknown characters are no attempt at control

    def _add_names(self) -> None:
        from tokenizers import AddedToken

        _check_names(self.subjects, self._tokenizer.get_vocab())
        markup = "".join(_MARKUP)
        before = self.encode(markup, add_bos=False)
        # A name of letters must not match inside longer words; `<Wilson>` must also match in `<Wilson>s`.
        tokens = [AddedToken(name, special=False, normalized=False, single_word=_is_word(name)) for name in self.subjects]
        self._tokenizer.add_tokens(tokens)
        for expected, name in enumerate(self.subjects, start=self.vocab_size):
            if self.encode(name, add_bos=False) != [expected] or self.encode(f"[{name}] {name}?", add_bos=False).count(expected) != 2:
                raise UserError(
                    f"the name '{name}' does not become the one token {expected} in the tokenizer of {self.directory}; "
                    "choose a name such as <Wilson>, without parts that are tokens of their own."
                )
        if self.encode(markup, add_bos=False) != before:
            raise UserError(f"the names {list(self.subjects)} occur inside the prompt's own {markup}; choose names such as <Wilson>.")


def load_tokenizer(directory: str, subjects: Sequence[str]) -> SubjectTokenizer:
    """Loads a tokenizer from local files and adds the names.

    Args:
      directory: holds tokenizer.json (or tokenizer.model) and tokenizer_config.json; "" or "tiny" is the packaged one.
      subjects: names such as `<Wilson>`; they get consecutive ids after the pretrained rows.

    Raises:
      UserError: the directory is missing or has no tokenizer; a name is taken, repeated, or would not be one token.
    """
    path = str(PACKAGED_DIRECTORY) if directory in ("", "tiny") else os.path.abspath(directory)
    return SubjectTokenizer(path, subjects)


def _load_pretrained(directory: str) -> Any:
    if not os.path.isdir(directory):
        raise UserError(f"the tokenizer directory {directory} does not exist; correct data.tokenizer, or leave it empty for the tiny one.")
    if not any(os.path.isfile(os.path.join(directory, name)) for name in _FILES):
        raise UserError(f"{directory} has no {' or '.join(_FILES)}; copy the tokenizer's files there.")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that PyTorch is missing is no news: tokenizers do not need it
    from transformers import AutoTokenizer  # takes seconds, so only who tokenises pays

    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False, use_fast=True)
    except Exception as error:  # the Rust parser raises bare Exception
        reason = str(error).strip().split("\n")[0][:300]
        raise UserError(f"{directory} holds no readable tokenizer ({reason}); copy the tokenizer's files again.") from error


def _check_names(names: Sequence[str], vocabulary: dict[str, int]) -> None:
    if not names:
        raise UserError("no subject is named; set data.subject to a name such as <Wilson>.")
    for name in names:
        if not name or name != name.strip() or not name.isprintable():
            message = "is empty, has outer spaces or has characters that cannot be printed; choose a name such as <Wilson>."
            raise UserError(f"the subject {name!r} {message}")
        if name in vocabulary:
            raise UserError(f"the subject '{name}' is already token {vocabulary[name]} of the tokenizer; choose another name.")
    for name, other in itertools.permutations(names, 2):
        if name == other:
            raise UserError(f"the subject '{name}' is named twice; name each one once.")
        if name in other and not (_is_word(name) and _is_word(other)):
            raise UserError(f"the subject '{other}' contains the subject '{name}', so texts about them are ambiguous; rename one.")


def _is_word(name: str) -> bool:
    return name[0].isalnum() and name[-1].isalnum()
