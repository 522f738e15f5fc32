"""How the original's state dict and our parameter tree correspond, as one table.

Each `Entry` ties one parameter path to the state-dict key (or, for stacked layers, the keys) that hold it.
The transforms are invertible, so the same table serves both directions.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.models.config import LORA_TARGETS, MistralConfig, PVChatConfig, QFormerConfig, VisionConfig

# Keys without a counterpart, each with its reason.
EXCUSED_KEYS = {
    "project_down.weight": "never called",
    "project_down.bias": "never called",
    "lm.lm_head.weight": "an unused module that the original registers on its adapter wrapper",
    "qformer.bert.embeddings.position_ids": "a buffer that counts 0, 1, 2, ...",
}


@dataclasses.dataclass(frozen=True)
class Transform:
    """An invertible rearrangement; both directions take and return arrays."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_torch: Callable[[np.ndarray], np.ndarray]


IDENTITY = Transform(lambda x: x, lambda x: x)
TRANSPOSE = Transform(lambda x: x.T, lambda x: x.T)  # [out, in] <-> [in, out]
BATCHED_TOKENS = Transform(lambda x: x[0], lambda x: x[None])  # [1, n, Q] <-> [n, Q]


def tubelet_transform(tubelet_size: int, patch_size: int) -> Transform:
    """Conv3d kernel [D, C, t, p, p] <-> dense kernel [t * p * p * C, D]."""
    t, p = tubelet_size, patch_size
    return Transform(
        lambda x: x.transpose(2, 3, 4, 1, 0).reshape(-1, x.shape[0]),
        lambda x: x.reshape(t, p, p, -1, x.shape[-1]).transpose(4, 3, 0, 1, 2),
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """One parameter.

    Attributes:
      path: `/`-joined path in our tree.
      keys: state-dict keys; several are stacked along a new leading axis.
      transform: applied to each key's tensor.
      rows: (start, stop) of the tensor's first axis that belongs to this path, where two paths share a key.
      optional: absent from what the original saves, so initialised anew when the key is missing.
    """

    path: str
    keys: tuple[str, ...]
    transform: Transform = IDENTITY
    rows: tuple[int | None, int | None] = (None, None)
    stacked: bool = False
    optional: bool = False

    def to_ours(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        """The parameter's value from the state dict."""
        values = [self.transform.to_ours(np.asarray(tensors[key])[slice(*self.rows)]) for key in self.keys]
        return np.stack(values) if self.stacked else values[0]

    def to_torch(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors that hold `value` (with `rows`, only this entry's rows of them)."""
        values = value if self.stacked else [value]
        return {key: self.transform.to_torch(part) for key, part in zip(self.keys, values, strict=True)}


def entries(config: PVChatConfig) -> tuple[Entry, ...]:
    """The whole table at the sizes of `config`."""
    tokens = ("query_tokens", "extra_query_tokens") if config.qformer.num_extra_query_tokens else ("query_tokens",)
    return (
        *(Entry(name, (name,), BATCHED_TOKENS) for name in tokens),
        Entry("subject_tokens", ("personal_query_tokens",), BATCHED_TOKENS, optional=True),
        *_vision_entries(config.vision),
        *_norm("vision_norm", "vision_layernorm"),
        *_qformer_entries(config.qformer),
        *_dense("project_up", "project_up"),
        *_mistral_entries(config.language_model),
    )


def _dense(path: str, key: str) -> Iterator[Entry]:
    yield Entry(f"{path}/kernel", (f"{key}.weight",), TRANSPOSE)
    yield Entry(f"{path}/bias", (f"{key}.bias",))


def _norm(path: str, key: str) -> Iterator[Entry]:
    yield Entry(f"{path}/scale", (f"{key}.weight",))
    yield Entry(f"{path}/bias", (f"{key}.bias",))


def _vision_entries(config: VisionConfig) -> Iterator[Entry]:
    root = "vision_encoder"
    tubelets = tubelet_transform(config.tubelet_size, config.patch_size)
    yield Entry(f"{root}/patch_embed/kernel", (f"{root}.patch_embed.proj.weight",), tubelets)
    yield Entry(f"{root}/patch_embed/bias", (f"{root}.patch_embed.proj.bias",))
    yield Entry(f"{root}/cls_token", (f"{root}.cls_token",))
    yield Entry(f"{root}/pos_embed", (f"{root}.pos_embed",))
    if config.separate_image_position:
        yield Entry(f"{root}/img_pos_embed", (f"{root}.img_pos_embed",))
    block = {
        "norm1/scale": ("norm1.weight", IDENTITY),
        "norm2/scale": ("norm2.weight", IDENTITY),
        "ls1": ("ls1", IDENTITY),
        "ls2": ("ls2", IDENTITY),
        "attn/qkv/kernel": ("attn.qkv.weight", TRANSPOSE),
        "attn/q_norm/scale": ("attn.q_norm.weight", IDENTITY),
        "attn/k_norm/scale": ("attn.k_norm.weight", IDENTITY),
        "attn/proj/kernel": ("attn.proj.weight", TRANSPOSE),
        "attn/proj/bias": ("attn.proj.bias", IDENTITY),
        "mlp/fc1/kernel": ("mlp.fc1.weight", TRANSPOSE),
        "mlp/fc1/bias": ("mlp.fc1.bias", IDENTITY),
        "mlp/fc2/kernel": ("mlp.fc2.weight", TRANSPOSE),
        "mlp/fc2/bias": ("mlp.fc2.bias", IDENTITY),
    }
    halves = {"lower_blocks": range(config.num_lower_blocks), "upper_blocks": range(config.num_lower_blocks, config.num_blocks)}
    for half, layers in halves.items():
        for path, (key, transform) in block.items():
            keys = tuple(f"{root}.blocks.{layer}.{key}" for layer in layers)
            yield Entry(f"{root}/{half}/{path}", keys, transform, stacked=True)


def _qformer_entries(config: QFormerConfig) -> Iterator[Entry]:
    root = "qformer.bert"
    yield Entry("qformer/embeddings/word", (f"{root}.embeddings.word_embeddings.weight",))
    yield Entry("qformer/embeddings/position", (f"{root}.embeddings.position_embeddings.weight",))
    yield from _norm("qformer/embeddings_norm", f"{root}.embeddings.LayerNorm")
    for layer in range(config.num_layers):
        ours, theirs = f"qformer/layer_{layer}", f"{root}.encoder.layer.{layer}"
        attentions = {"self_attention": "attention"}
        if config.has_cross_attention(layer):
            attentions["cross_attention"] = "crossattention"
        for path, key in attentions.items():
            for projection in ("query", "key", "value"):
                yield from _dense(f"{ours}/{path}/{projection}", f"{theirs}.{key}.self.{projection}")
            yield from _dense(f"{ours}/{path}/output/dense", f"{theirs}.{key}.output.dense")
            yield from _norm(f"{ours}/{path}/output/norm", f"{theirs}.{key}.output.LayerNorm")
            if config.is_routed(layer):
                router = f"{theirs}.{key}.self.router_alpha"
                for name, source in (("router/kernel", "router.weight"), ("mixing/kernel", "alpha_proj.weight")):
                    yield Entry(f"{ours}/{path}/head_router/{name}", (f"{router}.{source}",), TRANSPOSE, optional=True)
                yield Entry(f"{ours}/{path}/head_router/router/bias", (f"{router}.router.bias",), optional=True)
        for path, suffix in (("text_ffn", ""), ("query_ffn", "_query")):
            yield from _dense(f"{ours}/{path}/intermediate", f"{theirs}.intermediate{suffix}.dense")
            yield from _dense(f"{ours}/{path}/output/dense", f"{theirs}.output{suffix}.dense")
            yield from _norm(f"{ours}/{path}/output/norm", f"{theirs}.output{suffix}.LayerNorm")


def _mistral_entries(config: MistralConfig) -> Iterator[Entry]:
    ours, theirs = "language_model", "lm.base_model.model"
    embed_key, head_key = f"{theirs}.model.embed_tokens.weight", f"{theirs}.lm_head.weight"
    pretrained, added = (None, config.vocab_size), (config.vocab_size, None)
    yield Entry(f"{ours}/embed_tokens", (embed_key,), rows=pretrained)
    yield Entry(f"{ours}/lm_head/kernel", (head_key,), TRANSPOSE, rows=pretrained)
    if config.num_added_tokens:
        yield Entry(f"{ours}/added_embedding", (embed_key,), rows=added, optional=True)
        yield Entry(f"{ours}/added_head", (head_key,), TRANSPOSE, rows=added, optional=True)
    yield Entry(f"{ours}/norm/scale", (f"{theirs}.model.norm.weight",))

    def stacked(path: str, key: str, transform: Transform = IDENTITY, optional: bool = False) -> Entry:
        keys = tuple(f"{theirs}.model.layers.{layer}.{key}" for layer in range(config.num_layers))
        return Entry(f"{ours}/layers/{path}", keys, transform, stacked=True, optional=optional)

    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield stacked(f"{norm}/scale", f"{norm}.weight")
    for target in LORA_TARGETS[:-1]:
        module = "self_attn" if target in ("q_proj", "k_proj", "v_proj", "o_proj") else "mlp"
        yield stacked(f"{module}/{target}/kernel", f"{module}.{target}.weight", TRANSPOSE)
        if config.lora.rank_of(target):
            for factor in ("A", "B"):
                path, key = f"{module}/{target}/lora_{factor.lower()}", f"{module}.{target}.lora_{factor}.default.weight"
                yield stacked(path, key, TRANSPOSE, optional=True)
    if config.lora.rank_of("lm_head"):  # the original loses these when it resizes the vocabulary
        for factor in ("A", "B"):
            key = f"{theirs}.lm_head.lora_{factor}.default.weight"
            yield Entry(f"{ours}/lm_head/lora_{factor.lower()}", (key,), TRANSPOSE, optional=True)


def params_from_state_dict(tensors: Mapping[str, np.ndarray], config: PVChatConfig) -> tuple[dict, list[str]]:
    """Our parameter tree from the original's state dict.

    Args:
      tensors: by key, adapter keys named as by peft before or after 0.6.
      config: the sizes; they must be those of the state dict.

    Returns:
      The tree, and the paths of optional parameters that the state dict lacks.

    Raises:
      UserError: a key is missing, or is neither used nor excused.
    """
    tensors = {key.replace(".base_layer.", "."): value for key, value in tensors.items()}
    params: dict = {}
    absent, missing, used = [], [], set()
    for entry in entries(config):
        lacking = [key for key in entry.keys if key not in tensors]
        if lacking and entry.optional:
            absent.append(entry.path)
        elif lacking:
            missing.extend(lacking)
        else:
            used.update(entry.keys)
            value = entry.to_ours(tensors)
            if entry.optional and not value.size:  # a vocabulary without the subject's name
                absent.append(entry.path)
            else:
                _insert(params, entry.path, value)
    unused = sorted(tensors.keys() - used - EXCUSED_KEYS.keys())
    if missing or unused:
        raise UserError(
            f"the state dict does not fit the model '{config.name}': {len(missing)} missing keys {missing[:5]} and "
            f"{len(unused)} unknown keys {unused[:5]}; check that the preset has the checkpoint's sizes."
        )
    return params, absent


def _insert(tree: dict, path: str, value: np.ndarray) -> None:
    *parents, leaf = path.split("/")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[leaf] = value
