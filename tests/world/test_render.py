import io
import itertools

import av
import numpy as np
import pytest

from pvchat_jax.world.figure import HAIR, TOP
from pvchat_jax.world.people import GARMENTS, HATS, IDENTITY_VALUES, TOP_COLOURS, Identity, Outfit
from pvchat_jax.world.plan import POSITIONS, Person, VideoPlan, plan_video
from pvchat_jax.world.render import BODY_X, NUM_FRAMES, SIZE, encode_video, render_frames
from pvchat_jax.world.scenes import SCENES

PERSON = {
    "skin": "tan",
    "hair_colour": "ginger",
    "hair_style": "short",
    "face": "round",
    "eyewear": "none",
    "facial_hair": "none",
    "mark": "none",
    "build": "slim",
}


def plan_of(
    *, outfit: Outfit | None = None, scene: str = "office", action: str = "stand", position: str = "centre", seed: int = 5, **identity: str
) -> VideoPlan:
    person = Person(
        identity=Identity(**(PERSON | identity)), outfit=outfit or Outfit(colour="green", garment="shirt"), action=action, position=position
    )
    return VideoPlan(split="train", index=0, seed=seed, role="positive", scene=scene, person=person, bystander=None, differences=())


def small_picture(plan: VideoPlan) -> np.ndarray:
    """The first frame as a 64-pixel model sees it, float[64, 64, 3]."""
    (frame,) = render_frames(plan, frames=(0,))
    return frame.reshape(64, 2, 64, 2, 3).mean((1, 3))


def differing_pixels(first: np.ndarray, second: np.ndarray) -> int:
    return int((np.abs(first - second).max(-1) > 40).sum())


@pytest.mark.parametrize("hat", HATS)
@pytest.mark.parametrize("attribute", IDENTITY_VALUES)
def test_each_value_of_an_attribute_shows_at_64_pixels(attribute: str, hat: str) -> None:
    outfit = Outfit(colour="green", garment="shirt", hat=hat)
    pictures = {value: small_picture(plan_of(outfit=outfit, **{attribute: value})) for value in IDENTITY_VALUES[attribute]}
    for first, second in itertools.combinations(pictures, 2):
        assert differing_pixels(pictures[first], pictures[second]) >= 25, f"{first} and {second} look alike"


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
        hair = small_picture(plan_of(hair_style="curls", hair_colour=name))[12:15, 28:36].mean((0, 1)) / 255
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


def test_the_second_person_is_painted() -> None:
    with_two = next(plan for index in range(200) if (plan := plan_video(0, "train", index)).bystander)
    alone = VideoPlan(**(vars(with_two) | {"bystander": None}))
    assert differing_pixels(small_picture(with_two), small_picture(alone)) > 300


def test_same_plan_gives_the_same_bytes() -> None:
    plan = plan_video(3, "train", 1)
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
