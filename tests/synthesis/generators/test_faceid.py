from pathlib import Path

import numpy as np
import pytest
import torch

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.faceid import FaceIDStills
from pvchat_jax.synthesis.generators.loading import Placement
from pvchat_jax.synthesis.generators.running import Sampling
from tests.synthesis.generators import tiny_pipelines
from tests.synthesis.generators.conditioning import inputs_of
from tests.synthesis.stubs import performer, request

SAMPLING = Sampling(steps=2, guidance=6.0, batch_size=2)
ONE, OTHER = (performer(tuple(np.eye(512)[axis].tolist()), reader="insightface") for axis in (0, 1))


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faceid")
    pipeline = tiny_pipelines.stable_diffusion()
    pipeline.save_pretrained(directory)
    tiny_pipelines.save_face_id_adapter(directory / "ip-adapter-faceid_sd15.bin", pipeline)
    return directory


@pytest.fixture(scope="module")
def stills(directory: Path) -> FaceIDStills:
    return FaceIDStills(directory, SAMPLING, Placement())


def test_a_clip_repeats_one_still(stills: FaceIDStills) -> None:
    (made,) = stills.make([request(ONE, num_frames=4, width=28, height=40)])
    assert made.frames.shape == (4, 40, 28, 3) and made.settings["still"] is True
    np.testing.assert_array_equal(made.frames, made.frames[:1].repeat(4, 0))


def test_pictures_of_one_face_share_a_call_and_no_face_gets_into_anothers(stills: FaceIDStills) -> None:
    requests = [request(ONE, seed=1), request(ONE, seed=2), request(OTHER, seed=3)]
    with inputs_of(stills.pipeline.unet) as calls:
        together = list(stills.make(requests))
    rows = [call["added_cond_kwargs"]["image_embeds"][0][:, 0].numpy() for call in calls[::2]]  # two steps each
    nobody, one, other = np.zeros(512), *(np.array(who.person.embedding) for who in (ONE, OTHER))
    np.testing.assert_array_equal(rows[0], np.stack([nobody, nobody, one, one]))
    np.testing.assert_array_equal(rows[1], np.stack([nobody, other]))
    alone = [made for wanted in requests for made in stills.make([wanted])]
    for single, shared in zip(alone, together, strict=True):
        assert np.abs(single.frames.astype(int) - shared.frames).max() <= 1


def test_the_face_changes_the_pixels_and_a_request_repeats(stills: FaceIDStills) -> None:
    stills.pipeline.set_ip_adapter_scale(50.0)  # random weights hardly react at the usual strength
    first, other, again = (next(stills.make([request(who)])).frames for who in (ONE, OTHER, ONE))
    stills.pipeline.set_ip_adapter_scale(0.7)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_embeddings_of_another_reader_are_refused(stills: FaceIDStills) -> None:
    failed, made = stills.make([request(performer((1.0, 0.0, 0.0))), request(ONE)])
    assert isinstance(failed, UserError) and "3 numbers" in str(failed) and "insightface" in str(failed)
    assert made.frames.shape[0] == 9


def test_a_folder_without_adapter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="IP-Adapter FaceID"):
        FaceIDStills(tmp_path, SAMPLING, Placement())


def test_another_kind_of_adapter_is_refused(directory: Path) -> None:
    adapter = directory / "ip-adapter-faceid_a.bin"  # comes first
    torch.save(
        {"image_proj": {"proj.weight": torch.zeros(4 * 32, 16), "norm.weight": torch.ones(32), "norm.bias": torch.zeros(32)}}, adapter
    )
    try:
        with pytest.raises(UserError, match="no IP-Adapter FaceID"):
            FaceIDStills(directory, SAMPLING, Placement())
    finally:
        adapter.unlink()
