"""Asks an image-text model behind a server that speaks OpenAI's chat protocol."""

import base64
import concurrent.futures
import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from pvchat_jax.chat_models.endpoint import ChatEndpoint, Purpose
from pvchat_jax.data.records import Question
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.captioners.instruction import INSTRUCTION, shown_frames

_MAX_FRAMES = 8
_MAX_SIDE = 768  # pixels; services count tokens by the area
_PARALLEL = 4  # questions about one clip at a time; servers batch them and keep the frames, which come first
_PURPOSE = Purpose(sends="frames of people", needs=f"images, {_MAX_FRAMES} at a time", extra="synthesis")


class EndpointCaptioner:
    """A backend (`captioner.Captioner`). `leaves_machine` unless the server's address is a loopback address."""

    def __init__(self, url: str, model: str, *, allow_remote: bool = False, **options: Any) -> None:
        """Connects to nothing yet; arguments and errors are those of `ChatEndpoint`.

        `allow_remote` is the user's consent that frames of people go to another machine.
        """
        self._endpoint = ChatEndpoint(url, model, _PURPOSE, allow_remote=allow_remote, **options)
        self.leaves_machine = self._endpoint.leaves_machine
        self.name = self._endpoint.name

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """See `captioner.Captioner`."""
        frames = [_image_part(image) for image in shown_frames(view.frames, _MAX_FRAMES, _MAX_SIDE)]
        with concurrent.futures.ThreadPoolExecutor(_PARALLEL) as executor:
            futures = [executor.submit(self._ask, frames, question.question) for question in questions]
            try:
                return [future.result() for future in futures]
            finally:
                executor.shutdown(cancel_futures=True)

    def _ask(self, frames: list[dict[str, Any]], question: str) -> str:
        return self._endpoint.reply(INSTRUCTION, [*frames, {"type": "text", "text": question}])


def _image_part(image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"}}
