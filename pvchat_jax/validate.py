"""Checks a file of records and its videos: `python -m pvchat_jax.validate FILE`."""

import argparse
import collections
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pvchat_jax.data.records import LABELS
from pvchat_jax.data.validation import Findings, check_file, count_questions
from pvchat_jax.errors import exit_on_user_error

_DESCRIPTION = """\
Checks a file of training or test records and the videos that it names, and prints every problem with its
record, field and remedy, then how many questions there are by type and label.

FILE is a .jsonl file of records, or a .json file in any layout of the original PVChat project.

problems (exit status 1): fields that are missing, misspelt or contradict each other; videos that do not exist,
  are listed twice or do not match their sha256; the same content under both labels; answers that contradict the
  label; questions that never mention the subject; with --tokenizer, a name or a text that cannot be encoded.
warnings (exit status 0): too few videos of one label, kinds of questions that are missing, copies of one video.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.validate data/wilson/train.jsonl
  python -m pvchat_jax.validate Nz_Ab.json --subject='<Nz>' --tokenizer=weights/mistral
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the check; returns 0 without problems and 1 with any. A file that cannot be read exits with 2."""
    parser = argparse.ArgumentParser(
        prog="python -m pvchat_jax.validate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the .jsonl or .json file to check")
    parser.add_argument(
        "--subject", metavar="NAME", help="the name that all records must be about, such as '<Wilson>' (default: the first one in FILE)"
    )
    parser.add_argument(
        "--tokenizer", metavar="DIR", help="also check name and texts with the tokenizer in this directory; 'tiny' is the packaged one"
    )
    options = parser.parse_args(arguments)
    with exit_on_user_error():
        findings = check_file(options.file, options.subject or None, options.tokenizer)
        _print_findings(findings, Console(soft_wrap=True, markup=False, highlight=False, emoji=False))
    return 1 if findings.problems else 0


def _print_findings(findings: Findings, console: Console) -> None:
    for problem in findings.problems:
        console.print(f"problem: {problem}")
    for warning in findings.warnings:
        console.print(f"warning: {warning}")
    videos = collections.Counter(record.label for record in findings.records)
    table = Table(title="questions by type and label")
    table.add_column("")
    for label in LABELS:
        table.add_column(label, justify="right")
    for name, by_label in count_questions(findings.records).items():
        table.add_row(name, *(str(by_label[label]) for label in LABELS))
    table.add_section()
    table.add_row("videos", *(str(videos[label]) for label in LABELS))
    console.print(table)
    console.print(f"{len(findings.records)} records read, {len(findings.problems)} problems, {len(findings.warnings)} warnings")


if __name__ == "__main__":
    sys.exit(main())
