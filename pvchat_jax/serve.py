"""Serves the people of a registry to browsers and programs: `python -m pvchat_jax.serve`, or `--help`."""

import argparse
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pvchat_jax.devices import prepare_jax, release_freed_memory
from pvchat_jax.errors import UserError, exit_on_user_error

_DESCRIPTION = """\
Answers questions about the people of a registry over HTTP: a page for the browser at /, and the interface of OpenAI's
clients at /v1 (docs/serving.md). Listens on this machine alone; another --host needs a key.
"""
_EPILOG = """\
examples:
  python -m pvchat_jax.serve --videos=clips
  PVCHAT_API_KEY=... python -m pvchat_jax.serve --host=0.0.0.0 --host_name=chat.example.org
"""
_KEY_VARIABLE = "PVCHAT_API_KEY"
_EXTRA = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; a mistake that the user can mend exits with 2."""
    options = _parser().parse_args(arguments)
    prepare_jax()
    with exit_on_user_error():
        if missing := [name for name in _EXTRA if importlib.util.find_spec(name) is None]:
            raise UserError(f"{missing[0]} is not installed; install it with: pip install 'pvchat_jax[serve]'")
        _serve(options)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m pvchat_jax.serve", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=formatter, allow_abbrev=False
    )
    add = parser.add_argument
    add("--registry", metavar="DIR", type=Path, default=Path("people"), help="the people (default: %(default)s); made if need be")
    add("--videos", metavar="DIR", type=Path, help="folder whose videos may be named by path; without it, none")
    add("--workspace", metavar="DIR", type=Path, default=Path("serving"), help="uploads and enrolments (default: %(default)s)")
    add("--corpus", metavar="DIR", type=Path, help="videos of other people, which enrolling on the page needs")
    add("--root", metavar="DIR", type=Path, action="append", help="where people are erased too (default: data and runs, if there are)")
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    add("--host_name", metavar="NAME", action="append", default=[], help="another name of this machine that browsers may use")
    add("--api_key_file", metavar="FILE", type=Path, help=f"accepted keys, one in a line (or one in ${_KEY_VARIABLE})")
    add("--max_upload_mb", metavar="N", type=int, default=512, help="of one video (default: %(default)s)")
    add("--max_tokens", metavar="N", type=int, default=256, help="of the longest answer (default: %(default)s)")
    add("--slots", metavar="N", type=int, default=16, help="answers about one person decoded together (default: %(default)s)")
    add("--timeout", metavar="SECONDS", type=float, default=120.0, help="after which an answer is given up (default: %(default)s)")
    add("--log_content", action="store_true", help="log names and questions, which are left out otherwise")
    return parser


def _serve(options: argparse.Namespace) -> None:
    import uvicorn

    from pvchat_jax.assistant.assistant import Assistant
    from pvchat_jax.registry.registry import Registry
    from pvchat_jax.server.access import read_keys, require_keys
    from pvchat_jax.server.app import create_app
    from pvchat_jax.server.personalizing import personalize_commands, why_not_here
    from pvchat_jax.server.settings import LOOPBACK, Settings

    keys: tuple[str, ...] = ()
    if options.api_key_file is not None:
        keys = read_keys(options.api_key_file)
    elif os.environ.get(_KEY_VARIABLE):
        keys = require_keys([os.environ[_KEY_VARIABLE]], f"the environment variable {_KEY_VARIABLE}")
    if options.host not in LOOPBACK and not keys:
        raise UserError(f"--host={options.host} lets other machines in, which needs a key: set {_KEY_VARIABLE} or --api_key_file.")
    for name in ("videos", "corpus"):
        folder = getattr(options, name)
        if folder is not None and not folder.is_dir():
            raise UserError(f"there is no folder {folder}; correct --{name}.")
    settings = Settings(
        workspace=options.workspace.absolute(),
        videos=options.videos,
        roots=tuple(options.root or (root for root in map(Path, ("data", "runs")) if root.is_dir())),
        corpus=options.corpus,
        keys=keys,
        hosts=(*LOOPBACK, options.host, *options.host_name),
        upload_bytes=options.max_upload_mb * 2**20,
        answer_tokens=options.max_tokens,
        slots=options.slots,
        timeout=options.timeout,
        log_content=options.log_content,
    )
    registry = Registry(options.registry)
    app = create_app(
        registry,
        settings,
        personalize_commands(registry.folder, options.corpus),
        enrol_note=why_not_here(registry, options.corpus),
        release_memory=release_freed_memory,
        open_assistant=lambda: Assistant.open(registry) if registry.base is not None else None,
    )
    app.state.parts.worker.start()  # here, so that what is wrong with the registry is said in one sentence
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvicorn.run(app, host=options.host, port=options.port, access_log=False, server_header=False, timeout_graceful_shutdown=10)


if __name__ == "__main__":
    sys.exit(main())
