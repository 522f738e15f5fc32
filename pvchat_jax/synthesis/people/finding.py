"""The first stages of any filmed video, the one video and those of others: watch it, and find who is in it."""

from pathlib import Path
from typing import NamedTuple

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import FaceReader
from pvchat_jax.synthesis.people.people import find_people
from pvchat_jax.synthesis.record_json import from_json, to_json
from pvchat_jax.synthesis.records import Person, SetAside, Source, sha256_of
from pvchat_jax.synthesis.stages import StageStore, Work
from pvchat_jax.synthesis.watch.watching import watch

WATCH, FIND = "watch", "find"
_VERSIONS = {WATCH: 1, FIND: 1}  # raise one to have results of the stage made anew


class Found(NamedTuple):
    """A filmed video and the people in it, those longest on screen first."""

    source: Source
    people: tuple[Person, ...]


def watch_video(store: StageStore, video: Path) -> Source:
    """The source of `video`, whose path it names now, whatever it was when the result was kept.

    Raises:
      UserError: the file cannot be read.
    """
    if not video.is_file():
        raise UserError(f"there is no video {video}; correct its name.")
    digest = sha256_of(video)
    work = Work(stage=WATCH, version=_VERSIONS[WATCH], tool="pyav", inputs={"video": digest})
    values = store.once(work, lambda: to_json(watch(video)))
    return from_json(Source, values | {"video": str(video.absolute())})


def find_in(store: StageStore, source: Source, reader: FaceReader) -> Found:
    """The people in `source`, also those who are too small or blurred to make clips of.

    Raises:
      UserError: there is no face in it.
    """
    work = Work(stage=FIND, version=_VERSIONS[FIND], tool=reader.name, inputs={"video": source.sha256})
    values = store.once(work, lambda: [to_json(person) for person in find_people(source, reader)])
    return Found(source, tuple(from_json(Person, person) for person in values))


def find_or_set_aside(store: StageStore, video: Path, reader: FaceReader) -> Found | SetAside:
    """As `watch_video` and `find_in`, but what cannot be used is returned, so that the rest goes on."""
    stage = WATCH
    try:
        source = watch_video(store, video)
        stage = FIND
        return find_in(store, source, reader)
    except UserError as error:
        return SetAside(item=video.name, stage=stage, reason=str(error))
