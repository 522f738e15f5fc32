"""The stages in their order: one video and a name in, a training set out.

| stage | what it does |
|---|---|
| watch | decodes the one video and finds its shots |
| find | finds who is in it, and chooses who of them is the subject |
| cast | the same for test videos and the corpus; says who appears in which role, for which split |
| film | cuts clips out of filmed videos |
| generate | makes clips of the subject and of others through the same generators until they pass their checks |
| ask | questions and answers about every clip |
| export | drops repetitions, picks the best frames, writes the files, the contact sheet and the verdict |

Each is a property that takes what it needs from those before it, and all of them find what was kept. A worker of several does what it
owns of film, generate and ask, and leaves export to the run over the whole.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from pvchat_jax.config.flags import to_dict
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.questioning import ASK, Asked, ask_all
from pvchat_jax.synthesis.backends import COMPOSITOR, Backends
from pvchat_jax.synthesis.exporting.assembling import Outcome, write_set
from pvchat_jax.synthesis.exporting.splitting import require_other_videos, split_others
from pvchat_jax.synthesis.exporting.stills import with_still
from pvchat_jax.synthesis.exporting.training_set import TrainingSet
from pvchat_jax.synthesis.faces.reader import Looks
from pvchat_jax.synthesis.generators.generator import ClipGenerator, Performer
from pvchat_jax.synthesis.making.making import GENERATE, Filled, Studio, fill
from pvchat_jax.synthesis.making.repetitions import drop_repetitions
from pvchat_jax.synthesis.making.showing import Known, moves_right, shown
from pvchat_jax.synthesis.making.slots import plan_slots
from pvchat_jax.synthesis.people.casting import CAST, Member, cast_in_test, cast_others, choose_files
from pvchat_jax.synthesis.people.finding import FIND, WATCH, Found, find_in, find_or_set_aside, watch_video
from pvchat_jax.synthesis.people.people import choose_person
from pvchat_jax.synthesis.people.people_sheet import write_people_sheet
from pvchat_jax.synthesis.people.portraits import best_portraits, require_clear_face
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Clip, SetAside, Source
from pvchat_jax.synthesis.retrieval.corpus import build_corpus
from pvchat_jax.synthesis.stages import StageStore, Work, digest_of
from pvchat_jax.synthesis.watch.filming import CAMERA, FILM, Filmed, cut_all, plan_windows

EXPORT = "export"
PEOPLE_FILE = "people.html"
STAGES = {WATCH: "source", FIND: "subject", CAST: "crew", FILM: "filmed", GENERATE: "filled", ASK: "asked", EXPORT: "outcome"}
_CHOOSE, _INDEX, _LOOK = "choose", "index", "look"
_LOADED_PERFORMERS = 64  # whose portraits are held in memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is asked for.

    Attributes:
      subject: the name as it stands in questions.
      video: the one video. tests: filmed videos of the subject that are for the test alone.
      person: index of the subject among the people of the video; None leaves it to `Report.choose`.
    """

    subject: str
    video: Path
    tests: tuple[Path, ...] = ()
    person: int | None = None
    config: SynthesisConfig


class Report(Protocol):
    """Who is told how far things are, and asked what only a user can know."""

    def stage(self, name: str, total: int) -> Callable[[], None]:
        """Says that a stage of `total` pieces begins; the result is called after each piece."""
        ...

    def of_total(self, name: str) -> Callable[[int, int], None]:
        """As `stage`, where the total is known later: the result is called with (done, total)."""
        ...

    def choose(self, found: Found, sheet: Path) -> int | None:
        """Which of several people, whom the page `sheet` shows, is the subject; None where nobody can be asked."""
        ...


class Crew(NamedTuple):
    """Who appears besides the subject, and what could not be used.

    Attributes:
      crowded: digests of videos that show several people. parents: file names of filmed videos by digest.
    """

    others: tuple[Member, ...]
    aside: tuple[SetAside, ...]
    crowded: frozenset[str]
    parents: dict[str, str]


class Synthesis:
    """One job; what `STAGES` names are its properties, each done when it is first asked for.

    The one video must be usable: `source` and `subject` raise `UserError`. What else cannot be used is set aside.
    """

    def __init__(self, job: Job, backends: Backends, store: StageStore, report: Report) -> None:
        self._job, self._backends, self._store, self._report = job, backends, store, report
        self._config = job.config
        self._generator = functools.cache(self._load_generator)
        self._performer = functools.lru_cache(_LOADED_PERFORMERS)(self._load_performer)
        self._known = functools.cache(self._load_known)

    def run(self, until: str = EXPORT) -> Outcome | None:
        """Does the stage `until` with all that it needs; the outcome of the last one, if it was asked for."""
        reached = getattr(self, STAGES[until])
        return reached if until == EXPORT else None

    @functools.cached_property
    def source(self) -> Source:
        """The one video."""
        advance = self._report.stage(WATCH, 1)
        source = watch_video(self._store, self._job.video)
        advance()
        return source

    @functools.cached_property
    def found(self) -> Found:
        """Who is in the one video."""
        advance = self._report.stage(FIND, 1)
        found = find_in(self._store, self.source, self._backends.reader)
        advance()
        return found

    @functools.cached_property
    def subject(self) -> Member:
        """Who of them is the subject."""
        people, sheet = self.found.people, self._store.folder / PEOPLE_FILE
        if len(people) > 1 and self._store.shard.is_whole:
            write_people_sheet(sheet, self.source, people)
        person = choose_person(people, self._chosen(sheet), sheet)
        require_clear_face(self.source, person, self._backends.reader.fewest_pixels)
        return Member(source=self.source, person=person, role="positive", split="train", similarity=1.0)

    def _chosen(self, sheet: Path) -> int | None:
        """The index that was passed in, or was answered once; None leaves it to how long people are seen."""
        if self._job.person is not None or len(self.found.people) == 1:
            return self._job.person
        work = Work(stage=_CHOOSE, version=1, tool=self._backends.reader.name, inputs={"video": self.source.sha256})
        kept = self._store.find(work)
        if kept is None and (answer := self._report.choose(self.found, sheet)) is not None:
            kept = {"person": answer}
            self._store.keep(work, kept)
        return kept["person"] if kept else None

    @functools.cached_property
    def crew(self) -> Crew:
        """Everybody else who appears."""
        reader, config, subject = self._backends.reader, self._config, self.subject.person
        paths, aside = self._corpus_files()
        advance = self._report.stage(CAST, len(paths) + len(self._job.tests))
        looked: dict[Path, Found] = {}
        for path in (*paths, *self._job.tests):
            found = find_or_set_aside(self._store, path, reader)
            if isinstance(found, SetAside):
                aside.append(found)
            else:
                looked[path] = found
            advance()
        tests = [looked[path] for path in self._job.tests if path in looked]
        require_other_videos(self.source, [test.source for test in tests])
        known = {self.source.sha256, *(test.source.sha256 for test in tests)}
        corpus = {looked[path].source.sha256: looked[path] for path in paths if path in looked and looked[path].source.sha256 not in known}
        splits = split_others(corpus, calibration_share=config.calibration_share, test_share=config.test_share, seed=config.seed)
        splits[self.source.sha256] = self.subject.split
        bystanders = Found(self.source, tuple(person for person in self.found.people if person != subject))
        members, more = cast_others(subject, [bystanders, *corpus.values()], reader, splits)
        aside += more
        for test in tests:
            seen, more = cast_in_test(subject, test, reader)
            members, aside = [*members, *seen], [*aside, *more]
        everything = [self.found, *looked.values()]
        crowded = frozenset(found.source.sha256 for found in everything if len(found.people) > 1)
        return Crew(tuple(members), tuple(aside), crowded, {found.source.sha256: Path(found.source.video).name for found in everything})

    def _corpus_files(self) -> tuple[list[Path], list[SetAside]]:
        """Files of the corpus that show whom the set needs, and what of the corpus cannot be read."""
        config, reader = self._config, self._backends.reader
        if not config.corpus:
            return [], []
        index = Path(config.corpus_index or f"{config.corpus.rstrip('/')}.index")
        corpus = build_corpus(Path(config.corpus), reader, index, self._report.of_total(_INDEX))
        files = choose_files(corpus, self.subject.person, reader, config.num_others, config.seed)
        return files, list(corpus.set_aside())

    @functools.cached_property
    def filmed(self) -> Filmed:
        """Clips cut from filmed videos, with their splits."""
        config, shard = self._config, self._store.shard
        planned = plan_windows(self.subject, self.crew.others, seconds=config.clip_seconds, count=config.num_filmed)
        own = [(split, window) for split, window in planned if shard.owns(window.key)]
        return cut_all(self._store, own, config, self._report.stage(FILM, len(own)))

    @functools.cached_property
    def filled(self) -> list[Filled]:
        """What came of the clips that were to be made."""
        config, backends = self._config, self._backends
        counts = {"train": config.num_clips, "calibration": config.num_calibration}
        slots = plan_slots(self.subject, self._performing(), counts, num_generators=len(backends.generators), hard_share=config.hard_share)
        own = [slot for slot in slots if self._store.shard.owns(slot.owned_by)]
        crowd = digest_of([member.digest for member in self._performing()])
        studio = Studio(
            store=self._store,
            generators=backends.generators,
            inputs=[{"crowd": crowd} if name == COMPOSITOR else {} for name in backends.generators],
            generator=self._generator,
            reader=backends.reader,
            subject=self.subject.person,
            prompt_of=backends.prompt_of,
            performer_of=self._performer,
            settings={"num_frames": config.num_frames, "width": config.width, "height": config.height},
            batch_size=config.batch_size,
            max_attempts=config.max_attempts,
            seed=config.seed,
        )
        return fill(studio, own, self._report.stage(GENERATE, len(own)))

    @functools.cached_property
    def asked(self) -> Asked:
        """Questions and answers about the clips that passed."""
        clips = [(split, self._told(clip)) for split, clip in self.filmed.clips]
        clips += [(one.slot.split, self._told(one.clip)) for one in self.filled if one.clip is not None]
        advance = self._report.stage(ASK, len(clips))
        return ask_all(self._store, clips, self._job.subject, self._backends, self._config.seed, advance)

    @functools.cached_property
    def outcome(self) -> Outcome:
        """The training set on the disk, and what is to be said of it.

        Raises:
          UserError: this is one worker of several.
        """
        if not self._store.shard.is_whole:
            raise UserError("--shard leaves the last stage to the run over the whole; start that without --shard when all shards are done.")
        asked = self.asked
        different, repeated = drop_repetitions(asked.clips)
        advance = self._report.stage(EXPORT, len(different))
        used = tuple(with_still(self._store, *one, self._backends.reader, advance) for one in different)
        failed = [clip for one in self.filled for clip in one.clips if clip.rejected]
        made = TrainingSet(
            subject=self._job.subject,
            source=self.source,
            people=self.found.people,
            person=self.subject.person,
            portraits=self._performer(self.subject).portraits,
            reader_note=self._backends.reader.quality_note,
            used=used,
            rejected=(*failed, *repeated),
            set_aside=(*self.crew.aside, *self.filmed.aside, *(item for one in self.filled for item in one.aside), *asked.aside),
        )
        return write_set(self._store, made, self.crew.parents, to_dict(self._config))

    def _load_generator(self, index: int) -> ClipGenerator:
        return self._backends.load_generator(index, lambda: [self._performer(member) for member in (self.subject, *self._performing())])

    def _performing(self) -> list[Member]:
        """Who else performs for generators: nobody of the test, and of each video one person, by which compositors tell them.

        Where there is anybody else, nobody who is seen together with others: a compositor would leave these standing.
        """
        by_source = {self.subject.source.sha256: self.subject}
        for member in self.crew.others:
            if member.split != "test":
                by_source.setdefault(member.source.sha256, member)
        others = list(by_source.values())[1:]
        return [member for member in others if member.source.sha256 not in self.crew.crowded] or others

    def _load_performer(self, member: Member) -> Performer:
        portraits = best_portraits(member.source, member.person, self._config.num_portraits, self._backends.reader.fewest_pixels)
        return Performer(source=member.source, person=member.person, portraits=portraits, looks=self._known(member).looks)

    def _load_known(self, member: Member) -> Known:
        looks = None
        if (look := self._backends.look) is not None:
            size = [self._config.num_frames, self._config.width, self._config.height]
            work = Work(stage=_LOOK, version=2, tool=self._backends.reader.name, inputs={"member": member.digest}, settings={"size": size})
            values = self._store.once(work, lambda: {"looks": to_json(look(member.source, member.person))})["looks"]
            looks = from_json(Looks, values) if values else None
        return Known(looks, self._backends.truth_of(member.source, member.person, looks), moves_right(member.person))

    @functools.cached_property
    def _performers(self) -> dict[str, Member]:
        """Who performs, by the digest of their video; of whoever else is the subject, in tests, too."""
        tested = [member for member in self.crew.others if member.role == "positive"]
        return {member.source.sha256: member for member in (self.subject, *self._performing(), *tested)}

    def _told(self, clip: Clip) -> Clip:
        """With what is known of it. It is no part of what is kept, since it depends on who is asked, not on how the clip was made."""
        if "body" in clip.settings:
            parts = (clip.source, *(clip.settings[part] for part in ("body", "background", "clothes")))
            return dataclasses.replace(clip, truth=shown(clip.settings, *(self._known(self._performers[key]) for key in parts)))
        if clip.role == "positive" and clip.tool == CAMERA:
            return dataclasses.replace(clip, truth=self._known(self._performers[clip.source]).truth)
        return clip
