"""Buckets are few and waste little."""

from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.inference.buckets import bucket


@given(st.integers(1, 10_000), st.sampled_from([1, 3, 8]), st.sampled_from([1, 4, 8]))
def test_a_bucket_holds_what_it_is_for_and_is_its_own_bucket(size: int, multiple: int, per_doubling: int) -> None:
    found = bucket(size, multiple=multiple, per_doubling=per_doubling)
    assert size <= found < size * (1 + 1 / per_doubling) + multiple
    assert bucket(found, multiple=multiple, per_doubling=per_doubling) == found


def test_few_sizes_serve_many_requests() -> None:
    sizes = sorted({bucket(size, multiple=1, per_doubling=4) for size in range(1, 33)})
    assert sizes == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    assert len({bucket(size, multiple=8, per_doubling=4) for size in range(1, 2049)}) == 28
