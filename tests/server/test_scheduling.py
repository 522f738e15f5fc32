"""Clients take turns, and none can fill the line."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.server.refusals import Refusal
from pvchat_jax.server.scheduling import FairQueue


def everything(item: str) -> bool:
    return True


def drain(queue: FairQueue[str]) -> list[str]:
    found = []
    while (item := queue.pop(everything)) is not None:
        found.append(item)
    return found


def test_who_sends_much_does_not_keep_others_waiting() -> None:
    queue: FairQueue[str] = FairQueue(100, 100)
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.push(item[0], item)
    assert drain(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_what_there_is_no_room_for_lets_others_pass() -> None:
    queue: FairQueue[str] = FairQueue(100, 100)
    for item in ("a1", "a2", "b1"):
        queue.push(item[0], item)
    assert queue.pop(lambda item: item != "a1") == "b1"
    assert queue.pop(lambda item: item != "a1") is None  # a2 does not overtake a1
    assert drain(queue) == ["a1", "a2"]


def test_the_line_is_bounded() -> None:
    queue: FairQueue[str] = FairQueue(3, 2)
    queue.push("a", "a1")
    queue.push("a", "a2")
    with pytest.raises(Refusal) as full:
        queue.push("a", "a3")
    assert (full.value.status, full.value.headers["Retry-After"]) == (429, "2")
    queue.push("b", "b1")
    with pytest.raises(Refusal) as crowded:
        queue.push("c", "c1")
    assert crowded.value.status == 503
    assert queue.discard("a1") and not queue.discard("a1")
    queue.push("c", "c1")
    assert drain(queue) == ["a2", "b1", "c1"]


@given(st.lists(st.sampled_from("abcd"), max_size=40))
def test_nothing_is_lost_and_turns_differ_by_one(clients: list[str]) -> None:
    queue: FairQueue[str] = FairQueue(100, 100)
    for number, client in enumerate(clients):
        queue.push(client, f"{client}{number}")
    served = drain(queue)
    assert sorted(served) == sorted(f"{client}{number}" for number, client in enumerate(clients))
    for client in set(clients):  # while somebody waits, nobody else gets two turns in between
        places = [place for place, item in enumerate(served) if item[0] == client]
        for before, after in itertools.pairwise(places):
            between = [item[0] for item in served[before + 1 : after]]
            assert len(between) == len(set(between))
    assert len(queue) == 0
