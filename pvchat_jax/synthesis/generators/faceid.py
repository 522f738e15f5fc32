"""Stills by Stable Diffusion with an IP-Adapter FaceID, which paints the face that an embedding describes."""

import importlib.util
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.generator import ClipRequest
from pvchat_jax.synthesis.generators.loading import Placement, first_line, tensor_for
from pvchat_jax.synthesis.generators.running import PipelineGenerator, Sampling

ADAPTER_FILES = ("ip-adapter-faceid*.safetensors", "ip-adapter-faceid*.bin")


class FaceIDStills(PipelineGenerator):
    """A prompt and the embedding of a face become a picture, by `StableDiffusionPipeline`; the clip repeats it.

    Pictures of one face are made in one call. The published adapters were trained on ArcFace embeddings of 512 numbers, which the
    insightface reader gives; the embeddings of other readers are refused where their length shows it.
    """

    backend = "faceid"
    pipeline_class = "StableDiffusionPipeline"
    origin = "t2v"
    frames_per_second = 8.0
    float32_vae = False

    def __init__(self, directory: Path, sampling: Sampling, placement: Placement, *, strength: float = 0.7) -> None:
        """The adapter lies in `directory`, beside the parts of the pipeline. `strength`: weight of the face against the prompt.

        Raises:
          UserError: `directory` or the adapter cannot be loaded.
        """
        self._adapter = find_adapter(directory)
        self._strength = strength
        super().__init__(directory, sampling, placement)
        self._embedding_size = _load_adapter(self.pipeline, self._adapter)
        self.pipeline.set_ip_adapter_scale(strength)

    def _multiples(self) -> tuple[int, int]:
        return 1, self.pipeline.vae_scale_factor

    def _own_settings(self) -> dict[str, object]:
        return {"adapter": self._adapter.name, "strength": self._strength, "still": True}

    def _prompts(self, batch: Sequence[ClipRequest]) -> dict[str, Any]:
        prompts = super()._prompts(batch)
        del prompts["max_sequence_length"]  # CLIP reads 77 tokens, always
        return prompts

    def _batch_key(self, request: ClipRequest) -> Hashable:
        # the pipeline repeats the embeddings for each prompt, and the attention would show everybody all faces of a call
        return (super()._batch_key(request), request.performer.person.embedding)

    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        embedding = self._embedding(batch[0])[None, None]  # [1, 1, D]
        if self.sampling.guidance > 1:
            embedding = np.concatenate([np.zeros_like(embedding), embedding])  # without the face, then with it
        return {"ip_adapter_image_embeds": [tensor_for(self.pipeline, embedding, self.pipeline.unet.dtype)]}

    def _embedding(self, request: ClipRequest) -> np.ndarray:
        person = request.performer.person
        embedding = np.asarray(person.embedding, np.float32)
        if embedding.shape != (self._embedding_size,):
            raise UserError(
                f"the embedding of person {person.index} by '{person.reader}' has {embedding.size} numbers, but {self._adapter.name} "
                f"needs {self._embedding_size}; choose the insightface reader for this generator."
            )
        return embedding

    def _videos(self, output: Any, num_frames: int) -> np.ndarray:
        return np.repeat(np.asarray(output.images)[:, None], num_frames, axis=1)


def find_adapter(directory: Path) -> Path:
    """The adapter file in a folder.

    Raises:
      UserError: there is none.
    """
    found = [path for pattern in ADAPTER_FILES for path in sorted(directory.glob(pattern))]
    if not found:
        raise UserError(f"{directory} has no {ADAPTER_FILES[0]} or .bin; copy the IP-Adapter FaceID for this Stable Diffusion there.")
    return found[0]


def _load_adapter(pipeline: Any, adapter: Path) -> int:
    """Puts the adapter into the pipeline, and returns how many numbers its embeddings have."""
    if importlib.util.find_spec("peft") is None:  # diffusers would leave out the adapter's LoRA with nothing but a warning
        raise UserError(f"{adapter.name} needs peft; install the extra (for example: pip install 'pvchat_jax[synthesis]').")
    try:
        pipeline.load_ip_adapter(
            str(adapter.parent), subfolder=None, weight_name=adapter.name, image_encoder_folder=None, local_files_only=True
        )
        return pipeline.unet.encoder_hid_proj.image_projection_layers[0].ff.net[0].proj.in_features  # which other adapters lack
    except (OSError, ValueError, RuntimeError, KeyError, AttributeError) as error:
        raise UserError(f"{adapter} is no IP-Adapter FaceID for this pipeline ({first_line(error)}); take the one that fits.") from error
