"""The names that published files give their tensors, translated into the names of the mapping table.

The table (state_dict_mapping.py) speaks of a PVChat state dict as peft before 0.6 saves it. Where the other names come from:

- peft 0.6 and later: `.base_layer.` before the weight of a layer with LoRA.
- InternVideo2-1B: `PretrainInternVideo2` of the InternVideo repository, alone or under `vision_encoder.`; its layer scale is a
  module with `gamma` (`weight` in a later copy), and some of its blocks, position tables and heads serve pretraining alone. The
  original loads such a file with `interpolate_pos_embed_internvideo2`, which fits the position table to the number of frames. Files
  that were trained on video alone have no position table for single images, see `DERIVED`.
- Q-Former: `Qformer.` and `ln_vision.` of LAVIS (BLIP-2), `qformer.` of VideoChat2, or the bare module (`bert.`).
- Mistral: `model.layers. ... self_attn` of transformers, and `layers. ... attention.wq` of mistral-inference
  (consolidated.safetensors), which rotates neighbouring channels where transformers rotates the two halves of a head.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from converters.state_dict_mapping import EXCUSED_KEYS
from pvchat_jax.models.config import PVChatConfig, VisionConfig
from pvchat_jax.models.positions import resample_table

Shape = tuple[int, ...]
MISTRAL = "lm.base_model.model."


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A change of values that goes with a name.

    Attributes:
      accepts: whether a tensor of the first shape can become one of the second.
      apply: the tensor in the table's form.
      note: for the report, what happens to a tensor whose shape changes.
    """

    accepts: Callable[[Shape, Shape, PVChatConfig], bool]
    apply: Callable[[np.ndarray, PVChatConfig], np.ndarray]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Rule:
    """Names that match `pattern` as a whole become `key`, a template with its groups."""

    pattern: str
    key: str
    conversion: Conversion | None = None


def _frames(num_positions: int, config: VisionConfig) -> float:
    return (num_positions - 1) / config.grid_size**2


def _has_whole_frames(shape: Shape, expected: Shape, config: PVChatConfig) -> bool:
    if len(shape) != 3 or (shape[0], shape[2]) != (expected[0], expected[2]):
        return False
    frames = _frames(shape[1], config.vision)
    return frames >= 1 and frames.is_integer()


def _fit_frames(table: np.ndarray, config: PVChatConfig) -> np.ndarray:
    old, new, grid = int(_frames(table.shape[1], config.vision)), config.vision.num_temporal_positions, config.vision.grid_size
    return table if old == new else np.asarray(resample_table(table.astype(np.float32), (old, grid), (new, grid)))


def _mean_frame(table: np.ndarray, config: PVChatConfig) -> np.ndarray:
    fitted = _fit_frames(table, config).astype(np.float32)
    frames = fitted[:, 1:].reshape(1, config.vision.num_temporal_positions, -1, fitted.shape[-1])
    return np.concatenate([fitted[:, :1], frames.mean(axis=1)], axis=1)


def halves_from_neighbours(weight: np.ndarray, num_heads: int) -> np.ndarray:
    """Reorders the outputs of each head of `weight[heads * D, in]` from (0, 1), (2, 3), ... pairs to (0, D / 2), (1, D / 2 + 1), ..."""
    pairs = weight.reshape(num_heads, -1, 2, weight.shape[-1])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def _same_shape(shape: Shape, expected: Shape, config: PVChatConfig) -> bool:
    return shape == expected


FRAMES = Conversion(_has_whole_frames, _fit_frames, "interpolated in time to the configured number of frames")
MEAN_FRAME = Conversion(_has_whole_frames, _mean_frame, "not in the files, so the mean of pos_embed over the frames")
QUERY_ROTATION = Conversion(_same_shape, lambda x, config: halves_from_neighbours(x, config.language_model.num_heads))
KEY_ROTATION = Conversion(_same_shape, lambda x, config: halves_from_neighbours(x, config.language_model.num_kv_heads))

RULES = (
    Rule(r"(lm\.base_model\.model\..*)\.base_layer\.(.*)", r"\1.\2"),
    Rule(r"((?:lm|vision_layernorm|project_up|project_down)\..*|(?:extra_|personal_)?query_tokens)", r"\1"),
    Rule(r"(?:vision_encoder\.)?(blocks\.\d+\.ls[12])(?:\.gamma|\.weight)?", r"vision_encoder.\1"),
    Rule(r"(?:vision_encoder\.)?pos_embed", r"vision_encoder.pos_embed", FRAMES),
    Rule(r"(?:vision_encoder\.)?(cls_token|img_pos_embed|(?:blocks|patch_embed)\..*)", r"vision_encoder.\1"),
    Rule(r"(?:[qQ]former\.)?(bert\..*)", r"qformer.\1"),
    Rule(r"ln_vision\.(.*)", r"vision_layernorm.\1"),
    Rule(r"(model\.(?:embed_tokens|layers|norm)\..*|lm_head\.weight)", rf"{MISTRAL}\1"),
    Rule(r"tok_embeddings\.weight", rf"{MISTRAL}model.embed_tokens.weight"),
    Rule(r"output\.weight", rf"{MISTRAL}lm_head.weight"),
    Rule(r"norm\.weight", rf"{MISTRAL}model.norm.weight"),
    Rule(r"(layers\.\d+)\.attention_norm\.weight", rf"{MISTRAL}model.\1.input_layernorm.weight"),
    Rule(r"(layers\.\d+)\.ffn_norm\.weight", rf"{MISTRAL}model.\1.post_attention_layernorm.weight"),
    Rule(r"(layers\.\d+)\.attention\.wq\.weight", rf"{MISTRAL}model.\1.self_attn.q_proj.weight", QUERY_ROTATION),
    Rule(r"(layers\.\d+)\.attention\.wk\.weight", rf"{MISTRAL}model.\1.self_attn.k_proj.weight", KEY_ROTATION),
    Rule(r"(layers\.\d+)\.attention\.w([vo])\.weight", rf"{MISTRAL}model.\1.self_attn.\2_proj.weight"),
    Rule(r"(layers\.\d+)\.feed_forward\.w1\.weight", rf"{MISTRAL}model.\1.mlp.gate_proj.weight"),
    Rule(r"(layers\.\d+)\.feed_forward\.w2\.weight", rf"{MISTRAL}model.\1.mlp.down_proj.weight"),
    Rule(r"(layers\.\d+)\.feed_forward\.w3\.weight", rf"{MISTRAL}model.\1.mlp.up_proj.weight"),
)

# What a part's own file may lack and another of its tensors gives. An encoder without a table for single images uses this mean for
# them; the original's loader would silently keep the table's start, which no training ever fitted to the rest.
DERIVED = {"vision_encoder.img_pos_embed": ("vision_encoder.pos_embed", MEAN_FRAME)}

# Tensors that no part of the model has, each with its reason; whole names of files, before translation.
_EXCUSES = (
    (r".*\.rotary_emb\.inv_freq", "a buffer that follows from the configuration"),
    (r"(vision_encoder\.)?(clip_projector|clip_decoder|final_clip_decoder|mae_decoder)\..*", "a head of the video encoder's pretraining"),
    (r"(vision_encoder\.)?(fc_norm|head)\..*", "a head of the video encoder's training on classes of actions"),
    (r"(vision_encoder\.)?(clip_pos_embed|clip_img_pos_embed|mae_pos_embed)", "a position table of the video encoder's pretraining"),
    (r"text_encoder\..*", "the text encoder that the video encoder was pretrained with"),
    (r"temp|(vision_proj|text_proj|itm_head)\..*", "a head of contrastive pretraining"),
    (r"([qQ]former\.)?cls\..*", "the Q-Former's head for predicting words, which the original removes"),
    (r"visual_encoder\..*|vision_encoder\.encoder\..*", "the image encoder that this Q-Former was trained with"),
    (r"(opt_proj|t5_proj|llm_proj|llama_proj|mistral_proj)\..*", "a projection to another language model"),
)
_BLOCK = re.compile(r"vision_encoder\.blocks\.(\d+)\..*")
_HEAD_ADAPTER = re.compile(re.escape(f"{MISTRAL}lm_head.lora_") + "[AB]\\..*")


def table_key(key: str) -> tuple[str, Conversion | None]:
    """The table's name for a file's `key`, and the conversion that it needs; the same name where no rule knows it."""
    bare = key.removeprefix("module.")  # of DistributedDataParallel
    for rule in RULES:
        match = re.fullmatch(rule.pattern, bare)
        if match:
            return match.expand(rule.key), rule.conversion
    return bare, None


def excuse(key: str, config: PVChatConfig) -> str | None:
    """Why a file's `key` may stay unused in a model of `config`; None where there is no reason."""
    name, _ = table_key(key)
    if name in EXCUSED_KEYS:
        return EXCUSED_KEYS[name]
    block = _BLOCK.fullmatch(name)
    if block and config.vision.num_blocks <= int(block[1]) < config.vision.depth:
        return "a block above the one whose output the original reads"
    if _HEAD_ADAPTER.fullmatch(name) and not config.language_model.lora.rank_of("lm_head"):
        return "the head's adapter, which the original loses when it adds a name to the vocabulary"
    return next((reason for pattern, reason in _EXCUSES if re.fullmatch(pattern, key.removeprefix("module."))), None)
