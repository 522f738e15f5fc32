"""Reading what a program moves from its text, on a program written by hand."""

import pytest

from pvchat_jax.planning.hlo import read_movement

PROGRAM = """\
HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%stack (p0: f32[10,1000], p1: f32[1000]) -> f32[10,1000] {
  %p0 = f32[10,1000]{1,0:T(8,128)} parameter(0)
  ROOT %dus = f32[10,1000]{1,0:T(8,128)} dynamic-update-slice(%p0, %p0, %p0)
}

%body (state: (s32[], f32[10,1000])) -> (s32[], f32[10,1000]) {
  %state = (s32[]{:T(128)}, f32[10,1000]{1,0:T(8,128)}) parameter(0)
  %got = f32[10,1000]{1,0:T(8,128)} get-tuple-element(%state), index=1
  %weights = bf16[100,100]{1,0:T(8,128)(2,1)} all-gather(%got), channel_id=1, replica_groups=[1,4]<=[4], dimensions={0}
  %near = bf16[100,100]{1,0:T(8,128)(2,1)S(1)} copy(%weights)
  %stacked = f32[10,1000]{1,0:T(8,128)} fusion(%got, %near), kind=kLoop, calls=%stack
  ROOT %next = (s32[]{:T(128)}, f32[10,1000]{1,0:T(8,128)}) tuple(%got, %stacked)
}

%condition (state.1: (s32[], f32[10,1000])) -> pred[] {
  %state.1 = (s32[]{:T(128)}, f32[10,1000]{1,0:T(8,128)}) parameter(0)
  %counter = s32[]{:T(128)} get-tuple-element(%state.1), index=0
  %layers = s32[]{:T(128)} constant(32)
  ROOT %lt = pred[]{:T(512)} compare(%counter, %layers), direction=LT
}

ENTRY %main (x: f32[10,1000]) -> f32[10,1000] {
  %x = f32[10,1000]{1,0:T(8,128)} parameter(0)
  %start = (s32[]{:T(128)}, f32[10,1000]{1,0:T(8,128)}) tuple(%x, %x)
  %loop = (s32[]{:T(128)}, f32[10,1000]{1,0:T(8,128)}) while(%start), condition=%condition, body=%body, metadata={op_name="layers"}
  %out = f32[10,1000]{1,0:T(8,128)} get-tuple-element(%loop), index=1
  %begun = (f32[10,1000]{1,0:T(8,128)}, f32[20,1000]{1,0:T(8,128)}) all-gather-start(%out), replica_groups={{0,1},{2,3}}, dimensions={0}
  %ended = f32[20,1000]{1,0:T(8,128)} all-gather-done(%begun)
  ROOT %total = f32[500]{0} all-reduce(%ended), replica_groups=mesh['x'=2,'y'=4] {'x','y'}, to_apply=%add
}
"""


def test_collectives_of_a_loop_count_as_often_as_it_turns() -> None:
    movement = read_movement(PROGRAM)
    assert movement.collectives == {"all-gather": 32 + 1, "all-reduce": 1}
    assert movement.link_bytes == {"all-gather": 32 * 20_000 * 3 / 4 + 80_000 / 2, "all-reduce": 2 * 2_000 * 7 / 8}


def test_memory_sees_what_is_made_and_not_what_is_updated_in_place_or_kept_near() -> None:
    made_in_loop, gathered, reduced = 20_000, 80_000, 2_000
    assert read_movement(PROGRAM).memory_bytes == 2 * (32 * made_in_loop + gathered + reduced)


BESIDE_PRODUCTS = """\
HloModule jit_step, is_scheduled=true

%begin (shard: bf16[100,25]) -> (bf16[100,25], bf16[100,100]) {
  %shard = bf16[100,25]{1,0:T(8,128)(2,1)} parameter(0)
  %part.0 = bf16[100,100]{1,0} all-gather(%shard), channel_id=7, replica_groups=[1,4]<=[4], frontend_attributes={chain_id="3"}
  ROOT %begun = (bf16[100,25]{1,0}, bf16[100,100]{1,0}) custom-call(%part.0), custom_call_target="AsyncCollectiveStart"
}

%product (shard.1: bf16[100,25], whole: bf16[100,100], x: f32[50,50]) -> (f32[50,50], bf16[100,25], bf16[100,100]) {
  %shard.1 = bf16[100,25]{1,0} parameter(0)
  %whole = bf16[100,100]{1,0} parameter(1)
  %x = f32[50,50]{1,0} parameter(2)
  %y = f32[50,50]{1,0} convolution(%x, %x), dim_labels=bf_io->bf
  %part.1 = bf16[100,100]{1,0} all-gather(%shard.1), channel_id=7, replica_groups=[1,4]<=[4], frontend_attributes={chain_id="3"}
  ROOT %both = (f32[50,50]{1,0}, bf16[100,25]{1,0}, /*index=2*/bf16[100,100]{1,0}) tuple(%y, %shard.1, /*index=2*/%part.1)
}

ENTRY %main (w: bf16[100,25], v: f32[50,50]) -> f32[50,50] {
  %w = bf16[100,25]{1,0} parameter(0)
  %v = f32[50,50]{1,0} parameter(1)
  %one = (bf16[100,25]{1,0}, bf16[100,100]{1,0}) fusion(%w), kind=kCustom, calls=%begin
  %a = bf16[100,25]{1,0} get-tuple-element(%one), index=0
  %b = bf16[100,100]{1,0} get-tuple-element(%one), index=1
  %two = (f32[50,50]{1,0}, bf16[100,25]{1,0}, bf16[100,100]{1,0}) fusion(%a, %b, %v), kind=kOutput, calls=%product
  ROOT %out = f32[50,50]{1,0} get-tuple-element(%two), index=0
}
"""


def test_a_collective_in_parts_beside_products_counts_once() -> None:
    movement = read_movement(BESIDE_PRODUCTS)
    assert movement.collectives == {"all-gather": 1}
    assert movement.link_bytes == {"all-gather": 20_000 * 3 / 4}
    assert movement.memory_bytes == 2 * (20_000 + 10_000)


def test_a_gathered_array_that_is_kept_near_is_not_in_memory() -> None:
    near = BESIDE_PRODUCTS.replace("bf16[100,100]{1,0})", "bf16[100,100]{1,0:S(1)})")
    assert read_movement(near).memory_bytes == 2 * 10_000


def test_a_loop_of_unknown_length_counts_once() -> None:
    text = PROGRAM.replace("constant(32)", "parameter(1)")
    assert read_movement(text).collectives["all-gather"] == 1 + 1


@pytest.mark.parametrize(
    ("groups", "size"), [("{{0,1,2,3}}", 4), ("[2,8]<=[16]", 8), ("[2,8]<=[8,2]T(1,0)", 8), ("mesh['a'=2,'b'=3] {'b'}", 3)]
)
def test_group_sizes_in_each_notation(groups: str, size: int) -> None:
    line = f"  ROOT %r = f32[90]{{0}} reduce-scatter(%x), replica_groups={groups}, to_apply=%add"
    assert read_movement(f"ENTRY %main (x: f32[90]) -> f32[90] {{\n{line}\n}}\n").link_bytes == {"reduce-scatter": 360 * (size - 1)}
