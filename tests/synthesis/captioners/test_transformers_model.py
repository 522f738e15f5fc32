"""An image-text model of a real family, a tiny Llava made here, answers from its local directory."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.chat_models.replies import ModelUnavailable, plain_reply
from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.captioners.transformers_model import TransformersCaptioner

torch = pytest.importorskip("torch")

QUESTION = Question(question="What is the person doing?", answer="", type="action")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llava as `save_pretrained` writes it: CLIP and Llama of two layers, a byte-level tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<pad>", "<s>", "</s>", "<image>"]
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", extra_special_tokens={"image_token": "<image>"}
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    processor = LlavaProcessor(
        images, tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=TEMPLATE, num_additional_image_tokens=1
    )
    size = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**size, image_size=16, patch_size=8),
        text_config=LlamaConfig(**size, vocab_size=len(vocabulary), num_key_value_heads=2),
        image_token_index=vocabulary["<image>"],
        vision_feature_layer=-1,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed" not in name and "lm_head" not in name:
                weight *= 10  # layers that start as small as usual pass little on of what was seen and asked
    folder = tmp_path_factory.mktemp("models") / "tiny-llava"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def view(seed: int, num_frames: int = 3) -> ClipView:
    return ClipView(np.random.default_rng(seed).integers(0, 256, (num_frames, 20, 24, 3), np.uint8), {})


def test_the_answer_depends_on_frames_and_question_and_is_repeatable(directory: Path) -> None:
    captioner = TransformersCaptioner(directory, max_new_tokens=8)
    assert captioner.name == "tiny-llava (llava)" and not captioner.leaves_machine
    other = Question(question="Where is the person?", answer="", type="location")
    first, second = captioner.answer(view(0), [QUESTION, other])
    assert captioner.answer(view(0), [QUESTION]) == [first]
    assert len({first, second, *(captioner.answer(view(seed), [QUESTION])[0] for seed in range(1, 5))}) > 2
    assert "person" not in first  # the prompt is not part of the answer
    assert TransformersCaptioner(directory, max_new_tokens=8).answer(view(0, 30), [QUESTION])


def without_a_weight(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    save_file({name: weight for name, weight in weights.items() if "lm_head" not in name}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"junk"), "cannot be loaded"),
        (lambda folder: without_a_weight(folder / "model.safetensors"), "lacks weights, such as lm_head"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "chat template"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "gpt2"}'), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "of nobody"}'), "cannot be loaded"),
    ],
)
def test_a_directory_that_is_no_model_is_told_in_a_sentence(directory: Path, tmp_path: Path, spoil, message: str) -> None:
    folder = shutil.copytree(directory, tmp_path / "model")
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        TransformersCaptioner(folder)
    assert "\n" not in str(caught.value)


def test_a_family_that_needs_torchvision_says_so(directory: Path, tmp_path: Path) -> None:
    """Which no environment for the tests has."""
    folder = shutil.copytree(directory, tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "qwen2_vl"}')
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "Qwen2VLProcessor"}))
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Qwen2VLImageProcessor"}))
    with pytest.raises(UserError, match="needs torchvision"):
        TransformersCaptioner(folder)


def test_a_model_that_cannot_take_the_images_ends_the_run(directory: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(directory, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][-1]['text'] }}")
    with pytest.raises(ModelUnavailable, match="3 images"):
        TransformersCaptioner(folder).answer(view(0), [QUESTION])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("The person waves.", "The person waves."),
        ("<think>Is it?\nYes.</think>\n\nThe person waves.", "The person waves."),
        ("reasoning without a start</think>Waving.", "Waving."),
        ("<think>never ends", ""),
        ('**Answer:** "Waving."', "Waving."),
        ('The sign says "stop".', 'The sign says "stop".'),
    ],
)
def test_only_the_answer_is_left_of_a_reply(reply: str, expected: str) -> None:
    assert plain_reply(reply) == expected
