"""Who can lend what to whom: bodies, hats, hair, colours and outlines, so that what a clip shows tells nothing about who it is."""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from pvchat_jax.synthesis.faces.reader import WALKING, Outline
from pvchat_jax.synthesis.generators.composing import Member, place_of
from pvchat_jax.synthesis.generators.dyeing import Dye, cloth_colour, skin_colour


class Lenders:
    """Everybody who may be in a clip or lend something to it, by sha256 of the video.

    Args:
      lead: key of the subject.
    """

    def __init__(self, members: Mapping[str, Member], lead: str) -> None:
        self._members = dict(members)
        self.lead = self._members[lead]
        self._places = {key: place_of(member.cut) for key, member in self._members.items()}
        self._skins = {key: skin_colour(member.cut) for key, member in self._members.items()}
        self._cloths = {key: cloth_colour(member.cut) for key, member in self._members.items()}

    def __getitem__(self, key: str) -> Member:
        return self._members[key]

    def bodies(self, performer: Member) -> list[Member]:
        """Those of others that the performer can have: ones that show what the subject's bodies show too, if there are any. Else an
        action or a kind of clothes in which the subject is never seen would tell that it is somebody else."""
        found = [m for m in self._members.values() if m.lends and _is_double(m, performer) and self._can_have_skin(m, performer)]
        if performer.key == self.lead.key and performer.figure == self.lead.figure:
            return found
        return [member for member in found if self.is_shown_by_lead(member)] or found

    def is_shown_by_lead(self, body: Member) -> bool:
        """Whether the subject is seen doing and wearing the same."""
        return all(value in shown for value, shown in zip(body.shows, self._shown, strict=False))

    @functools.cached_property
    def _shown(self) -> tuple[frozenset[str], ...]:
        """What the subject is seen doing and wearing."""
        bodies = [self.lead, *self.bodies(self.lead)]
        return tuple(frozenset(values) for values in zip(*(body.shows for body in bodies if body.shows), strict=True))

    def _can_have_skin(self, body: Member, performer: Member) -> bool:
        """Whether a body of somebody else can have the performer's skin."""
        known = self._skins[body.key] is not None and self._skins[performer.key] is not None
        return body.key != performer.key and (known or body.skin == performer.skin)

    def backgrounds(self, place: str, scene: str, besides: Sequence[Member]) -> tuple[list[Member], bool]:
        """Videos of others than `besides` in a scene, or in any if that is empty or was never filmed, and whether their people stand at
        `place`. The subject's is not among them: it would be there behind others."""
        found = [m for m in self._members.values() if m.key not in {self.lead.key, *(one.key for one in besides)}]
        fitting = [m for m in found if self._places[m.key] == place]
        chosen = fitting or found
        return [member for member in chosen if scene in ("", member.scene)] or chosen, bool(fitting)

    def coloured(self) -> list[Member]:
        """Those whose clothes have a colour."""
        return [member for member in self._members.values() if self._cloths[member.key] is not None]

    def cloth_dye(self, body: Member, clothes: Member) -> Dye | None:
        """What gives a body clothes in the colour of somebody else's; None where either has none."""
        colours = [self._cloths[one.key] for one in (body, clothes)]
        return None if body.key == clothes.key or any(colour is None for colour in colours) else Dye(*colours)

    def skin_dye(self, body: Member, performer: Member) -> Dye | None:
        """What gives a body the performer's skin; None where it has it already."""
        return None if body.skin == performer.skin else Dye(self._skins[body.key], self._skins[performer.key])

    def hats(self, performer: Member) -> list[Member]:
        """Those whose hat fits the performer's head."""
        return [m for m in self._same_heads(performer) if m.hat]

    def hair(self, performer: Member) -> list[Member]:
        """Those bareheaded with the performer's hair."""
        return [m for m in self._same_heads(performer) if not m.hat and m.hair == performer.hair]

    def _same_heads(self, performer: Member) -> list[Member]:
        return [m for m in self._members.values() if m.head and m.head == performer.head and m.key != performer.key]

    def outlines(self, own: Outline) -> list[Outline]:
        """All other outlines of heads."""
        return sorted({m.outline for m in self._members.values() if m.outline not in (None, own)})


def _is_double(body: Member, performer: Member) -> bool:
    """Whether somebody has the figure of the performer; gait does not count in walking, unless the figure makes a look-alike."""
    walking = performer.own_body and body.figure == f"{performer.figure.split('/')[0]}/{WALKING}"
    return bool(body.figure) and (body.figure == performer.figure or walking)


def pick_evenly(members: Sequence[Member], rng: np.random.Generator) -> Member:
    """One of the members, so that everything they do is as frequent, however many do it."""
    does = sorted({member.shows[:1] for member in members})
    chosen = does[rng.integers(len(does))]
    found = [member for member in members if member.shows[:1] == chosen]
    return found[rng.integers(len(found))]
