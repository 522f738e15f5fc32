"""`/find`: when people are seen."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.assistant.assistant import Assistant
from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline.progress import IndexingBar
from pvchat_jax.timeline.search import DEFAULT_INDEX, WINDOW_SECONDS, search
from pvchat_jax.timeline.summary import show_found
from pvchat_jax.timeline.viewing import person_of, viewing_of


def find_people(assistant: Assistant, registry: Registry, names: Sequence[str], place: Path, console: Console) -> None:
    """Prints when each of the people is seen in a video, or in those of a folder.

    Raises:
      UserError: there is no such file or folder, or the index cannot be used.
    """
    people = [person_of(registry, name) for name in names]
    with IndexingBar(console) as bar:
        found = search(place, people, assistant, viewing_of(registry, WINDOW_SECONDS), DEFAULT_INDEX, progress=bar)
    show_found(found, console)
