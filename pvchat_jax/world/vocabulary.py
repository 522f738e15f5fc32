"""The tiny tokenizer: a byte-level BPE that knows the words of the world and can spell everything else.

The packaged copy in pvchat_jax/data/tiny_tokenizer is what `write_tokenizer` writes; after a change to the wording run

    python -c "from pvchat_jax.world.vocabulary import write_tokenizer; write_tokenizer('pvchat_jax/data/tiny_tokenizer')"

and keep `VOCAB_SIZE` equal to `language_model.vocab_size` of the tiny preset in models/config.py.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pvchat_jax.world.actions import ACTIONS, WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.base_questions import all_features
from pvchat_jax.world.people import all_outfits
from pvchat_jax.world.plan import POSITIONS
from pvchat_jax.world.questions import (
    ACTION_ANSWERS,
    TEST_PHRASINGS,
    TRAIN_PHRASINGS,
    appearance_answer,
    location_answer,
    no_answer,
    refusal,
    yes_answer,
)
from pvchat_jax.world.scenes import SCENES

VOCAB_SIZE = 680
# Ids 0, 1, ... in this order. As in Mistral's tokenizer, the marks of a turn are control tokens and `<Video>` is text.
CONTROL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "[INST]", "[/INST]")
_LAYOUT = ("<Video>", "</Video>", "[", "]", " ")
# One piece each: a tag of the layout, a word or number with the space before it, a punctuation mark, other spaces.
_PIECES = Regex(r"</?Video>| ?\p{L}+| ?\p{N}+|[^\s\p{L}\p{N}]|\s+")


def sentences(subject: str) -> Iterator[str]:
    """Every question and every answer that the world can contain about `subject`."""
    for phrasings in itertools.chain(TRAIN_PHRASINGS.values(), TEST_PHRASINGS.values()):
        yield from (phrasing.format(name=subject) for phrasing in phrasings)
    yield from (yes_answer(subject), no_answer(subject), refusal(subject))
    yield from (appearance_answer(outfit) for outfit in all_outfits())
    yield from (ACTION_ANSWERS[action] for action in ACTIONS)
    for scene in SCENES:
        yield from (location_answer(scene, "stand", position) for position in POSITIONS)
        yield from (location_answer(scene, action, None) for action in (WALK_LEFT, WALK_RIGHT))


def train_tokenizer() -> Tokenizer:
    """Trains the tokenizer; the result is the same every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_PIECES, behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        min_frequency=1,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # The name becomes a token of its own, so what is left of a sentence is learnt without it.
    fragments = [fragment for sentence in sentences("\0") for fragment in sentence.split("\0") if fragment]
    # Several times, so that every word of them becomes one token before the words that describe people do.
    texts = [*fragments, *_LAYOUT] * 3 + [f" the person with {feature} and {feature}" for feature in all_features()]
    tokenizer.train_from_iterator(texts, trainer)
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", bos)])
    return tokenizer


def write_tokenizer(directory: str | Path) -> None:
    """Trains the tokenizer and writes it as a directory that transformers loads."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    config = names | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "padding_side": "right",
    }
    files = {
        "tokenizer.json": json.loads(tokenizer.to_str()),
        "tokenizer_config.json": config,
        "special_tokens_map.json": names,
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
