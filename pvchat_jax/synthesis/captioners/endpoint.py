"""Asks a server that speaks OpenAI's chat protocol, such as vLLM or llama.cpp on this machine, or a service elsewhere."""

import base64
import concurrent.futures
import io
import ipaddress
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import CaptionerUnavailable, ClipView
from pvchat_jax.synthesis.captioners.instruction import INSTRUCTION, plain_reply, shown_frames

if TYPE_CHECKING:
    import openai

_MAX_FRAMES = 8
_MAX_SIDE = 768  # pixels; services count tokens by the area
_MAX_TOKENS = 1024  # room for the reasoning of models that reason; answers are short
_PARALLEL = 4  # questions about one clip at a time; servers batch them and keep the frames, which come first


class EndpointCaptioner:
    """A backend (`captioner.Captioner`). `leaves_machine` unless the server's address is a loopback address."""

    def __init__(
        self, url: str, model: str, *, allow_remote: bool = False, api_key: str | None = None, timeout: float = 120.0, max_retries: int = 4
    ) -> None:
        """Connects to nothing yet.

        Args:
          url: such as `http://127.0.0.1:8000/v1`.
          model: as the server names it.
          allow_remote: the user's consent that frames of people go to another machine.
          api_key: by default the environment's OPENAI_API_KEY for a remote server, and none for a local one.
          timeout: seconds for one answer.
          max_retries: of a request that failed because the server was busy, failing or unreachable, with growing pauses.

        Raises:
          UserError: a wrong address, a remote one without consent, or the `openai` package is not installed.
        """
        address = urllib.parse.urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(f"'{url}' is no address of a server; give one such as http://127.0.0.1:8000/v1.")
        self.leaves_machine = not _is_loopback(address.hostname)
        if self.leaves_machine and not allow_remote:
            raise UserError(
                f"'{url}' is another machine, and frames of people would go there; allow that explicitly, or use a server on this machine."
            )
        self.name = f"{model} at {address.netloc.rpartition('@')[2]}"
        self._url = url
        self._model = model
        self._client = _connect(url, self.leaves_machine, api_key, timeout, max_retries)

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
        import openai

        content = [*frames, {"type": "text", "text": question}]
        messages: list[Any] = [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": content}]
        try:
            reply = self._client.chat.completions.create(
                model=self._model, messages=messages, temperature=0, seed=0, max_tokens=_MAX_TOKENS
            )
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except openai.APITimeoutError as error:
            raise UserError(f"{self._url} did not answer in time; give it more time, or a smaller model.") from error
        except openai.APIConnectionError as error:
            message = f"no server answers at {self._url} ({error.__cause__ or error}); start it, or correct the address."
            raise CaptionerUnavailable(message) from error
        except (openai.OpenAIError, ValueError) as error:
            raise UserError(f"{self._url} sent what is no answer ({error}); check that it speaks OpenAI's chat protocol.") from error
        # Servers that mean something else by the address answer with other JSON, or with a page.
        try:
            text = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError) as error:
            raise UserError(f"{self._url} sent no chat completion; check that it speaks OpenAI's chat protocol.") from error
        if not isinstance(text, str) or not plain_reply(text):
            raise UserError(f"{self._url} sent an empty answer to {question!r}; try another model.")
        return plain_reply(text)

    def _refusal(self, error: "openai.APIStatusError") -> UserError:
        """What a status of 300 or more means for the user; some of them hold for every clip."""
        reason = f"{self._url} answered with status {error.status_code} ({error.message[:200]})"
        remedies = {
            401: "give a valid key",
            403: "give a key with the right to use it",
            404: f"check the address and the model '{self._model}'",
        }
        if error.status_code in remedies:
            return CaptionerUnavailable(f"{reason}; {remedies[error.status_code]}.")
        if 300 <= error.status_code < 400:
            return CaptionerUnavailable(f"{reason}, which sends frames somewhere else; give the address of the server itself.")
        if error.status_code == 429 or error.status_code >= 500:
            return UserError(f"{reason} however often it was tried; look at the server's own messages, and start again later.")
        return UserError(f"{reason}; check that the model takes images, {_MAX_FRAMES} at a time.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect(url: str, is_remote: bool, api_key: str | None, timeout: float, max_retries: int) -> "openai.OpenAI":
    try:
        import openai
    except ImportError as error:
        raise UserError("the openai package is not installed; install it with pip install 'pvchat_jax[synthesis]'.") from error
    options: dict[str, Any] = {"base_url": url, "timeout": timeout, "max_retries": max_retries}
    if is_remote:
        options["api_key"] = api_key
    else:
        # A local server gets neither the user's key nor a proxy between, and cannot send the frames on to another machine.
        options["api_key"] = api_key or "none"
        options["http_client"] = openai.DefaultHttpx2Client(trust_env=False, follow_redirects=False)
    try:
        return openai.OpenAI(**options)
    except openai.OpenAIError as error:
        raise UserError(f"{url} needs a key; set OPENAI_API_KEY in the environment.") from error


def _image_part(image: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"}}
