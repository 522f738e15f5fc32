"""Drawn people as a corpus and a subject, with the embeddings that tests need."""

import numpy as np

from pvchat_jax.personalisation.cut_people import CutPerson
from pvchat_jax.synthesis.faces.reader import Outline
from pvchat_jax.synthesis.generators.composing import Member
from pvchat_jax.synthesis.making.showing import Known
from pvchat_jax.world.people import IDENTITY_VALUES, Identity
from pvchat_jax.world.plan import reference_video
from tests.synthesis.generators.drawn_members import drawn_cut

OUTLINE, OTHER_OUTLINE = Outline(0.19, 0.19, 2.0), Outline(0.14, 0.23, 2.0)


def embedding(identity: Identity) -> np.ndarray:
    parts = [np.eye(len(values))[values.index(getattr(identity, name))] for name, values in IDENTITY_VALUES.items()]
    return np.concatenate(parts).astype(np.float32) / 3


def person(seed: int, similarity: float | None = None) -> CutPerson:
    """The person of a reference video; `similarity` to the one of world 5 instead of the true one."""
    plan = reference_video(seed)
    described = embedding(plan.person.identity)
    if similarity is not None:
        described = similarity * embedding(reference_video(5).person.identity)
    features = {name: f"{name} of {seed}" for name in ("eyes", "lower", "hair")}
    outline = OTHER_OUTLINE if seed == 10 else OUTLINE
    look = {"head": "long" if seed == 10 else "round", "skin": "pale", "features": features, "outline": outline}
    member = Member(str(seed), "slim/steady", plan.scene, drawn_cut(seed), **look)
    return CutPerson(member, described, Known(None, plan.truth(), moves_right=False))


def people() -> list[CutPerson]:
    """The subject, world 5's, and six others."""
    alike = {5: None, 6: 0.9, 7: 0.85, 8: 0.8, 9: 0.3, 10: 0.2, 12: 0.98}
    return [person(seed, similarity) for seed, similarity in alike.items()]
