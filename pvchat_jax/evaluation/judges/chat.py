"""A chat model as a judge: behind a server's address, or in a local directory."""

import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.chat_models.endpoint import ChatEndpoint, Purpose
from pvchat_jax.chat_models.local import Kind, LocalChatModel
from pvchat_jax.chat_models.replies import ModelUnavailable
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.judges.rubric import INSTRUCTION, PROMPT_VERSION, Judge, Rubric, prompt, read_score
from pvchat_jax.evaluation.judges.rules import RuleJudge

_PURPOSE = Purpose(sends="names of people and what is said of them", needs="texts of this length", extra="eval")
_KIND = Kind("a chat model", "AutoModelForCausalLM", "AutoTokenizer", "eval")
_PARALLEL = 8  # servers batch what comes at once


class ChatJudge(NamedTuple):
    """A `rubric.Judge` that asks a chat model. `ask`: from a message to the reply."""

    name: str
    parallel: int
    ask: Callable[[str], str]

    def rate(self, rubric: Rubric, answer: Answer) -> int | None:
        """See `rubric.Judge`."""
        try:
            return read_score(self.ask(prompt(rubric, answer)))
        except ModelUnavailable:
            raise
        except UserError:  # this answer alone cannot be rated
            return None


def choose_judge(judge: str, model: str = "", *, allow_remote: bool = False, device: str = "cpu") -> Judge:
    """A judge by what a user names it.

    Args:
      judge: `rules`, the address of a server that speaks OpenAI's chat protocol, or the directory of a local chat model.
      model: as the server names it.
      allow_remote: the user's consent that what is rated goes to another machine.

    Raises:
      UserError: there is no such judge, or what it needs is not installed.
    """
    if judge == "rules":
        return RuleJudge()
    version = f"prompts of version {PROMPT_VERSION}"
    if urllib.parse.urlsplit(judge).scheme in ("http", "https"):
        if not model:
            raise UserError(f"the judge at {judge} may have several models; name one with --judge_model.")
        endpoint = ChatEndpoint(judge, model, _PURPOSE, allow_remote=allow_remote)
        return ChatJudge(f"{endpoint.name}, {version}", _PARALLEL, lambda message: endpoint.reply(INSTRUCTION, message))
    if not Path(judge).is_dir():
        raise UserError(f"the judge '{judge}' is neither 'rules', nor the address of a server, nor a directory; correct --judge.")
    local = LocalChatModel(Path(judge), _KIND, device=device, max_new_tokens=512)
    return ChatJudge(f"{local.name}, {version}", 1, lambda message: local.reply(f"{INSTRUCTION}\n\n{message}"))
