"""From the names in a configuration to the backends that do the work; each library is imported where it is asked for."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.asking.phrases import CONTENT_TYPES, PHRASES, Phrases
from pvchat_jax.synthesis.captioners.captioner import Captioner, ClipView
from pvchat_jax.synthesis.faces.reader import FaceReader, Looks
from pvchat_jax.synthesis.generators.generator import ClipGenerator, Performer, Prompt
from pvchat_jax.synthesis.making.prompts import prompts
from pvchat_jax.synthesis.making.showing import Truths
from pvchat_jax.synthesis.records import Person, Source
from pvchat_jax.synthesis.segmenting.segmenter import SHOULDERS, Segmenter
from pvchat_jax.synthesis.watch.framing import Framed, frame_person

COMPOSITOR = "compositor"  # whose clips show everybody who performs, not the performer alone
IDENTITIES_FOLDER = "identities"  # of the training set: face features that ConsisID reads

Crowd = Callable[[], Sequence[Performer]]
Truth = Callable[[Source, Person, Looks | None], Mapping[str, Any]]


def _nothing_known(source: Source, person: Person, looks: Looks | None) -> Mapping[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backends:
    """What does the work.

    Attributes:
      generators: what stands for each in keys, known without loading it. load_generator: loads the one of an index; it can
        ask for everybody who performs, the subject first, whose bodies and backgrounds a compositor uses.
      counts: how many questions by type. phrases: their wordings.
      prompt_of: draws from the bank of prompts.
      look: what the reader says of somebody besides the face; None if it says nothing of anybody.
      truth_of: what is known of somebody in a filmed video, `showing.Known.truth`.
    """

    reader: FaceReader
    generators: tuple[str, ...]
    load_generator: Callable[[int, Crowd], ClipGenerator]
    captioner: Captioner
    phrases: Phrases
    counts: Mapping[str, int]
    prompt_of: Callable[[np.random.Generator], Prompt]
    look: Callable[[Source, Person], Looks | None] | None = None
    truth_of: Truth = _nothing_known


class Nobody:
    """A captioner for sets that ask about presence alone."""

    name = "nobody"
    leaves_machine = False

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """Refuses."""
        raise UserError("there is no captioner to ask; name one with --config.captioner.")


def choose_backends(config: SynthesisConfig, cast: TrainConfig, folder: Path) -> Backends:
    """The backends of a configuration.

    Args:
      cast: of the model that reads drawn people.
      folder: of the training set, in which everything lies that describes the person.

    Raises:
      UserError: a library or a file of weights is missing.
    """
    captioner = _choose_captioner(config)
    content = 0 if isinstance(captioner, Nobody) else config.num_content
    reader = _choose_reader(config, cast)
    return Backends(
        reader=reader,
        generators=tuple(name if name == COMPOSITOR else f"{name} in {config.generator_dir}" for name in config.generators),
        load_generator=functools.partial(_load_generator, config, folder),
        captioner=captioner,
        phrases=_phrases(config),
        counts={"existence": config.num_existence, **dict.fromkeys(CONTENT_TYPES, content)},
        prompt_of=lambda rng: next(prompts(config.age_group, rng)),
        look=functools.partial(_look, config, reader) if config.reader == "tiny_base" else None,
        truth_of=_choose_truth(config),
    )


def _choose_reader(config: SynthesisConfig, cast: TrainConfig) -> FaceReader:
    if config.reader == "tiny_base":
        from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader

        return TinyBaseReader("tiny", cast)
    from pvchat_jax.synthesis.faces.choose import choose_reader

    return choose_reader(config.reader, Path(config.reader_dir) if config.reader_dir else None)


def _look(config: SynthesisConfig, reader: Any, source: Source, person: Person) -> Looks | None:
    framed = _frame(config, source, person)
    looks: Looks | None = reader.look(framed.frames, framed.boxes)
    return looks


def _choose_truth(config: SynthesisConfig) -> Truth:
    if config.captioner == "truth":
        return Truths(config.truth.split(",")).of
    if config.captioner == "reader":
        return lambda source, person, looks: looks.truth if looks else {}
    return _nothing_known


def _choose_captioner(config: SynthesisConfig) -> Captioner:
    if config.captioner in ("truth", "reader"):
        from pvchat_jax.synthesis.captioners.truth import TruthCaptioner

        return TruthCaptioner() if config.captioner == "truth" else TruthCaptioner("reader of drawn people")
    if config.captioner == "endpoint":
        from pvchat_jax.synthesis.captioners.endpoint import EndpointCaptioner

        return EndpointCaptioner(config.captioner_url, config.captioner_model, allow_remote=config.allow_remote)
    if config.captioner == "transformers":
        from pvchat_jax.synthesis.captioners.transformers_model import TransformersCaptioner

        return TransformersCaptioner(Path(config.captioner_model), device=config.device)
    return Nobody()


def _phrases(config: SynthesisConfig) -> Phrases:
    """The wordings: those of the world where the drawn people are meant, whose words are all that the tiny model knows."""
    if config.reader == "tiny_base":
        from pvchat_jax.synthesis.captioners.truth import CAST_PHRASES

        return CAST_PHRASES
    return PHRASES


def _load_generator(config: SynthesisConfig, own_folder: Path, index: int, crowd: Crowd) -> ClipGenerator:
    name = config.generators[index]
    return _load_compositor(config, crowd) if name == COMPOSITOR else _load_diffusers(config, name, own_folder)


def _load_compositor(config: SynthesisConfig, crowd: Crowd) -> ClipGenerator:
    """Cuts everybody out, the subject first, who comes first in the crowd."""
    from pvchat_jax.synthesis.generators.compositor import Compositor, member_of
    from pvchat_jax.synthesis.generators.cutouts import cut_out

    segmenter = _load_segmenter(config)
    members = {}
    for performer in crowd():
        key, looks = performer.source.sha256, performer.looks
        framed = _frame(config, performer.source, performer.person)
        cut = cut_out(framed.frames, framed.boxes, segmenter, looks.shoulders if looks else SHOULDERS)
        members[key] = member_of(key, cut, looks)
    return Compositor(members, lead=next(iter(members)))


def _load_segmenter(config: SynthesisConfig) -> Segmenter:
    """The one that learnt drawn people where their reader is chosen."""
    if config.reader == "tiny_base":
        from pvchat_jax.synthesis.segmenting.tiny_base import TinyBaseSegmenter

        return TinyBaseSegmenter("tiny")
    from pvchat_jax.synthesis.segmenting.grabcut import grabcut

    return grabcut


def _frame(config: SynthesisConfig, source: Source, person: Person) -> Framed:
    from pvchat_jax.synthesis.generators.compositor import Compositor

    return frame_person(source, person, Compositor.frames_per_second, config.num_frames, config.width, config.height)


def _load_diffusers(config: SynthesisConfig, name: str, own_folder: Path) -> ClipGenerator:
    from pvchat_jax.synthesis.generators.choose import choose_generator
    from pvchat_jax.synthesis.generators.loading import Placement

    return choose_generator(
        name,
        Path(config.generator_dir, name),
        identities=own_folder / IDENTITIES_FOLDER,
        placement=Placement(device=config.device, offload=config.offload),
        batch_size=config.batch_size,
    )
