"""What all generators around a pipeline of diffusers share: batches, frames and sizes that fit, and what happens to a failure."""

import abc
import dataclasses
import hashlib
import json
import math
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip
from pvchat_jax.synthesis.generators.loading import Placement, fingerprint, first_line, library_version, load_pipeline, noise_generators

NOT_WANTED = (
    "blurred, distorted face, deformed hands, extra limbs, two identical people, crowd in focus, cartoon, painting, text, subtitles, "
    "watermark, frozen picture, black frame"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a pipeline is called.

    Attributes:
      steps: of denoising. guidance: weight of the prompt; above 1 each step computes twice.
      batch_size: clips made in one call, where the pipeline can; pixels may then differ in the last bit from those made alone.
      text_tokens: of the prompt that are read.
    """

    steps: int
    guidance: float
    batch_size: int = 1
    text_tokens: int = 512


class PipelineGenerator(abc.ABC):
    """A `ClipGenerator` around one pipeline. Subclasses say what a call of it is given.

    Attributes:
      name: of the backend, with the version of diffusers and digests of the model and of the settings: clips of equal names and
        requests are equal.
      frame_multiple: k for a pipeline that makes multiples of k frames and one more.
      side_multiple: of which the width and the height must be multiples.
    """

    backend: ClassVar[str]
    pipeline_class: ClassVar[str]
    origin: ClassVar[str]
    frames_per_second: ClassVar[float]
    float32_vae: ClassVar[bool] = True
    can_batch: ClassVar[bool] = True

    def __init__(self, directory: Path, sampling: Sampling, placement: Placement) -> None:
        """Loads the pipeline.

        Raises:
          UserError: `directory` cannot be loaded.
        """
        self.pipeline = load_pipeline(directory, self.pipeline_class, placement, float32_vae=self.float32_vae)
        self.frame_multiple, self.side_multiple = self._multiples()
        self.sampling = sampling
        settings = {
            **dataclasses.asdict(sampling),
            "dtype": str(self._denoiser().dtype),
            "tile_vae": placement.tile_vae,
            **self._own_settings(),
        }
        self.settings = settings
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]
        self.name = f"{self.backend} (diffusers {library_version()}, model {fingerprint(directory)}, settings {digest})"

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        """As `ClipGenerator.make`."""
        for batch in self._batches(requests):
            yield from self._make_batch(batch)

    @abc.abstractmethod
    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        """What the pipeline is called with, beside what all are: the person, and for how many frames of what (width, height).

        Raises:
          UserError: a request lacks what the pipeline needs.
        """

    @abc.abstractmethod
    def _multiples(self) -> tuple[int, int]:
        """`frame_multiple` and `side_multiple` of the loaded pipeline."""

    def _denoiser(self) -> Any:
        """The model that computes the most."""
        parts = self.pipeline.components
        return parts["transformer"] if "transformer" in parts else parts["unet"]

    def _own_settings(self) -> dict[str, object]:
        """Settings of the subclass, as JSON values."""
        return {}

    def _batch_key(self, request: ClipRequest) -> Hashable:
        """Requests of different keys cannot be made in one call."""
        return (request.num_frames, request.width, request.height)

    def _batches(self, requests: Sequence[ClipRequest]) -> Iterator[list[ClipRequest]]:
        """Runs of neighbours with equal keys, so that the order stays."""
        limit = self.sampling.batch_size if self.can_batch else 1
        batch: list[ClipRequest] = []
        for request in requests:
            if batch and (len(batch) == limit or self._batch_key(request) != self._batch_key(batch[0])):
                yield batch
                batch = []
            batch.append(request)
        if batch:
            yield batch

    def _make_batch(self, batch: Sequence[ClipRequest]) -> list[MadeClip | UserError]:
        """One result for each request; where a batch fails its requests are tried alone, so that only the guilty one is lost."""
        try:
            return list(self._call(batch))
        except UserError as error:
            failure = error
        except (RuntimeError, ValueError) as error:  # a size or a length that does not fit, or no memory
            failure = self._explain(batch[0], error)
        finally:
            self.pipeline.maybe_free_model_hooks()  # an offloaded model may still lie on the GPU
        if len(batch) == 1:
            return [failure]
        return [made for request in batch for made in self._make_batch([request])]

    def _call(self, batch: Sequence[ClipRequest]) -> list[MadeClip]:
        request = batch[0]
        width, height = (round_up(side, self.side_multiple) for side in (request.width, request.height))
        num_frames = self._rounded_frames(request.num_frames)
        output = self.pipeline(
            **self._prompts(batch),
            height=height,
            width=width,
            num_inference_steps=self.sampling.steps,
            guidance_scale=self.sampling.guidance,
            generator=noise_generators([request.seed for request in batch]),
            output_type="np",
            **self._arguments(batch, (width, height), num_frames),
        )
        videos = self._videos(output, num_frames)
        expected = (len(batch), num_frames, height, width, 3)
        if videos.shape != expected:
            raise UserError(
                f"{self.name} gave frames of shape {videos.shape} instead of {expected}; this version of diffusers does not fit."
            )
        if not np.isfinite(videos).all():
            raise UserError(f"{self.name} gave pixels that are no numbers for seed {request.seed}; set dtype to bfloat16 or float32.")
        made_as = {"generated_frames": num_frames, "generated_size": [width, height], **self.settings}
        return [
            MadeClip(_trim(video, request), {"prompt": request.prompt.text, "seed": request.seed, **made_as})
            for video, request in zip(videos, batch, strict=True)
        ]

    def _prompts(self, batch: Sequence[ClipRequest]) -> dict[str, Any]:
        texts = [request.prompt.text for request in batch]
        unwanted = [NOT_WANTED] * len(batch)
        return {"prompt": texts, "negative_prompt": unwanted, "max_sequence_length": self.sampling.text_tokens}

    def _rounded_frames(self, num_frames: int) -> int:
        """The frames to ask the pipeline for, so that it rounds nothing down by itself."""
        return round_up(max(num_frames - 1, 1), self.frame_multiple) + 1

    def _videos(self, output: Any, num_frames: int) -> np.ndarray:
        """float[B, T, H, W, 3] between 0 and 1."""
        return np.asarray(output.frames)

    def _explain(self, request: ClipRequest, error: Exception) -> UserError:
        what = f"{request.num_frames} frames of {request.width} x {request.height} with seed {request.seed}"
        if "OutOfMemory" in type(error).__name__:
            return UserError(f"{self.backend} ran out of GPU memory at {what}; ask for fewer or smaller frames, or set offload to model.")
        return UserError(f"{self.backend} could not make {what} ({first_line(error)}); set another seed, size or length.")


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is at least `value`."""
    return math.ceil(value / multiple) * multiple


def _trim(video: np.ndarray, request: ClipRequest) -> np.ndarray:
    """The first frames that were asked for, cut to the asked size around the centre: uint8[T, H, W, 3]."""
    top = (video.shape[1] - request.height) // 2
    left = (video.shape[2] - request.width) // 2
    cut = video[: request.num_frames, top : top + request.height, left : left + request.width]
    return np.round(cut * 255).clip(0, 255).astype(np.uint8)
