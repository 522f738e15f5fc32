"""Readers and the labels of tokens, on small cases done by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pvchat_jax.pretraining.readers import (
    GROUPS,
    MOMENTS,
    NUM_OFFSETS,
    NUM_OUTPUTS,
    OFFSET_STEP,
    OFFSETS_WEIGHT,
    TokenLabels,
    init_readers,
    person_loss,
    pool,
    read,
    read_person,
    reader_loss,
    token_labels,
)
from pvchat_jax.pretraining.truth import PERSON_CLASSES, POINTS, POSE_CLASSES

jitted = functools.cache(jax.jit)  # one compilation of a function instead of one for each of its operations
NOWHERE = (0.0, 0.0, 0.0, 0.0)
GRID = 4  # centres at 1/8, 3/8, 5/8, 7/8


def labels_of_boxes(heads: list, bodies: list, *, people: tuple[int, int] = (1, 2)) -> TokenLabels:
    """Labels where the people's classes are all 1 or all 2; boxes are [P, T, 4] lists."""
    classes = np.array(people)[None, :, None] * np.ones((1, 1, len(PERSON_CLASSES)), int)
    time = len(heads[0])
    points = np.arange(2 * time, dtype=np.float32).reshape(1, 2, time, 1, 1) * np.ones((len(POINTS), 2), np.float32) / 10
    poses = np.arange(2 * time).reshape(1, 2, time, 1) * np.ones(len(POSE_CLASSES), int)
    find = jax.jit(functools.partial(token_labels, grid_size=GRID))
    return find(classes, np.asarray([heads], np.float32), np.asarray([bodies], np.float32), points, poses, np.array([3]))


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


def test_offsets_and_poses_are_those_of_the_owner_at_that_time() -> None:
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    labels = labels_of_boxes([[NOWHERE] * 2] * 2, [[left, left], [right, right]])
    assert labels.offsets.shape == (1, 2 * GRID * GRID, len(POINTS), 2)
    assert labels.poses.shape == (1, 2 * GRID * GRID, MOMENTS * len(POSE_CLASSES))
    half = NUM_OFFSETS // 2
    offsets = np.asarray(labels.offsets[0, :, 0]).reshape(2, GRID, GRID, 2) - half
    poses = np.asarray(labels.poses[0]).reshape(2, GRID, GRID, MOMENTS, len(POSE_CLASSES))
    # The first person's points are at 0 and 0.1 in the two frames, the second's at 0.2 and 0.3; poses are numbered in that order.
    for time, row, column in ((0, 0, 0), (1, 2, 1), (0, 3, 2), (1, 1, 3)):
        number = time + (2 if column > 1 else 0)
        here = np.array([column + 0.5, row + 0.5]) / GRID
        expected = np.clip(np.round((number / 10 - here) / OFFSET_STEP), -half, half)
        assert offsets[time, row, column].tolist() == expected.tolist()
        next_number = (time + 1) % 2 + (2 if column > 1 else 0)
        assert poses[time, row, column].tolist() == [[number] * len(POSE_CLASSES), [next_number] * len(POSE_CLASSES)]


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


def sure_labels(labels: TokenLabels) -> dict[str, np.ndarray]:
    """Outputs that say what `labels` say, with the same trust in every token."""
    offsets = sure(labels.offsets, NUM_OFFSETS).reshape(*labels.offsets.shape[:2], -1)
    names = [f"{name} {later}" for later in range(MOMENTS) for name in POSE_CLASSES]
    poses = {name: sure(labels.poses[..., column], GROUPS[name]) for column, name in enumerate(names)}
    scene = sure(np.broadcast_to(labels.scene[:, None], labels.owner.shape), GROUPS["scene"])
    trust = np.zeros((*labels.owner.shape, len(PERSON_CLASSES)), np.float32)
    return sure_outputs(labels.person) | {"trust": trust, "scene": scene, "offsets": offsets} | poses


def of_one_person() -> TokenLabels:
    """A clip of four tokens, of which two show the one person."""
    owner = np.array([[0, 0, -1, -1]])
    poses = np.ones((1, 4, MOMENTS * len(POSE_CLASSES)), int)
    return TokenLabels(owner, PERSON, np.full((1, 4, len(POINTS), 2), 5), poses, np.array([3]))


def test_scene_offsets_and_poses_add_their_errors() -> None:
    labels, people = of_one_person(), PERSON[:, :1]
    outputs = sure_labels(labels)
    loss, accuracies = jitted(reader_loss)(outputs, labels, people)
    assert loss < 1e-4
    assert accuracies["accuracy/scene"] == 1
    assert all(float(value) == pytest.approx(1) for name, value in accuracies.items() if name.startswith(("read/", "pose/")))

    def costs(changed: TokenLabels) -> float:
        return float(jitted(reader_loss)(sure_labels(changed), labels, people)[0] - loss)

    def elsewhere(field: str, tokens: slice, *column: int) -> TokenLabels:
        values = getattr(labels, field).copy()
        values[(0, tokens, *column)] += 1
        return labels._replace(**{field: values})

    assert costs(elsewhere("offsets", slice(0, 2), 1, 0)) == pytest.approx(20 * OFFSETS_WEIGHT, rel=1e-3)
    assert costs(elsewhere("poses", slice(0, 2), 3)) == pytest.approx(20 / MOMENTS, rel=1e-3)
    assert costs(labels._replace(scene=np.array([4]))) == pytest.approx(20, rel=1e-3)
    for field in ("offsets", "poses"):
        assert costs(elsewhere(field, slice(2, 4))) == 0  # of the background


def test_a_person_is_read_by_token_and_as_a_whole() -> None:
    labels, people = of_one_person(), PERSON[:, :1]
    right = sure_labels(labels)
    loss, _ = jitted(reader_loss)(right, labels, people)
    misread = right | {"eyes": np.where(labels.owner[..., None] == 0, sure(np.zeros((1, 4), int), 3), right["eyes"])}
    both, accuracies = jitted(reader_loss)(misread, labels, people)
    assert float(both - loss) == pytest.approx(2 * 20, rel=1e-3)
    assert accuracies["read/eyes"] == 0
    # A background token that claims to show the person is believed, as it will be when there are no labels.
    claims = right | {
        "occupied": sure(np.ones((1, 4), int), 2),
        "eyes": np.where(labels.owner[..., None] == 0, 0, 1) * sure(np.zeros((1, 4), int), 3),
    }
    _, accuracies = jitted(reader_loss)(claims, labels, people)
    assert accuracies["read/eyes"] == 0


def test_tokens_of_another_person_do_not_count() -> None:
    labels = of_one_person()
    person = labels.person.copy()
    person[:, 2:] = 0  # the last two tokens show a second person, of other classes
    two = labels._replace(owner=np.array([[0, 0, 1, 1]]), person=person)
    people = np.stack([person[:, 0], person[:, 2]], axis=1)
    _, accuracies = jitted(reader_loss)(sure_labels(two), two, people)
    assert all(float(value) == pytest.approx(1) for name, value in accuracies.items() if name.startswith("read/"))


def test_tokens_that_trust_their_word_decide() -> None:
    outputs = {name: np.zeros((2, len(classes)), np.float32) for name, classes in PERSON_CLASSES.items()}
    outputs["eyes"][0] = (5, 0, 0)
    outputs["eyes"][1] = (0, 5, 0)
    trust = np.zeros((2, len(PERSON_CLASSES)), np.float32)
    trust[1, list(PERSON_CLASSES).index("eyes")] = 8
    said = pool(outputs | {"trust": trust}, np.zeros(2))
    assert np.argmax(said["eyes"]) == 1
    assert np.argmax(pool(outputs | {"trust": trust}, np.array([0.0, -1e9]))["eyes"]) == 0  # what does not count at all


def test_a_person_is_read_off_the_tokens_that_show_one() -> None:
    outputs = sure_outputs(PERSON)
    outputs["eyes"][:, 2:] = (50.0, 0.0, 0.0)  # the background says something else
    rest = NUM_OUTPUTS - sum(values.shape[-1] for values in outputs.values())
    joined = np.concatenate([*outputs.values(), np.zeros((1, 4, rest))], axis=-1, dtype=np.float32)
    readers = {"kernel": np.eye(NUM_OUTPUTS, dtype=np.float32), "bias": np.zeros(NUM_OUTPUTS, np.float32)}
    said = jitted(read_person)(readers, joined)
    assert set(said) == set(PERSON_CLASSES)
    for name, values in said.items():
        assert values.shape == (1, len(PERSON_CLASSES[name]))
        assert int(values.argmax()) == 1
        assert float(values.max()) == pytest.approx(0, abs=1e-4)
