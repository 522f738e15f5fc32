"""Sizes of the model as data: frozen dataclasses that validate themselves.

Nothing in here imports jax, so converters, data tools and configs can read sizes cheaply. The presets
are at the end of the file.
"""

import dataclasses

ROUTERS = ("relu", "softmax")
ROUTER_INITS = ("reference", "identity")
REMAT_POLICIES = ("none", "full", "dots", "dots_with_no_batch_dims")
ATTENTION_BACKENDS = ("auto", "xla", "cudnn", "splash")
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """InternVideo2 vision transformer (docs/reference.md section 1).

    `depth` is the published depth; `depth + return_index + 1` blocks are built and the output of the
    last of them is returned, because the reference reads the features `return_index` blocks from the top.
    """

    image_size: int = 224
    patch_size: int = 14
    tubelet_size: int = 1
    num_frames: int = 8
    width: int = 1408
    depth: int = 40
    return_index: int = -2
    num_heads: int = 16
    mlp_width: int = 6144
    rms_norm_eps: float = 1e-6
    output_norm_eps: float = 1e-12
    layer_scale_init: float = 1e-5
    separate_image_position: bool = True

    def __post_init__(self) -> None:
        _require(self.width % self.num_heads == 0, f"vision.width {self.width} is not divisible by vision.num_heads {self.num_heads}")
        _require(self.width % 8 == 0, f"vision.width {self.width} is not divisible by 8, which the sin-cos position table needs")
        _require(
            self.image_size % self.patch_size == 0,
            f"vision.image_size {self.image_size} is not a multiple of vision.patch_size {self.patch_size}",
        )
        _require(
            self.num_frames % self.tubelet_size == 0,
            f"vision.num_frames {self.num_frames} is not a multiple of vision.tubelet_size {self.tubelet_size}",
        )
        _require(self.num_blocks >= 2, f"vision.depth {self.depth} with vision.return_index {self.return_index} builds fewer than 2 blocks")

    @property
    def num_blocks(self) -> int:
        """Number of transformer blocks that exist."""
        return self.depth + self.return_index + 1

    @property
    def num_lower_blocks(self) -> int:
        """Blocks below the half that stage 2 may train."""
        return self.num_blocks // 2

    @property
    def grid_size(self) -> int:
        """Patches along one side of a frame."""
        return self.image_size // self.patch_size

    @property
    def num_temporal_positions(self) -> int:
        """Tubelets of a full-length clip."""
        return self.num_frames // self.tubelet_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReMoHConfig:
    """Routed mixture of attention heads (docs/reference.md section 2). Without routed layers, which is
    `start_layer >= qformer.num_layers`, the Q-Former is an ordinary one.

    `router="relu"` is PVChat's ReMoH: gates are ReLUs and any number of them is on. `router="softmax"` is MoH
    (Jin et al., "MoH: Multi-Head Attention as Mixture-of-Head Attention"): each token keeps the `top_k` routed heads
    of largest probability, half of them where `top_k` is None. ReLU routers do not read `top_k`.

    `init="reference"` starts routers near zero: shared heads are halved and routed heads are silent (ReLU), or halved
    too where a softmax router keeps them. `init="identity"` starts every gate at 1 and doubles the mixing weights, so
    that each head is multiplied by exactly 1 and a pretrained Q-Former computes what it did before. A softmax router
    starts so, up to its tiny kernel, for the heads that it keeps; with `top_k` of all routed heads it keeps each.
    """

    start_layer: int = 6
    num_shared_heads: int = 8
    init: str = "identity"
    router: str = "relu"
    top_k: int | None = None

    def __post_init__(self) -> None:
        _require(self.router in ROUTERS, f"remoh.router '{self.router}' is not one of {ROUTERS}")
        _require(self.top_k is None or self.top_k >= 1, f"remoh.top_k {self.top_k} keeps no head")
        _require(self.init in ROUTER_INITS, f"remoh.init '{self.init}' is not one of {ROUTER_INITS}")
        _require(self.start_layer >= 0, f"remoh.start_layer {self.start_layer} is negative")
        _require(self.num_shared_heads >= 0, f"remoh.num_shared_heads {self.num_shared_heads} is negative")

    @property
    def mixing_scale(self) -> float:
        """Factor on the two-way softmax: 2 cancels the softmax's initial one half."""
        return 2.0 if self.init == "identity" else 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class QFormerConfig:
    """Querying transformer (docs/reference.md section 2)."""

    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_width: int = 3072
    vocab_size: int = 30523
    max_text_length: int = 512
    cross_attention_every: int = 2
    layer_norm_eps: float = 1e-12
    num_query_tokens: int = 32
    num_extra_query_tokens: int = 64
    num_subject_tokens: int = 16
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.1
    drop_path: float = 0.2
    remoh: ReMoHConfig = ReMoHConfig()

    def __post_init__(self) -> None:
        _require(self.width % self.num_heads == 0, f"qformer.width {self.width} is not divisible by qformer.num_heads {self.num_heads}")
        _require(
            self.remoh.num_shared_heads < self.num_heads,
            f"remoh.num_shared_heads {self.remoh.num_shared_heads} leaves no routed head of qformer.num_heads {self.num_heads}",
        )
        _require(
            (self.remoh.top_k or 1) <= self.num_routed_heads,
            f"remoh.top_k {self.remoh.top_k} is more than the {self.num_routed_heads} routed heads of qformer.num_heads {self.num_heads}",
        )
        _require(self.num_query_tokens >= 1, f"qformer.num_query_tokens must be at least 1, not {self.num_query_tokens}")
        for field in ("num_extra_query_tokens", "num_subject_tokens"):
            _require(getattr(self, field) >= 0, f"qformer.{field} {getattr(self, field)} is negative")

    @property
    def num_routed_heads(self) -> int:
        return self.num_heads - self.remoh.num_shared_heads

    @property
    def router_top_k(self) -> int | None:
        """Routed heads that a softmax router keeps per token; None for ReLU routers, which have no fixed number."""
        if self.remoh.router == "relu":
            return None
        return self.remoh.top_k or max(self.num_routed_heads // 2, 1)

    @property
    def num_visual_tokens(self) -> int:
        """Language-model positions that one clip occupies."""
        return self.num_query_tokens + self.num_extra_query_tokens + self.num_subject_tokens

    def has_cross_attention(self, layer: int) -> bool:
        return layer % self.cross_attention_every == 0

    def is_routed(self, layer: int) -> bool:
        return layer >= self.remoh.start_layer

    @property
    def routed_modules(self) -> tuple[str, ...]:
        """Names of the ReMoH attention modules in execution order, such as `6.self`, `6.cross`."""
        names = []
        for layer in range(self.num_layers):
            if self.is_routed(layer):
                names.append(f"{layer}.self")
                if self.has_cross_attention(layer):
                    names.append(f"{layer}.cross")
        return tuple(names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Low-rank adapters of the language model; the scale is `alpha / rank`."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.1
    targets: tuple[str, ...] = LORA_TARGETS

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))
        _require(self.rank >= 0, f"lora.rank {self.rank} is negative")
        unknown = sorted(set(self.targets) - set(LORA_TARGETS))
        _require(not unknown, f"lora.targets has unknown {unknown}; known are {LORA_TARGETS}")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank if self.rank else 0.0

    def rank_of(self, target: str) -> int:
        """Rank of the adapter on `target`: 0 where there is none."""
        return self.rank if target in self.targets else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MistralConfig:
    """Mistral decoder (docs/reference.md section 4). `vocab_size` counts the pretrained rows alone;
    `num_added_tokens` rows, one per subject name, follow them as parameters of their own."""

    vocab_size: int = 32768
    num_added_tokens: int = 1
    width: int = 4096
    mlp_width: int = 14336
    num_layers: int = 32
    num_heads: int = 32
    num_kv_heads: int = 8
    head_dim: int = 128
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-5
    sliding_window: int | None = None
    lora: LoRAConfig = LoRAConfig()

    def __post_init__(self) -> None:
        _require(
            self.num_heads % self.num_kv_heads == 0,
            f"language_model.num_heads {self.num_heads} is not divisible by language_model.num_kv_heads {self.num_kv_heads}",
        )
        _require(self.head_dim % 2 == 0, f"language_model.head_dim {self.head_dim} is odd, which rotary embeddings cannot split")

    @property
    def total_vocab_size(self) -> int:
        """Rows of the logits: pretrained and added."""
        return self.vocab_size + self.num_added_tokens


@dataclasses.dataclass(frozen=True, kw_only=True)
class PVChatConfig:
    """The whole model. `attention_backend="auto"` asks the platform (see models/attention.py)."""

    name: str = "8b"
    vision: VisionConfig = VisionConfig()
    qformer: QFormerConfig = QFormerConfig()
    language_model: MistralConfig = MistralConfig()
    remat_policy: str = "full"
    attention_backend: str = "auto"

    def __post_init__(self) -> None:
        _require(self.remat_policy in REMAT_POLICIES, f"model.remat_policy '{self.remat_policy}' is not one of {REMAT_POLICIES}")
        _require(
            self.attention_backend in ATTENTION_BACKENDS,
            f"model.attention_backend '{self.attention_backend}' is not one of {ATTENTION_BACKENDS}",
        )


EIGHT_B = PVChatConfig()

# The same sizes as the original starts them: routers near zero, and no adapter on the head, which the original loses
# when it grows the vocabulary.
REFERENCE = dataclasses.replace(
    EIGHT_B,
    name="reference",
    qformer=dataclasses.replace(EIGHT_B.qformer, remoh=ReMoHConfig(init="reference")),
    language_model=dataclasses.replace(EIGHT_B.language_model, lora=LoRAConfig(targets=LORA_TARGETS[:-1])),
)

TINY = PVChatConfig(
    name="tiny",
    vision=VisionConfig(
        image_size=64, patch_size=8, num_frames=4, width=128, depth=5, return_index=-2, num_heads=4, mlp_width=256, layer_scale_init=1.0
    ),
    qformer=QFormerConfig(
        width=128,
        num_layers=2,
        num_heads=8,
        mlp_width=256,
        cross_attention_every=1,
        vocab_size=64,
        max_text_length=32,
        num_query_tokens=12,
        num_extra_query_tokens=0,  # they start at zero, where the layer norm's gradient is 1e6: not for training from scratch
        num_subject_tokens=8,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        drop_path=0.0,
        remoh=ReMoHConfig(start_layer=1, num_shared_heads=4),
    ),
    language_model=MistralConfig(
        vocab_size=680,
        width=96,
        mlp_width=192,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=24,
        lora=LoRAConfig(rank=32, alpha=64.0, dropout=0.0),
    ),
    remat_policy="none",
)


def impersonal(model: PVChatConfig) -> PVChatConfig:
    """`model` without what belongs to a subject or is added for one: subject tokens, routers and LoRA."""
    remoh = dataclasses.replace(model.qformer.remoh, start_layer=model.qformer.num_layers)
    return dataclasses.replace(
        model,
        qformer=dataclasses.replace(model.qformer, num_subject_tokens=0, remoh=remoh),
        language_model=dataclasses.replace(model.language_model, lora=dataclasses.replace(model.language_model.lora, rank=0)),
    )


PRESETS = {"8b": EIGHT_B, "tiny": TINY, "reference": REFERENCE}
