"""The one exception that users meet, and how entry points print it."""

import contextlib
import sys
from collections.abc import Iterator


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the file, field or tensor
    and the remedy; entry points print it without a traceback and exit with status 2."""


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turns a `UserError` (and a full disk) into one line on stderr and exit status 2."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        print(f"error: the disk is full{where}; free some space and start the same command again to continue.", file=sys.stderr)
        raise SystemExit(2) from None
