"""Runs an image-text model from a local directory with transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError

from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import CaptionerUnavailable, ClipView
from pvchat_jax.synthesis.captioners.instruction import INSTRUCTION, plain_reply, shown_frames

_MAX_FRAMES = 8
_MAX_SIDE = 768  # pixels; what the model's own processor makes of them is up to it


class TransformersCaptioner:
    """A backend (`captioner.Captioner`): any family that `AutoModelForImageTextToText` knows and that takes several images."""

    leaves_machine = False

    def __init__(self, directory: Path, *, device: str = "cpu", max_new_tokens: int = 128) -> None:
        """Loads the model.

        Args:
          directory: with `config.json`, weights, processor and chat template, as `save_pretrained` writes it; nothing is downloaded.
          device: as PyTorch names it, such as `cuda`.
          max_new_tokens: of one answer.

        Raises:
          UserError: there is no such model, a file of it is missing or damaged, or it needs a package that is not installed.
        """
        directory = Path(directory).absolute()
        if not (directory / "config.json").is_file():
            raise UserError(f"{directory} has no config.json; name the local directory of an image-text model.")
        self._processor, self._model = _load(directory, device)
        self._max_new_tokens = max_new_tokens
        self.name = f"{directory.name} ({self._model.config.model_type})"

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """See `captioner.Captioner`."""
        images = shown_frames(view.frames, _MAX_FRAMES, _MAX_SIDE)
        return [self._ask(images, question.question) for question in questions]

    def _ask(self, images: list[Image.Image], question: str) -> str:
        parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
        parts.append({"type": "text", "text": f"{INSTRUCTION}\n{question}"})  # not every template has a place for a system message
        messages = [{"role": "user", "content": parts}]
        try:
            inputs = self._processor.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            ).to(self._model.device, self._model.dtype)
            output = self._model.generate(**inputs, do_sample=False, max_new_tokens=self._max_new_tokens)
        except (ValueError, RuntimeError, IndexError) as error:
            raise CaptionerUnavailable(
                f"{self.name} cannot be asked about {len(images)} images ({error}); choose a model that takes several."
            ) from error
        prompt_length = inputs["input_ids"].shape[1]
        return plain_reply(self._processor.decode(output[0, prompt_length:], skip_special_tokens=True))


def _load(directory: Path, device: str) -> tuple[Any, Any]:
    """Processor and model; `trust_remote_code` stays off, so that a directory's own code never runs."""
    try:
        import transformers
    except ImportError as error:
        raise UserError("transformers is not installed; install it with pip install 'pvchat_jax[synthesis]'.") from error
    transformers.utils.logging.set_verbosity_error()
    try:
        processor = transformers.AutoProcessor.from_pretrained(directory, local_files_only=True)
        model, loaded = transformers.AutoModelForImageTextToText.from_pretrained(
            directory, local_files_only=True, dtype="auto", output_loading_info=True
        )
    except ImportError as error:
        if "torchvision" in str(error).lower():
            raise UserError(
                f"{directory} is of a family whose processor needs torchvision; install the torchvision that fits your PyTorch, "
                "or choose a family that does without, such as Llava, Gemma 3 or Idefics 3."
            ) from error
        raise UserError(f"{directory} needs a package that is not installed ({error}); install it.") from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{directory} cannot be loaded as an image-text model ({reason}); name a complete directory of one.") from error
    if loaded["missing_keys"]:  # transformers would go on with random ones
        raise UserError(f"{directory} lacks weights, such as {min(loaded['missing_keys'])}; name a complete directory of a model.")
    if getattr(processor, "image_processor", None) is None or not getattr(processor, "chat_template", None):
        raise UserError(f"{directory} lacks the image processor or the chat template; copy the model's other files there too.")
    try:
        return processor, model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device '{device}' cannot be used ({error}); choose another one, such as cpu.") from error
