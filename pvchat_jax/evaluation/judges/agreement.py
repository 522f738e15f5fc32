"""How far a judge can be trusted: its ratings of answers whose quality is known, because they were made so.

The answers are made from truths as the drawn world has them: facts are given, left out, contradicted; the person is named, meant, or
somebody else. Half of them use the words of the reference answer, the other half other words for the same. What was meant is the
rating that the rubric asks for.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import scipy.stats

from pvchat_jax.evaluation.answer_record import Answer
from pvchat_jax.evaluation.judges.rubric import ENTITY_SPECIFICITY, Judge, Rubric

_SUBJECT, _OTHER = "<Wilson>", "<Mara>"
_QUESTIONS = {
    "appearance": f"What is {_SUBJECT} wearing?",
    "action": f"What is {_SUBJECT} doing?",
    "location": f"Where is {_SUBJECT}?",
    "existence": f"Is {_SUBJECT} in this video?",
}


class Known(NamedTuple):
    """An answer with the rating that it was made for; `reworded` ones use other words than the reference answer."""

    answer: Answer
    rating: int
    reworded: bool


class Agreement(NamedTuple):
    """Of a judge's ratings with those that the answers were made for.

    Attributes:
      rank: Spearman's correlation. tau: Kendall's tau-b. None where the judge gives every answer the same rating.
      mean_error: mean distance, in points of the scale.
      plain_rank, reworded_rank: `rank` on the answers in the words of the reference, and in other words.
      num_unread: answers that the judge gave no rating for; they are left out.
    """

    num_answers: int
    num_unread: int
    rank: float | None
    tau: float | None
    mean_error: float | None
    plain_rank: float | None
    reworded_rank: float | None


class _Look(NamedTuple):
    """A truth about clothes: colour, garment and hat, each in the reference's word and in another one."""

    colour: str
    garment: str
    hat: str
    other_colour: str
    other_garment: str
    other_hat: str


_LOOKS = (
    _Look("red", "striped shirt", "cap", "crimson", "shirt with stripes", "baseball cap"),
    _Look("blue", "jacket", "hat", "navy", "coat", "brimmed hat"),
    _Look("green", "shirt", "cap", "olive", "tee", "peaked cap"),
    _Look("black", "dotted shirt", "hat", "dark", "shirt with dots", "fedora"),
)
_WRONG_LOOK = ("yellow", "jacket", "purple", "dotted shirt")
# Reference answer, the same in other words, something else that is wrong.
_ACTIONS = (
    ("Waving.", "waves a hand at the camera", "jumping"),
    ("Jumping.", "hops up and down", "nodding"),
    ("Clapping.", "claps with both hands", "waving"),
    ("Walking across.", "strolls from one side to the other", "standing still"),
)
# Scene and position in the reference's words, each in other words, and a wrong place.
_PLACES = (
    ("On the beach", "on the left", "by the sea", "at the left edge", "in the kitchen, on the right"),
    ("In the kitchen", "on the right", "beside a stove", "at the right edge", "on the beach, on the left"),
    ("In the snow", "in the middle", "in a wintry field", "at the centre", "in the office, on the left"),
    ("In the forest", "on the left", "among trees", "at the left side", "on the stage, on the right"),
)


def measure_agreement(judge: Judge, rubric: Rubric) -> Agreement:
    """Asks a judge about the known answers.

    Raises:
      ModelUnavailable: the judge cannot be asked.
    """
    known = known_answers(rubric)
    rated = [(item, rating) for item in known if (rating := judge.rate(rubric, item.answer)) is not None]
    meant, given = [item.rating for item, _ in rated], [rating for _, rating in rated]
    by_words = [[(item.rating, rating) for item, rating in rated if item.reworded == reworded] for reworded in (False, True)]
    plain, reworded = (_correlation(scipy.stats.spearmanr, [one for one, _ in pairs], [two for _, two in pairs]) for pairs in by_words)
    return Agreement(
        num_answers=len(known),
        num_unread=len(known) - len(rated),
        rank=_correlation(scipy.stats.spearmanr, meant, given),
        tau=_correlation(scipy.stats.kendalltau, meant, given),
        mean_error=sum(abs(one - two) for one, two in zip(meant, given, strict=True)) / len(rated) if rated else None,
        plain_rank=plain,
        reworded_rank=reworded,
    )


def _correlation(measure, first: Sequence[int], second: Sequence[int]) -> float | None:
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return float(measure(first, second).statistic)


def known_answers(rubric: Rubric) -> list[Known]:
    """Answers of known quality for a rubric; the same ones every time."""
    return list(_specific() if rubric == ENTITY_SPECIFICITY else _complete())


def _made(kind: str, gold: str, said: str, rating: int, *, reworded: bool, present: bool = True) -> Known:
    role = "positive" if present else "easy_negative"
    answer = Answer(video="", subject=_SUBJECT, role=role, origin="rendered", question=_QUESTIONS[kind], type=kind, gold=gold, answer=said)
    return Known(answer, rating, reworded)


def _complete() -> Iterator[Known]:
    for look in _LOOKS:
        gold = f"A {look.colour} {look.garment} and a {look.hat}."
        for reworded in (False, True):
            colour, garment, hat = look[3:] if reworded else look[:3]
            for said, rating in (
                (f"{_SUBJECT} has a {colour} {garment} on, and a {hat}.", 5),
                (f"A {colour} {garment}.", 4),
                (f"Something {colour}.", 2),
                (f"{_SUBJECT} wears a {hat}.", 2),
                (f"A {_WRONG_LOOK[0]} {_WRONG_LOOK[1] if look.garment != 'jacket' else _WRONG_LOOK[3]}.", 0),
                ("Casual clothes for a pleasant day." if reworded else f"{_SUBJECT} is in the video.", 0),
            ):
                yield _made("appearance", gold, said, rating, reworded=reworded)
    for gold, other, wrong in _ACTIONS:
        yield _made("action", gold, f"{_SUBJECT} is {gold[0].lower()}{gold[1:]}", 5, reworded=False)
        yield _made("action", gold, f"{_SUBJECT} {other}.", 5, reworded=True)
        yield _made("action", gold, f"{_SUBJECT} is {wrong}.", 0, reworded=False)
        yield _made("action", gold, f"{_SUBJECT} sits down and reads.", 0, reworded=True)
        yield _made("action", gold, f"{_SUBJECT} is not in this video.", 0, reworded=True)
    for scene, position, other_scene, other_position, wrong in _PLACES:
        gold = f"{scene}, {position}."
        for reworded, where, side in ((False, scene.lower(), position), (True, other_scene, other_position)):
            yield _made("location", gold, f"{_SUBJECT} is {where}, {side}.", 5, reworded=reworded)
            yield _made("location", gold, f"{_SUBJECT} is {where}.", 3, reworded=reworded)
            yield _made("location", gold, f"{_SUBJECT} is {side} of the picture.", 3, reworded=reworded)
        yield _made("location", gold, f"{_SUBJECT} is {wrong}.", 0, reworded=False)
        yield _made("location", gold, "It is a pleasant place to be.", 0, reworded=True)


def _specific() -> Iterator[Known]:
    for gold, other, _ in _ACTIONS:
        plain = gold.rstrip(".").lower()
        for reworded, does in ((False, f"is {plain}"), (True, other)):
            for said, rating in (
                (f"{_SUBJECT} {does}.", 5),
                (f"The person here is {_SUBJECT}, who {does}." if reworded else f"A person, {_SUBJECT}, {does}.", 4),
                (f"He {does}.", 3),
                (f"The man {does}." if reworded else f"A person {does}.", 2),
                ("Many things can be done in a video." if reworded else "Something is happening in the video.", 1),
                (f"Whoever this may be, the {'tall stranger' if reworded else 'person'} {does}.", 2),
                (f"{_OTHER} {does}.", 0),
                (f"{_OTHER}, a friend of {_SUBJECT}, {does}.", 0),
                (f"I cannot see {_SUBJECT} here." if reworded else f"{_SUBJECT} is not here.", 0),
            ):
                yield _made("action", gold, said, rating, reworded=reworded)
    for present in (True, False):
        yes, no = f"Yes, {_SUBJECT} is here.", f"No, {_SUBJECT} is not here."
        for said, rating, reworded in (
            (yes if present else no, 5, False),
            (f"{_SUBJECT} can be seen." if present else f"There is no trace of {_SUBJECT}.", 5, True),
            (no if present else yes, 0, False),
            (f"The clip lacks {_SUBJECT}." if present else f"{_SUBJECT} shows up at the end.", 0, True),
            ("He is here." if present else "He is not here.", 3, True),
            ("There may be people in the video.", 1, True),
        ):
            yield _made("existence", yes if present else no, said, rating, reworded=reworded, present=present)
