"""From the names in a configuration to the backends that do the work; each library is imported where it is asked for."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.data.records import Question
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.captioners.captioner import Captioner, ClipView
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.framing import frame_performer
from pvchat_jax.synthesis.generators.generator import ClipGenerator, Performer, Prompt
from pvchat_jax.synthesis.phrases import CONTENT_TYPES, PHRASES, Phrases
from pvchat_jax.synthesis.prompts import prompts

Crowd = Callable[[], Sequence[Performer]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backends:
    """What does the work.

    Attributes:
      generators: what stands for each in keys, known without loading it. load_generator: loads the one of an index; it can
        ask for everybody who performs, the subject first, whose bodies and backgrounds a compositor uses.
      counts: how many questions by type. phrases: their wordings.
      prompt_of: draws from the bank of prompts.
    """

    reader: FaceReader
    generators: tuple[str, ...]
    load_generator: Callable[[int, Crowd], ClipGenerator]
    captioner: Captioner
    phrases: Phrases
    counts: Mapping[str, int]
    prompt_of: Callable[[np.random.Generator], Prompt]


class Nobody:
    """A captioner for sets that ask about presence alone."""

    name = "nobody"
    leaves_machine = False

    def answer(self, view: ClipView, questions: Sequence[Question]) -> list[str]:
        """Refuses."""
        raise UserError("there is no captioner to ask; name one with --config.captioner.")


def choose_backends(config: SynthesisConfig, cast: TrainConfig) -> Backends:
    """The backends of a configuration.

    Args:
      cast: of the model that reads drawn people.

    Raises:
      UserError: a library or a file of weights is missing.
    """
    captioner = _choose_captioner(config)
    content = 0 if isinstance(captioner, Nobody) else config.num_content
    return Backends(
        reader=_choose_reader(config, cast),
        generators=tuple(name if name == "compositor" else f"{name} in {config.generator_dir}" for name in config.generators),
        load_generator=functools.partial(_load_generator, config),
        captioner=captioner,
        phrases=_phrases(config),
        counts={"existence": config.num_existence, **dict.fromkeys(CONTENT_TYPES, content)},
        prompt_of=lambda rng: next(prompts(config.age_group, rng)),
    )


def _choose_reader(config: SynthesisConfig, cast: TrainConfig) -> FaceReader:
    if config.reader == "tiny_base":
        from pvchat_jax.synthesis.faces.tiny_base import TinyBaseReader

        return TinyBaseReader("tiny", cast)
    from pvchat_jax.synthesis.faces.choose import choose_reader

    return choose_reader(config.reader, Path(config.reader_dir) if config.reader_dir else None)


def _choose_captioner(config: SynthesisConfig) -> Captioner:
    if config.captioner == "truth":
        from pvchat_jax.synthesis.captioners.truth import TruthCaptioner

        return TruthCaptioner()
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


def _load_generator(config: SynthesisConfig, index: int, crowd: Crowd) -> ClipGenerator:
    name = config.generators[index]
    return _load_compositor(config, crowd) if name == "compositor" else _load_diffusers(config, name)


def _load_compositor(config: SynthesisConfig, crowd: Crowd) -> ClipGenerator:
    """Cuts everybody out, the subject first, who comes first in the crowd; what is known of nobody, figures and scenes, stays empty."""
    from pvchat_jax.synthesis.generators.compositor import Compositor, Member
    from pvchat_jax.synthesis.generators.cutouts import cut_out

    members: dict[str, Member] = {}
    for performer in crowd():
        key = performer.source.sha256
        if key not in members:
            framed = frame_performer(performer, config.num_frames, config.width, config.height)
            members[key] = Member(key=key, figure="", scene="", cut=cut_out(framed.frames, framed.boxes))
    return Compositor(members, lead=next(iter(members)))


def _load_diffusers(config: SynthesisConfig, name: str) -> ClipGenerator:
    from pvchat_jax.synthesis.generators.choose import choose_generator
    from pvchat_jax.synthesis.generators.loading import Placement

    folder = Path(config.generator_dir)
    placement = Placement(device=config.device, offload=config.offload)
    return choose_generator(name, folder / name, identities=folder / "identities", placement=placement, batch_size=config.batch_size)
