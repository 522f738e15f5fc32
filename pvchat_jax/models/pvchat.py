"""PVChat assembled: clips -> vision encoder -> Q-Former -> projection -> spliced into text -> logits."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pvchat_jax.models.config import PVChatConfig, QFormerConfig
from pvchat_jax.models.interfaces import LanguageModel, VisionBackbone
from pvchat_jax.models.layers import TOKEN_INIT, Dense, Dtype, LayerNorm
from pvchat_jax.models.mistral import Mistral
from pvchat_jax.models.qformer import QFormer, QFormerOutput
from pvchat_jax.models.remoh import Routing
from pvchat_jax.models.vision import VisionEncoder


class HiddenStates(NamedTuple):
    """What the language model's head takes, `states: float[B, K, S, H]`, or at A chosen positions alone [B, K, A, H], and the routing
    of each ReMoH module over the B * N clips."""

    states: jax.Array
    routing: dict[str, Routing]


class PVChatOutput(NamedTuple):
    """`logits: float32[B, K, S, V]`, or at A chosen positions alone [B, K, A, V], and the routing of each ReMoH module over the
    B * N clips."""

    logits: jax.Array
    routing: dict[str, Routing]


def splice_visual_tokens(text: jax.Array, visual: jax.Array, video_mask: jax.Array) -> jax.Array:
    """Puts each row's visual tokens, in order, at the positions that its mask marks.

    Args:
      text: float[R, S, H].
      visual: float[R, M, H].
      video_mask: bool[R, S] with exactly M True per row (conversation.py builds it so).

    Returns:
      float[R, S, H].
    """
    index = jnp.clip(jnp.cumsum(video_mask, axis=1) - 1, 0, visual.shape[1] - 1)  # [R, S]
    placed = jnp.take_along_axis(visual, index[..., None], axis=1)  # [R, S, H]
    return jnp.where(video_mask[..., None], placed.astype(text.dtype), text)


class PVChat(nn.Module):
    """The personalised video language model.

    B videos of N clips (tiles and global view) each have K questions, one row of S tokens per question;
    a video is encoded once for all its rows.

    Attributes:
      prefix_length: positions at the start that all rows of a video have in common, its visual tokens among them. The language model
        computes these once for a video, with the same result; 0 computes every row as a whole.
    """

    vision_encoder: VisionBackbone
    qformer: QFormer
    language_model: LanguageModel
    qformer_config: QFormerConfig
    vision_norm_eps: float
    text_width: int
    dtype: Dtype = jnp.float32
    prefix_length: int = 0

    def setup(self) -> None:
        config = self.qformer_config
        self.vision_norm = LayerNorm(self.vision_norm_eps, self.dtype)
        self.project_up = Dense(self.text_width, ("qformer", "embed"), dtype=self.dtype)

        def tokens(name: str, count: int, init: nn.initializers.Initializer) -> jax.Array:
            return self.param(name, nn.with_logical_partitioning(init, ("query", "embed")), (count, config.width), jnp.float32)

        groups = [tokens("query_tokens", config.num_query_tokens, TOKEN_INIT)]
        if config.num_extra_query_tokens:
            groups.append(tokens("extra_query_tokens", config.num_extra_query_tokens, nn.initializers.zeros_init()))
        if config.num_subject_tokens:
            groups.append(tokens("subject_tokens", config.num_subject_tokens, TOKEN_INIT))
        self.all_query_tokens = jnp.concatenate(groups)

    def encode_video(self, video: jax.Array) -> jax.Array:
        """`float[B, N, T, H, W, 3] -> float[B, N, L, D]`: vision encoder and its layer norm, frozen in most runs."""
        features = self.vision_norm(self.vision_encoder(video.reshape(-1, *video.shape[2:])))
        return features.reshape(*video.shape[:2], *features.shape[1:])

    def encode_lower(self, video: jax.Array) -> jax.Array:
        """`float[B, N, T, H, W, 3] -> float[B, N, L, D]`: the vision encoder up to its upper half."""
        features = self.vision_encoder.lower(video.reshape(-1, *video.shape[2:]))
        return features.reshape(*video.shape[:2], *features.shape[1:])

    def encode_upper(self, lower_features: jax.Array) -> jax.Array:
        """`float[B, N, L, D] -> float[B, N, L, D]`: the rest of `encode_video`."""
        features = self.vision_norm(self.vision_encoder.upper(lower_features.reshape(-1, *lower_features.shape[2:])))
        return features.reshape(lower_features.shape)

    def query(
        self,
        features: jax.Array,
        instruction_ids: jax.Array | None = None,
        instruction_mask: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> QFormerOutput:
        """`float[B, N, L, D]` (and `int[B * N, Lt]` instructions) `->` Q-Former output over the B * N clips."""
        features = features.reshape(-1, *features.shape[2:])
        return self.qformer(self.all_query_tokens, features, instruction_ids, instruction_mask, deterministic=deterministic)

    def visual_tokens(self, queries: jax.Array, num_videos: int) -> jax.Array:
        """Projected queries `float[B * N, Nq, Q] -> float[B, N * Nq, H]`, clip by clip."""
        return self.project_up(queries).reshape(num_videos, -1, self.text_width)

    def embed_rows(self, visual: jax.Array, input_ids: jax.Array, video_mask: jax.Array) -> jax.Array:
        """Text embeddings with the video's tokens spliced in: `float[B, M, H]`, `int[B, K, S] -> float[B * K, S, H]`."""
        questions, length = input_ids.shape[1:]
        text = self.language_model.embed(input_ids.reshape(-1, length))
        return splice_visual_tokens(text, jnp.repeat(visual, questions, axis=0), video_mask.reshape(-1, length).astype(bool))

    def embed_text(self, input_ids: jax.Array) -> jax.Array:
        """`int[R, T] -> float[R, T, H]` of tokens without a video among them."""
        return self.language_model.embed(input_ids)

    def extend(
        self,
        embeddings: jax.Array,
        positions: jax.Array,
        mask: jax.Array,
        past: Sequence[Any] = (),
        chosen: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Logits after new tokens of R rows, and the tokens' keys, with parameters of `unstack`; see `interfaces.LanguageModel`."""
        return self.language_model.extend(embeddings, positions, mask, past, chosen)

    @nn.nowrap
    def unstack(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, or a part of them, as `extend` takes them, and all other methods but `__call__` and `hidden_states`."""
        return {**params, "language_model": self.language_model.unstack(params.get("language_model", {}))}

    def __call__(self, *inputs: jax.Array | None, deterministic: bool = True, **others: jax.Array | None) -> PVChatOutput:
        """Logits of every row; arguments as of `hidden_states`."""
        output = self.hidden_states(*inputs, **others, deterministic=deterministic)
        return PVChatOutput(self.head(output.states, deterministic=deterministic), output.routing)

    def head(self, states: jax.Array, *, deterministic: bool = True) -> jax.Array:
        """Logits of hidden states: `float[..., H] -> float32[..., V]`."""
        return self.language_model.head(states, deterministic=deterministic)

    def hidden_states(
        self,
        video: jax.Array | None,
        input_ids: jax.Array,
        attention_mask: jax.Array,
        video_mask: jax.Array,
        *,
        features: jax.Array | None = None,
        lower_features: jax.Array | None = None,
        instruction_ids: jax.Array | None = None,
        instruction_mask: jax.Array | None = None,
        positions: jax.Array | None = None,
        deterministic: bool = True,
    ) -> HiddenStates:
        """All of the model up to the language model's head, for every row.

        Args:
          video: float[B, N, T, H, W, 3] of normalised pixels, or None with `features` or `lower_features` given.
          input_ids, attention_mask, video_mask: [B, K, S]; visual positions hold any id.
          features: float[B, N, L, D] from `encode_video`. lower_features: float[B, N, L, D] from `encode_lower`.
          instruction_ids, instruction_mask: [B * N, Lt], optional text for the Q-Former.
          positions: int[B, K, A], where logits are wanted, none of them in the common prefix; by default everywhere after it.
          deterministic: False draws dropout from the `dropout` stream.
        """
        if features is None:
            features = self.encode_video(video) if lower_features is None else self.encode_upper(lower_features)
        queries = self.query(features, instruction_ids, instruction_mask, deterministic=deterministic)
        visual = self.visual_tokens(queries.queries, features.shape[0])
        states = self._row_states(visual, input_ids, attention_mask, video_mask, positions, deterministic=deterministic)
        return HiddenStates(states, queries.routing)

    def _row_states(
        self,
        visual: jax.Array,
        input_ids: jax.Array,
        attention_mask: jax.Array,
        video_mask: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """The language model's part of `hidden_states`, from `visual_tokens` on: float[B, K, A or S, H]."""
        start, prefix = self.prefix_length, None
        if start:
            prefix = self.embed_rows(visual, input_ids[:, :1, :start], video_mask[:, :1, :start])
            embeddings = self.language_model.embed(_rows(input_ids[..., start:]))
        else:
            embeddings = self.embed_rows(visual, input_ids, video_mask)
        mask = _rows(attention_mask[..., start:]).astype(bool)
        chosen = None if positions is None else _rows(positions - start)
        states = self.language_model.hidden_states(embeddings, mask, chosen, prefix=prefix, deterministic=deterministic)
        return states.reshape(*input_ids.shape[:2], *states.shape[1:])


def _rows(array: jax.Array) -> jax.Array:
    """`[B, K, S] -> [B * K, S]`."""
    return array.reshape(-1, array.shape[-1])


def build_pvchat(config: PVChatConfig, dtype: Dtype = jnp.float32, *, prefix_length: int = 0) -> PVChat:
    """The model of `config` that computes in `dtype`, and a common prefix once; another backbone is exchanged here."""
    parts = {"remat_policy": config.remat_policy, "backend": config.attention_backend, "dtype": dtype}
    return PVChat(
        vision_encoder=VisionEncoder(config.vision, **parts),
        qformer=QFormer(config.qformer, **parts),
        language_model=Mistral(config.language_model, **parts),
        qformer_config=config.qformer,
        vision_norm_eps=config.vision.output_norm_eps,
        text_width=config.language_model.width,
        dtype=dtype,
        prefix_length=prefix_length,
    )


def init_boxed(model: PVChat, config: PVChatConfig, key: jax.Array) -> dict:
    """All parameters of `model`, boxed with their logical axis names (`flax.linen.unbox` bares them).

    The dummy inputs are as small as the sizes allow and include an instruction, so that the Q-Former's
    text parts exist whether or not a run uses them.
    """
    vision = config.vision
    video = jnp.zeros((1, 1, vision.num_frames, vision.image_size, vision.image_size, 3))
    video_tokens = config.qformer.num_visual_tokens
    ids = jnp.zeros((1, 1, video_tokens + 1), jnp.int32)
    mask = jnp.ones(ids.shape, bool)
    instruction = jnp.zeros((1, 1), jnp.int32)
    return model.clone(prefix_length=0).init(
        key, video, ids, mask, mask.at[..., -1].set(False), instruction_ids=instruction, instruction_mask=jnp.ones((1, 1), bool)
    )["params"]
