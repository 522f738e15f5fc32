"""What is left of a chat model's reply, and what ends a run that asks one."""

import re

from pvchat_jax.errors import UserError

_REASONING = re.compile(r"<think>.*?(?:</think>|$)|^.*</think>", re.DOTALL)
_MARKUP = re.compile(r"\*\*|__|`|^#+ ", re.MULTILINE)
_LABEL = re.compile(r"^(?:answer|assistant|a)\s*:\s*", re.IGNORECASE)


class ModelUnavailable(UserError):
    """Nothing at all can be answered: the server is down, refuses the key, or does not have the model. The run stops."""


def plain_reply(reply: str) -> str:
    """A model's reply without its reasoning, markup, label and quotation marks."""
    text = _MARKUP.sub("", _REASONING.sub("", reply)).strip()
    text = _LABEL.sub("", text)
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] == '"' else text
