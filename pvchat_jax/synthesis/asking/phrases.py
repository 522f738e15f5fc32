"""Questions of the four types about one subject, and the answers that need nobody to look: yes, no, and "not here".

Every existence question comes with its own yes and no, so that the answer fits the form of the question. Refusals belong to a type.
`{name}` stands for the subject.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from pvchat_jax.config.schema import QUESTION_TYPES

CONTENT_TYPES = tuple(name for name in QUESTION_TYPES if name != "existence")


class Existence(NamedTuple):
    """A question whether the subject is there, and its two answers."""

    question: str
    yes: str
    no: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Phrases:
    """What is asked about one subject.

    Attributes:
      existence: with their answers.
      content: questions by content type. refusals: answers to them where the subject is absent, by content type.
      answers_are_short: whether answers to content questions stay as the captioner gives them ("Waving."), without the name.
    """

    existence: tuple[Existence, ...]
    content: Mapping[str, tuple[str, ...]]
    refusals: Mapping[str, tuple[str, ...]]
    answers_are_short: bool = False


_EXISTENCE = (
    Existence("Is {name} in this video?", "Yes, {name} is in this video.", "No, {name} is not in this video."),
    Existence("Can you see {name} here?", "Yes, I can see {name} here.", "No, I cannot see {name} here."),
    Existence("Does {name} show up in this clip?", "Yes, {name} shows up in this clip.", "No, {name} does not show up in this clip."),
    Existence("Did you notice {name} anywhere?", "Yes, I noticed {name}.", "No, I did not notice {name} anywhere."),
    Existence("Tell me whether {name} is on screen.", "{name} is on screen.", "{name} is not on screen."),
    Existence("Has {name} been filmed here?", "Yes, {name} has been filmed here.", "No, {name} has not been filmed here."),
    Existence("Is the person in this recording {name}?", "Yes, this is {name}.", "No, this is not {name}."),
    Existence("Do these frames show {name}?", "Yes, these frames show {name}.", "No, these frames do not show {name}."),
    Existence("Would you say that {name} appears here?", "Yes, {name} appears here.", "No, {name} does not appear here."),
    Existence("Could you find {name} for me?", "Yes, I found {name}.", "No, I did not find {name}."),
    Existence("Check the clip for {name}, please.", "{name} is in the clip.", "{name} is not in the clip."),
    Existence("Are we looking at {name}?", "Yes, we are looking at {name}.", "No, we are looking at someone else, not at {name}."),
    Existence("Is that {name} I see?", "Yes, that is {name}.", "No, that is not {name}."),
    Existence(
        "Was {name} in front of the camera?", "Yes, {name} was in front of the camera.", "No, {name} was not in front of the camera."
    ),
    Existence("Is {name} part of this scene?", "Yes, {name} is part of this scene.", "No, {name} is not part of this scene."),
    Existence("Do you recognise {name} in the footage?", "Yes, I recognise {name}.", "No, I do not recognise {name} in it."),
    Existence("Does the camera catch {name} at any time?", "Yes, the camera catches {name}.", "No, the camera never catches {name}."),
    Existence("Can {name} be seen at any moment?", "Yes, {name} can be seen.", "No, {name} can never be seen."),
    Existence("Is there any sign of {name}?", "Yes, {name} is there.", "No, there is no sign of {name}."),
    Existence("Let me know if {name} is visible.", "{name} is visible.", "{name} is not visible."),
    Existence("Do we get to see {name}?", "Yes, we get to see {name}.", "No, we do not get to see {name}."),
    Existence("Is {name} present?", "Yes, {name} is present.", "No, {name} is absent."),
    Existence("Does this film feature {name}?", "Yes, it features {name}.", "No, it does not feature {name}."),
    Existence("Is it true that {name} is shown?", "Yes, {name} is shown.", "No, {name} is not shown."),
    Existence("Say whether you spot {name}.", "I spot {name}.", "I do not spot {name}."),
    Existence("Who is it, is it {name}?", "Yes, it is {name}.", "No, it is not {name}."),
)
_CONTENT = {
    "appearance": (
        "What clothes does {name} have on?",
        "How is {name} dressed?",
        "What is {name} wearing?",
        "Which colours do the clothes of {name} have?",
        "What does {name} look like in this clip?",
        "Describe how {name} looks here.",
        "What stands out about the looks of {name}?",
    ),
    "action": (
        "What is {name} doing?",
        "What is {name} busy with in this clip?",
        "How does {name} move?",
        "Describe what {name} does from beginning to end.",
        "Which gestures does {name} make?",
        "What happens with {name} in this video?",
        "How would you sum up what {name} is doing?",
    ),
    "location": (
        "Where is {name}?",
        "In which part of the picture is {name}?",
        "What kind of place is {name} in?",
        "What is around {name}?",
        "What is close to {name}?",
        "Describe the surroundings of {name}.",
        "Where was {name} when this was filmed?",
    ),
}
_REFUSALS = {
    "appearance": (
        "{name} is not in this video, so there are no clothes to describe.",
        "I cannot see {name} here, so I cannot say what {name} is wearing.",
        "There is no sign of {name}, so nothing can be said about looks.",
        "This is somebody else; {name} is not shown.",
        "{name} does not appear, so I have no outfit to describe.",
        "{name} is absent from this clip.",
        "I do not find {name} here, only other clothes on other people.",
    ),
    "action": (
        "{name} is not in this video, so {name} does nothing here.",
        "I cannot see {name} here, so there is no action to describe.",
        "There is no sign of {name}, so I cannot say what happens.",
        "Somebody else is doing this; {name} is not shown.",
        "{name} does not appear, so there are no movements to describe.",
        "{name} is absent from this clip.",
        "I do not find {name} here, whatever others may be doing.",
    ),
    "location": (
        "{name} is not in this video, so there is no place to name.",
        "I cannot see {name} anywhere in this clip.",
        "There is no sign of {name} in any part of the picture.",
        "Somebody else is at this place; {name} is not shown.",
        "{name} does not appear, so I cannot say where {name} is.",
        "{name} is absent from this clip.",
        "I do not find {name} here, neither near nor far.",
    ),
}
PHRASES = Phrases(existence=_EXISTENCE, content=_CONTENT, refusals=_REFUSALS)
