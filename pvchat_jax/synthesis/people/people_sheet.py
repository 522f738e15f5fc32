"""The page that shows who is in a video, so that the user can say which person is meant."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.people.portraits import best_sightings, portraits_at
from pvchat_jax.synthesis.records import Person, Source

_PORTRAITS = 6  # of each person
_SIDE = 160  # pixels
_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>People in {title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }}
section {{ margin: 1.5rem 0; }}
h2 {{ font-size: 1.1rem; margin: 0 0 .5rem; }}
code {{ background: #eee; padding: .1rem .3rem; border-radius: .2rem; }}
img {{ width: {side}px; height: {side}px; margin: 0 .25rem .25rem 0; border-radius: .3rem; }}
</style>
<h1>People in {title}</h1>
<p>The face reader {reader} found {number}, the one seen longest first. Add the option below a person to make the training set of them.
Somebody shown twice was taken for two people.</p>
{sections}
</html>
"""


def write_people_sheet(path: Path, source: Source, people: Sequence[Person]) -> None:
    """Writes an HTML page, with pictures in it, of the best moments of each person. `people` has at least one."""
    sightings = [best_sightings(person, _PORTRAITS) for person in people]
    portraits = iter(portraits_at(source, [sighting for of_person in sightings for sighting in of_person]))  # one pass over the video
    sections = []
    for person, of_person in zip(people, sightings, strict=True):
        times = f"seen for {person.seconds:.1f} s of {source.seconds:.1f} s"
        pictures = "".join(
            f'<img alt="person {person.index} at {sighting.time:.1f} s" title="{sighting.time:.1f} s" src="{_data_uri(next(portraits))}">'
            for sighting in of_person
        )
        sections.append(f"<section><h2><code>--person={person.index}</code> {times}</h2>{pictures}</section>")
    page = _PAGE.format(
        title=html.escape(Path(source.video).name),
        side=_SIDE,
        reader=html.escape(people[0].reader),
        number="1 person" if len(people) == 1 else f"{len(people)} people",
        sections="\n".join(sections),
    )
    write_atomically(path, page)


def _data_uri(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).resize((2 * _SIDE, 2 * _SIDE), Image.Resampling.LANCZOS).save(file, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
