"""A tokenizer of whole words and a model that recites prepared answers, for tests of decoding."""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

VOCABULARY_SIZE = 64


class WordTokenizer:
    """Has what `data.tokenizer.SubjectTokenizer` has; words get their ids when they are first seen."""

    def __init__(self, subject: str) -> None:
        self.subjects = (subject,)
        self._words = ["<s>", "</s>", subject]
        self.bos_id, self.eos_id, self.pad_id = 0, 1, 0

    def encode(self, text: str, add_bos: bool) -> list[int]:
        ids = [self._id(word) for word in re.findall(r"\[/?INST\]|</?Video>|<\w+>|\w+|[^\w\s]", text)]
        return [self.bos_id, *ids] if add_bos else ids

    def encode_plain(self, text: str) -> list[int]:
        return self.encode(text, add_bos=False)

    def decode(self, ids: list[int]) -> str:
        return " ".join(self._words[index] for index in ids)

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        assert len(self._words) <= VOCABULARY_SIZE
        return self._words.index(word)


class RecitingModel:
    """Answers as `script[video][question]` says, whatever the weights.

    It tells videos apart by their first pixel, and questions by a word of theirs. What it says next follows from
    where the row ends, so a row that is placed, padded or masked wrongly makes it say something else.

    Args:
      script: answer ids by the value of a video's first pixel and the id of a question's word.
      asked_id: token after which the answer starts the second time it occurs.
    """

    def __init__(self, script: Mapping[tuple[float, int], list[int]], asked_id: int, eos_id: int) -> None:
        self.traces = {"encode_video": 0, "query": 0, "visual_tokens": 0, "row_logits": 0}
        self._pixels = np.array([pixel for pixel, _ in script], np.float32)
        self._words = np.array([word for _, word in script], np.int32)
        longest = max(map(len, script.values())) + 1
        self._answers = np.array([[*answer, *[eos_id] * (longest - len(answer))] for answer in script.values()], np.int32)
        self._asked_id = asked_id

    def clone(self, **changes: Any) -> "RecitingModel":
        return self

    def apply(self, variables: Any, *arguments: Any, method: str) -> Any:
        self.traces[method] += 1
        return getattr(self, f"_{method}")(variables["params"], *arguments)

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

    def _row_logits(
        self, params: jax.Array, visual: jax.Array, ids: jax.Array, mask: jax.Array, video_mask: jax.Array, positions: jax.Array
    ) -> jax.Array:
        ids = jnp.where(mask & ~video_mask, ids, -1)
        started = jnp.cumsum(jnp.cumsum(ids == self._asked_id, axis=-1) >= 2, axis=-1) - 1  # [B, K, S] tokens since the question's end
        same_video = jnp.abs(visual[:, 0, 0, 0, None] - self._pixels) < 1e-3  # [B, script]
        same_question = jnp.any(ids[..., None] == self._words, axis=2)  # [B, K, script]
        line = jnp.argmax(same_video[:, None] & same_question, axis=-1)  # [B, K]
        said = jnp.take_along_axis(jnp.asarray(self._answers)[line], jnp.clip(started, 0, self._answers.shape[1] - 1), axis=2)
        said = jnp.take_along_axis(said, positions, axis=2)
        return 5.0 * jax.nn.one_hot(said, VOCABULARY_SIZE)
