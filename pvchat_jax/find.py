"""Finds when people are seen in long videos: `python -m pvchat_jax.find --subject=wilson RECORDINGS`, or `--help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pvchat_jax.devices import prepare_jax
from pvchat_jax.errors import UserError, exit_on_user_error
from pvchat_jax.registry.registry import Registry
from pvchat_jax.timeline.index import INDEX_SUFFIX
from pvchat_jax.timeline.intervals import ENTER, IntervalOptions
from pvchat_jax.timeline.outputs import to_json, write_files
from pvchat_jax.timeline.page import write_page
from pvchat_jax.timeline.progress import IndexingBar
from pvchat_jax.timeline.search import DEFAULT_INDEX, WINDOW_SECONDS, Found, search
from pvchat_jax.timeline.summary import show_found
from pvchat_jax.timeline.viewing import person_of, viewing_of

_DESCRIPTION = """\
Finds when people are seen in a video, or in all videos of a folder and the folders inside it.

The first question about a video looks at all of it, window by window, and keeps what the encoder saw in an index. Any later question,
also about somebody else, reads the index and encodes nothing. Interrupted, it goes on where it was when the same command is started
again. New, changed and deleted files are noticed; what cannot be read is named, and the rest goes on.

Times count from where the video's own clock starts, as players show them, and are those of frames, whatever the frame rate.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.find --subject=wilson holiday.mp4
  python -m pvchat_jax.find --subject=wilson --subject=ann --out=found recordings/
  python -m pvchat_jax.find --subject=wilson --json recordings/ | jq '.videos[].intervals[].start'

exit status:
  0  somebody was found          1  everything was looked at, and nobody was found
  2  a mistake, as one line      3  nobody was found, but some videos could not be read
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits as its help says."""
    options = _parse(arguments)
    try:
        with exit_on_user_error():
            found = _search(options)
            if options.out is not None:
                write_files(options.out, found)
                write_page(options.out / "timeline.html", found)
    except KeyboardInterrupt:
        print("interrupted; what was indexed is kept, start the same command again to go on.", file=sys.stderr)
        raise SystemExit(130) from None
    if options.json:
        print(json.dumps(to_json(found)))
    else:
        show_found(found, _console(sys.stdout))
        if options.out is not None:
            print(f"wrote {options.out / 'timeline.html'}, and timeline.json, timeline.csv and WebVTT files beside it")
    if not any(timeline.intervals for timeline in found.timelines):
        raise SystemExit(3 if found.unreadable else 1)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.find", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("place", metavar="FOLDER_OR_FILE", type=Path, help="where to look")
    parser.add_argument(
        "--subject",
        metavar="NAME",
        action="append",
        required=True,
        help="who is looked for, with or without angle brackets; may be repeated",
    )
    parser.add_argument("--registry", metavar="DIR", type=Path, default=Path("people"), help="of enrolled people (default: %(default)s)")
    parser.add_argument(
        "--index", metavar="FILE", type=Path, default=DEFAULT_INDEX, help="kept for the next question (default: %(default)s)"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="write timeline.html with pictures, timeline.json, timeline.csv and WebVTT there"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--window",
        metavar="SECONDS",
        type=float,
        default=WINDOW_SECONDS,
        help="looked at at a time, best as long as the clips that people were learnt from (default: %(default)s); another is indexed anew",
    )
    parser.add_argument(
        "--at_least", metavar="P", type=float, default=ENTER, help="probability that an interval has to reach (default: %(default)s)"
    )
    parser.add_argument(
        "--shortest",
        metavar="SECONDS",
        type=float,
        help="of an interval (default: one and a half windows; less finds glimpses, and errors)",
    )
    options = parser.parse_args(arguments)
    if options.index.suffix != INDEX_SUFFIX:
        parser.error(f"--index {options.index} does not end in {INDEX_SUFFIX}, by which python -m pvchat_jax.subjects forget finds it")
    if not 0.05 <= options.window <= 600:
        parser.error(f"--window {options.window:g} is not between 0.05 and 600 seconds")
    if not 0 < options.at_least <= 1:
        parser.error(f"--at_least {options.at_least:g} is not above 0 and at most 1")
    return options


def _search(options: argparse.Namespace) -> Found:
    """Raises UserError: something that the user can mend; in a single video that cannot be read too."""
    registry = Registry(options.registry)
    viewing = viewing_of(registry, options.window)
    people = list(dict.fromkeys(person_of(registry, name) for name in options.subject))
    if not options.place.exists():
        raise UserError(f"there is no file or folder {options.place}; correct the path, or put the videos there.")
    prepare_jax()
    from pvchat_jax.assistant.assistant import Assistant  # seconds, so after everything that may be wrong with the arguments

    assistant = Assistant.open(registry)
    how = IntervalOptions.of_windows(options.window, enter=options.at_least, shortest=options.shortest)
    with IndexingBar(_console(sys.stderr)) as bar:
        found = search(options.place, people, assistant, viewing, options.index, how, bar)
    if found.unreadable and not options.place.is_dir():
        raise UserError(found.unreadable[0].reason)
    return found


def _console(file: object) -> Console:
    return Console(file=file, soft_wrap=True, markup=False, highlight=False, emoji=False)


if __name__ == "__main__":
    sys.exit(main())
