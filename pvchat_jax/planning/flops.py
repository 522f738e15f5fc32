"""Floating-point operations of a training step, counted from the sizes of its matrix products.

Two per multiply-add; everything else (norms, softmax, optimizer) is left out, some percent of the whole. What does not train costs
no weight gradient, what nothing before it trains costs no backward pass at all, and what `model.remat_policy` does not keep is
counted a second time. The compiler's own estimate is of no use here: it counts the body of a loop over layers once.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.models.config import MistralConfig, QFormerConfig, VisionConfig
from pvchat_jax.objectives.language_modelling import num_chunks

_UP_TO_QFORMER = frozenset(("subject_tokens", "qformer", "router", "base", "vision_upper"))  # groups whose gradient passes through it


class Flops(NamedTuple):
    """Operations of a part of the model in one step, over all chips.

    Attributes:
      forward: computed once.
      recomputed: computed again for the backward pass, or for the statistics of the routers with gradient accumulation.
      backward: gradients of inputs and weights.
    """

    forward: float
    recomputed: float
    backward: float

    @property
    def total(self) -> float:
        return sum(self)


class _Product(NamedTuple):
    """Matrix products of one kind.

    Attributes:
      flops: of the forward pass.
      gradients: of its two factors, how many are wanted.
      of_activations: both factors depend on the sample, as in attention.
      needed: whether the backward pass reads the result, so that it has to be there again.
    """

    flops: float
    gradients: int
    of_activations: bool = False
    needed: bool = True


class Shapes(NamedTuple):
    """What a step works on: videos, their clips of L features each, and their rows of text.

    Attributes:
      rows: of all videos together; `length` tokens each, the first `prefix_length` of which all rows of a video have in common.
      answer_positions: of a row, where the answer is learnt.
    """

    videos: int
    clips: int
    features: int
    rows: int
    length: int
    prefix_length: int
    answer_positions: int


def count_flops(config: TrainConfig, shapes: Shapes) -> dict[str, Flops]:
    """Operations of one step by part of the model: vision encoder, Q-Former, language model, head."""
    model, policy = config.model, config.model.remat_policy
    rates = config.optimizer.learning_rates
    trains = {group for group, rate in rates.items() if rate > 0}
    statistics_passes = 1 if config.optimizer.gradient_accumulation > 1 else 0
    vision = _vision(model.vision, shapes, trains, config.stored_features)
    language_model = model.language_model
    chunks = num_chunks(shapes.rows // shapes.videos * shapes.answer_positions, language_model.total_vocab_size)
    return {
        "vision encoder": _add(vision, policy, statistics_passes),
        "Q-Former": _join(
            _add(_qformer(model.qformer, model.vision.width, shapes, trains), policy, statistics_passes),
            _add(_projection(model.qformer, language_model, shapes, trains), "none"),
        ),
        "language model": _add(_decoder(language_model, shapes, trains), policy),
        "head": _add(_head(language_model, shapes, trains), "none" if chunks == 1 else "full"),  # logits in chunks are made twice
    }


def step_shapes(config: TrainConfig, length: int, prefix_length: int, answer_positions: int) -> Shapes:
    """Shapes of a step of `config` whose rows are `length` tokens long, `prefix_length` of them in common."""
    data, vision = config.data, config.model.vision
    features = 1 + data.num_frames // vision.tubelet_size * vision.grid_size**2
    rows = data.batch_size * data.questions_per_video
    return Shapes(data.batch_size, data.batch_size * data.num_clips, features, rows, length, prefix_length, answer_positions)


def _add(products: Iterable[_Product], policy: str, statistics_passes: int = 0) -> Flops:
    """`products` of blocks whose activations are kept as `policy` says."""
    products = list(products)

    def again(product: _Product) -> bool:
        if not product.gradients or not product.needed:
            return False
        return policy == "full" or (policy == "dots_with_no_batch_dims" and product.of_activations)

    forward = sum(product.flops for product in products)
    recomputed = sum(product.flops for product in products if again(product))
    backward = sum(product.flops * product.gradients for product in products)
    return Flops(forward, recomputed + statistics_passes * forward, backward)


def _join(first: Flops, second: Flops) -> Flops:
    return Flops(*(a + b for a, b in zip(first, second, strict=True)))


def _linear(rows: float, inputs: int, outputs: int) -> float:
    return 2.0 * rows * inputs * outputs


def _attention(batch: int, queries: int, keys: int, width: int, gradients: int) -> list[_Product]:
    """Scores and weighted values; masked scores are computed as well."""
    flops = 2.0 * batch * queries * keys * width
    return [_Product(flops, gradients, of_activations=True)] * 2


def _vision(config: VisionConfig, shapes: Shapes, trains: set[str], stored: str) -> list[_Product]:
    """Of the part of the encoder whose output is not `stored` (`TrainConfig.stored_features`)."""
    tokens = shapes.clips * shapes.features
    patch = config.tubelet_size * config.patch_size**2 * 3
    lower = (config.num_lower_blocks, "base" in trains, "base" in trains)
    upper = (config.num_blocks - config.num_lower_blocks, "vision_upper" in trains, bool({"base", "vision_upper"} & trains))
    products = [] if stored else [_Product(_linear(tokens - shapes.clips, patch, config.width), int("base" in trains))]
    for blocks, own, any_below in {"": (lower, upper), "lower_features": (upper,), "features": ()}[stored]:
        gradients = own + any_below
        block = [
            _Product(_linear(tokens, config.width, 4 * config.width), gradients),  # qkv and proj
            *_attention(shapes.clips, shapes.features, shapes.features, config.width, 2 * any_below),
            _Product(_linear(tokens, config.width, config.mlp_width), gradients),
            _Product(_linear(tokens, config.mlp_width, config.width), gradients, needed=own),  # for the gradient of the layer scale
        ]
        products += block * blocks
    return products


def _qformer(config: QFormerConfig, feature_width: int, shapes: Shapes, trains: set[str]) -> list[_Product]:
    queries = config.num_visual_tokens
    tokens = shapes.clips * queries
    own, vision_trains = "qformer" in trains, bool({"base", "vision_upper"} & trains)
    through = int(bool(_UP_TO_QFORMER & trains))

    def dense(inputs: int, outputs: int) -> _Product:
        return _Product(_linear(tokens, inputs, outputs), through + own)

    square = dense(config.width, config.width)
    route = _Product(_linear(tokens, config.width, config.num_routed_heads + 2), through + ("router" in trains))
    products = []
    for layer in range(config.num_layers):
        products += [square] * 4 + _attention(shapes.clips, queries, queries, config.width, 2 * through)
        if config.has_cross_attention(layer):
            read = _Product(_linear(shapes.clips * shapes.features, feature_width, config.width), own + vision_trains)
            products += [square] * 2 + [read] * 2 + _attention(shapes.clips, queries, shapes.features, config.width, 2 * through)
        if config.is_routed(layer):
            products += [route] * (1 + config.has_cross_attention(layer))
        products += [dense(config.width, config.mlp_width), dense(config.mlp_width, config.width)]
    return products


def _projection(config: QFormerConfig, language_model: MistralConfig, shapes: Shapes, trains: set[str]) -> list[_Product]:
    flops = _linear(shapes.clips * config.num_visual_tokens, config.width, language_model.width)
    return [_Product(flops, bool(_UP_TO_QFORMER & trains) + ("base" in trains))]


def _adapted(config: MistralConfig, target: str, rows: float, inputs: int, outputs: int, trains: set[str], needed: bool) -> list[_Product]:
    """A frozen matrix with its adapter."""
    products = [_Product(_linear(rows, inputs, outputs), 1 + ("base" in trains), needed=needed)]
    if rank := config.lora.rank_of(target):
        gradients = 1 + ("lora" in trains)
        products += [_Product(_linear(rows, inputs, rank), gradients), _Product(_linear(rows, rank, outputs), gradients, needed=needed)]
    return products


def _decoder(config: MistralConfig, shapes: Shapes, trains: set[str]) -> list[_Product]:
    prefix, own = shapes.prefix_length, shapes.length - shapes.prefix_length
    tokens = float(shapes.videos * prefix + shapes.rows * own)
    heads, kv_heads = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    matrices = (
        ("q_proj", config.width, heads),
        ("k_proj", config.width, kv_heads),
        ("v_proj", config.width, kv_heads),
        ("o_proj", heads, config.width),
        ("gate_proj", config.width, config.mlp_width),
        ("up_proj", config.width, config.mlp_width),
        ("down_proj", config.mlp_width, config.width),
    )
    block = [*_attention(shapes.videos, prefix, prefix, heads, 2), *_attention(shapes.rows, own, shapes.length, heads, 2)]
    for target, inputs, outputs in matrices:
        block += _adapted(config, target, tokens, inputs, outputs, trains, needed=target != "down_proj")
    return block * config.num_layers


def _head(config: MistralConfig, shapes: Shapes, trains: set[str]) -> list[_Product]:
    rows = float(shapes.rows * shapes.answer_positions)
    added = _Product(_linear(rows, config.width, config.num_added_tokens), 1 + ("name_row" in trains))
    return [added, *_adapted(config, "lm_head", rows, config.width, config.vocab_size, trains, needed=True)]
