from hypothesis import given
from hypothesis import strategies as st

from pvchat_jax.inference.buckets import bucket


@given(st.integers(1, 10_000), st.sampled_from([1, 3, 16]))
def test_a_bucket_holds_what_it_is_for_and_is_its_own_bucket(size: int, least: int) -> None:
    assert bucket(size, least) >= max(size, least)
    assert bucket(bucket(size, least), least) == bucket(size, least)
    if size >= 4 * least:
        assert size > 0.75 * bucket(size, least) - least


def test_few_sizes_serve_many_requests() -> None:
    assert sorted({bucket(size) for size in range(1, 33)}) == [1, 2, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32]
    assert len({bucket(size, 16) for size in range(1, 2049)}) == 23
