"""Answers for tests, most of whose fields do not matter."""

from pvchat_jax.evaluation.answer_record import Answer

SUBJECT = "<Wilson>"
SAYS = {"yes": "Yes, <Wilson> is here.", "no": "<Wilson> is absent.", "?": "A red coat."}


def existence(
    video: str, role: str, says: str, log_odds: float | None = None, origin: str = "rendered", grade: int | None = None
) -> Answer:
    return Answer(
        video=f"/videos/{video}.mp4",
        subject=SUBJECT,
        role=role,
        origin=origin,
        question="Is <Wilson> here?",
        type="existence",
        gold=SAYS["yes"] if role == "positive" else SAYS["no"],
        answer=SAYS[says],
        log_odds=log_odds,
        grade=grade,
    )


def content(video: str, role: str, gold: str, answer: str, type: str = "action") -> Answer:
    return Answer(
        video=f"/videos/{video}.mp4",
        subject=SUBJECT,
        role=role,
        origin="rendered",
        question="What does <Wilson> do?",
        type=type,
        gold=gold,
        answer=answer,
    )
