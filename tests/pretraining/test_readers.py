"""Readers and the labels of tokens, on small cases done by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.pretraining.readers import (
    GROUPS,
    NUM_OUTPUTS,
    POSE_WEIGHT,
    TokenLabels,
    init_readers,
    person_loss,
    read,
    read_person,
    reader_loss,
    token_labels,
)
from pvchat_jax.pretraining.truth import PERSON_CLASSES, POSE_SCALES

jitted = functools.cache(jax.jit)  # one compilation of a function instead of one for each of its operations
NOWHERE = (0.0, 0.0, 0.0, 0.0)
GRID = 4  # centres at 1/8, 3/8, 5/8, 7/8


def labels_of_boxes(heads: list, bodies: list, *, people: tuple[int, int] = (1, 2)) -> TokenLabels:
    """Labels where the people's classes are all 1 or all 2; boxes are [P, T, 4] lists."""
    classes = np.array(people)[None, :, None] * np.ones((1, 1, len(PERSON_CLASSES)), int)
    time = len(heads[0])
    poses = np.arange(2 * time, dtype=np.float32).reshape(1, 2, time, 1) * np.ones(len(POSE_SCALES), np.float32)
    find = jax.jit(functools.partial(token_labels, grid_size=GRID))
    return find(classes, np.asarray([heads], np.float32), np.asarray([bodies], np.float32), poses, np.array([3]))


def test_tokens_go_by_time_then_row_then_column() -> None:
    head = [NOWHERE, (0.5, 0.0, 0.75, 0.25)]  # in the second frame the token of the first row and third column
    labels = labels_of_boxes([head, [NOWHERE] * 2], [[NOWHERE] * 2] * 2)
    assert labels.person.shape == (1, 2 * GRID * GRID, len(PERSON_CLASSES))
    owned = np.flatnonzero(np.asarray(labels.person[0, :, 0]) >= 0)
    assert owned.tolist() == [GRID * GRID + 2]
    assert labels.scene.tolist() == [3]


def test_a_low_box_is_in_late_rows() -> None:
    labels = labels_of_boxes([[(0.0, 0.75, 0.25, 1.0)], [NOWHERE]], [[NOWHERE]] * 2)
    assert np.flatnonzero(np.asarray(labels.person[0, :, 0]) >= 0).tolist() == [3 * GRID]


def test_the_person_in_front_wins_and_heads_come_before_bodies() -> None:
    everywhere, left_half, top_left = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 0.25, 0.25)
    # The first person's body is on the left, the bystander's everywhere, and the bystander's head in the corner.
    labels = labels_of_boxes([[NOWHERE], [top_left]], [[left_half], [everywhere]])
    who = np.asarray(labels.person[0, :, 0]).reshape(GRID, GRID)
    assert who.tolist() == [[2, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]]
    both_heads = labels_of_boxes([[top_left], [top_left]], [[NOWHERE], [NOWHERE]])
    assert int(both_heads.person[0, 0, 0]) == 1


def test_poses_are_those_of_the_owner_at_that_time() -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    labels = labels_of_boxes([[NOWHERE] * 2] * 2, [[left, left], [right, right]])
    pose = np.asarray(labels.pose[0, :, 0]).reshape(2, GRID, GRID)
    assert (pose[0, :, :2] == 0).all() and (pose[1, :, :2] == 1).all()  # the first person's two frames
    assert (pose[0, :, 2:] == 2).all() and (pose[1, :, 2:] == 3).all()


def test_background_has_no_person() -> None:
    labels = labels_of_boxes([[NOWHERE]] * 2, [[NOWHERE]] * 2)
    assert (np.asarray(labels.person) == -1).all()


def test_read_gives_each_group_its_columns() -> None:
    readers = {"kernel": np.eye(NUM_OUTPUTS, dtype=np.float32), "bias": np.full(NUM_OUTPUTS, 0.5, np.float32)}
    outputs = jitted(read)(readers, np.arange(NUM_OUTPUTS, dtype=np.float32)[None])
    assert {name: values.shape for name, values in outputs.items()} == {name: (1, size) for name, size in GROUPS.items()}
    np.testing.assert_allclose(np.concatenate([outputs[name][0] for name in GROUPS]), np.arange(NUM_OUTPUTS) + 0.5)
    few = read({"kernel": np.eye(3), "bias": np.zeros(3)}, jnp.asarray([[5.0, 6.0, 7.0]]), {"first": 1, "rest": 2})
    assert few["first"].tolist() == [[5.0]]
    assert few["rest"].tolist() == [[6.0, 7.0]]


def test_readers_fit_the_tokens() -> None:
    readers = init_readers(jax.random.key(0), 6)
    assert readers["kernel"].shape == (6, NUM_OUTPUTS)
    assert readers["bias"].shape == (NUM_OUTPUTS,)


def sure(classes: np.ndarray, size: int) -> np.ndarray:
    """Outputs for a group of `size` that say `classes`."""
    return 20 * np.eye(size, dtype=np.float32)[np.maximum(classes, 0)]


def sure_outputs(person: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs that say what `person`, int[B, L, C], says."""
    outputs = {"occupied": sure((person[..., 0] >= 0).astype(int), 2)}
    return outputs | {name: sure(person[..., column], len(classes)) for column, (name, classes) in enumerate(PERSON_CLASSES.items())}


PERSON = np.array([[1, 1, -1, -1]])[..., None] * np.ones(len(PERSON_CLASSES), int)  # two tokens of one person and two of background


def test_right_readings_cost_nothing_and_wrong_ones_their_group() -> None:
    right = sure_outputs(PERSON)
    loss, accuracies = jitted(person_loss)(right, PERSON)
    assert loss < 1e-5
    assert set(accuracies) == {"accuracy/occupied", *(f"accuracy/{name}" for name in PERSON_CLASSES)}
    assert all(float(value) == pytest.approx(1) for value in accuracies.values())
    loss, accuracies = jitted(person_loss)(right | {"eyes": sure(np.zeros((1, 4), int), 3)}, PERSON)
    assert float(loss) == pytest.approx(20, rel=1e-3)
    assert accuracies["accuracy/eyes"] == 0
    assert float(accuracies["accuracy/gait"]) == pytest.approx(1)


def test_background_tokens_say_nothing_about_people() -> None:
    outputs = sure_outputs(PERSON)
    noise = outputs["eyes"].copy()
    noise[:, 2:] = (9.0, -9.0, 3.0)
    assert jitted(person_loss)(outputs | {"eyes": noise}, PERSON)[0] == jitted(person_loss)(outputs, PERSON)[0]
    empty = np.full_like(PERSON, -1)
    assert jitted(person_loss)(sure_outputs(empty), empty)[0] < 1e-5


def test_scene_and_pose_add_their_errors() -> None:
    labels = TokenLabels(PERSON, np.ones((1, 4, len(POSE_SCALES)), np.float32), np.array([3]))
    outputs = sure_outputs(PERSON) | {"scene": sure(np.full((1, 4), 3), GROUPS["scene"]), "pose": labels.pose}
    loss, accuracies = jitted(reader_loss)(outputs, labels)
    assert loss < 1e-5
    assert accuracies["accuracy/scene"] == 1
    of_person = np.array([1, 1, 0, 0])[None, :, None]
    shifted, _ = jitted(reader_loss)(outputs | {"pose": labels.pose + 2 * of_person}, labels)
    assert float(shifted - loss) == pytest.approx(4 * POSE_WEIGHT, rel=1e-5)
    background, _ = jitted(reader_loss)(outputs | {"pose": labels.pose + 2 * (1 - of_person)}, labels)
    assert background == loss


def test_a_person_is_read_off_the_tokens_that_show_one() -> None:
    outputs = sure_outputs(PERSON)
    outputs["eyes"][:, 2:] = (50.0, 0.0, 0.0)  # the background says something else
    joined = np.concatenate([*outputs.values(), np.zeros((1, 4, GROUPS["scene"] + GROUPS["pose"]))], axis=-1, dtype=np.float32)
    readers = {"kernel": np.eye(NUM_OUTPUTS, dtype=np.float32), "bias": np.zeros(NUM_OUTPUTS, np.float32)}
    said = jitted(read_person)(readers, joined)
    assert set(said) == set(PERSON_CLASSES)
    for name, values in said.items():
        assert values.shape == (1, len(PERSON_CLASSES[name]))
        assert int(values.argmax()) == 1
        assert float(values.max()) == pytest.approx(0, abs=1e-4)
