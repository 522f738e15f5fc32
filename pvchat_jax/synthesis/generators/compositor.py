"""Places people cut out of one video into other scenes: the generator that needs no model.

A clip is put together from up to four filmed videos: the performer's head, a body, a background, and perhaps a bystander. The body is
the performer's own with its own movement, or that of somebody of the same figure (a body double), which brings other clothes and
other actions. Who lends what is chosen here; composing.py puts the pixels together. Whatever is done to the subject is
done to everybody else, by the same code, with the same bodies and backgrounds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import OF_THE_FACE, Looks, Outline
from pvchat_jax.synthesis.generators.composing import PLACES, Member, Plan, compose
from pvchat_jax.synthesis.generators.cutouts import CutOut, straight_frames
from pvchat_jax.synthesis.generators.exchanging import REGIONS, Exchange
from pvchat_jax.synthesis.generators.generator import ClipRequest, MadeClip
from pvchat_jax.synthesis.generators.lending import Lenders, pick_evenly

_FACES = dict(zip(OF_THE_FACE, ("nod", "turn"), strict=True))
_T = TypeVar("_T")
_OWN_BODY = 0.2
_LEAD_BODY = 0.25  # of those who are not the subject; as their figures are often others, both wear the subject's clothes equally often
_DYED = 0.6  # of those in colourful clothes
_HAT = {True: 0.5, False: 0.4}  # of the subject and of the others, some of whom cannot take theirs off
_OTHER_HAT = 0.6  # of those who wear one and go on doing so
_BYSTANDER = 0.25
_FROZEN_HEAD = 0.3
_OWN_FACE = 0.25  # of clips of a subject who nods or looks around in the one video, those in which this is seen
_FACE = 0.35  # of clips, in which the face moves within the head
_OWN_REGION = 0.5  # of clips in which the face is nobody else's, those in which a part of it is put on again
_RESHAPED = 0.4  # of clips in which the head keeps its outline, those in which it gets another one and then its own again
_FOLLOWS = 0.7  # of clips in which the face does what the face of the body's video does


def member_of(key: str, cut: CutOut, looks: Looks | None) -> Member:
    """Somebody as a reader sees them; what it cannot tell stays empty, and then bodies, hats and parts of faces are not exchanged."""
    if looks is None:
        return Member(key, figure="", scene="", cut=cut)
    if looks.moves_face:
        cut = cut._replace(clear=straight_frames(cut))
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
        outline=looks.outline,
        features=looks.features,
    )


class Cast(NamedTuple):
    """Who is in a clip.

    Attributes:
      performer: as among the members, or with another figure, or with another outline, which the head then gets.
      seed: decides everything that is not asked for.
      exchange: what of somebody else's face is put on the performer's, whose own hair then shows.
    """

    performer: Member
    seed: int
    exchange: Exchange | None = None


class Compositor:
    """`generators.generator.ClipGenerator` of cut-outs.

    Args:
      members: everybody whose video may be used, by sha256 of it, performers included.
      lead: key of the subject. Others of the same figure are often seen with the subject's body, so that its clothes tell nothing.
    """

    name = "compositor/3"
    origin = "composited"
    frames_per_second = 8.0

    def __init__(self, members: Mapping[str, Member], lead: str) -> None:
        self._lenders = Lenders(members, lead)

    def make(self, requests: Sequence[ClipRequest]) -> Iterator[MadeClip | UserError]:
        """As the protocol says. `settings` has `body`, `clothes`, `background` (keys) and `scene`, `place`, `bystander`, `own_body`, `hat`,
        `frozen_head`, `face` of the plan; `exchange` and `outline` say what of whose head is another one's."""
        for request in requests:
            cast = self._cast(request.performer.source.sha256, request.seed)
            like = request.counterpart and self._cast(*request.counterpart)
            try:
                yield self.make_one(cast, request.num_frames, scene=request.prompt.scene, like=like)
            except UserError as error:
                yield error

    def make_one(self, cast: Cast, num_frames: int, *, scene: str = "", like: Cast | None = None) -> MadeClip:
        """The clip of one performer in a scene, or in any if that is empty.

        Args:
          like: whose clip this one is to be like in everything but the performer.

        Raises:
          UserError: there is no other video.
        """
        rng = np.random.default_rng([cast.seed, 7])
        plan = self._plan(cast, scene, rng)
        if like is not None:
            model = self._plan(like, scene, np.random.default_rng([like.seed, 7]))
            plan = self._likened(plan, cast, model, (model.crown or like.performer).hat, rng)
        performer = cast.performer
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
            "exchange": "" if cast.exchange is None else cast.exchange.region,
            "outline": "" if performer.outline == self._lenders[performer.key].outline else performer.head,
        }
        return MadeClip(frames, settings)

    def _cast(self, source: str, seed: int) -> Cast:
        return Cast(self._lenders[source], seed)

    def _plan(self, cast: Cast, scene: str, rng: np.random.Generator) -> Plan:
        performer, lend = cast.performer, self._lenders
        doubles = lend.bodies(performer)
        own = not doubles or (performer.own_body and lend.is_shown_by_lead(performer) and rng.random() < _OWN_BODY)
        body = lend[performer.key] if own else pick_evenly(doubles, rng)
        if lend.lead in doubles and rng.random() < _LEAD_BODY:
            body = lend.lead
        walks = body.cut.walks
        place = "" if walks else PLACES[rng.integers(3)]
        bystander = place in ("left", "right") and rng.random() < 1.5 * _BYSTANDER
        behind = {"left": "right", "right": "left"}[place] if bystander else place or "centre"
        backgrounds, fitting = lend.backgrounds(behind, scene, (performer, body))
        if not backgrounds:
            raise UserError("there is no video to take a background from; add videos of other people to the corpus.")
        crown = None if cast.exchange else self._crown(performer, rng)
        frozen = rng.random() < self._frozen(performer)
        face = ("turn", "nod")[rng.integers(2)] if rng.random() < _FACE and (frozen or not performer.face_moves) else ""
        if (frozen or not performer.face_moves) and rng.random() < _FOLLOWS:
            face = _face_of(body) or face
        exchange = cast.exchange
        if exchange is None and performer.skin and rng.random() < _OWN_REGION:
            exchange = Exchange(_pick(tuple(REGIONS), rng), performer.cut)
        clothes = _pick(lend.coloured() or [body], rng) if rng.random() < _DYED else body
        cloth = lend.cloth_dye(body, clothes)
        return Plan(
            body=body,
            clothes=clothes if cloth else body,
            cloth=cloth,
            skin=lend.skin_dye(body, performer),
            crown=crown,
            background=_pick(backgrounds, rng),
            place=place,
            bystander=bystander and fitting,
            frozen_head=frozen,
            face=face,
            mirrored_time=not walks and rng.random() < 0.5,
            hatted=bool(performer.hat),
            exchange=exchange,
            outlines=self._outlines(performer, rng.random() < _RESHAPED, rng),
        )

    def _likened(self, plan: Plan, cast: Cast, model: Plan, hat: str, rng: np.random.Generator) -> Plan:
        """A plan for the cast that takes from another one, in which somebody wears `hat`, all that it can: then none of it tells who is
        there."""
        performer, lend = cast.performer, self._lenders
        body = self._body_like(model.body, performer, rng)
        if body is None:
            return plan
        background = model.background
        if background.key in (performer.key, body.key):
            place = {"left": "right", "right": "left"}[model.place] if model.bystander else model.place or "centre"
            background = _pick(lend.backgrounds(place, background.scene, (performer, body))[0], rng)
        cloth = lend.cloth_dye(body, model.clothes)
        own_face = performer.face_moves and rng.random() < _OWN_FACE
        exchange = cast.exchange
        if exchange is None and model.exchange is not None and performer.skin:
            exchange = Exchange(model.exchange.region, performer.cut)
        reshaped = len(set(model.outlines)) > 1
        return model._replace(
            body=body,
            clothes=model.clothes if cloth else body,
            cloth=cloth,
            skin=lend.skin_dye(body, performer),
            crown=self._crown_like(hat, performer, rng),
            background=background,
            frozen_head=not own_face if performer.face_moves else model.frozen_head,
            face="" if own_face and model.place else model.face,
            hatted=bool(performer.hat),
            exchange=exchange,
            outlines=self._outlines(performer, reshaped, rng),
        )

    def _body_like(self, model: Member, performer: Member, rng: np.random.Generator) -> Member | None:
        """A body for the performer that does what another one does, if possible the same body or at least in the same kind of clothes."""
        own = [self._lenders[performer.key]] if performer.own_body else []
        could = (*own, *self._lenders.bodies(performer))
        found = [body for body in could if body.shows[:1] == model.shows[:1] and body.cut.walks == model.cut.walks]
        for alike in ([body for body in found if body.key == model.key], [body for body in found if body.shows == model.shows], found):
            if alike:
                return _pick(alike, rng)
        return None

    def _crown_like(self, hat: str, performer: Member, rng: np.random.Generator) -> Member | None:
        """`Plan.crown` for somebody who is to wear `hat`, or to be bareheaded if that is empty, as far as others can lend it."""
        hats, hair = self._lenders.hats(performer), self._lenders.hair(performer)
        if not hat:
            return _pick(hair, rng) if performer.hat and hair else None
        same = [member for member in hats if member.hat == hat] or hats
        if not same or (performer.hat == hat and rng.random() < 1 / (len(same) + 1)):
            return None
        return _pick(same, rng)

    def _outlines(self, performer: Member, changed: bool, rng: np.random.Generator) -> tuple[Outline, ...]:
        """`Plan.outlines`; if a head that keeps its outline is to be `changed`, it gets another one and then its own again, so that traces
        of changes tell nothing."""
        own, last = self._lenders[performer.key].outline, performer.outline
        if own is None or last is None:
            return ()
        others = self._lenders.outlines(own)
        return (own, _pick(others, rng), own) if own == last and others and changed else (own, last)

    def _crown(self, performer: Member, rng: np.random.Generator) -> Member | None:
        """Whose hat is put on or whose hair is shown, so that hats tell as little about who it is as clothes do."""
        lend = self._lenders
        hats, hair = lend.hats(performer), lend.hair(performer)
        must = lend.lead.hat and not lend.hair(lend.lead)  # if the subject never bares the head, nobody may
        wears = bool(must) or rng.random() < _HAT[performer.key == lend.lead.key]
        if not performer.hat:
            return _pick(hats, rng) if wears and hats else None
        if not wears and hair:
            return _pick(hair, rng)
        return _pick(hats, rng) if hats and rng.random() < _OTHER_HAT else None

    def _frozen(self, performer: Member) -> float:
        """Probability of a head that does not move by itself: that a face moves must not tell who it is either."""
        if not performer.face_moves:
            return _FROZEN_HEAD
        if performer.key == self._lenders.lead.key:
            return 1 - _OWN_FACE
        return 0.0 if self._lenders.lead.face_moves else 1.0


def _face_of(body: Member) -> str:
    """How the face moves, as `Plan.face`, in the video that a body comes from."""
    if body.cut.walks:
        return "right" if body.cut.head_x[-1] > body.cut.head_x[0] else "left"
    return _FACES.get(body.shows[0], "") if body.shows else ""


def _pick(members: Sequence[_T], rng: np.random.Generator) -> _T:
    return members[rng.integers(len(members))]
