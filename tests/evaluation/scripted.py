"""A tokenizer of whole words and a model that recites prepared answers, for tests of decoding."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.models.mistral import KeyValues, Segment

VOCABULARY_SIZE = 64


class WordTokenizer:
    """Has what `data.tokenizer.SubjectTokenizer` has; words get their ids when they are first seen."""

    def __init__(self, subject: str) -> None:
        self.subjects = (subject,)
        self._words = ["<s>", "</s>", subject]
        self.bos_id, self.eos_id, self.pad_id, self.name_token_id = 0, 1, 0, 2
        self.directory = ""

    def encode(self, text: str, add_bos: bool) -> list[int]:
        ids = [self._id(word) for word in re.findall(r"\[/?INST\]|</?Video>|<\w+>|\w+|[^\w\s]", text)]
        return [self.bos_id, *ids] if add_bos else ids

    def encode_plain(self, text: str) -> list[int]:
        return self.encode(text, add_bos=False)

    def decode(self, ids: list[int]) -> str:
        """What is drawn at random may be no word yet."""
        return " ".join(self._words[index] if index < len(self._words) else f"word{index}" for index in ids)

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        assert len(self._words) <= VOCABULARY_SIZE
        return self._words.index(word)


class RecitingModel:
    """Answers as `script[video][question]` says, whatever the weights.

    It tells videos apart by their first pixel, and questions by a word of theirs. What it says next follows from
    all that it can see of the row, so a row that is placed, padded or masked wrongly makes it say something else.

    Args:
      script: answer ids by the value of a video's first pixel and the id of a question's word.
      asked_id: token after which the answer starts the second time it occurs.
    """

    def __init__(self, script: Mapping[tuple[float, int], list[int]], asked_id: int, eos_id: int) -> None:
        self.traces: Counter[str] = Counter()
        self._pixels = np.array([pixel for pixel, _ in script], np.float32)
        self._words = np.array([word for _, word in script], np.int32)
        longest = max(map(len, script.values())) + 1
        self._answers = np.array([[*answer, *[eos_id] * (longest - len(answer))] for answer in script.values()], np.int32)
        self._asked_id = asked_id

    def unstack(self, params: jax.Array) -> jax.Array:
        return params

    def apply(self, variables: Any, *arguments: Any, method: str, **named: Any) -> Any:
        self.traces[method] += 1
        return getattr(self, f"_{method}")(variables["params"], *arguments, **named)

    def _encode_video(self, params: jax.Array, video: jax.Array) -> jax.Array:
        return video[:, :, :1, 0, 0, :1] + params

    def _query(self, params: jax.Array, features: jax.Array) -> SimpleNamespace:
        return SimpleNamespace(queries=features, routing={"1.self": SimpleNamespace(gates=self._gates(features))})

    def _visual_tokens(self, params: jax.Array, queries: jax.Array, num_videos: int) -> jax.Array:
        return queries

    @staticmethod
    def _gates(features: jax.Array) -> jax.Array:
        """Two heads for two tokens of each clip: both tokens of a bright video have the first head on, one of a dark video the second."""
        pixels = features.reshape(-1)  # [clips]
        bright, dark = jnp.maximum(pixels, 0), jnp.maximum(-pixels, 0)
        return jnp.stack([jnp.stack([bright, dark], -1), jnp.stack([bright, 0 * dark], -1)], axis=1)

    @staticmethod
    def _embed_rows(params: jax.Array, visual: jax.Array, ids: jax.Array, video_mask: jax.Array) -> jax.Array:
        """A token is its id and 0, a visual token -1 and the video's pixel: float[B * K, S, 2]."""
        pixel = jnp.where(video_mask, visual[:, :1, 0, 0, None], 0.0)
        return jnp.stack([jnp.where(video_mask, -1, ids), pixel], axis=-1).reshape(-1, ids.shape[-1], 2)

    @staticmethod
    def _embed_text(params: jax.Array, ids: jax.Array) -> jax.Array:
        return jnp.stack([ids, jnp.zeros_like(ids)], axis=-1).astype(jnp.float32)

    def _extend(
        self,
        params: jax.Array,
        embeddings: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[Segment] = (),
        chosen: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValues]:
        """Keys are the embeddings, values the positions."""
        keys = KeyValues(embeddings[None, :, :, None], positions[None, :, :, None, None])
        segments = [*past, Segment(keys, positions, mask)]
        rows = len(embeddings)

        def of_rows(array: jax.Array) -> jax.Array:
            return jnp.repeat(array, rows // len(array), axis=0)

        seen = jnp.concatenate([of_rows(segment.keys.key[0, :, :, 0]) for segment in segments], axis=1)  # [R, S, 2]
        where = jnp.concatenate([of_rows(segment.keys.value[0, :, :, 0, 0]) for segment in segments], axis=1)  # [R, S]
        visible = jnp.concatenate([segment.mask for segment in segments], axis=2)  # [R, T, S]
        if chosen is not None:
            visible = jnp.take_along_axis(visible, chosen[..., None], axis=1)
        said = self._say(jnp.where(visible, seen[:, None, :, 0], -2), seen[:, None, :, 1], where[:, None])
        return 5.0 * jax.nn.one_hot(said, VOCABULARY_SIZE), keys

    def _say(self, ids: jax.Array, pixels: jax.Array, where: jax.Array) -> jax.Array:
        """The next token `int[R, T]` of what is seen: ids [R, T, S] (-1 visual, -2 invisible), their pixels and places in the row."""
        asked = jnp.sort(jnp.where(ids == self._asked_id, where, 10**6), axis=-1)[..., 1:2]  # where the question ends
        said = jnp.sum((ids >= 0) & (where > asked), axis=-1)
        pixel = jnp.sum(jnp.where(ids == -1, pixels, 0), axis=-1) / jnp.maximum(jnp.sum(ids == -1, axis=-1), 1)
        same_video = jnp.abs(pixel[..., None] - self._pixels) < 1e-3  # [R, T, script]
        same_question = jnp.any(ids[..., None] == self._words, axis=2)
        line = jnp.argmax(same_video & same_question, axis=-1)
        return jnp.take_along_axis(jnp.asarray(self._answers)[line], jnp.minimum(said, self._answers.shape[1] - 1)[..., None], axis=2)[
            ..., 0
        ]
