"""Runs an image-text model from a local directory with transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from pvchat_jax.chat_models.local import Kind, LocalChatModel
from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.captioners.instruction import INSTRUCTION, shown_frames

_MAX_FRAMES = 8
_MAX_SIDE = 768  # pixels; what the model's own processor makes of them is up to it
_KIND = Kind("an image-text model", "AutoModelForImageTextToText", "AutoProcessor", "synthesis")


class TransformersCaptioner:
    """A backend (`captioner.Captioner`): any family that `AutoModelForImageTextToText` knows and that takes several images."""

    leaves_machine = False

    def __init__(self, directory: Path, *, device: str = "cpu", max_new_tokens: int = 128) -> None:
        """Loads the model; arguments and errors are those of `LocalChatModel`."""
        self._model = LocalChatModel(directory, _KIND, device=device, max_new_tokens=max_new_tokens)
        if not self._model.has_images:
            raise UserError(f"{directory} lacks the image processor; copy the model's other files there too.")
        self.name = self._model.name

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """See `captioner.Captioner`."""
        images = shown_frames(view.frames, _MAX_FRAMES, _MAX_SIDE)
        return [self._ask(images, question.question) for question in questions]

    def _ask(self, images: list[Image.Image], question: str) -> str:
        parts: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
        parts.append({"type": "text", "text": f"{INSTRUCTION}\n{question}"})  # not every template has a place for a system message
        return self._model.reply(parts)
