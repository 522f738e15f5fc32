"""What both commands do with their arguments: consent, claim of the folder, the stages, and what to say of them."""

import dataclasses
import datetime

from rich.console import Console

from pvchat_jax.config.schema import TrainConfig
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.arguments import Arguments, find_consent
from pvchat_jax.synthesis.backends import Backends, choose_backends
from pvchat_jax.synthesis.exporting.assembling import SET_ASIDE_FILE, Outcome
from pvchat_jax.synthesis.pipeline import EXPORT, Job, Synthesis
from pvchat_jax.synthesis.privacy.consent import require_consent, write_consent
from pvchat_jax.synthesis.privacy.personal_data import claim_folder, require_claim
from pvchat_jax.synthesis.progress import ProgressReport
from pvchat_jax.synthesis.stages import StageStore


def run_synthesis(arguments: Arguments, config: SynthesisConfig, cast: TrainConfig, console: Console) -> Outcome | None:
    """Makes the training set that `arguments` ask for, or the part of it, and says what there is.

    Args:
      cast: of the model that knows the drawn people, for `reader` `tiny_base`.

    Returns:
      What was made, if the last stage was asked for.

    Raises:
      UserError: something that the user can mend.
    """
    if not arguments.video.is_file():
        raise UserError(f"there is no video {arguments.video}; correct --video.")
    if arguments.shard.count > 1 and arguments.only == EXPORT:
        raise UserError(f"{EXPORT} puts the work of all shards together; start it without --shard.")
    config = dataclasses.replace(config, corpus=arguments.corpus) if arguments.corpus is not None else config
    today = datetime.date.today()
    consent = find_consent(arguments, today)
    require_consent(consent, today)
    backends = choose_backends(config, cast, arguments.out)
    if backends.captioner.leaves_machine:
        require_consent(consent, today, "remote")
    if arguments.shard.is_whole:
        claim_folder(arguments.out, arguments.name, arguments.video)
        write_consent(arguments.out, consent)
    else:
        require_claim(arguments.out, arguments.name)
    _say(console, f"faces are read by {backends.reader.name}. {backends.reader.quality_note}")
    return _run(arguments, config, backends, console)


def _run(arguments: Arguments, config: SynthesisConfig, backends: Backends, console: Console) -> Outcome | None:
    job = Job(subject=arguments.name, video=arguments.video, tests=arguments.tests, person=arguments.person, config=config)
    store = StageStore(arguments.out, arguments.shard)
    until = arguments.only or (EXPORT if arguments.shard.is_whole else "ask")
    with ProgressReport(console, store) as report:
        outcome = Synthesis(job, backends, store, report).run(until)
    report.show_throughput()
    if outcome is None:
        more = "" if arguments.shard.is_whole else "; when all shards are done, start the same command without --shard"
        _say(console, f"{until} is done in {arguments.out}{more}")
        return None
    for sentence in outcome.verdict.sentences():
        _say(console, sentence)
    if outcome.made.set_aside:
        _say(console, f"{len(outcome.made.set_aside)} things were set aside, with reasons in {arguments.out / SET_ASIDE_FILE}")
    _say(console, f"wrote {', '.join(str(path) for path in outcome.files.values())}; look at {outcome.sheet} first")
    return outcome


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
