import io

from rich.console import Console

from pvchat_jax.benchmarking.tables import cell, print_table


def test_numbers_are_whole_in_a_narrow_terminal() -> None:
    console = Console(file=io.StringIO(), width=40)
    print_table(
        console, "title", ["variant", "existence\n(balanced)", "refusal"], [["hae_without_gradient", cell(0.982, 0.013), cell(1, 0.1)]]
    )
    assert any(
        "hae_without_gradient" in line and "98.2 ± 1.3" in line and "100.0 ± 10.0" in line for line in console.file.getvalue().splitlines()
    )
