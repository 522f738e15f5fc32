"""insightface's real classes on a tiny model pack: faces come out as the contract says, bad packs are named, nothing is downloaded."""

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.choose import choose_reader
from pvchat_jax.synthesis.faces.insightface import InsightFaceReader
from tests.synthesis.faces.tiny_insightface import CELL, FACE, SIDE, draw_face, write_pack


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    tried: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        tried.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


def frame_with(*faces: tuple[int, int, int]) -> np.ndarray:
    frame = np.zeros((SIDE, SIDE, 3), np.uint8)
    for column, row, identity in faces:
        draw_face(frame, column, row, identity)
    return frame


def test_faces_are_found_and_told_apart(pack: Path, no_network: list[object]) -> None:
    reader = InsightFaceReader(pack, detector_size=SIDE)
    nobody, one, two = reader.read([frame_with(), frame_with((3, 2, 7)), frame_with((2, 5, 7), (6, 2, 8))])
    assert (len(nobody), len(one), len(two)) == (0, 1, 2)
    (face,) = one
    np.testing.assert_allclose(face.box, (3 * CELL - FACE / 2, 2 * CELL - FACE / 2, 3 * CELL + FACE / 2, 2 * CELL + FACE / 2), atol=0.1)
    assert face.keypoints.shape == (5, 2)
    assert face.keypoints[0, 0] < face.keypoints[1, 0]
    assert 0.5 < face.score <= 1
    assert np.linalg.norm(face.embedding) == pytest.approx(1)
    again, other = sorted(two, key=lambda face: face.box[0])
    assert face.embedding @ again.embedding > 0.99
    assert face.embedding @ other.embedding < 0.8
    assert no_network == []


def test_the_detector_sees_red_not_blue(pack: Path) -> None:
    frame = frame_with((3, 2, 7))
    assert InsightFaceReader(pack, detector_size=SIDE).read([frame[..., ::-1]]) == [[]]


def test_the_name_tells_recognisers_apart(pack: Path, tmp_path: Path) -> None:
    name = InsightFaceReader(pack, detector_size=SIDE).name
    copy = shutil.copytree(pack, tmp_path / "copy")
    assert InsightFaceReader(copy, detector_size=SIDE).name == name
    with open(copy / "w_tiny.onnx", "ab") as file:
        file.write(b"\x82\x01\x00")  # an empty field that readers skip
    assert InsightFaceReader(copy, detector_size=SIDE).name != name


def missing(folder: Path) -> Path:
    return folder / "buffalo_l"


def empty(folder: Path) -> Path:
    return folder


def junk(folder: Path) -> Path:
    write_pack(folder)
    (folder / "w_tiny.onnx").write_bytes(b"junk " * 40)
    return folder


def no_detector(folder: Path) -> Path:
    return write_pack(folder, detector=False)


def no_recogniser(folder: Path) -> Path:
    return write_pack(folder, recogniser=False)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (missing, "does not exist"),
        (empty, "no .onnx file"),
        (junk, "w_tiny.onnx is damaged"),
        (no_detector, "no face detector"),
        (no_recogniser, "no face recogniser"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_pack_is_one_sentence_and_downloads_nothing(
    make: Callable[[Path], Path], complaint: str, tmp_path: Path, no_network: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=complaint) as caught:
        choose_reader("insightface", folder)
    assert str(folder) in str(caught.value)
    assert str(caught.value).count(". ") == 0
    assert no_network == []
    assert sorted(tmp_path.rglob("*")) == before
    assert capfd.readouterr().out == ""


def test_the_reader_is_the_one_that_was_asked_for(pack: Path) -> None:
    assert choose_reader("auto", None).name.startswith("embedded")
    assert choose_reader("embedded", pack).name.startswith("embedded")
    with pytest.raises(UserError, match="needs the directory"):
        choose_reader("insightface", None)
    with pytest.raises(UserError, match="no face reader 'dlib'"):
        choose_reader("dlib", None)
    with pytest.raises(UserError, match="does not exist"):  # never quietly the other one
        choose_reader("auto", pack / "elsewhere")


@pytest.mark.parametrize(("name", "library"), [("insightface", "insightface"), ("embedded", "skimage")])
def test_a_missing_library_is_named_with_its_remedy(name: str, library: str, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # makes its import fail
    with pytest.raises(UserError, match=rf"{library}.*pip install 'pvchat_jax\[synthesis\]'"):
        choose_reader(name, pack)
