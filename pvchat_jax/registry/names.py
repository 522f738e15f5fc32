"""Names of people as they are typed: with or without angle brackets, in capitals or not."""

from collections.abc import Iterable
from urllib.parse import quote

from pvchat_jax.data.json_fields import suggestion
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.personal_data import bare

_LONGEST = 60  # bytes, so that its folder's name stays below what file systems allow


def is_same(name: str, other: str) -> bool:
    """Whether two spellings mean the same person."""
    return bare(name).casefold() == bare(other).casefold()


def resolve(name: str, known: Iterable[str]) -> str:
    """The one of the `known` names that is meant.

    Raises:
      UserError: there is none.
    """
    names = list(known)
    found = next((other for other in names if is_same(name, other)), None)
    if found is None:
        bare_names = sorted(map(bare, names))
        near = suggestion(bare(name), bare_names)
        raise UserError(f"nobody called '{bare(name)}' is enrolled; known are {', '.join(bare_names) or 'nobody'}{near}.")
    return found


def folder_name(name: str) -> str:
    """A file name for the person, the same for all spellings.

    Raises:
      UserError: the name is too long for one.
    """
    text = quote(bare(name).casefold(), safe=" ").replace(".", "%2E").strip()
    if not text or len(text) > 3 * _LONGEST:
        raise UserError(f"the name '{name[:40]}' cannot be that of a folder; choose one of 1 to {_LONGEST} characters, such as <Wilson>.")
    return text
