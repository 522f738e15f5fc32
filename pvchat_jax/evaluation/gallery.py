"""The part of the page that shows answers beside frames of their videos, wrong ones first."""

import base64
import functools
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import ROLES
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.evaluation.answer_record import Answer, describe_person
from pvchat_jax.evaluation.calibration import yes_probability
from pvchat_jax.evaluation.markup import Section, note, text
from pvchat_jax.evaluation.metrics.verdicts import is_right

_NUM_EACH = 12
_NUM_FRAMES = 4
_FRAME_SIZE = (192, 160)


def gallery_section(answers: Sequence[Answer]) -> Section:
    """Up to 12 wrong and 12 right answers with four frames of each video, which are read again from its file."""
    strip = functools.cache(_frame_strip)  # a video may be shown more than once
    parts = []
    for right, title in ((False, "Wrong answers"), (True, "Right answers")):
        candidates = [answer for answer in answers if is_right(answer) == right]
        chosen = choose_examples(candidates, _NUM_EACH)
        parts.append(f"<h3>{title}: {len(chosen)} of {len(candidates)}</h3>")
        cards = "".join(_card(answer, right, strip(answer.video)) for answer in chosen)
        parts.append(f'<div class="cards">{cards}</div>' if cards else note("There are none."))
    parts.append(note("Types of question and kinds of video take turns; within each, the first answers of the file are shown."))
    return Section("examples", "Answers, with what the model saw", "".join(parts))


def choose_examples(answers: Sequence[Answer], count: int) -> list[Answer]:
    """Up to `count` answers, the pairs of role and type of question in turn, and of each pair videos that are not chosen yet first."""
    groups = [[answer for answer in answers if (answer.role, answer.type) == (role, kind)] for role in ROLES for kind in QUESTION_TYPES]
    chosen: list[Answer] = []
    while len(chosen) < count and any(groups):
        for group in groups:
            if group and len(chosen) < count:
                seen = {answer.video for answer in chosen}
                index = next((index for index, answer in enumerate(group) if answer.video not in seen), 0)
                chosen.append(group.pop(index))
    return chosen


def _card(answer: Answer, right: bool, frames: str) -> str:
    badge = '<span class="badge right">✓ right</span>' if right else '<span class="badge wrong">✗ wrong</span>'
    lines = {"asked": answer.question, "truth": answer.gold, "answered": answer.answer or "(nothing)"}
    if answer.log_odds is not None:
        lines["p(yes)"] = f"{100 * yes_probability(answer.log_odds):.1f}% (log-odds {answer.log_odds:+.2f})"
    items = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in lines.items())
    about = f"{answer.type} · {describe_person(answer)} · {Path(answer.video).name}"
    return f'<article class="card">{frames}<p class="about">{badge} {text(about)}</p><dl>{items}</dl></article>'


def _frame_strip(video: str) -> str:
    try:
        frames = read_frames(video, _NUM_FRAMES).frames  # uint8[T, H, W, 3]
    except UserError:
        return note("The video can no longer be read.")
    return f'<div class="frames">{"".join(_pictures(video, [Image.fromarray(frame) for frame in frames]))}</div>'


def _pictures(video: str, frames: Sequence[Image.Image]) -> Iterator[str]:
    for number, frame in enumerate(frames, start=1):
        frame.thumbnail(_FRAME_SIZE)
        alt = text(f"frame {number} of {len(frames)} of {Path(video).name}")
        yield f'<img alt="{alt}" width="{frame.width}" height="{frame.height}" src="{_data_uri(frame)}">'


def _data_uri(image: Image.Image) -> str:
    """Drawings are smaller as PNG, photographs as JPEG."""
    encoded = {kind: io.BytesIO() for kind in ("png", "jpeg")}
    image.quantize().save(encoded["png"], "PNG", optimize=True)  # 256 colours take a third of the space
    image.save(encoded["jpeg"], "JPEG", quality=80, optimize=True)
    kind = min(encoded, key=lambda kind: len(encoded[kind].getvalue()))
    return f"data:image/{kind};base64,{base64.b64encode(encoded[kind].getvalue()).decode('ascii')}"
