"""Every parameter of the full model lies where the golden file says, so that a change of layout shows in a review."""

import json
import math

from tests.partition_specs import GOLDEN, describe


def test_parameters_of_the_full_model_lie_as_recorded() -> None:
    now, recorded = json.loads(describe()), json.loads(GOLDEN.read_text(encoding="utf-8"))
    changed = [path for path in {**recorded, **now} if now.get(path) != recorded.get(path)]
    assert not changed, f"{len(changed)} differ, first {changed[0]}: {recorded.get(changed[0])} -> {now.get(changed[0])}"


def test_large_parameters_are_split_over_all_devices_that_share_them() -> None:
    for path, row in json.loads(GOLDEN.read_text(encoding="utf-8")).items():
        assert "fsdp" in row["1x16x1"] or math.prod(row["shape"]) < 8e6, f"{path} {row['shape']} would lie whole on each of 16 devices"
