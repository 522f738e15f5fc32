"""Clips by ConsisID, from one portrait and features of the face that were computed beforehand.

ConsisID describes a face by ArcFace, EVA-CLIP and facexlib, whose packages pull in CUDA builds; so they are not a dependency, and the
features are read from a file. Where `consisid_eva_clip` and `facexlib` are installed, diffusers computes them with
`diffusers.pipelines.consisid.consisid_utils.process_face_embeddings_infer`, which returns `id_cond` and `id_vit_hidden`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.generator import ClipRequest, Performer
from pvchat_jax.synthesis.generators.loading import Placement, tensor_for
from pvchat_jax.synthesis.generators.pictures import fit, portraits_of
from pvchat_jax.synthesis.generators.running import PipelineGenerator, Sampling


class Identity(NamedTuple):
    """What ConsisID knows of a face: `id_cond` float32[1, D], and `id_vit_hidden` of float32[1, tokens, W] each."""

    id_cond: np.ndarray
    id_vit_hidden: tuple[np.ndarray, ...]


class ConsisID(PipelineGenerator):
    """A portrait and a prompt become a clip, by `ConsisIDPipeline`. It was trained for 49 frames of 720 x 480 at 8 frames a second."""

    backend = "consisid"
    pipeline_class = "ConsisIDPipeline"
    origin = "t2v"
    frames_per_second = 8.0
    float32_vae = False  # it feeds the VAE in the dtype of the prompt

    def __init__(self, directory: Path, sampling: Sampling, placement: Placement, *, identities: Path) -> None:
        """`identities`: folder of the files that `identity_file` names."""
        self._identities = identities
        super().__init__(directory, sampling, placement)

    def _multiples(self) -> tuple[int, int]:
        patch = self.pipeline.transformer.config.patch_size
        # the VAE decodes two latent frames at a time after the first: other lengths lose frames without a word
        return 2 * self.pipeline.vae_scale_factor_temporal, self.pipeline.vae_scale_factor_spatial * patch

    def _arguments(self, batch: Sequence[ClipRequest], size: tuple[int, int], num_frames: int) -> dict[str, Any]:
        identities = [read_identity(identity_file(self._identities, request.performer)) for request in batch]
        copies = 2 if self.sampling.guidance > 1 else 1  # without the prompt, then with it
        config = self.pipeline.transformer.config
        hidden = list(zip(*(identity.id_vit_hidden for identity in identities), strict=True))
        if len(hidden) != config.LFE_num_scale or identities[0].id_cond.shape[1] != config.LFE_id_dim:
            raise UserError(
                f"{identity_file(self._identities, batch[0].performer)} has {len(hidden)} layers and {identities[0].id_cond.shape[1]} "
                f"numbers, but the model needs {config.LFE_num_scale} and {config.LFE_id_dim}; compute it again for this model."
            )
        return {
            "image": [fit(portraits_of(request.performer, 1)[0], *size) for request in batch],
            "num_frames": num_frames,
            "id_cond": self._rows([identity.id_cond for identity in identities] * copies),
            "id_vit_hidden": [self._rows(list(layer) * copies) for layer in hidden],
        }

    def _rows(self, arrays: list[np.ndarray]) -> Any:
        return tensor_for(self.pipeline, np.concatenate(arrays), self.pipeline.transformer.dtype)


def identity_file(directory: Path, performer: Performer) -> Path:
    """Where the features of a person are expected: named by the digest of the video and the number of the person in it."""
    return directory / f"{performer.source.sha256}-{performer.person.index}.safetensors"


def read_identity(path: Path) -> Identity:
    """Reads `id_cond` [1, D] and `id_vit_hidden.0`, `.1`, ... [1, tokens, W] from a safetensors file.

    Raises:
      UserError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; compute the face's id_cond and id_vit_hidden for ConsisID and store them there.")
    try:
        tensors = safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is no safetensors file ({error}); write it again.") from error
    hidden = tuple(tensors[name] for name in (f"id_vit_hidden.{layer}" for layer in range(len(tensors))) if name in tensors)
    cond = tensors.get("id_cond")
    if cond is None or not hidden or cond.ndim != 2 or any(layer.ndim != 3 or len(layer) != 1 for layer in (*hidden, cond[..., None])):
        shapes = {name: list(tensor.shape) for name, tensor in sorted(tensors.items())}
        raise UserError(
            f"{path} holds {shapes}, but id_cond [1, D] and id_vit_hidden.0, .1, ... [1, tokens, W] are needed; write it again."
        )
    return Identity(cond.astype(np.float32), tuple(layer.astype(np.float32) for layer in hidden))
