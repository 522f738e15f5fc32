from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.loading import Placement
from pvchat_jax.synthesis.generators.running import Sampling
from pvchat_jax.synthesis.generators.wan import WanAnimate, WanImageToVideo, WanReferenceToVideo
from tests.data.video_files import write_video
from tests.synthesis.generators import tiny_pipelines
from tests.synthesis.generators.conditioning import inputs_of
from tests.synthesis.stubs import GREEN, RED, performer, request

SAMPLING = Sampling(steps=2, guidance=5.0, batch_size=2, text_tokens=16)


@pytest.fixture(scope="module")
def reference_to_video(tmp_path_factory: pytest.TempPathFactory) -> WanReferenceToVideo:
    directory = tmp_path_factory.mktemp("vace")
    tiny_pipelines.wan_vace().save_pretrained(directory)
    return WanReferenceToVideo(directory, SAMPLING, Placement())


@pytest.fixture(scope="module")
def image_to_video(tmp_path_factory: pytest.TempPathFactory) -> WanImageToVideo:
    directory = tmp_path_factory.mktemp("image_to_video")
    tiny_pipelines.wan_image_to_video().save_pretrained(directory)
    return WanImageToVideo(directory, SAMPLING, Placement())


@pytest.fixture(scope="module")
def animate_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("animate")
    tiny_pipelines.wan_animate().save_pretrained(directory)
    for name, num_frames in (("nod", 20), ("short", 8)):
        (directory / "drivers" / name).mkdir(parents=True)
        write_video(directory / "drivers" / name / "pose.mp4", num_frames)
        write_video(directory / "drivers" / name / "face.mp4", num_frames, width=16, height=16)
    return directory


@pytest.fixture(scope="module")
def animate(animate_directory: Path) -> WanAnimate:
    one_way = Sampling(steps=2, guidance=1.0, text_tokens=16)
    return WanAnimate(animate_directory, one_way, Placement(), segment_frames=9)


def test_lengths_and_sizes_are_rounded_up_and_then_cut_to_what_was_asked(reference_to_video: WanReferenceToVideo) -> None:
    (made,) = reference_to_video.make([request(num_frames=6, width=28, height=40)])
    assert made.frames.shape == (6, 40, 28, 3) and made.frames.dtype == np.uint8
    assert made.settings["generated_frames"] == 9 and made.settings["generated_size"] == [32, 48]
    assert made.settings["seed"] == 1 and made.settings["prompt"].startswith("A person walks")


def test_a_request_gives_the_same_pixels_again_and_another_seed_others(reference_to_video: WanReferenceToVideo) -> None:
    first, other, again = reference_to_video.make([request(seed=1), request(seed=2), request(seed=1)])
    np.testing.assert_array_equal(first.frames, again.frames)
    assert np.abs(first.frames.astype(int) - other.frames).max() > 20


def test_reference_to_video_shows_the_model_the_portraits_and_the_prompt(reference_to_video: WanReferenceToVideo) -> None:
    with inputs_of(reference_to_video.pipeline.transformer) as calls:
        list(reference_to_video.make([request(performer(embedding, num_portraits=5), seed=1) for embedding in (RED, GREEN)]))
    of_red, of_green = calls[0]["control_hidden_states"], calls[4]["control_hidden_states"]  # two steps, with and without the prompt
    assert of_red.shape[2] == 3 + 3  # three portraits of the five, and (9 - 1) / 4 + 1 latent frames
    assert not torch.equal(of_red[:, :, :3], of_green[:, :, :3])
    torch.testing.assert_close(of_red[:, :, 3:], of_green[:, :, 3:])
    assert not torch.equal(calls[0]["encoder_hidden_states"], calls[1]["encoder_hidden_states"])


def test_a_request_that_fails_is_answered_and_the_rest_goes_on(reference_to_video: WanReferenceToVideo) -> None:
    failed, made = reference_to_video.make([request(performer(num_portraits=0)), request()])
    assert isinstance(failed, UserError) and "no portrait" in str(failed)
    assert made.frames.shape == (9, 32, 32, 3)


def test_what_the_pipeline_itself_refuses_is_answered_too(reference_to_video: WanReferenceToVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_to_video, "side_multiple", 1)
    failed, made = reference_to_video.make([request(width=36), request()])
    assert isinstance(failed, UserError) and "divisible" in str(failed) and "\n" not in str(failed)
    assert made.frames.shape == (9, 32, 32, 3)


def test_a_length_that_the_pipeline_changes_by_itself_is_noticed(
    reference_to_video: WanReferenceToVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_to_video, "frame_multiple", 1)
    (failed,) = reference_to_video.make([request(num_frames=8)])
    assert isinstance(failed, UserError) and "(1, 9, 32, 32, 3) instead of (1, 8, 32, 32, 3)" in str(failed)


def test_after_a_failure_the_gpu_is_freed_and_its_lack_of_memory_is_explained(
    reference_to_video: WanReferenceToVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(*arguments: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 40 GiB")

    freed: list[bool] = []
    monkeypatch.setattr(reference_to_video, "_arguments", run_out)
    monkeypatch.setattr(reference_to_video.pipeline, "maybe_free_model_hooks", lambda: freed.append(True))
    (failed,) = reference_to_video.make([request()])
    assert isinstance(failed, UserError) and "set offload to model" in str(failed) and freed


def test_pixels_that_are_no_numbers_are_refused(reference_to_video: WanReferenceToVideo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_to_video, "_videos", lambda output, num_frames: np.asarray(output.frames) * np.nan)
    (failed,) = reference_to_video.make([request()])
    assert isinstance(failed, UserError) and "bfloat16" in str(failed)


def test_requests_of_one_portrait_share_a_call_of_image_to_video(image_to_video: WanImageToVideo) -> None:
    red, green = performer(RED), performer(GREEN, digest="b" * 64)
    requests = [request(red, seed=2), request(red, seed=4), request(green, seed=2)]
    with inputs_of(image_to_video.pipeline.transformer) as calls:
        together = list(image_to_video.make(requests))
    assert [call["hidden_states"].shape[0] for call in calls[::4]] == [2, 1]
    pictures = [call["hidden_states"][0, 20:] for call in calls[::4]]  # after noise and mask: the latents of the first frame
    assert not torch.equal(*pictures)
    alone = [made for wanted in requests for made in image_to_video.make([wanted])]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.frames.astype(int) - other.frames).max() <= 1
    assert np.abs(together[0].frames.astype(int) - together[1].frames).max() > 5


def test_the_seed_chooses_the_portrait_that_moves(image_to_video: WanImageToVideo) -> None:
    with inputs_of(image_to_video.pipeline.transformer) as calls:
        list(image_to_video.make([request(performer(), seed=seed) for seed in (2, 3)]))
    assert not torch.equal(calls[0]["hidden_states"][:, 20:], calls[4]["hidden_states"][:, 20:])


def test_animate_follows_the_driver_of_the_action_over_several_segments(animate: WanAnimate) -> None:
    with inputs_of(animate.pipeline.transformer) as calls:
        (made,) = animate.make([request(num_frames=12, action="nod")])
    assert made.frames.shape == (12, 32, 32, 3)
    assert len(calls) == 2 * 2  # two steps for each of two segments
    brightness = torch.cat([calls[0]["face_pixel_values"], calls[2]["face_pixel_values"][:, :, 1:]], dim=2).mean((0, 1, 3, 4))
    assert (brightness[:12].diff() > 0).all()  # the driver gets brighter from frame to frame
    assert not torch.equal(calls[0]["pose_hidden_states"], calls[2]["pose_hidden_states"])


def test_a_driver_that_is_too_short_is_answered(animate: WanAnimate) -> None:
    (failed,) = animate.make([request(num_frames=12, action="short")])
    assert isinstance(failed, UserError) and "8 frames and 12 are needed" in str(failed)


def test_animate_shows_the_model_the_portrait(animate: WanAnimate) -> None:
    with inputs_of(animate.pipeline.transformer) as calls:
        list(animate.make([request(performer(embedding), num_frames=5, action="nod") for embedding in (RED, GREEN)]))
    assert not torch.equal(calls[0]["encoder_hidden_states_image"], calls[2]["encoder_hidden_states_image"])


def test_a_generator_is_named_after_its_model_and_settings(animate_directory: Path, animate: WanAnimate) -> None:
    more_steps = Sampling(steps=3, guidance=1.0, text_tokens=16)
    other = WanAnimate(animate_directory, more_steps, Placement(), segment_frames=9)
    assert other.name != animate.name and other.name.split("settings")[0] == animate.name.split("settings")[0]
    (animate_directory / "drivers" / "new").mkdir()
    with pytest.raises(UserError, match=r"pose\.mp4 is missing"):
        WanAnimate(animate_directory, more_steps, Placement(), segment_frames=9)


@pytest.mark.slow
def test_models_in_bfloat16_get_along_with_a_vae_in_float32(tmp_path: Path) -> None:
    tiny_pipelines.wan_vace().save_pretrained(tmp_path)
    generator = WanReferenceToVideo(tmp_path, SAMPLING, Placement(dtype="bfloat16", tile_vae=True))
    (made,) = generator.make([request()])
    assert made.frames.shape == (9, 32, 32, 3) and made.settings["dtype"] == "torch.bfloat16"


@pytest.mark.slow
def test_the_form_of_wan_2_2_uses_both_transformers(tmp_path: Path) -> None:
    tiny_pipelines.wan_image_to_video_of_two().save_pretrained(tmp_path)
    generator = WanImageToVideo(tmp_path, Sampling(steps=4, guidance=5.0, text_tokens=16), Placement())
    with inputs_of(generator.pipeline.transformer) as much_noise, inputs_of(generator.pipeline.transformer_2) as little_noise:
        (made,) = generator.make([request()])
    assert made.frames.shape == (9, 32, 32, 3) and much_noise and little_noise
