import dataclasses
import io
import itertools

import av
import numpy as np
import pytest

from pvchat_jax.world.figure import HAIR, SKIN, TOP
from pvchat_jax.world.people import GARMENTS, HATS, IDENTITY_VALUES, TOP_COLOURS, Identity, Outfit, pick, random_identity
from pvchat_jax.world.plan import POSITIONS, Person, VideoPlan, plan_base_video, plan_video
from pvchat_jax.world.render import SIZE, encode_video, render_frames
from pvchat_jax.world.scenes import SCENES
from pvchat_jax.world.staging import BODY_X, NUM_FRAMES

PERSON = {
    "skin": "tan",
    "hair_colour": "ginger",
    "hair_style": "short",
    "face": "round",
    "eyes": "brown",
    "facial_hair": "none",
    "mark": "none",
    "build": "slim",
    "gait": "steady",
}
SAMPLED = (1, 5, 9, 13)  # frames that a model sees of the 16
VISIBLE_PIXELS = 25  # of 64 x 64


def plan_of(
    *, outfit: Outfit | None = None, scene: str = "office", action: str = "stand", position: str = "centre", seed: int = 5, **identity: str
) -> VideoPlan:
    person = Person(
        identity=Identity(**(PERSON | identity)), outfit=outfit or Outfit(colour="green", garment="shirt"), action=action, position=position
    )
    return VideoPlan(split="train", index=0, seed=seed, role="positive", scene=scene, person=person, bystander=None, differences=())


def small_pictures(plan: VideoPlan, frames: tuple[int, ...]) -> np.ndarray:
    """Some frames as a 64-pixel model sees them, float[T, 64, 64, 3]."""
    return render_frames(plan, frames=frames).reshape(len(frames), 64, 2, 64, 2, 3).mean((2, 4))


def small_picture(plan: VideoPlan) -> np.ndarray:
    """The first frame as a 64-pixel model sees it, float[64, 64, 3]."""
    return small_pictures(plan, (0,))[0]


def differing_pixels(first: np.ndarray, second: np.ndarray, contrast: float = 40) -> int:
    """Pixels that differ by more than `contrast` of 255 in some channel, in the picture where most of them do."""
    differences = np.abs(first - second).max(-1) > contrast
    return int(differences.sum((-2, -1)).max())


@pytest.mark.parametrize("hat", HATS)
@pytest.mark.parametrize("attribute", IDENTITY_VALUES)
def test_each_value_of_an_attribute_shows_at_64_pixels(attribute: str, hat: str) -> None:
    outfit = Outfit(colour="green", garment="shirt", hat=hat)
    frames = SAMPLED if attribute == "gait" else (0,)
    pictures = {value: small_pictures(plan_of(outfit=outfit, **{attribute: value}), frames) for value in IDENTITY_VALUES[attribute]}
    for first, second in itertools.combinations(pictures, 2):
        assert differing_pixels(pictures[first], pictures[second]) >= VISIBLE_PIXELS, f"{first} and {second} look alike"


@pytest.mark.parametrize("attribute", IDENTITY_VALUES)
def test_one_difference_shows_on_anybody(attribute: str) -> None:
    """White and pale, or ginger and brown, are near, so colours need less contrast to count."""
    rng = np.random.default_rng(list(IDENTITY_VALUES).index(attribute))
    frames = SAMPLED if attribute == "gait" else (0,)
    for _ in range(12):
        identity = random_identity(rng, "base")
        value = pick(rng, [value for value in IDENTITY_VALUES[attribute] if value != getattr(identity, attribute)])
        outfit = Outfit(colour=pick(rng, TOP_COLOURS), garment="shirt", hat=pick(rng, HATS))
        pictures = [
            small_pictures(plan_of(outfit=outfit, **dataclasses.asdict(person)), frames)
            for person in (identity, dataclasses.replace(identity, **{attribute: value}))
        ]
        assert differing_pixels(*pictures, contrast=30) >= VISIBLE_PIXELS, f"{identity} looks like one with {attribute} {value}"


@pytest.mark.parametrize("hair_colour", HAIR)
@pytest.mark.parametrize("skin", SKIN)
def test_facial_hair_shows_on_every_skin(skin: str, hair_colour: str) -> None:
    values = IDENTITY_VALUES["facial_hair"]
    pictures = [small_picture(plan_of(skin=skin, hair_colour=hair_colour, facial_hair=value)) for value in values]
    for first, second in itertools.combinations(pictures, 2):
        assert differing_pixels(first, second, contrast=30) >= VISIBLE_PIXELS


@pytest.mark.parametrize("facial_hair", IDENTITY_VALUES["facial_hair"])
@pytest.mark.parametrize("hair_style", IDENTITY_VALUES["hair_style"])
def test_face_shapes_show_under_all_hair(hair_style: str, facial_hair: str) -> None:
    pictures = [small_picture(plan_of(face=face, hair_style=hair_style, facial_hair=facial_hair)) for face in IDENTITY_VALUES["face"]]
    assert min(differing_pixels(first, second) for first, second in itertools.combinations(pictures, 2)) >= 60


def test_each_outfit_shows_at_64_pixels() -> None:
    for garments in (
        [Outfit(colour=name, garment="shirt") for name in TOP_COLOURS],
        [Outfit(colour="red", garment=name) for name in GARMENTS],
    ):
        pictures = [small_picture(plan_of(outfit=outfit)) for outfit in garments]
        assert min(differing_pixels(first, second) for first, second in itertools.combinations(pictures, 2)) >= 40


def test_hair_and_top_have_their_colours() -> None:
    for name, colour in HAIR.items():
        hair = small_picture(plan_of(hair_style="curls", hair_colour=name))[14:17, 28:36].mean((0, 1)) / 255
        assert min(HAIR, key=lambda other: np.abs(hair - HAIR[other]).sum()) == name, (hair, colour)
    for name, colour in TOP.items():
        top = small_picture(plan_of(outfit=Outfit(colour=name, garment="shirt")))[58:63, 28:36].mean((0, 1)) / 255
        assert min(TOP, key=lambda other: np.abs(top - TOP[other]).sum()) == name, (top, colour)


def test_scenes_differ_in_colour() -> None:
    strips = {scene: small_picture(plan_of(scene=scene))[:, [*range(8), *range(56, 64)]].mean(1) for scene in SCENES}
    for first, second in itertools.combinations(strips, 2):
        assert np.abs(strips[first] - strips[second]).mean() > 15, f"{first} and {second} look alike"


def test_people_stand_where_the_plan_says() -> None:
    for position in POSITIONS:
        picture = small_picture(plan_of(position=position, outfit=Outfit(colour="pink", garment="shirt")))
        pink = np.abs(picture - np.asarray(TOP["pink"]) * 255).sum(-1) < 90
        assert abs(2 * np.nonzero(pink)[1].mean() - BODY_X[position]) < 9


def test_the_second_person_is_painted_behind_the_first() -> None:
    with_two = next(plan for index in range(200) if (plan := plan_video(0, "train", index)).bystander)
    alone = dataclasses.replace(with_two, bystander=None)
    assert differing_pixels(small_picture(with_two), small_picture(alone)) > 300
    together = dataclasses.replace(with_two, bystander=dataclasses.replace(with_two.bystander, position=with_two.person.position))
    left = round(BODY_X[with_two.person.position]) - 12
    chest = [render_frames(plan, frames=(0,))[0, 118:126, left : left + 24].astype(int) for plan in (together, alone)]
    assert np.abs(chest[0] - chest[1]).max() <= 1


def test_same_plan_gives_the_same_bytes() -> None:
    for plan in (plan_video(3, "train", 1), plan_base_video(3, 1)):
        assert encode_video(render_frames(plan)) == encode_video(render_frames(plan))
        assert (render_frames(plan, frames=(4, 9)) == render_frames(plan)[[4, 9]]).all()


def test_file_is_plain_h264_and_keeps_the_picture() -> None:
    frames = render_frames(plan_video(0, "train", 2))
    assert frames.shape == (NUM_FRAMES, SIZE, SIZE, 3)
    with av.open(io.BytesIO(encode_video(frames))) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt, float(stream.average_rate)) == ("h264", "yuv420p", 8.0)
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
    assert decoded.shape == frames.shape
    error = np.abs(decoded.astype(int) - frames)
    assert error.mean() < 4
