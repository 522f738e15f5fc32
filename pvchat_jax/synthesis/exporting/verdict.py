"""Whether a training set is good enough to train on, and what to film next where it is not."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pvchat_jax.data.records import LABELS
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.exporting.splitting import find_crossings
from pvchat_jax.synthesis.exporting.statistics import Statistics
from pvchat_jax.synthesis.exporting.training_set import TrainingSet

VERDICT_FILE = "verdict.json"
MIN_SECONDS = 2.0  # of the subject on screen; less is one pose in one light
MIN_CLIPS = 16  # training clips of each label, below which learning is by heart
MAX_IMBALANCE = 3.0  # training clips of the commoner label per clip of the rarer
MIN_QUALITY = 0.25  # of the best sightings, below which a quality spoils what is made
MIN_KEPT_SHARE = 0.2  # of the checked clips of the subject; where fewer pass, the generator does not show this person
TELL_TALE_CLIPS = 4  # a tool that made so many training clips must have made both labels
_FILM = {
    "sharpness": "hold the camera still and let it focus on the face",
    "frontalness": "have the person look into the camera for some seconds, then slowly to both sides",
    "size": "go closer, until the face takes a quarter of the picture's height",
    "eyes": "film with the eyes open and free of hair and dark glasses",
    "exposure": "film in even daylight, with the light from the front and not from behind the person",
}


class Verdict(NamedTuple):
    """What stands in the way of training, what trains but could be better, and what to film next; one sentence each."""

    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    film_next: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether the set is good enough to train on."""
        return not self.problems

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        if self.is_good:
            return "Good enough to train on." if not self.remarks else "Good enough to train on, with remarks."
        return "Not good enough to train on."

    def sentences(self) -> list[str]:
        """Everything, the headline first."""
        named = {"Problem": self.problems, "Remark": self.remarks, "Film next": self.film_next}
        return [self.headline, *(f"{kind}: {text}." for kind, texts in named.items() for text in texts)]


def judge(made: TrainingSet, counted: Statistics, findings: Sequence[str], warnings: Sequence[str]) -> Verdict:
    """The verdict on a set.

    Args:
      findings: problems of the written files as `data.validation` found them. warnings: likewise what it warns of.
    """
    problems = [*find_crossings(made.used), *_too_few(counted), *findings]
    remarks = [*_tell_tales(counted), *_remarks(made, counted), *warnings]
    return Verdict(tuple(problems), tuple(remarks), tuple(_film_next(made, counted)))


def write_verdict(folder: Path, verdict: Verdict) -> None:
    """Writes `verdict.json` for scripts."""
    values = {"is_good": verdict.is_good, "problems": verdict.problems, "remarks": verdict.remarks, "film_next": verdict.film_next}
    write_atomically(folder / VERDICT_FILE, json.dumps(values, ensure_ascii=False, indent=2) + "\n")


def _too_few(counted: Statistics) -> Iterator[str]:
    train = counted.clips["train"]
    present, absent = train["positive"], train["hard_negative"] + train["easy_negative"]
    if present < MIN_CLIPS:
        yield f"only {present} training clips show the subject, and {MIN_CLIPS} is the least"
    if absent < MIN_CLIPS:
        yield f"only {absent} training clips show other people, and {MIN_CLIPS} is the least; name a folder of others with --corpus"
    elif present and max(present, absent) > MAX_IMBALANCE * min(present, absent):
        yield f"{present} training clips show the subject and {absent} do not, more than {MAX_IMBALANCE:g} to 1"
    if not all(counted.questions["existence"].values()):
        yield "questions about existence are not asked with both answers"


def _tell_tales(counted: Statistics) -> Iterator[str]:
    for tool, by_label in counted.tools.items():
        if sum(by_label.values()) >= TELL_TALE_CLIPS and min(by_label.values()) == 0:
            label = next(label for label in LABELS if by_label[label])
            yield f"every training clip of {tool} is labelled '{label}', so that its artefacts can tell the label"


def _remarks(made: TrainingSet, counted: Statistics) -> Iterator[str]:
    train = counted.clips["train"]
    if train["easy_negative"] and not train["hard_negative"]:
        yield "nobody in training looks like the subject, so look-alikes will be taken for them; name a larger --corpus"
    if not sum(counted.clips["test"].values()):
        yield "there is no test set, which takes filmed clips of other videos; give --test_video=FILE of the subject and a corpus of videos"
    elif not counted.clips["test"]["positive"]:
        yield "the test set never shows the subject; give --test_video=FILE"
    if counted.made["present"] and counted.kept["present"] < MIN_KEPT_SHARE * counted.made["present"]:
        yield f"only {counted.kept['present']} of {counted.made['present']} clips of the subject passed the checks"
    if made.source.lost_seconds > 0:
        yield f"the video is damaged and lost {made.source.lost_seconds:.1f} s"
    others = [kind for kind in ("appearance", "action", "location") if not any(counted.questions[kind].values())]
    if others:
        yield f"nothing is asked about {', '.join(others)}; name a captioner with --config.captioner"


def _film_next(made: TrainingSet, counted: Statistics) -> Iterator[str]:
    if counted.seconds < MIN_SECONDS:
        yield f"at least {10 * MIN_SECONDS:.0f} s of the person; {counted.seconds:.1f} s are on screen now"
    for name, value in counted.quality.items():
        if value < MIN_QUALITY and name in _FILM:
            yield f"{_FILM[name]} ({name} is {value:.2f} of 1 now)"
    if counted.made["present"] and counted.kept["present"] < MIN_KEPT_SHARE * counted.made["present"]:
        yield "the face from several sides and in more than one light, since what was made does not look like the person"
    if len(made.people) > 1 and made.person.seconds < sum(person.seconds for person in made.people) / 2:
        yield "the person alone, who is on screen for less time than others now"
