"""The generator of a name."""

import dataclasses
from pathlib import Path
from typing import Any

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.generators.consisid import ConsisID
from pvchat_jax.synthesis.generators.faceid import FaceIDStills
from pvchat_jax.synthesis.generators.generator import ClipGenerator
from pvchat_jax.synthesis.generators.loading import Placement
from pvchat_jax.synthesis.generators.running import PipelineGenerator, Sampling
from pvchat_jax.synthesis.generators.wan import WanAnimate, WanImageToVideo, WanReferenceToVideo

# How each model was published to be sampled.
DIFFUSERS_GENERATORS: dict[str, tuple[type[PipelineGenerator], Sampling]] = {
    "wan": (WanReferenceToVideo, Sampling(steps=50, guidance=5.0)),
    "wan_image": (WanImageToVideo, Sampling(steps=50, guidance=5.0)),
    "wan_animate": (WanAnimate, Sampling(steps=20, guidance=1.0)),
    "consisid": (ConsisID, Sampling(steps=50, guidance=6.0, text_tokens=226)),
    "faceid": (FaceIDStills, Sampling(steps=30, guidance=6.0)),
}


def choose_generator(
    name: str,
    directory: Path,
    *,
    identities: Path,
    placement: Placement,
    batch_size: int = 1,
) -> ClipGenerator:
    """Loads one of `DIFFUSERS_GENERATORS`, to be sampled as it was published to be.

    Args:
      directory: of the pipeline.
      identities: folder of the face features that ConsisID reads.
      batch_size: clips made in one call, where the pipeline can.

    Raises:
      UserError: the name is unknown, a library is missing, or the folder cannot be loaded.
    """
    if name not in DIFFUSERS_GENERATORS:
        raise UserError(f"generator '{name}' is unknown; choose one of {', '.join(DIFFUSERS_GENERATORS)}.")
    kind, published = DIFFUSERS_GENERATORS[name]
    sampling = dataclasses.replace(published, batch_size=batch_size)
    own: dict[str, Any] = {"identities": identities} if kind is ConsisID else {}
    return kind(directory, sampling, placement, **own)
