import datetime
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from configs import stage2
from pvchat_jax.config.synthesis_schema import SynthesisConfig
from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.backends import choose_backends
from pvchat_jax.synthesis.generators.consisid import ConsisID, identity_file, read_identity
from pvchat_jax.synthesis.generators.generator import Performer
from pvchat_jax.synthesis.generators.loading import Placement
from pvchat_jax.synthesis.generators.running import Sampling
from pvchat_jax.synthesis.privacy.forgetting import forget
from pvchat_jax.synthesis.privacy.personal_data import claim_folder, find_places, places_of
from tests.synthesis.generators import tiny_pipelines
from tests.synthesis.generators.conditioning import inputs_of
from tests.synthesis.stubs import GREEN, RED, performer, request

SOMEBODY, ANOTHER, UNKNOWN = performer(RED), performer(GREEN, digest="b" * 64), performer(RED, digest="c" * 64)


def store_identity(directory: Path, performer: Performer, seed: int, *, layers: int = 5) -> None:
    rng = np.random.default_rng(seed)
    hidden = {f"id_vit_hidden.{layer}": rng.standard_normal((1, 5, 16), np.float32) for layer in range(layers)}
    cond = rng.standard_normal((1, 1280), np.float32)
    safetensors.numpy.save_file({"id_cond": cond, **hidden}, identity_file(directory, performer))


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("identities")
    store_identity(directory, SOMEBODY, 1)
    store_identity(directory, ANOTHER, 2)
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generators") / "consisid"
    tiny_pipelines.consisid().save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def consisid(directory: Path, identities: Path) -> ConsisID:
    sampling = Sampling(steps=2, guidance=6.0, batch_size=2, text_tokens=16)
    return ConsisID(directory, sampling, Placement(), identities=identities)


def test_what_describes_a_face_lies_in_the_set_and_is_erased_with_it(directory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "wilson"
    claim_folder(folder, "<Wilson>", tmp_path / "wilson.mp4")
    config = SynthesisConfig(generators=("consisid",), generator_dir=str(directory.parent))
    generator = choose_backends(config, stage2.tiny(), folder).load_generator(0, lambda: [])
    [missing] = generator.make([request(SOMEBODY)])
    expected = identity_file(folder / "identities", SOMEBODY)
    assert isinstance(missing, UserError) and str(expected) in str(missing)
    expected.parent.mkdir()
    store_identity(expected.parent, SOMEBODY, 1)
    forget(places_of("Wilson", find_places([tmp_path])), tmp_path / "receipts", datetime.datetime.now(datetime.UTC))
    assert not folder.exists()


def test_two_people_in_one_call_are_who_they_are_alone(consisid: ConsisID) -> None:
    requests = [request(SOMEBODY, seed=1), request(ANOTHER, seed=2)]
    with inputs_of(consisid.pipeline.transformer) as calls:
        together = list(consisid.make(requests))
    assert len(calls) == 2 and calls[0]["hidden_states"].shape[0] == 4  # each without and with the prompt
    stored = torch.from_numpy(np.concatenate([read_identity(identity_file(consisid._identities, r.performer)).id_cond for r in requests]))
    torch.testing.assert_close(calls[0]["id_cond"], torch.cat([stored, stored]))
    assert [layer.shape[0] for layer in calls[0]["id_vit_hidden"]] == [4] * 5
    alone = [made for wanted in requests for made in consisid.make([wanted])]
    for one, other in zip(together, alone, strict=True):
        assert one.frames.shape == (9, 32, 32, 3)
        assert np.abs(one.frames.astype(int) - other.frames).max() <= 1


def test_the_face_changes_the_pixels_and_nothing_else_does(consisid: ConsisID) -> None:
    as_another = SOMEBODY._replace(source=ANOTHER.source)  # the same portrait with other features of the face
    first, other, again = (next(consisid.make([request(who)])).frames for who in (SOMEBODY, as_another, SOMEBODY))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_lengths_are_rounded_up_to_what_the_decoder_can(consisid: ConsisID) -> None:
    (made,) = consisid.make([request(SOMEBODY, num_frames=13, width=40)])  # 13 would give 12 or 16 frames, and 40 dies inside
    assert made.frames.shape == (13, 32, 40, 3)
    assert made.settings["generated_frames"] == 17 and made.settings["generated_size"] == [48, 32]


def test_of_a_batch_only_who_has_no_features_is_lost(consisid: ConsisID) -> None:
    made, failed = consisid.make([request(SOMEBODY), request(UNKNOWN)])
    assert made.frames.shape == (9, 32, 32, 3)
    assert isinstance(failed, UserError) and str(identity_file(consisid._identities, UNKNOWN)) in str(failed)


def test_features_of_another_model_are_refused(consisid: ConsisID) -> None:
    foreign = performer(RED, digest="d" * 64)
    store_identity(consisid._identities, foreign, 3, layers=4)
    (failed,) = consisid.make([request(foreign)])
    assert isinstance(failed, UserError) and "4 layers" in str(failed)


@pytest.mark.parametrize(
    "tensors",
    [
        {"id_vit_hidden.0": np.zeros((1, 5, 16), np.float32)},
        {"id_cond": np.zeros((1, 8), np.float32)},
        {"id_cond": np.zeros(8, np.float32), "id_vit_hidden.0": np.zeros((1, 5, 16), np.float32)},
        {"id_cond": np.zeros((2, 8), np.float32), "id_vit_hidden.0": np.zeros((1, 5, 16), np.float32)},
        {"id_cond": np.zeros((1, 8), np.float32), "id_vit_hidden.0": np.zeros((5, 16), np.float32)},
    ],
)
def test_a_file_of_other_tensors_is_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"id_cond \[1, D\]"):
        read_identity(tmp_path / "a.safetensors")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="no safetensors file"):
        read_identity(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_features_are_given_in_the_dtype_of_the_model(tmp_path: Path, identities: Path) -> None:
    tiny_pipelines.consisid().save_pretrained(tmp_path)
    sampling = Sampling(steps=2, guidance=6.0, text_tokens=16)
    generator = ConsisID(tmp_path, sampling, Placement(dtype="bfloat16"), identities=identities)
    (made,) = generator.make([request(SOMEBODY)])
    assert made.frames.shape == (9, 32, 32, 3) and generator.pipeline.vae.dtype == torch.bfloat16
