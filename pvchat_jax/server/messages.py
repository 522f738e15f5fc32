"""What a conversation in OpenAI's form asks: about which video, about whom, what, and what was said before."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from pvchat_jax.errors import UserError
from pvchat_jax.inference.options import DecodingOptions
from pvchat_jax.registry.names import bare, resolve
from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.schemas import ChatRequest, FilePart, Message, VideoPart
from pvchat_jax.server.settings import Settings

MODEL = "pvchat"


class Conversation(NamedTuple):
    """`video` is as the client wrote it; `history` has earlier questions about this video with their answers."""

    video: str
    question: str
    history: tuple[tuple[str, str], ...]


class _Turn(NamedTuple):
    role: str
    text: str
    video: str | None


def read_conversation(messages: Sequence[Message]) -> Conversation:
    """The last question, the last video, and the turns since that was shown.

    Raises:
      Refusal: questions and answers do not take turns, or there is no video.
    """
    turns = _merged([_read(message) for message in messages])
    if turns[-1].role != "user":
        raise Refusal(400, "the last message is the assistant's; end with a question of the user.")
    shown = [number for number, turn in enumerate(turns) if turn.video is not None]
    if not shown:
        raise Refusal(400, "no message has a video; add a part of type video_url with a path, the id of an upload, or a data: address.")
    about = turns[shown[-1] :]
    if about[0].role != "user":
        raise Refusal(400, "a message of the assistant shows a video; videos belong into messages of the user.")
    if not about[-1].text.strip():
        raise Refusal(400, "the last message has no question; add a part of type text.")
    pairs = [(asked.text, said.text) for asked, said in zip(about[:-1:2], about[1::2], strict=True)]
    return Conversation(turns[shown[-1]].video or "", about[-1].text.strip(), tuple(pairs))


def choose_names(model: str, conversation: Conversation, known: Sequence[str], most: int) -> tuple[str, ...]:
    """Who is asked about: as `model` says, otherwise whose names are in the question or in earlier ones, otherwise the only one there is.

    Args:
      known: names of the registry. most: people in one question.

    Raises:
      Refusal: there is no such person, nobody is meant, or too many are.
    """
    base, colon, named = model.partition(":")
    if base != MODEL:
        raise Refusal(404, f"there is no model '{model[:80]}'; GET /v1/models lists what there is.")
    if not known:
        raise Refusal(404, "nobody is enrolled yet; enrol somebody on the page, or with: python -m pvchat_jax.subjects add RUN_OR_PACK")
    if colon:
        names = tuple(dict.fromkeys(known_name(name.strip(), known) for name in named.split(",")))
    else:
        texts = [conversation.question, *(question for question, _ in reversed(conversation.history))]
        names = next(filter(None, (_mentioned(text, known) for text in texts)), tuple(known) if len(known) == 1 else ())
    if not names:
        raise Refusal(400, "nobody who is enrolled is named in the question; name somebody, or choose the model pvchat:NAME.")
    if len(names) > most:
        raise Refusal(400, f"{len(names)} people are asked about at once, and {most} are the most; ask about fewer.")
    return names


def known_name(name: str, known: Sequence[str]) -> str:
    """As the registry writes it.

    Raises:
      Refusal: there is no such person.
    """
    try:
        return resolve(name, known)
    except UserError as error:
        raise Refusal(404, str(error)) from error


def decoding_options(request: ChatRequest, settings: Settings) -> DecodingOptions:
    """How the answer is decoded: greedily, unless a temperature is given.

    Raises:
      Refusal: something is out of its range.
    """
    wanted = request.max_completion_tokens or request.max_tokens
    if wanted is not None and wanted > settings.answer_tokens:
        raise Refusal(400, f"max_tokens is {wanted} and this server answers with {settings.answer_tokens} at most; ask for fewer.")
    if request.num_beams > settings.beams:
        raise Refusal(400, f"num_beams is {request.num_beams} and this server searches with {settings.beams} at most; ask for fewer.")
    stop = request.stop or ()
    if not isinstance(stop, str) and len(stop) > 4:
        raise Refusal(400, f"stop has {len(stop)} texts and 4 are the most; give fewer.")
    try:
        return DecodingOptions(
            max_new_tokens=wanted or min(128, settings.answer_tokens),
            temperature=request.temperature or 0.0,
            top_k=request.top_k,
            top_p=1.0 if request.top_p is None else request.top_p,
            repetition_penalty=request.repetition_penalty,
            num_beams=request.num_beams,
            length_penalty=request.length_penalty,
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            seed=request.seed or 0,
        )
    except UserError as error:
        raise Refusal(400, str(error)) from error


def _mentioned(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The people whose names stand in a text, in the order in which they do."""
    found = {}
    for name in known:
        match = re.search(rf"(?<!\w){re.escape(bare(name))}(?!\w)", text, re.IGNORECASE)
        if match:
            found[name] = match.start()
    return tuple(sorted(found, key=found.__getitem__))


def _merged(turns: Sequence[_Turn]) -> list[_Turn]:
    """Turns in which the same one speaks twice in a row joined; a video may come in a message of its own."""
    merged: list[_Turn] = []
    for turn in turns:
        if merged and merged[-1].role == turn.role:
            last = merged.pop()
            turn = _Turn(turn.role, "\n".join(filter(None, (last.text, turn.text))), turn.video or last.video)
        merged.append(turn)
    return merged


def _read(message: Message) -> _Turn:
    if isinstance(message.content, str):
        return _Turn(message.role, message.content, None)
    texts, videos = [], []
    for part in message.content:
        if isinstance(part, VideoPart):
            videos.append(part.video_url.url)
        elif isinstance(part, FilePart):
            videos.append(_reference(part))
        else:
            texts.append(part.text)
    if len(videos) > 1:
        raise Refusal(400, f"a message has {len(videos)} videos; ask about one at a time.")
    return _Turn(message.role, "\n".join(texts), videos[0] if videos else None)


def _reference(part: FilePart) -> str:
    reference = part.file.file_id or part.file.file_data
    if reference is None:
        raise Refusal(400, "a part of type file has neither file_id nor file_data; name the id of an upload.")
    return reference
