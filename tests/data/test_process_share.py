"""Every process reads its own part of each global batch, and all parts together are the batch."""

from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.data.pipeline import _ProcessShare


@given(process_count=st.integers(1, 64), local_size=st.integers(1, 8), start=st.integers(0, 1000), steps=st.integers(1, 5))
def test_shares_are_disjoint_and_complete_at_any_process_count(process_count: int, local_size: int, start: int, steps: int) -> None:
    batch_size = process_count * local_size
    total = start + steps * batch_size + batch_size - 1  # the rest is less than a batch
    shares = [_ProcessShare(start, batch_size, index, process_count, total) for index in range(process_count)]
    assert [len(share) for share in shares] == [steps * local_size] * process_count
    for step in range(steps):
        taken = [share[step * local_size + position][1] for share in shares for position in range(local_size)]
        assert taken == list(range(start + step * batch_size, start + (step + 1) * batch_size))
