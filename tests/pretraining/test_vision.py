"""From the image phase to the video phase."""

import numpy as np

from pvchat_jax.pretraining.vision import hand_over_positions


def test_what_frames_taught_about_positions_holds_for_every_frame_of_a_video() -> None:
    rng = np.random.default_rng(0)
    frames, tokens, width = 3, 4, 5
    image_before, image_after = (rng.normal(size=(1, 1 + tokens, width)) for _ in range(2))
    video = rng.normal(size=(1, 1 + frames * tokens, width))
    before = {"vision_encoder": {"img_pos_embed": image_before, "pos_embed": video, "cls_token": 1}, "readers": 2}
    after = {"vision_encoder": {"img_pos_embed": image_after, "pos_embed": video, "cls_token": 3}, "readers": 4}
    handed = hand_over_positions(before, after)
    change = np.asarray(handed["vision_encoder"]["pos_embed"]) - video
    np.testing.assert_allclose(change[:, :1], (image_after - image_before)[:, :1], atol=1e-6)
    for frame in range(frames):
        of_frame = change[:, 1 + frame * tokens : 1 + (frame + 1) * tokens]
        np.testing.assert_allclose(of_frame, (image_after - image_before)[:, 1:], atol=1e-6)
    assert (handed["vision_encoder"]["cls_token"], handed["readers"]) == (3, 4)
    assert handed["vision_encoder"]["img_pos_embed"] is image_after
