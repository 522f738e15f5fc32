"""The command, up to where the compiler begins; and with the compiler, slowly."""

import importlib.util
import json

import pytest

from configs import stage2
from pvchat_jax.config.flags import override
from pvchat_jax.plan import main
from pvchat_jax.planning import program
from pvchat_jax.planning.estimate import make_plan
from pvchat_jax.planning.topologies import parse_topology

needs_compiler = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="the TPU compiler is the extra `plan`")


def refusal(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["--config=configs/stage2.py:tiny", *arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    return error.splitlines()[-1]


def test_wrong_topologies_are_refused_in_one_sentence(capsys: pytest.CaptureFixture) -> None:
    assert "no --topology was given" in refusal(capsys)
    assert "there is no topology 'v5e-16'" in refusal(capsys, "--topology=v5e-16")


def test_a_missing_compiler_names_the_extra(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr(program.topologies, "get_topology_desc", missing)
    assert "pvchat_jax[plan]" in refusal(capsys, "--topology=v5e:2x2")


@needs_compiler
@pytest.mark.slow
def test_a_mesh_that_does_not_divide_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert "mesh (data -1, fsdp 3, tensor 1) needs a multiple of 3 devices" in refusal(capsys, "--topology=v5e:2x2", "--config.mesh.fsdp=3")


@needs_compiler
@pytest.mark.slow
def test_plans_the_tiny_model(capsys: pytest.CaptureFixture) -> None:
    main(["--config=configs/stage2.py:tiny", "--topology=v5e:2x2", "--json", "--config.data.text_buckets=56"])
    plan = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert plan["fits"]
    assert 0 < plan["peak_bytes_per_chip"] < plan["hbm_bytes_per_chip"]
    assert plan["seconds_lower_bound"] > 0


@needs_compiler
@pytest.mark.slow
def test_memory_of_a_chip_does_not_grow_with_the_pod() -> None:
    """Twice the chips and twice the videos, parameters shared by all."""
    peaks = []
    for grid, batch in (("2x2", 8), ("2x4", 16)):
        config = override(stage2.get_config("tiny"), [f"--config.data.batch_size={batch}", "--config.mesh.data=1", "--config.mesh.fsdp=-1"])
        peaks.append(make_plan(config, parse_topology(f"v5e:{grid}")).peak_bytes)
    assert peaks[1] <= 1.02 * peaks[0]
