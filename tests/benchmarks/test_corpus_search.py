"""The benchmark of the corpus measures searches that find something."""

from pathlib import Path

from benchmarks.corpus_search import measure


def test_every_face_is_indexed_and_look_alikes_are_found(tmp_path: Path) -> None:
    rows = measure(800, tmp_path)
    assert rows["faces"] == "800 of 100 pictures"
    assert any(name.endswith("look-alikes of 1 person") and not name.startswith("0 ") for name in rows)
