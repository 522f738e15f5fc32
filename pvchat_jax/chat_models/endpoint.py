"""Asks a server that speaks OpenAI's chat protocol, such as vLLM or llama.cpp on this machine, or a service elsewhere."""

import ipaddress
import urllib.parse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pvchat_jax.chat_models.replies import ModelUnavailable, plain_reply
from pvchat_jax.errors import UserError

if TYPE_CHECKING:
    import openai

_MAX_TOKENS = 1024  # room for the reasoning of models that reason; answers are short


class Purpose(NamedTuple):
    """What a server is asked for, in the words of its error messages.

    Attributes:
      sends: what leaves for the server, such as `frames of people`.
      needs: what the model has to take, such as `images, 8 at a time`.
      extra: of pvchat_jax, which brings the client.
    """

    sends: str
    needs: str
    extra: str


class ChatEndpoint:
    """One model of one server.

    Attributes:
      name: model and server. leaves_machine: whether the server's address is no loopback address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        purpose: Purpose,
        *,
        allow_remote: bool = False,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 4,
    ) -> None:
        """Connects to nothing yet.

        Args:
          url: such as `http://127.0.0.1:8000/v1`.
          model: as the server names it.
          allow_remote: the user's consent that what is asked goes to another machine.
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
                f"'{url}' is another machine, and {purpose.sends} would go there; allow that explicitly, or use a server on this machine."
            )
        self.name = f"{model} at {address.netloc.rpartition('@')[2]}"
        self._url = url
        self._model = model
        self._purpose = purpose
        self._client = _connect(url, self.leaves_machine, api_key, timeout, max_retries, purpose.extra)

    def reply(self, system: str, content: str | Sequence[dict[str, Any]]) -> str:
        """The plain reply to one message of a user, decoded greedily.

        Args:
          content: a text, or the parts of a message with pictures.

        Raises:
          UserError: no reply can be had to this message.
          ModelUnavailable: nor to any other one.
        """
        import openai

        messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": content}]
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
            raise ModelUnavailable(message) from error
        except (openai.OpenAIError, ValueError) as error:
            raise UserError(f"{self._url} sent what is no answer ({error}); check that it speaks OpenAI's chat protocol.") from error
        # Servers that mean something else by the address answer with other JSON, or with a page.
        try:
            text = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError) as error:
            raise UserError(f"{self._url} sent no chat completion; check that it speaks OpenAI's chat protocol.") from error
        if not isinstance(text, str) or not plain_reply(text):
            asked = content if isinstance(content, str) else content[-1].get("text")
            raise UserError(f"{self._url} sent an empty answer to {asked!r}; try another model.")
        return plain_reply(text)

    def _refusal(self, error: "openai.APIStatusError") -> UserError:
        """What a status of 300 or more means for the user; some of them hold for every message."""
        reason = f"{self._url} answered with status {error.status_code} ({error.message[:200]})"
        remedies = {
            401: "give a valid key",
            403: "give a key with the right to use it",
            404: f"check the address and the model '{self._model}'",
        }
        if error.status_code in remedies:
            return ModelUnavailable(f"{reason}; {remedies[error.status_code]}.")
        if 300 <= error.status_code < 400:
            return ModelUnavailable(f"{reason}, which sends {self._purpose.sends} somewhere else; give the address of the server itself.")
        if error.status_code == 429 or error.status_code >= 500:
            return UserError(f"{reason} however often it was tried; look at the server's own messages, and start again later.")
        return UserError(f"{reason}; check that the model takes {self._purpose.needs}.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _connect(url: str, is_remote: bool, api_key: str | None, timeout: float, max_retries: int, extra: str) -> "openai.OpenAI":
    try:
        import openai
    except ImportError as error:
        raise UserError(f"the openai package is not installed; install it with pip install 'pvchat_jax[{extra}]'.") from error
    options: dict[str, Any] = {"base_url": url, "timeout": timeout, "max_retries": max_retries}
    if is_remote:
        options["api_key"] = api_key
    else:
        # A local server gets neither the user's key nor a proxy between, and cannot send what it gets on to another machine.
        options["api_key"] = api_key or "none"
        options["http_client"] = openai.DefaultHttpx2Client(trust_env=False, follow_redirects=False)
    try:
        return openai.OpenAI(**options)
    except openai.OpenAIError as error:
        raise UserError(f"{url} needs a key; set OPENAI_API_KEY in the environment.") from error
