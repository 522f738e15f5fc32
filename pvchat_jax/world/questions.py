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

QUESTIONS_PER_TYPE = 2

TRAIN_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "existence": (
        "Is {name} in this video?",
        "Can you see {name} here?",
        "Is {name} here?",
        "Does {name} appear in the video?",
        "Is this {name}?",
        "Do you see {name} in this video?",
    ),
    "appearance": (
        "What is {name} wearing?",
        "What clothes is {name} wearing in this video?",
        "What does {name} wear?",
        "How is {name} dressed?",
        "Describe the outfit of {name}.",
        "Which clothes can you see on {name}?",
    ),
    "action": (
        "What is {name} doing?",
        "What is {name} doing in this video?",
        "What does {name} do?",
        "Which action can you see from {name}?",
        "Describe the action of {name}.",
        "How is {name} moving?",
    ),
    "location": (
        "Where is {name}?",
        "Where is {name} in this video?",
        "Where can you see {name}?",
        "In which place is {name}?",
        "Where does {name} appear?",
        "Describe the place of {name}.",
    ),
}
TEST_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "existence": ("Does this video show {name}?", "Can {name} be seen in this video?"),
    "appearance": ("What outfit does {name} wear in the video?", "Which outfit is {name} wearing?"),
    "action": ("What can you see {name} doing?", "Describe what {name} is doing here."),
    "location": ("In which place can you see {name}?", "Where does this video show {name}?"),
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
    """`QUESTIONS_PER_TYPE` questions of each type, in different phrasings, with the true answers.

    The test split uses `TEST_PHRASINGS`, all others `TRAIN_PHRASINGS`.
    """
    rng = np.random.default_rng([plan.seed, 1])  # apart from the renderer's stream
    phrasings = TEST_PHRASINGS if plan.split == "test" else TRAIN_PHRASINGS
    present = plan.role == "positive"
    questions = []
    for question_type in QUESTION_TYPES:
        if question_type == "existence":
            answer = yes_answer(subject) if present else no_answer(subject)
        else:
            answer = content_answer(question_type, plan.scene, plan.person) if present else refusal(subject)
        for number in rng.choice(len(phrasings[question_type]), QUESTIONS_PER_TYPE, replace=False):
            text = phrasings[question_type][number].format(name=subject)
            questions.append(Question(question=text, answer=answer, type=question_type))
    return tuple(questions)
