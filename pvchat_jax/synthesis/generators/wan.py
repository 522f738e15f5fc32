"""Clips by the Wan models: from reference pictures (VACE), from a first frame, and by a driving video (Animate).

VACE is the first choice for "pictures of a person, and now a new clip": it takes several, so that hair and clothes are kept too, and
needs nothing besides its folder. The weights in bfloat16: VACE 1.3B 16 GB with the text encoder, VACE 14B 47 GB, Animate and
image-to-video 14B likewise.
"""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from pvchat_jax.synthesis.generators.drivers import choose_driver, find_drivers
from pvchat_jax.synthesis.generators.generator import ClipRequest
from pvchat_jax.synthesis.generators.loading import Placement
from pvchat_jax.synthesis.generators.pictures import fit, portraits_of
from pvchat_jax.synthesis.generators.running import PipelineGenerator, Sampling


class _Wan(PipelineGenerator):
    """Wan makes 4k + 1 frames and sides that divide by 16 (32 for its 5B model), and silently rounds other lengths down."""

    frames_per_second = 16.0

    def _multiples(self) -> tuple[int, int]:
        patch = self.pipeline.transformer.config.patch_size[1]
        return self.pipeline.vae_scale_factor_temporal, self.pipeline.vae_scale_factor_spatial * patch

    def _prompts(self, batch: Sequence[ClipRequest]) -> dict[str, Any]:
        prompts = super()._prompts(batch)
        if not self.can_batch:  # VACE refuses even a list of one
            prompts |= {name: prompts[name][0] for name in ("prompt", "negative_prompt")}
        return prompts


class WanReferenceToVideo(_Wan):
    """Portraits of the person and a prompt become a clip, by `WanVACEPipeline`, one clip a call."""

    backend = "wan"
    pipeline_class = "WanVACEPipeline"
    origin = "t2v"
    can_batch = False

    def __init__(self, directory: Path, sampling: Sampling, placement: Placement, *, num_references: int = 3) -> None:
        """`num_references`: portraits shown at most; each costs as much as four frames."""
        self._num_references = num_references
        super().__init__(directory, sampling, placement)

    def _own_settings(self) -> dict[str, object]:
        return {"num_references": self._num_references}

    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        return {"reference_images": portraits_of(batch[0].performer, self._num_references), "num_frames": num_frames}


class WanImageToVideo(_Wan):
    """A portrait starts to move, by `WanImageToVideoPipeline` (Wan 2.1 and 2.2).

    The seed chooses among the portraits; those that share one are made in one call.
    """

    backend = "wan_image"
    pipeline_class = "WanImageToVideoPipeline"
    origin = "animated"

    def _batch_key(self, request: ClipRequest) -> Hashable:
        performer = request.performer
        return (super()._batch_key(request), performer.source.sha256, performer.person.index, _portrait_index(request))

    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        portraits = portraits_of(batch[0].performer, len(batch[0].performer.portraits))
        return {"image": fit(portraits[_portrait_index(batch[0])], *size), "num_frames": num_frames}


class WanAnimate(_Wan):
    """A portrait follows a driving video, by `WanAnimatePipeline`, one clip a call.

    The driver is the one named like the prompt's action, or follows from the seed. Long clips are made in segments that the pipeline
    joins; it makes just as many frames as the driver has.
    """

    backend = "wan_animate"
    pipeline_class = "WanAnimatePipeline"
    origin = "animated"
    frames_per_second = 30.0
    can_batch = False

    def __init__(self, directory: Path, sampling: Sampling, placement: Placement, *, segment_frames: int = 77) -> None:
        """The drivers lie in `directory` / drivers, see `drivers.py`. `segment_frames`: 4k + 1 frames made at a time.

        Raises:
          UserError: there is no driver, or `directory` cannot be loaded.
        """
        self._drivers = find_drivers(directory / "drivers")
        self._segment_frames = segment_frames
        super().__init__(directory, sampling, placement)

    def _own_settings(self) -> dict[str, object]:
        return {"segment_frames": self._segment_frames}

    def _rounded_frames(self, num_frames: int) -> int:
        return max(num_frames, 2)

    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        request = batch[0]
        pose, face = choose_driver(self._drivers, request.prompt.action, request.seed).read(num_frames)
        return {
            "image": fit(portraits_of(request.performer, 1)[0], *size),
            "pose_video": [picture.resize(size) for picture in pose],
            "face_video": [picture.resize((self.pipeline.transformer.config.motion_encoder_size,) * 2) for picture in face],
            "segment_frame_length": self._segment_frames,
        }


def _portrait_index(request: ClipRequest) -> int:
    return request.seed % max(len(request.performer.portraits), 1)
