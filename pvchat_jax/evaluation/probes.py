"""The questions by whose answers a person's presence is measured, wherever it is: when a run is calibrated and when it is asked."""

from pvchat_jax.data.conversation import IGNORED_LABEL, build_training_row
from pvchat_jax.data.records import Question
from pvchat_jax.data.tokenizer import SubjectTokenizer
from pvchat_jax.errors import UserError

# Such as both kinds of training sets ask (world/questions.py, synthesis/asking/phrases.py). The mean over them depends less on one wording.
PROBES = ("Is {name} in this video?", "Can you see {name} here?", "Is {name} present here?")


def probe_questions(name: str) -> tuple[Question, ...]:
    """The probes about a person, as questions of records; their answers are not looked at."""
    return tuple(Question(question=probe.format(name=name), answer="Yes", type="existence") for probe in PROBES)


def yes_no_ids(tokenizer: SubjectTokenizer, style: str) -> tuple[int, int]:
    """Ids of the first tokens of answers that begin with "Yes" and with "No", after a prompt of the given style.

    Raises:
      UserError: they are the same token.
    """

    def first(word: str) -> int:
        # only a row as a whole shows where a tokenizer splits
        row = build_training_row(
            tokenizer, question="?", answer=word, subject=tokenizer.subjects[0], num_clips=1, tokens_per_clip=1, style=style
        )
        return int(row.labels[row.labels != IGNORED_LABEL][0])

    yes, no = first("Yes"), first("No")
    if yes == no:
        raise UserError(f"the tokenizer in {tokenizer.directory} begins Yes and No with the same token, so their odds cannot be compared.")
    return yes, no
