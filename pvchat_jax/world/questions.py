"""Questions about the subject and their answers, of the four types of `config.schema.QUESTION_TYPES`.

Answers are short and follow from the plan alone; questions come in several phrasings, some of which only the test split uses.
"""

from collections.abc import Mapping

import numpy as np

from pvchat_jax.config.schema import QUESTION_TYPES
from pvchat_jax.data.records import Question
from pvchat_jax.world.actions import WALK_LEFT, WALK_RIGHT
from pvchat_jax.world.people import Outfit
from pvchat_jax.world.plan import Person, VideoPlan

# Of each video. In training, actions are asked for more often: their answers are one word long, and the loss counts words.
TEST_QUESTIONS: Mapping[str, int] = {"existence": 2, "appearance": 2, "action": 2, "location": 2}
TRAIN_QUESTIONS: Mapping[str, int] = {**TEST_QUESTIONS, "action": 4}

# `{here}` and `{film}` stand for each of these in turn.
_HERE = ("here", "in this video", "in the video", "in this clip", "in the film", "in this recording")
_FILM = ("this video", "the video", "this clip", "the film", "this recording")


def _wordings(*patterns: str) -> tuple[str, ...]:
    """Every pattern with every choice of `_HERE` and `_FILM`; `{name}` stays."""
    return tuple(
        dict.fromkeys(pattern.format(name="{name}", here=here, film=film) for pattern in patterns for here in _HERE for film in _FILM)
    )


TRAIN_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "existence": _wordings(
        "Is {name} {here}?",
        "Can you see {name} {here}?",
        "Could you spot {name} {here}?",
        "Do you see {name} {here}?",
        "Do you notice {name} {here}?",
        "Does {name} appear {here}?",
        "Is {name} visible {here}?",
        "Is {name} present {here}?",
        "Is {name} to be found {here}?",
        "Is {name} anywhere {here}?",
        "Can {name} be found {here}?",
        "Can {name} be spotted {here}?",
        "Does {film} contain {name}?",
        "Does {film} include {name}?",
        "Does {film} have {name} in it?",
        "Is it {name} who appears {here}?",
        "Tell me whether {name} is {here}.",
        "Is this {name}?",
        "Is that {name}?",
        "Have you found {name} {here}?",
        "Have you spotted {name} {here}?",
        "Have you noticed {name} {here}?",
        "Has {name} been filmed {here}?",
        "Did you notice {name} {here}?",
        "Did {name} appear {here}?",
        "Was {name} filmed {here}?",
    ),
    "appearance": _wordings(
        "What is {name} wearing?",
        "What is {name} wearing {here}?",
        "What clothes is {name} wearing {here}?",
        "What does {name} wear {here}?",
        "How is {name} dressed {here}?",
        "What is {name} dressed in {here}?",
        "Describe the outfit of {name}.",
        "Describe the clothes of {name} {here}.",
        "Describe how {name} is dressed {here}.",
        "Which clothes can you see on {name} {here}?",
        "What clothes can you notice on {name} {here}?",
        "Which clothes do you notice on {name} {here}?",
        "What clothes are on {name} {here}?",
        "What sort of outfit is on {name} {here}?",
        "Which clothes does {name} wear {here}?",
        "What has {name} put on {here}?",
        "What does {name} have on {here}?",
        "What sort of clothes does {name} have on {here}?",
        "Tell me what {name} is wearing {here}.",
        "Tell me about the clothes of {name}.",
        "In what clothes does {name} appear {here}?",
    ),
    "action": _wordings(
        "What is {name} doing?",
        "What is {name} doing {here}?",
        "What does {name} do {here}?",
        "Which action can you see from {name} {here}?",
        "Which action does {name} perform {here}?",
        "Describe the action of {name} {here}.",
        "Describe the movement of {name} {here}.",
        "Describe how {name} moves {here}.",
        "How is {name} moving {here}?",
        "How does {name} move {here}?",
        "What movement does {name} make {here}?",
        "What is {name} up to {here}?",
        "Tell me what {name} does {here}.",
        "Tell me how {name} is moving {here}.",
        "What is happening with {name} {here}?",
        "What do you see {name} do {here}?",
        "What do you notice {name} doing {here}?",
        "What sort of movement is {name} making {here}?",
    ),
    "location": _wordings(
        "Where is {name}?",
        "Where is {name} {here}?",
        "Where can you see {name} {here}?",
        "Where do you see {name} {here}?",
        "Where does {name} appear {here}?",
        "Where can {name} be found {here}?",
        "Where was {name} filmed {here}?",
        "Where does {film} have {name}?",
        "In which place is {name} {here}?",
        "In what place does {name} appear {here}?",
        "At which spot is {name} {here}?",
        "Describe the place of {name} {here}.",
        "Describe where {name} is {here}.",
        "Tell me where {name} is {here}.",
        "What place is {name} in {here}?",
        "What are the surroundings of {name} {here}?",
        "In what sort of surroundings is {name} {here}?",
        "At what place do you notice {name} {here}?",
    ),
}
TEST_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "existence": (
        "Does this video show {name}?",
        "Can {name} be seen in this video?",
        "Have you seen {name} in the film?",
        "Do you find {name} here?",
    ),
    "appearance": (
        "What outfit does {name} wear in the video?",
        "Which outfit is {name} wearing?",
        "Describe what {name} is wearing here.",
        "What clothes do you see on {name}?",
    ),
    "action": (
        "What can you see {name} doing?",
        "Describe what {name} is doing here.",
        "What action does {name} do in this video?",
        "Which movement do you see from {name}?",
    ),
    "location": (
        "In which place can you see {name}?",
        "Where does this video show {name}?",
        "In what surroundings is {name} here?",
        "Tell me the place of {name} in this video.",
    ),
}
ACTION_ANSWERS: Mapping[str, str] = {
    "stand": "Standing still.",
    "wave": "Waving.",
    "jump": "Jumping.",
    "nod": "Nodding.",
    "clap": "Clapping.",
    "raise arms": "Raising both arms.",
    "look around": "Looking around.",
    WALK_RIGHT: "Walking across.",
    WALK_LEFT: "Walking across.",
}
SCENE_ANSWERS: Mapping[str, str] = {
    "beach": "On the beach",
    "forest": "In the forest",
    "street": "In the street",
    "kitchen": "In the kitchen",
    "office": "In the office",
    "snow": "In the snow",
    "desert": "In the desert",
    "stage": "On the stage",
}
POSITION_ANSWERS: Mapping[str, str] = {"left": "on the left", "centre": "in the middle", "right": "on the right"}
WALK_ANSWERS: Mapping[str, str] = {WALK_RIGHT: "moving right", WALK_LEFT: "moving left"}


def yes_answer(subject: str) -> str:
    """The answer to an existence question where the subject is present."""
    return f"Yes, {subject} is here."


def no_answer(subject: str) -> str:
    """The answer to an existence question where the subject is absent."""
    return f"No, {subject} is not here."


def refusal(subject: str) -> str:
    """The answer to any other question where the subject is absent."""
    return f"{subject} is not here."


def appearance_answer(outfit: Outfit) -> str:
    """Such as `A red striped shirt and a cap.`"""
    article = "An" if outfit.colour[0] in "aeiou" else "A"
    hat = f" and a {outfit.hat}" if outfit.hat != "none" else ""
    return f"{article} {outfit.colour} {outfit.garment}{hat}."


def location_answer(scene: str, action: str, position: str | None) -> str:
    """Such as `On the beach, on the left.`; of somebody who walks across it says whereto."""
    place = WALK_ANSWERS[action] if position is None else POSITION_ANSWERS[position]
    return f"{SCENE_ANSWERS[scene]}, {place}."


def content_answer(question_type: str, scene: str, person: Person) -> str:
    """The answer to a question of type `appearance`, `action` or `location` about a person in the video."""
    if question_type == "appearance":
        return appearance_answer(person.outfit)
    if question_type == "action":
        return ACTION_ANSWERS[person.action]
    return location_answer(scene, person.action, person.position)


def ask(plan: VideoPlan, subject: str) -> tuple[Question, ...]:
    """Several questions of each type, in different phrasings, with the true answers.

    The test split uses `TEST_PHRASINGS` and `TEST_QUESTIONS`, all others `TRAIN_PHRASINGS` and `TRAIN_QUESTIONS`.
    """
    rng = np.random.default_rng([plan.seed, 1])  # apart from the renderer's stream
    phrasings, numbers = (TEST_PHRASINGS, TEST_QUESTIONS) if plan.split == "test" else (TRAIN_PHRASINGS, TRAIN_QUESTIONS)
    present = plan.role == "positive"
    questions = []
    for question_type in QUESTION_TYPES:
        if question_type == "existence":
            answer = yes_answer(subject) if present else no_answer(subject)
        else:
            answer = content_answer(question_type, plan.scene, plan.person) if present else refusal(subject)
        for number in rng.choice(len(phrasings[question_type]), numbers[question_type], replace=False):
            text = phrasings[question_type][number].format(name=subject)
            questions.append(Question(question=text, answer=answer, type=question_type))
    return tuple(questions)
