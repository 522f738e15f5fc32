import itertools

import numpy as np

from pvchat_jax.pretraining.batches import Batch, RandomBatches


def numbers(rng: np.random.Generator) -> Batch:
    return {"numbers": rng.integers(1000, size=4)}


def take(iterator: RandomBatches, count: int) -> list[list[int]]:
    return [batch["numbers"].tolist() for batch in itertools.islice(iterator, count)]


def test_continues_exactly_where_the_state_says() -> None:
    whole = take(RandomBatches(numbers, 3), 7)
    iterator = RandomBatches(numbers, 3)
    assert take(iterator, 4) == whole[:4]
    state = iterator.get_state()
    assert take(iterator, 1) == whole[4:5]
    resumed = RandomBatches(numbers, 3)
    resumed.set_state(state)
    assert take(resumed, 3) == whole[4:]
    assert resumed.get_state() == {"next_batch": 7}


def test_batches_and_seeds_differ() -> None:
    batches = take(RandomBatches(numbers, 0), 20) + take(RandomBatches(numbers, 1), 20)
    assert len({tuple(batch) for batch in batches}) == 40
