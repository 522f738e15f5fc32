"""A corpus of drawn people: one short video of each, from which look-alikes are found and cut out, as from a large corpus of faces.

Nobody of the tests is in it (`people.people_group`), nor any of the subjects. A corpus of millions of faces has somebody alike for
everybody; so that this holds for one of some hundred drawn people as well, neighbours of given people are among them.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.world.build import WORLD_VERSION, Progress, render_videos
from pvchat_jax.world.people import IDENTITY_VALUES, Identity, people_group
from pvchat_jax.world.plan import VideoPlan, plan_base_video, subject_identity
from pvchat_jax.world.staging import NUM_FRAMES

_SEED_OFFSET = 2_000_000  # a corpus shares no seed with worlds and clips
SPLIT = "corpus"
SETTINGS_FILE = "corpus.json"


def neighbours(identity: Identity, num_differences: int) -> Iterator[Identity]:
    """Everybody outside the tests who differs from `identity` in exactly so many attributes, always in the same order."""
    for names in itertools.combinations(IDENTITY_VALUES, num_differences):
        others = [[value for value in IDENTITY_VALUES[name] if value != getattr(identity, name)] for name in names]
        for values in itertools.product(*others):
            other = dataclasses.replace(identity, **dict(zip(names, values, strict=True)))
            if people_group(other) != "test":
                yield other


def plan_corpus(seed: int, subjects: Sequence[int], num_second: int, num_others: int) -> list[VideoPlan]:
    """The videos of a corpus.

    Args:
      subjects: seeds of worlds; all neighbours of their subjects with one difference are in the corpus, but for those of the tests,
        and `num_second` of each one's neighbours with two.
      num_others: people besides, drawn like those of a base model's training.
    """
    rng = np.random.default_rng([seed, 6])
    known = [subject_identity(subject) for subject in subjects]
    people: list[Identity] = []
    for identity in known:
        second = list(neighbours(identity, 2))
        people += [*neighbours(identity, 1), *(second[number] for number in rng.permutation(len(second))[:num_second])]
    people = [identity for identity in dict.fromkeys(people) if identity not in known]
    plans: list[VideoPlan] = []
    for index in range(len(people) + num_others):
        plan = plan_base_video(seed, index)
        identity = people[index] if index < len(people) else plan.person.identity
        person = dataclasses.replace(plan.person, identity=identity)
        plans.append(dataclasses.replace(plan, split=SPLIT, index=index, person=person, bystander=None))
    return plans


def build_corpus(
    out_dir: Path, *, seed: int, subjects: Sequence[int] = (), num_second: int = 40, num_others: int = 80, progress: Progress | None = None
) -> list[Path]:
    """Draws the videos of `plan_corpus` and returns their paths; finished ones are kept.

    Raises:
      UserError: `out_dir` holds another corpus.
    """
    settings = {"version": WORLD_VERSION, "seed": seed, "subjects": list(subjects), "num_second": num_second, "num_others": num_others}
    path = out_dir / SETTINGS_FILE
    (out_dir / "videos").mkdir(parents=True, exist_ok=True)
    if path.is_file() and (found := json.loads(path.read_text(encoding="utf-8"))) != settings:
        raise UserError(f"{out_dir} holds the corpus {found}, not {settings}; choose another folder, or delete that one.")
    write_atomically(path, json.dumps(settings) + "\n")
    return render_videos(out_dir, plan_corpus(seed, subjects, num_second, num_others), NUM_FRAMES, progress=progress)


def build_corpus_around(out_dir: Path, subject: int, progress: Progress | None = None) -> None:
    """Draws a corpus with people who look like the subject of the world of this seed."""
    build_corpus(out_dir, seed=_SEED_OFFSET + subject, subjects=(subject,), progress=progress)
