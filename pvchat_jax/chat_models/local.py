"""Loads a chat model from a local directory with transformers, and asks it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from pvchat_jax.chat_models.replies import ModelUnavailable, plain_reply
from pvchat_jax.errors import UserError


class Kind(NamedTuple):
    """A kind of model, in transformers' terms.

    Attributes:
      title: in the words of error messages, such as `an image-text model`.
      model, processor: names of transformers' classes, such as `AutoModelForCausalLM`.
      extra: of pvchat_jax, which brings what is needed.
    """

    title: str
    model: str
    processor: str
    extra: str


class LocalChatModel:
    """One model of a local directory. `name` is the directory's name and the model's family."""

    def __init__(self, directory: Path, kind: Kind, *, device: str = "cpu", max_new_tokens: int = 128) -> None:
        """Loads the model.

        Args:
          directory: with `config.json`, weights, tokenizer or processor, and chat template, as `save_pretrained` writes it; nothing is
            downloaded.
          device: as PyTorch names it, such as `cuda`.
          max_new_tokens: of one reply.

        Raises:
          UserError: there is no such model, a file of it is missing or damaged, or it needs a package that is not installed.
        """
        directory = Path(directory).absolute()
        if not (directory / "config.json").is_file():
            raise UserError(f"{directory} has no config.json; name the local directory of {kind.title}.")
        self._processor, self._model = _load(directory, kind, device)
        self._max_new_tokens = max_new_tokens
        self.name = f"{directory.name} ({self._model.config.model_type})"

    @property
    def has_images(self) -> bool:
        """Whether pictures can be shown to it."""
        return getattr(self._processor, "image_processor", None) is not None

    def reply(self, content: str | Sequence[dict[str, Any]]) -> str:
        """The plain reply to one message of a user, decoded greedily.

        Args:
          content: a text, or the parts of a message with pictures.

        Raises:
          ModelUnavailable: the model cannot be asked so.
        """
        messages = [{"role": "user", "content": content}]
        try:
            inputs = self._processor.apply_chat_template(
                messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
            ).to(self._model.device)
            if "pixel_values" in inputs:
                inputs = inputs.to(self._model.dtype)
            output = self._model.generate(**inputs, do_sample=False, max_new_tokens=self._max_new_tokens)
        except (ValueError, RuntimeError, IndexError) as error:
            images = 0 if isinstance(content, str) else sum(part["type"] == "image" for part in content)
            about, remedy = (f" about {images} images", "choose a model that takes several") if images else ("", "choose another model")
            raise ModelUnavailable(f"{self.name} cannot be asked{about} ({error}); {remedy}.") from error
        prompt_length = inputs["input_ids"].shape[1]
        return plain_reply(self._processor.decode(output[0, prompt_length:], skip_special_tokens=True))


def _load(directory: Path, kind: Kind, device: str) -> tuple[Any, Any]:
    """Processor and model; `trust_remote_code` stays off, so that a directory's own code never runs."""
    try:
        import transformers
    except ImportError as error:
        raise UserError(f"transformers is not installed; install it with pip install 'pvchat_jax[{kind.extra}]'.") from error
    transformers.utils.logging.set_verbosity_error()
    try:
        processor = getattr(transformers, kind.processor).from_pretrained(directory, local_files_only=True)
        model, loaded = getattr(transformers, kind.model).from_pretrained(
            directory, local_files_only=True, dtype="auto", output_loading_info=True
        )
    except ImportError as error:
        if "torchvision" in str(error).lower():
            raise UserError(
                f"{directory} is of a family whose processor needs torchvision; install the torchvision that fits your PyTorch, "
                "or choose a family that does without, such as Llava, Gemma 3 or Idefics 3."
            ) from error
        raise UserError(
            f"{directory} needs a package that is not installed ({error}); install it, or all that are used here with "
            f"pip install 'pvchat_jax[{kind.extra}]'."
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{directory} cannot be loaded as {kind.title} ({reason}); name a complete directory of one.") from error
    if loaded["missing_keys"]:  # transformers would go on with random ones
        raise UserError(f"{directory} lacks weights, such as {min(loaded['missing_keys'])}; name a complete directory of a model.")
    if not getattr(processor, "chat_template", None):
        raise UserError(f"{directory} lacks the chat template; copy the model's other files there too.")
    try:
        return processor, model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device '{device}' cannot be used ({error}); choose another one, such as cpu.") from error
