"""A small job with everything in it, which the tests of the whole share; also a program that is killed."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.synthesis.asking.phrases import PHRASES
from pvchat_jax.synthesis.backends import Backends
from pvchat_jax.synthesis.exporting.assembling import Outcome
from pvchat_jax.synthesis.people.finding import Found
from pvchat_jax.synthesis.pipeline import EXPORT, Job, Synthesis
from pvchat_jax.synthesis.shards import WHOLE, Shard, parse_shard
from pvchat_jax.synthesis.stages import StageStore
from tests.synthesis.fakes import ALIKE, OTHER, STRANGER, SUBJECT, SceneCaptioner, SquareGenerator, SquareReader, film, scene_prompt

CONFIG = SynthesisConfig(
    num_clips=36,
    num_calibration=4,
    num_filmed=2,
    num_frames=8,
    width=112,
    height=112,
    clip_seconds=1.5,
    test_share=0.4,
    calibration_share=0.0,
)


class Silent:
    """A report that nobody reads."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.asked = 0

    def stage(self, name: str, total: int) -> Callable[[], None]:
        self.stages.append(name)
        return lambda: None

    def of_total(self, name: str) -> Callable[[int, int], None]:
        return lambda done, total: None

    def choose(self, found: Found, sheet: Path) -> int | None:
        assert sheet.is_file()
        self.asked += 1
        return 0


def make_job(folder: Path) -> Job:
    """One video with a bystander, one for the test, and a corpus with a look-alike, others, the subject and a broken file."""
    corpus = folder / "corpus"
    if not corpus.is_dir():
        film(folder / "one.mp4", SUBJECT, OTHER)
        film(folder / "test.mp4", SUBJECT, grey=140)
        for name, colour in {"alike": ALIKE, "other": OTHER, "stranger": STRANGER, "again": SUBJECT}.items():
            film(corpus / f"{name}.mp4", colour, grey=110)
        (corpus / "broken.mp4").write_bytes(b"not a video")
    config = dataclasses.replace(CONFIG, corpus=str(corpus))
    return Job(subject="<Wilson>", video=folder / "one.mp4", tests=(folder / "test.mp4",), config=config)


def backends() -> tuple[Backends, SquareGenerator]:
    """Stand-ins, and the generator among them."""
    generator = SquareGenerator()
    tools = Backends(
        reader=SquareReader(),
        generators=(generator.name,),
        load_generator=lambda index, crowd: generator,
        captioner=SceneCaptioner(),
        phrases=PHRASES,
        counts={"existence": 3, "appearance": 1, "action": 1, "location": 1},
        prompt_of=scene_prompt,
    )
    return tools, generator


def run(
    job: Job, out: Path, *, shard: Shard = WHOLE, until: str = EXPORT, tools: Backends | None = None, report: Silent | None = None
) -> Outcome | None:
    return Synthesis(job, tools or backends()[0], StageStore(out, shard), report or Silent()).run(until)


def contents(out: Path) -> dict[str, bytes]:
    """Every file of a set by name, with the set's own path taken out."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes().replace(str(out).encode(), b"OUT") for path in out.rglob("*") if path.is_file()
    }


def main() -> None:
    folder, out, shard = sys.argv[1:]
    parsed = parse_shard(shard)
    run(make_job(Path(folder)), Path(out), shard=parsed, until=EXPORT if parsed.is_whole else "ask")


if __name__ == "__main__":
    main()
