"""Erasing a person: everything that was derived from them goes, and a receipt without personal data stays."""

import datetime
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.errors import UserError
from pvchat_jax.files import write_atomically
from pvchat_jax.synthesis.personal_data import Place, erase, total

RECEIPTS_FOLDER = "receipts"
_NOTE = "Unlinked, not overwritten; copies, backups and snapshots elsewhere are not reached, and the filmed video is the user's to delete."


def forget(
    places: Sequence[Place], receipts: Path, now: datetime.datetime, erase_rows: Mapping[str, Callable[[], int]] | None = None
) -> Path:
    """Erases `places`, which are one person's, and the rows about the person in what is about others too.

    The receipt is written before anything is erased, as begun, and again afterwards, as done. Of a call that was interrupted one
    that is begun stays, and the next call erases the rest.

    Args:
      receipts: folder for the receipt. now: time that it shows, with a time zone.
      erase_rows: by kind, such as `index`, what erases the person's rows there and returns their number.

    Returns:
      The receipt: a JSON file with date, kinds, numbers of files and bytes; no name, path or digest.

    Raises:
      UserError: the receipt would be erased too.
    """
    if inside := next((place.folder for place in places if receipts.absolute().is_relative_to(place.folder.absolute())), None):
        raise UserError(f"the receipt would lie in {inside}, which is to be erased; choose another --receipts.")
    erased = [{"kind": place.kind, **total(place.folder)._asdict()} for place in places]
    path = receipts / f"{now:%Y%m%d}-{secrets.token_hex(4)}.json"
    receipt: dict[str, Any] = {"erased": erased, "begun": now.isoformat(timespec="seconds"), "done": False, "note": _NOTE}
    write_atomically(path, json.dumps(receipt, indent=2) + "\n")
    rows = [{"kind": kind, "rows": erase_all()} for kind, erase_all in (erase_rows or {}).items()]
    for place in places:  # after the rows, lest nobody looks for those again
        erase(place)
    write_atomically(path, json.dumps(receipt | {"erased": erased + rows, "done": True}, indent=2) + "\n")
    return path
