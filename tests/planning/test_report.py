"""The numbers of a plan, and how they are told."""

import json

import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.planning.estimate import stated_bytes
from pvchat_jax.planning.report import describe_plan, table, to_json
from pvchat_jax.planning.sweep import candidate_meshes, recommend
from tests.planning.plans import GIB, plan_of


def test_the_slowest_of_compute_memory_and_links_bounds_a_step() -> None:
    plan = plan_of("v5e:4x4", (1, 16, 1), peak_gib=3, tera=1600)
    assert plan.flops_per_chip == 100e12
    assert plan.bounds == pytest.approx({"compute": 100 / 197, "memory": (GIB + 8e9) / 819e9, "links": 1e9 / 200e9})
    assert plan.seconds_lower_bound == plan.bounds["compute"]
    assert plan_of("v5e:4x4", (1, 16, 1), peak_gib=3, tera=1600, link_bytes=400e9).seconds_lower_bound == pytest.approx(2.0)


def test_json_has_the_promised_fields() -> None:
    plan = plan_of("v5e:4x4", (1, 16, 1), peak_gib=3, tera=1600)
    fields = json.loads(to_json(plan))
    assert fields["peak_bytes_per_chip"] == 3 * GIB
    assert fields["hbm_bytes_per_chip"] == int(15.75 * GIB)
    assert fields["fits"] is True
    assert fields["flops_per_chip"] == 100e12
    assert fields["qa_pairs_per_hour"] == pytest.approx(16 * 4 * 3600 * 197 / 100)
    assert fields["seconds_lower_bound"] == pytest.approx(100 / 197)
    assert "\n" not in to_json(plan)


def test_a_program_that_does_not_fit_says_so() -> None:
    plan = plan_of("v5e:4x4", (16, 1, 1), peak_gib=None)
    assert "does not fit" in describe_plan(plan)
    assert "does not fit" in table([plan])
    fields = json.loads(to_json(plan))
    assert (fields["fits"], fields["peak_bytes_per_chip"]) == (False, None)


def test_a_report_shows_every_part_and_what_is_moved() -> None:
    text = describe_plan(plan_of("v5e:4x4", (1, 16, 1), peak_gib=3))
    for words in ("1x16x1", "16 videos x 4 questions", "vision encoder", "head", "64 x all-gather", "3.00 of 15.75", "at most", "at least"):
        assert words in text


def test_what_the_compiler_would_have_needed_is_read_from_its_message() -> None:
    assert stated_bytes("Ran out of memory in memory space hbm. Used 17.33G of 15.75G hbm. Exceeded by 1.58G.") == int(17.33 * GIB)
    assert stated_bytes("no number") is None


def test_recommended_is_the_most_work_for_each_chip_among_those_that_fit() -> None:
    slow = plan_of("v5e:4x4", (1, 16, 1), peak_gib=3)
    fast = plan_of("v6e:2x2", (1, 4, 1), peak_gib=3)
    too_large = plan_of("v6e:2x2", (4, 1, 1), peak_gib=None)
    quiet = plan_of("v6e:2x2", (2, 2, 1), peak_gib=9, link_bytes=1e8)
    assert recommend([slow, fast, too_large]) is fast
    assert recommend([slow, fast, too_large, quiet]) is quiet
    with pytest.raises(UserError, match="none of these fits"):
        recommend([too_large])


def test_meshes_to_compare_use_every_chip() -> None:
    for chips in (4, 8, 16, 32):
        meshes = candidate_meshes(chips, num_kv_heads=8)
        assert {mesh.data * mesh.fsdp * mesh.tensor for mesh in meshes} == {chips}
    assert all(mesh.tensor == 1 for mesh in candidate_meshes(16, num_kv_heads=2))
