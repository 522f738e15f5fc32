"""What must be there before a model is loaded, asked without loading anything."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from pvchat_jax.data.video import inspect_video
from pvchat_jax.errors import UserError
from pvchat_jax.registry.names import bare
from pvchat_jax.registry.registry import Registry


def require_people(registry: Registry, names: Sequence[str] | None) -> list[str]:
    """The people of the registry who are meant; without `names` the only one there is.

    Raises:
      UserError: nobody is enrolled, or nobody of that name, or it is not clear who is meant, or a consent does not cover today.
    """
    people = registry.people()
    if not people:
        raise UserError(f"nobody is enrolled in {registry.folder}; add somebody with: python -m pvchat_jax.subjects add RUN_OR_PACK")
    if not names and len(people) > 1:
        raise UserError(f"several people are enrolled: {', '.join(bare(person.name) for person in people)}; name one with --subject=NAME.")
    chosen = [registry.person(name) for name in names] if names else people
    for person in chosen:
        person.require_usable(datetime.date.today())
    return list(dict.fromkeys(person.name for person in chosen))


def require_video(path: Path) -> None:
    """Raises UserError: it is no video that can be read."""
    inspect_video(path)
