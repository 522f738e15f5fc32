"""Talks about a video in the terminal: `python -m pvchat_jax.chat --subject=wilson --video=clip.mp4`, or `--help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.registry.registry import DEFAULT_REGISTRY, Registry
from pvchat_jax.terminal.opening import require_people, require_video

_DESCRIPTION = """\
Answers questions about people in a video. An answer says how likely each of them is there; of somebody who is not there, or may not be,
nothing is described. With --question it answers that one question and ends.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.chat --subject=wilson --video=clip.mp4
  python -m pvchat_jax.chat --subject=wilson --subject=ann --video=clip.mp4 --question='Are Wilson and Ann there?'
  python -m pvchat_jax.chat --subject=wilson --video=clip.mp4 --question='What does he do?' --json && echo he is there

exit status with --question:
  0  everybody who was asked about is there      1  somebody is not there
  3  it is unsure of somebody, nobody is absent  2  a mistake, as one line
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits as its help says."""
    options = _parse(arguments)
    try:
        with exit_on_user_error():
            status = _run(options)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    raise SystemExit(status)


def _run(options: argparse.Namespace) -> int:
    """The exit status after a conversation or a question."""
    decoding = DecodingOptions(max_new_tokens=options.max_new_tokens, temperature=options.temperature, seed=options.seed)
    registry = Registry(options.registry)
    names = require_people(registry, options.subject)
    if options.video is not None:
        require_video(options.video)
    elif options.question is not None:
        raise UserError("a single question is about a video; name it with --video=FILE.")
    prepare_jax()
    from pvchat_jax.assistant.assistant import Assistant  # seconds, so after everything that may be wrong with the arguments
    from pvchat_jax.terminal.conversation import Conversation
    from pvchat_jax.terminal.screen import Screen

    assistant = Assistant.open(registry)
    conversation = Conversation(assistant, names, decoding)
    if options.video is not None:
        conversation.look_at(options.video)
    if options.question is None:
        Screen(conversation, registry, Console(soft_wrap=True, markup=False, highlight=False, emoji=False)).run()
        return 0
    turn = conversation.ask(options.question)
    print(json.dumps(turn.to_json(), ensure_ascii=False) if options.json else turn.as_text())
    return turn.status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.chat", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--subject", metavar="NAME", action="append", help="who is asked about, may be repeated (default: the one who is enrolled)")
    add("--video", metavar="FILE", type=Path, help="what is asked about; /video names another later")
    add("--question", metavar="TEXT", help="answers this and ends")
    add("--json", action="store_true", help="with --question: prints one JSON object")
    add("--registry", metavar="DIR", type=Path, default=DEFAULT_REGISTRY, help="of enrolled people (default: %(default)s)")
    add("--max_new_tokens", metavar="N", type=int, default=DecodingOptions.max_new_tokens, help="of an answer (default: %(default)s)")
    add("--temperature", metavar="T", type=float, default=0.0, help="above 0, answers are drawn (default: %(default)s)")
    add("--seed", metavar="N", type=int, default=0, help="of what is drawn (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.json and options.question is None:
        parser.error("--json is for --question")
    return options


if __name__ == "__main__":
    sys.exit(main())
