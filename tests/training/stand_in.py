"""A model of a few hundred parameters with the paths, axes and call of the real one, so that steps compile fast."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pvchat_jax.config.schema import DataConfig, ObjectiveConfig, OptimizerConfig, TrainConfig
from pvchat_jax.data.conversation import answer_positions
from pvchat_jax.models.config import TINY
from pvchat_jax.sharding import constrain

WIDTH, HEADS, TEXT_WIDTH, VOCAB, RANK = 8, 4, 8, 16, 2
MODULES = ("2.self", "2.cross")
BATCH, CLIPS, FRAMES, QUESTIONS, LENGTH = 8, 2, 3, 2, 6


class Routing(NamedTuple):
    logits: jax.Array
    gates: jax.Array
    mixing: jax.Array


class Output(NamedTuple):
    states: jax.Array
    routing: dict[str, Routing]


@dataclasses.dataclass
class StandIn:
    """Means of frames -> routed layers -> added to text -> logits. `num_traces` counts how often it was traced."""

    dropout: float = 0.0
    num_traces: int = 0

    def init_boxed(self) -> dict[str, Any]:
        """Parameters boxed with their logical axes."""

        def draw(seed: int, shape: tuple[int, ...], *names: str | None) -> nn.LogicallyPartitioned:
            return nn.LogicallyPartitioned(np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32), names)

        def routed(index: int) -> dict[str, Any]:
            router = {"kernel": draw(index, (WIDTH, HEADS), "embed", "router"), "bias": draw(index + 1, (HEADS,), "router")}
            return {
                "head_router": {"router": router, "mixing": {"kernel": draw(index + 2, (WIDTH, 2), "embed", None)}},
                "output": {"kernel": draw(index + 3, (HEADS, WIDTH), "heads", "embed")},
            }

        return {
            "vision_encoder": {
                "lower_blocks": {"kernel": draw(0, (3, WIDTH), "patch", "embed")},
                "upper_blocks": {"kernel": draw(1, (WIDTH, WIDTH), "embed", "mlp")},
            },
            "subject_tokens": draw(2, (4, WIDTH), "query", "embed"),
            "qformer": {
                "embeddings": {"word": draw(3, (5, WIDTH), None, "embed")},
                "layer_1": {"text_ffn": {"kernel": draw(4, (WIDTH, WIDTH), "embed", "mlp")}},
                "layer_2": {"self_attention": routed(20), "cross_attention": routed(30)},
            },
            "project_up": {"kernel": draw(5, (WIDTH, TEXT_WIDTH), "qformer", "embed")},
            "language_model": {
                "embed_tokens": draw(6, (VOCAB - 1, TEXT_WIDTH), "vocab", "embed"),
                "added_embedding": draw(7, (1, TEXT_WIDTH), None, "embed"),
                "added_head": draw(8, (TEXT_WIDTH, 1), "embed", None),
                "lm_head": {
                    "kernel": draw(9, (TEXT_WIDTH, VOCAB - 1), "embed", "vocab"),
                    "lora_a": draw(40, (TEXT_WIDTH, RANK), "embed", "lora"),
                    "lora_b": draw(41, (RANK, VOCAB - 1), "lora", "vocab"),
                },
            },
        }

    def apply(self, variables, inputs, *text, method: str, **settings) -> Any:
        """The calls of `PVChat.apply` that training makes: a step's two, `encode_video` and `encode_lower`."""
        params = variables["params"]
        if method == "encode_video":
            return self._encode_upper(params, self._encode_lower(params, inputs))
        if method == "encode_lower":
            return self._encode_lower(params, inputs)
        if method == "head":
            return self._head(params["language_model"], inputs)
        return self._hidden_states(params, inputs, *text, **settings)

    def _encode_lower(self, params: dict[str, Any], video: jax.Array) -> jax.Array:
        return jnp.tanh(video.mean(axis=(3, 4)) @ params["vision_encoder"]["lower_blocks"]["kernel"])  # [B, N, T, 3] before the product

    def _encode_upper(self, params: dict[str, Any], lower_features: jax.Array) -> jax.Array:
        return jnp.tanh(lower_features @ params["vision_encoder"]["upper_blocks"]["kernel"])

    def _hidden_states(
        self,
        params,
        video,
        input_ids,
        attention_mask,
        video_mask,
        *,
        positions,
        deterministic: bool,
        rngs,
        features=None,
        lower_features=None,
    ) -> Output:
        self.num_traces += 1
        if features is None:
            features = self._encode_upper(params, self._encode_lower(params, video) if lower_features is None else lower_features)
        x = features.reshape(-1, *features.shape[2:])
        x = x + params["subject_tokens"].mean(axis=0)
        if self.dropout and not deterministic:
            x = x * _keep(rngs["dropout"], x.shape, self.dropout)
        x = constrain(x, "batch", "length", "embed_activation")
        routing = {}
        for name in MODULES:
            layer, kind = name.split(".")
            module = params["qformer"][f"layer_{layer}"][f"{kind}_attention"]
            routing[name] = self._route(module["head_router"], x)
            x = x + jnp.tanh(routing[name].mixing[..., 1:] * routing[name].gates @ module["output"]["kernel"])
        visual = x.reshape(features.shape[0], -1, WIDTH).mean(axis=1) @ params["project_up"]["kernel"]  # [B, H]
        states = self._decode(params["language_model"], visual, input_ids, attention_mask, video_mask)
        return Output(jnp.take_along_axis(states, positions[..., None], axis=2), routing)

    def _route(self, params: dict[str, Any], x: jax.Array) -> Routing:
        logits = x @ params["router"]["kernel"] + params["router"]["bias"]
        return Routing(logits, jax.nn.relu(jnp.clip(logits, -1, 10)), jax.nn.softmax(x @ params["mixing"]["kernel"]))

    def _decode(self, params, visual, input_ids, attention_mask, video_mask) -> jax.Array:
        table = jnp.concatenate([params["embed_tokens"], params["added_embedding"]])
        return table[input_ids] * attention_mask[..., None] + visual[:, None, None] * (1 + video_mask[..., None])

    def _head(self, params, states: jax.Array) -> jax.Array:
        head = params["lm_head"]
        kernel = head["kernel"] + 2.0 * head["lora_a"] @ head["lora_b"]
        return jnp.concatenate([states @ kernel, states @ params["added_head"]], axis=-1)


def _keep(key: jax.Array, shape: tuple[int, ...], dropout: float) -> jax.Array:
    """Dropout factors from a crude hash of the key: jax's own generator would be most of the compilation."""
    positions = jnp.arange(np.prod(shape), dtype=jnp.uint32).reshape(shape)
    bits = (positions * jnp.uint32(2654435761)) ^ jax.random.key_data(key)[1]
    return jnp.where((bits * jnp.uint32(2246822519)) >> 16 < dropout * 2**16, 0.0, 1 / (1 - dropout))


def make_batch(seed: int) -> dict[str, np.ndarray]:
    """A batch whose videos route differently and whose rows supervise different numbers of tokens."""
    rng = np.random.default_rng(seed)
    shape = (BATCH, QUESTIONS, LENGTH)
    ids = rng.integers(0, VOCAB, shape).astype(np.int32)
    supervised = np.arange(LENGTH) >= rng.integers(1, LENGTH + 1, (*shape[:2], 1))
    brightness = rng.normal(size=(BATCH, 1, 1, 1, 1, 1))
    labels = np.where(supervised, ids, -100).astype(np.int32)
    return {
        "video": (brightness + 0.5 * rng.normal(size=(BATCH, CLIPS, FRAMES, 2, 2, 3))).astype(np.float32),
        "input_ids": ids,
        "attention_mask": np.ones(shape, bool),
        "labels": labels,
        "answer_positions": answer_positions(labels, LENGTH),
        "video_mask": np.broadcast_to(np.arange(LENGTH) < 2, shape).copy(),
        "present": np.arange(BATCH) % 2 == 0,
    }


def make_config(*, objective: ObjectiveConfig | None = None, num_steps: int = 40, seed: int = 0, **optimizer: Any) -> TrainConfig:
    """Learning rates that move the stand-in visibly; both regularisers have weight."""
    rates = {"subject_tokens": 1e-2, "name_row": 1e-2, "qformer": 1e-3, "router": 1e-3, "lora": 1e-2}
    remoh = dataclasses.replace(TINY.qformer.remoh, start_layer=2, num_shared_heads=TINY.qformer.num_heads - HEADS)
    return TrainConfig(
        num_steps=num_steps,
        seed=seed,
        model=dataclasses.replace(TINY, qformer=dataclasses.replace(TINY.qformer, num_layers=3, remoh=remoh)),
        data=DataConfig(batch_size=BATCH, image_size=TINY.vision.image_size),
        optimizer=OptimizerConfig(**{**rates, "warmup_steps": 0, "schedule": "constant", **optimizer}),
        objective=objective or ObjectiveConfig(spr_initial=0.05, target_active_rate=0.9),
    )
