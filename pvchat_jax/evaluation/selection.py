"""Which records and questions of a file an evaluation asks about."""

import dataclasses
from collections.abc import Sequence

from pvchat_jax.data.records import Record


def choose_records(records: Sequence[Record], question_types: Sequence[str], limit: int | None) -> list[Record]:
    """Records with their questions of the given types, at most `limit` of them: present and absent ones in turn while there are both."""
    asked = [dataclasses.replace(record, questions=tuple(q for q in record.questions if q.type in question_types)) for record in records]
    asked = [record for record in asked if record.questions]
    if limit is None:
        return asked
    turns: dict[bool, int] = {True: 0, False: 0}
    ranked = []
    for index, record in enumerate(asked):
        ranked.append((turns[record.present], index))
        turns[record.present] += 1
    return [asked[index] for index in sorted(index for _, index in sorted(ranked)[:limit])]
