"""Places people cut out of one video into other scenes: the generator that needs no model.

A clip is put together from up to four filmed videos: the performer's head, a body, a background, and perhaps a bystander. The body is
the performer's own with its own movement, or that of somebody of the same figure (a body double), which brings other clothes and
other actions. Who lends what is chosen here; composing.py puts the pixels together. Whatever is done to the subject is
done to everybody else, by the same code, with the same bodies and backgrounds.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import WALKING, Looks
from pvchat_jax.synthesis.generators.composing import PLACES, Member, Plan, compose, place_of
from pvchat_jax.synthesis.generators.cutouts import CutOut
from pvchat_jax.synthesis.generators.dyeing import Dye, cloth_colour, skin_colour
from pvchat_jax.synthesis.generators.exchanging import REGIONS, Exchange
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip

_OWN_BODY = 0.2
_LEAD_BODY = 0.25  # of those who are not the subject; as their figures are often others, both wear the subject's clothes equally often
_DYED = 0.6  # of those in colourful clothes
_HAT = {True: 0.5, False: 0.4}  # of the subject and of the others, some of whom cannot take theirs off
_OTHER_HAT = 0.6  # of those who wear one and go on doing so
_BYSTANDER = 0.15
_FROZEN_HEAD = 0.3
_OWN_FACE = 0.25  # of clips of a subject who nods or looks around in the one video, those in which this is seen
_FACE = 0.35  # of clips, in which the face moves within the head
_OWN_REGION = 0.5  # of clips in which the face is nobody else's, those in which a part of it is put on again
_TURNED = 0.7  # of those who walk, who look where they go


def member_of(key: str, cut: CutOut, looks: Looks | None) -> Member:
    """Somebody as a reader sees them; what it cannot tell stays empty, and then bodies, hats and parts of faces are not exchanged."""
    if looks is None:
        return Member(key, figure="", scene="", cut=cut)
    return Member(
        key,
        figure=looks.figure,
        scene=looks.truth["scene"],
        cut=cut,
        lends=not looks.hides_body,
        head=looks.head,
        hat=looks.hat,
        hair=looks.hair,
        face_moves=looks.moves_face,
        shows=(str(looks.truth["action"]), str(looks.truth["outfit"]["garment"])),
        skin=looks.skin,
        features=looks.features,
    )


class Compositor:
    """`generators.generator.ClipGenerator` of cut-outs.

    Args:
      members: everybody whose video may be used, by sha256 of it, performers included.
      lead: key of the subject. Others of the same figure are often seen with the subject's body, so that its clothes tell nothing.
    """

    name = "compositor/2"
    origin = "composited"
    frames_per_second = 8.0

    def __init__(self, members: Mapping[str, Member], lead: str) -> None:
        self._members = dict(members)
        self._lead = self._members[lead]
        self._places = {key: place_of(member.cut) for key, member in self._members.items()}
        self._skins = {key: skin_colour(member.cut) for key, member in self._members.items()}
        self._cloths = {key: cloth_colour(member.cut) for key, member in self._members.items()}

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        """As the protocol says. `settings` has `body`, `clothes`, `background` (keys) and `scene`, `place`, `bystander`, `own_body`, `hat`,
        `frozen_head`, `face` of the plan."""
        for request in requests:
            try:
                member = self._members[request.performer.source.sha256]
                yield self.make_one(member, request.prompt.scene, request.seed, request.num_frames)
            except UserError as error:
                yield error

    def make_one(self, performer: Member, scene: str, seed: int, num_frames: int, exchange: Exchange | None = None) -> MadeClip:
        """The clip of one performer in a scene, or in any if that is empty.

        Args:
          exchange: what of somebody else's face is put on the performer's, whose own hair then shows.

        Raises:
          UserError: there is no other video.
        """
        rng = np.random.default_rng([seed, 7])
        plan = self._plan(performer, scene, exchange, rng)
        frames = compose(performer, plan, num_frames, rng)
        settings = {
            "body": plan.body.key,
            "clothes": plan.clothes.key,
            "background": plan.background.key,
            "scene": plan.background.scene,
            "place": plan.place,
            "bystander": plan.bystander,
            "own_body": plan.body.key == performer.key,
            "hat": (plan.crown or performer).hat,
            "frozen_head": plan.frozen_head,
            "face": plan.face,
        }
        return MadeClip(frames, settings)

    def _plan(self, performer: Member, scene: str, exchange: Exchange | None, rng: np.random.Generator) -> Plan:
        others = self._members.values()
        doubles = self._doubles(performer)
        own = not doubles or (performer.own_body and self._is_shown_by_lead(performer) and rng.random() < _OWN_BODY)
        body = performer if own else _pick_evenly(doubles, rng)
        if self._lead in doubles and rng.random() < _LEAD_BODY:
            body = self._lead
        walks = body.cut.walks
        place = "" if walks else PLACES[rng.integers(3)]
        bystander = place in ("left", "right") and rng.random() < 1.5 * _BYSTANDER
        behind = {"left": "right", "right": "left"}[place] if bystander else place or "centre"
        backgrounds = [m for m in others if m.key not in (performer.key, body.key)]
        if not backgrounds:
            raise UserError("there is no video to take a background from; add videos of other people to the corpus.")
        fitting = [m for m in backgrounds if self._places[m.key] == behind]
        bystander &= bool(fitting)
        fitting = fitting or backgrounds
        background = _pick([member for member in fitting if scene in ("", member.scene)] or fitting, rng)
        crown = None if exchange else self._crown(performer, rng)
        frozen = rng.random() < self._frozen(performer)
        face = ("turn", "nod")[rng.integers(2)] if rng.random() < _FACE and (frozen or not performer.face_moves) else ""
        if walks and rng.random() < _TURNED:
            face = "right" if (body.cut.head_x[-1] > body.cut.head_x[0]) else "left"
        if exchange is None and performer.skin and rng.random() < _OWN_REGION:
            exchange = Exchange(_pick(tuple(REGIONS), rng), performer.cut)
        clothes = self._clothes(body, rng)
        return Plan(
            body=body,
            clothes=clothes,
            cloth=Dye(self._cloths[body.key], self._cloths[clothes.key]) if clothes is not body else None,
            skin=Dye(self._skins[body.key], self._skins[performer.key]) if body.skin != performer.skin else None,
            crown=crown,
            background=background,
            place=place,
            bystander=bystander,
            frozen_head=frozen,
            face=face,
            mirrored_time=not walks and rng.random() < 0.5,
            hatted=bool(performer.hat),
            exchange=exchange,
        )

    def _doubles(self, performer: Member) -> list[Member]:
        """Who can lend the performer a body: those who show what the subject's bodies show too, if there are any. Else an action or a
        kind of clothes in which the subject is never seen would tell that it is somebody else."""
        found = [m for m in self._members.values() if m.lends and _is_double(m, performer) and self._can_have_skin(m, performer)]
        if performer.key == self._lead.key and performer.figure == self._lead.figure:
            return found
        return [member for member in found if self._is_shown_by_lead(member)] or found

    def _is_shown_by_lead(self, body: Member) -> bool:
        return all(value in shown for value, shown in zip(body.shows, self._shown, strict=False))

    @functools.cached_property
    def _shown(self) -> tuple[frozenset[str], ...]:
        """What the subject is seen doing and wearing."""
        bodies = [self._lead, *self._doubles(self._lead)]
        return tuple(frozenset(values) for values in zip(*(body.shows for body in bodies if body.shows), strict=True))

    def _can_have_skin(self, body: Member, performer: Member) -> bool:
        """Whether a body of somebody else can have the performer's skin."""
        known = self._skins[body.key] is not None and self._skins[performer.key] is not None
        return body.key != performer.key and (known or body.skin == performer.skin)

    def _clothes(self, body: Member, rng: np.random.Generator) -> Member:
        if self._cloths[body.key] is None or rng.random() >= _DYED:
            return body
        return _pick([member for member in self._members.values() if self._cloths[member.key] is not None], rng)

    def _crown(self, performer: Member, rng: np.random.Generator) -> Member | None:
        """Whose hat is put on or whose hair is shown, so that hats tell as little about who it is as clothes do."""
        hats, hair = self._lenders(performer)
        must = self._lead.hat and not self._lenders(self._lead)[1]  # if the subject never bares the head, nobody may
        wears = bool(must) or rng.random() < _HAT[performer.key == self._lead.key]
        if not performer.hat:
            return _pick(hats, rng) if wears and hats else None
        if not wears and hair:
            return _pick(hair, rng)
        return _pick(hats, rng) if hats and rng.random() < _OTHER_HAT else None

    def _frozen(self, performer: Member) -> float:
        """Probability of a head that does not move by itself: that a face moves must not tell who it is either."""
        if not performer.face_moves:
            return _FROZEN_HEAD
        if performer.key == self._lead.key:
            return 1 - _OWN_FACE
        return 0.0 if self._lead.face_moves else 1.0

    def _lenders(self, performer: Member) -> tuple[list[Member], list[Member]]:
        """Those whose hat fits, and those bareheaded with the same hair."""
        others = [m for m in self._members.values() if m.head and m.head == performer.head and m.key != performer.key]
        return [m for m in others if m.hat], [m for m in others if not m.hat and m.hair == performer.hair]


def _is_double(body: Member, performer: Member) -> bool:
    """Whether somebody has the figure of the performer; gait does not count in walking, unless the figure makes a look-alike."""
    walking = performer.own_body and body.figure == f"{performer.figure.split('/')[0]}/{WALKING}"
    return bool(body.figure) and (body.figure == performer.figure or walking)


def _pick_evenly(members: Sequence[Member], rng: np.random.Generator) -> Member:
    """One of the members, so that everything they do is as frequent, however many do it."""
    does = sorted({member.shows[:1] for member in members})
    chosen = does[rng.integers(len(does))]
    return _pick([member for member in members if member.shows[:1] == chosen], rng)


def _pick(members: Sequence[Member], rng: np.random.Generator) -> Member:
    return members[rng.integers(len(members))]
