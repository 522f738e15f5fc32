"""The index of a folder of faces: what is in it, what was set aside, and what an interruption or a change of the folder does to it."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.synthesis.faces.reader import Face
from pvchat_jax.synthesis.retrieval.corpus import Corpus, build_corpus
from pvchat_jax.synthesis.watch.pictures import read_frame
from pvchat_jax.world.render import encode_video

SIZE = 96


class ColourReader:
    """Sees a face in every frame that is not black; its embedding is the mean colour."""

    name = "colours 1"
    same_person = 0.99
    alike = 0.8
    fewest_pixels = 48
    quality_note = ""

    def __init__(self) -> None:
        self.frames_read = 0

    def read(self, frames: Sequence[np.ndarray]) -> list[list[Face]]:
        self.frames_read += len(frames)
        found = []
        for frame in frames:
            colour = frame.reshape(-1, 3).mean(axis=0).astype(np.float32)
            height, width = frame.shape[:2]
            face = Face((0.25 * width, 0.0, width, 0.75 * height), None, 0.9, colour / max(np.linalg.norm(colour), 1e-9))
            found.append([face] if colour.max() > 20 else [])
        return found


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (SIZE, SIZE)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for name, colour in {"red": (200, 0, 0), "orange": (200, 100, 0), "pink/rose": (200, 60, 60), "black": (0, 0, 0)}.items():
        paint(folder / f"{name}.png", colour)
    whole = (folder / "red.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no picture")
    return folder


def files(corpus: Corpus) -> dict[str, np.ndarray]:
    """Embedding by name of the file, as search finds it."""
    everything = corpus.nearest(np.full(3, 3**-0.5, np.float32), 99, (-1.0, 2.0))
    return {face.file.name: corpus.embeddings[face.row] for face in everything}


def test_search_finds_files_and_boxes_and_broken_ones_are_listed(folder: Path, tmp_path: Path) -> None:
    corpus = build_corpus(folder, ColourReader(), tmp_path / "out")
    faces = corpus.nearest(np.array([1, 0, 0], np.float32), 5, (0.8, 0.99))
    assert [(face.file, face.frame) for face in faces] == [(folder / "pink/rose.png", 0), (folder / "orange.png", 0)]
    assert faces[0].box == (24.0, 0.0, 96.0, 72.0)
    assert faces[0].similarity == pytest.approx(200 / np.sqrt(200**2 + 2 * 60**2), abs=1e-4)
    assert {aside.item for aside in corpus.set_aside()} == {"black.png", "cut.png", "empty.jpg"}
    assert [face.file.name for face in corpus.strangers(np.array([0, 0, 1], np.float32), 2, (0.3, 0.99), np.random.default_rng(0))]


def test_files_are_read_once(folder: Path, tmp_path: Path) -> None:
    reader = ColourReader()
    build_corpus(folder, reader, tmp_path / "out")
    read = reader.frames_read
    for path in folder.rglob("*.png"):
        path.touch()
    shutil.move(folder / "red.png", folder / "pink/crimson.png")
    calls: list[tuple[int, int]] = []
    corpus = build_corpus(folder, reader, tmp_path / "out", lambda done, total: calls.append((done, total)))
    assert reader.frames_read == read
    assert set(files(corpus)) == {"crimson.png", "orange.png", "rose.png"}
    assert calls[0] == (1, 6) and calls[-1] == (6, 6)


def test_faces_of_removed_and_replaced_files_leave_the_disk(folder: Path, tmp_path: Path) -> None:
    before = files(build_corpus(folder, ColourReader(), tmp_path / "out"))
    (folder / "red.png").unlink()
    paint(folder / "orange.png", (0, 0, 200), (SIZE, SIZE + 1))
    corpus = build_corpus(folder, ColourReader(), tmp_path / "out")
    after = files(corpus)
    assert set(after) == {"orange.png", "rose.png"}
    np.testing.assert_allclose(after["orange.png"], [0, 0, 1], atol=1e-6)
    np.testing.assert_array_equal(after["rose.png"], before["rose.png"])
    (stored,) = tmp_path.glob("out/*/*.f32")
    assert stored.stat().st_size == 2 * 3 * 4


@pytest.mark.parametrize("cut", range(0, 400, 57))
def test_an_interrupted_build_goes_on(folder: Path, tmp_path: Path, cut: int) -> None:
    whole = files(build_corpus(folder, ColourReader(), tmp_path / "out"))
    (lines,) = tmp_path.glob("out/*/*.jsonl")
    (rows,) = tmp_path.glob("out/*/*.f32")
    lines.write_bytes(lines.read_bytes()[:cut])
    rows.write_bytes(rows.read_bytes() + b"half a row")
    again = files(build_corpus(folder, ColourReader(), tmp_path / "out"))
    assert again.keys() == whole.keys()
    for name, embedding in whole.items():
        np.testing.assert_array_equal(again[name], embedding)


def test_rows_that_did_not_reach_the_disk_are_made_again(folder: Path, tmp_path: Path) -> None:
    whole = files(build_corpus(folder, ColourReader(), tmp_path / "out"))
    (rows,) = tmp_path.glob("out/*/*.f32")
    rows.write_bytes(rows.read_bytes()[:-5])
    again = files(build_corpus(folder, ColourReader(), tmp_path / "out"))
    assert {name: list(row) for name, row in again.items()} == {name: list(row) for name, row in whole.items()}


def test_readers_have_indices_of_their_own_and_folders_too(folder: Path, tmp_path: Path) -> None:
    first, other = ColourReader(), ColourReader()
    other.name = "colours/2"
    build_corpus(folder, first, tmp_path / "out")
    build_corpus(folder, other, tmp_path / "out")
    assert other.frames_read == first.frames_read
    paint(tmp_path / "others/blue.png", (0, 0, 200))
    with pytest.raises(UserError, match="choose another folder"):
        build_corpus(tmp_path / "others", first, tmp_path / "out")
    shutil.move(folder, tmp_path / "moved")
    read = first.frames_read
    corpus = build_corpus(tmp_path / "moved", first, tmp_path / "out")
    assert first.frames_read == read
    assert corpus.nearest(np.array([1, 0, 0], np.float32), 1, (0.8, 2.0))[0].file == tmp_path / "moved/red.png"


def test_a_large_picture_is_read_smaller_and_its_box_is_that_of_the_file(tmp_path: Path) -> None:
    paint(tmp_path / "faces/large.png", (0, 200, 0), (4000, 2000))
    (face,) = build_corpus(tmp_path / "faces", ColourReader(), tmp_path / "out").nearest(np.array([0, 1, 0], np.float32), 1, (0.8, 2.0))
    assert face.box == (1000.0, 0.0, 4000.0, 1500.0)
    assert read_frame(face.file, face.frame).shape == (2000, 4000, 3)


def test_photographs_are_set_upright_and_tiny_faces_left_out(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    (tmp_path / "faces").mkdir()
    Image.new("RGB", (96, 200), (0, 200, 0)).save(tmp_path / "faces/turned.jpg", exif=exif)
    paint(tmp_path / "faces/tiny.png", (200, 0, 0), (60, 60))
    corpus = build_corpus(tmp_path / "faces", ColourReader(), tmp_path / "out")
    (face,) = corpus.nearest(np.array([0, 1, 0], np.float32), 9, (-1.0, 2.0))
    assert face.box == (50.0, 0.0, 200.0, 72.0)
    assert [aside.item for aside in corpus.set_aside()] == ["tiny.png"]


def test_a_video_gives_each_of_its_people_once(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    frames = np.zeros((16, SIZE, SIZE, 3), np.uint8)
    frames[:8, ..., 0] = frames[8:, ..., 2] = 200
    (tmp_path / "faces/two.mp4").write_bytes(encode_video(frames))
    corpus = build_corpus(tmp_path / "faces", ColourReader(), tmp_path / "out")
    (red,) = corpus.nearest(np.array([1, 0, 0], np.float32), 9, (0.8, 2.0))
    (blue,) = corpus.nearest(np.array([0, 0, 1], np.float32), 9, (0.8, 2.0))
    assert len(corpus) == 2 and red.frame < 8 <= blue.frame
    assert read_frame(blue.file, blue.frame)[..., 2].mean() > 150
    (path,) = tmp_path.glob("out/*/*.jsonl")
    assert len(json.loads(path.read_text())["faces"]) == 2


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        build_corpus(tmp_path / "nowhere", ColourReader(), tmp_path / "out")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="neither pictures nor videos"):
        build_corpus(tmp_path, ColourReader(), tmp_path / "out")


def test_a_corpus_without_any_face_finds_nobody(tmp_path: Path) -> None:
    paint(tmp_path / "faces/black.png", (0, 0, 0))
    corpus = build_corpus(tmp_path / "faces", ColourReader(), tmp_path / "out")
    assert len(corpus) == 0 and corpus.nearest(np.array([1, 0, 0], np.float32), 3, (0.8, 0.9)) == []
