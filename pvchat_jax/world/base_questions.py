"""Questions for the training of a base model: about "a person" told by place or looks, never by a subject's name.

They have the form of the subject's questions, so that a personalised model needs to learn who is meant and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import Question
from pvchat_jax.world.people import IDENTITY_VALUES, Identity, pick
from pvchat_jax.world.plan import Person, VideoPlan
from pvchat_jax.world.questions import TRAIN_PHRASINGS, content_answer, no_answer, refusal, yes_answer

ANYBODY = "<person>"  # stands where personalised prompts and answers have the subject's name

_PLACE_WORDS: Mapping[str, str] = {"left": "on the left", "centre": "in the middle", "right": "on the right"}
_FEATURES: Mapping[str, Mapping[str, str]] = {
    "hair_colour": {value: f"{value} hair" for value in IDENTITY_VALUES["hair_colour"]},
    "hair_style": {"short": "short hair", "bob": "a bob", "long": "long hair", "curls": "curls", "pigtails": "pigtails"},
    "face": {value: f"a {value} face" for value in IDENTITY_VALUES["face"]},
    "facial_hair": {"none": "no beard", "moustache": "a moustache", "beard": "a beard"},
    "mark": {"none": "clear cheeks", "blush": "red cheeks", "plaster": "a plaster"},
    "build": {value: f"a {value} build" for value in IDENTITY_VALUES["build"]},
    "gait": {value: f"a {value} gait" for value in IDENTITY_VALUES["gait"]},
}
_NUM_FEATURES = (1, 1, 1, 2, 2, 3)  # how many features a description has, drawn uniformly
_CONTENT_TYPES = tuple(kind for kind in QUESTION_TYPES if kind != "existence")
_BY_LOOKS_PROBABILITY = 0.4
_ABSENT_PROBABILITY = 0.25  # of content questions told by looks


def feature_in_words(attribute: str, value: str) -> str:
    """Such as `blue hair`, `a beard` or `brown eyes`."""
    return _FEATURES.get(attribute, {}).get(value, f"{value} {attribute}")


def all_features() -> Iterator[str]:
    """Every feature in words."""
    for attribute, values in IDENTITY_VALUES.items():
        yield from (feature_in_words(attribute, value) for value in values)


def ask_anybody(plan: VideoPlan, *, num_existence: int = 4, num_content: int = 2) -> tuple[Question, ...]:
    """Questions about the people of a video, with the true answers.

    Args:
      num_existence: questions by looks, half of them about somebody who is not there.
      num_content: questions of each other type; some are about somebody who is not there and get a refusal.
    """
    rng = np.random.default_rng([plan.seed, 3])
    people = [person for person in (plan.person, plan.bystander) if person is not None]
    questions = []
    for number in range(num_existence):
        present = number % 2 == 0
        answer = yes_answer(ANYBODY) if present else no_answer(ANYBODY)
        questions.append(_question("existence", _told_by_looks(people, present, rng)[0], answer, rng))
    for kind in _CONTENT_TYPES:
        for _ in range(num_content):
            questions.append(_content_question(kind, plan, people, rng))
    return tuple(questions)


def _content_question(kind: str, plan: VideoPlan, people: Sequence[Person], rng: np.random.Generator) -> Question:
    if rng.random() < _BY_LOOKS_PROBABILITY:
        name, person = _told_by_looks(people, rng.random() >= _ABSENT_PROBABILITY, rng)
    else:
        person = pick(rng, people)
        # "on the left" would give away the answer to "where?"; with two people there is no other way.
        by_place = len(people) > 1 or (person.position is not None and kind != "location" and rng.random() < 0.3)
        name = f"the person {_PLACE_WORDS[person.position]}" if by_place else ANYBODY
    answer = refusal(ANYBODY) if person is None else content_answer(kind, plan.scene, person)
    return _question(kind, name, answer, rng)


def _question(kind: str, name: str, answer: str, rng: np.random.Generator) -> Question:
    return Question(question=pick(rng, TRAIN_PHRASINGS[kind]).format(name=name), answer=answer, type=kind)


def _told_by_looks(people: Sequence[Person], present: bool, rng: np.random.Generator) -> tuple[str, Person | None]:
    """`the person with ...` and whom that fits: exactly one of `people`, or nobody."""
    attributes = tuple(IDENTITY_VALUES)
    while True:
        person = pick(rng, people)
        number = pick(rng, _NUM_FEATURES)
        chosen = {attributes[index]: "" for index in rng.permutation(len(attributes))[:number]}
        chosen = {attribute: getattr(person.identity, attribute) for attribute in chosen}
        if not present:
            changed = pick(rng, tuple(chosen))
            chosen[changed] = pick(rng, [value for value in IDENTITY_VALUES[changed] if value != chosen[changed]])
        fitting = [other for other in people if _fits(other.identity, chosen)]
        if len(fitting) == present:
            features = [feature_in_words(attribute, value) for attribute, value in chosen.items()]
            return f"the person with {' and '.join(features)}", fitting[0] if fitting else None


def _fits(identity: Identity, features: Mapping[str, str]) -> bool:
    return all(getattr(identity, attribute) == value for attribute, value in features.items())
