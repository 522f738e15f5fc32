"""Folders of diffusers pipelines in miniature: the real classes with random weights, small enough to run on a CPU in a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDPMScheduler,
    ConsisIDPipeline,
    ConsisIDTransformer3DModel,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

TEXT_DIM = 32
_T5_SIZES = dict(vocab_size=128, d_model=TEXT_DIM, d_kv=8, d_ff=37, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu")
_WAN_SIZES = dict(
    patch_size=(1, 2, 2),
    num_attention_heads=2,
    attention_head_dim=12,
    out_channels=16,
    text_dim=TEXT_DIM,
    freq_dim=16,
    ffn_dim=32,
    cross_attn_norm=True,
    qk_norm="rms_norm_across_heads",
    rope_max_seq_len=32,
)
_VACE_SIZES = dict(num_layers=3, vace_layers=[0, 2], vace_in_channels=96)


def seeded(make: Callable[..., Any], **settings: Any) -> Any:
    """A model whose random weights are the same in every process."""
    torch.manual_seed(0)
    return make(**settings).eval()


def t5_tokenizer() -> T5Tokenizer:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *map(chr, range(33, 127))]
    return T5Tokenizer(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0)


def wan_parts() -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": seeded(lambda: UMT5EncoderModel(UMT5Config(**_T5_SIZES))),
        "vae": seeded(
            AutoencoderKLWan, base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


def clip_vision_parts() -> dict[str, Any]:
    sizes = CLIPVisionConfig(hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return {"image_encoder": seeded(lambda: CLIPVisionModel(sizes)), "image_processor": processor}


def wan_vace() -> WanVACEPipeline:
    transformer = seeded(WanVACETransformer3DModel, **_WAN_SIZES, **_VACE_SIZES, in_channels=16)
    return WanVACEPipeline(**wan_parts(), transformer=transformer)


def wan_image_to_video() -> WanImageToVideoPipeline:
    """In the form of Wan 2.1, with an image encoder."""
    transformer = seeded(WanTransformer3DModel, **_WAN_SIZES, num_layers=2, in_channels=36, image_dim=32, added_kv_proj_dim=24)
    return WanImageToVideoPipeline(**wan_parts(), **clip_vision_parts(), transformer=transformer)


def wan_image_to_video_of_two() -> WanImageToVideoPipeline:
    """In the form of Wan 2.2, with a transformer for much noise and one for little."""
    sizes = dict(**_WAN_SIZES, num_layers=2, in_channels=36)
    both = {name: seeded(WanTransformer3DModel, **sizes) for name in ("transformer", "transformer_2")}
    return WanImageToVideoPipeline(**wan_parts(), **both, image_encoder=None, image_processor=None, boundary_ratio=0.9)


def wan_animate() -> WanAnimatePipeline:
    transformer = seeded(
        WanAnimateTransformer3DModel,
        **_WAN_SIZES,
        num_layers=4,
        in_channels=36,
        latent_channels=16,
        image_dim=32,
        added_kv_proj_dim=24,
        inject_face_latents_blocks=2,
        motion_encoder_size=16,
        motion_encoder_channel_sizes={"4": 16, "8": 16, "16": 16},
        motion_style_dim=8,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
    )
    return WanAnimatePipeline(**wan_parts(), **clip_vision_parts(), transformer=transformer)


def consisid() -> ConsisIDPipeline:
    vae = seeded(
        AutoencoderKLCogVideoX,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=16,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    transformer = seeded(
        ConsisIDTransformer3DModel,
        num_attention_heads=3,
        attention_head_dim=16,
        in_channels=32,
        out_channels=16,
        time_embed_dim=2,
        text_embed_dim=TEXT_DIM,
        num_layers=1,
        sample_width=8,
        sample_height=8,
        sample_frames=9,
        patch_size=2,
        max_text_seq_length=16,
        use_rotary_positional_embeddings=True,
        is_train_face=True,
        is_kps=True,
        cross_attn_interval=1,
        LFE_output_dim=32,
        LFE_vit_dim=16,
    )
    return ConsisIDPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=seeded(lambda: T5EncoderModel(T5Config(**_T5_SIZES))),
        vae=vae,
        transformer=transformer,
        scheduler=CogVideoXDPMScheduler(),
    )


def stable_diffusion() -> StableDiffusionPipeline:
    characters = list(bytes_to_unicode().values())
    pieces = [*characters, *(f"{character}</w>" for character in characters), "<|startoftext|>", "<|endoftext|>"]
    text_sizes = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=TEXT_DIM,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
    )
    unet = seeded(
        UNet2DConditionModel,
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=TEXT_DIM,
        attention_head_dim=2,
        norm_num_groups=2,
    )
    vae = seeded(
        AutoencoderKL,
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        latent_channels=4,
        sample_size=64,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=seeded(lambda: CLIPTextModel(text_sizes)),
        tokenizer=CLIPTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, merges=[], model_max_length=77),
        unet=unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_face_id_adapter(path: Path, pipeline: StableDiffusionPipeline) -> None:
    """Random weights under the names of the published IP-Adapter FaceID files, for embeddings of 512 numbers and four tokens."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.2

    projection = {
        "proj.0.weight": random(1024, 512),
        "proj.0.bias": random(1024),
        "proj.2.weight": random(4 * TEXT_DIM, 1024),
        "proj.2.bias": random(4 * TEXT_DIM),
        "norm.weight": torch.ones(TEXT_DIM),
        "norm.bias": torch.zeros(TEXT_DIM),
    }
    attention = {}
    for number, name in enumerate(pipeline.unet.attn_processors):
        if name.endswith("attn1.processor"):
            continue  # self-attention sees no adapter
        out_channels = pipeline.unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        attention[f"{number}.to_k_ip.weight"] = random(out_channels, TEXT_DIM)
        attention[f"{number}.to_v_ip.weight"] = random(out_channels, TEXT_DIM)
    torch.save({"image_proj": projection, "ip_adapter": attention}, path)
