"""The stage that has questions asked about every clip."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from pvchat_jax.chat_models.replies import ModelUnavailable
from pvchat_jax.data.records import Question
from pvchat_jax.data.video import read_frames
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.asking import ask_clip
from pvchat_jax.synthesis.backends import Backends
from pvchat_jax.synthesis.captioners.captioner import ClipView
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, SetAside
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of, seed_of

ASK = "ask"
SHOWN_FRAMES = 8  # to the captioner
_VERSION = 1  # raise it to have questions asked anew


class Asked(NamedTuple):
    """Clips with split and questions, in order, and those about which nothing could be asked."""

    clips: tuple[tuple[str, Clip, tuple[Question, ...]], ...]
    aside: tuple[SetAside, ...]


def ask_all(
    store: StageStore, clips: Sequence[tuple[str, Clip]], subject: str, backends: Backends, seed: int, advance: Callable[[], None]
) -> Asked:
    """Questions about `subject` and each of `clips`; the wordings follow from `seed` and the clip alone.

    Raises:
      ModelUnavailable: nothing at all can be asked.
    """
    asked, aside = [], []
    for split, clip in clips:
        try:
            questions, useless = _ask(store, clip, subject, backends, seed)
            asked.append((split, clip, questions))
            aside += useless
        except ModelUnavailable:
            raise
        except UserError as error:
            aside.append(SetAside(item=clip.name, stage=ASK, reason=str(error)))
        advance()
    return Asked(tuple(asked), tuple(aside))


def _ask(store: StageStore, clip: Clip, subject: str, backends: Backends, seed: int) -> tuple[tuple[Question, ...], list[SetAside]]:
    """Questions, and the captioner's answers that were of no use."""
    captioner = backends.captioner
    work = Work(
        stage=ASK,
        version=_VERSION,
        tool=captioner.name,
        inputs={"clip": clip.sha256, "phrases": digest_of(to_json(backends.phrases))},
        settings={"subject": subject, "name": clip.name, "role": clip.role, "truth": dict(clip.truth), "counts": dict(backends.counts)},
        seed=seed,
    )
    kept = store.find(work)
    if kept is None:
        start = time.monotonic()
        view = ClipView(read_frames(store.folder / clip.video, SHOWN_FRAMES).frames, clip.truth)
        rng = np.random.default_rng(seed_of(seed, ASK, clip.name))
        useless: list[SetAside] = []
        questions = ask_clip(clip, subject, captioner, view, rng, phrases=backends.phrases, counts=backends.counts, report=useless.append)
        kept = {"questions": [to_json(question) for question in questions], "useless": [to_json(item) for item in useless]}
        store.keep(work, kept, seconds=time.monotonic() - start)
    questions = tuple(from_json(Question, question) for question in kept["questions"])
    return questions, [from_json(SetAside, item) for item in kept["useless"]]
