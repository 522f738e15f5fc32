from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.world import contact_sheet
from pvchat_jax.world.__main__ import main
from pvchat_jax.world.base_questions import feature_in_words
from pvchat_jax.world.contact_sheet import draw_contact_sheet, write_contact_sheet
from pvchat_jax.world.people import people_group
from pvchat_jax.world.plan import VideoPlan, is_of_split, reference_video, subject_of


def test_command_line_draws_the_people_of_the_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"--sheet={tmp_path}/sheet.png", "--seed=5"])
    assert "sheet.png" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 1280
    assert pixels.std(axis=(0, 1)).min() > 30
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_sheet_shows_the_reference_video_and_graded_look_alikes_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(contact_sheet, "_text", lambda draw, x, y, text, *rest, **options: texts.append(text))
    plans: list[VideoPlan] = []
    picture = contact_sheet._picture
    monkeypatch.setattr(contact_sheet, "_picture", lambda plan, *rest: plans.append(plan) or picture(plan, *rest))
    draw_contact_sheet(5, "<Ada>")
    subject = subject_of(5)
    assert plans[0] == reference_video(5)
    assert texts[1].startswith("The one video: ")
    assert {plan.person.identity for plan in plans[:9]} == {subject.identity}
    look_alikes = plans[9:]
    assert {plan.person.outfit for plan in look_alikes} == {subject.outfit}
    assert [len(subject.identity.differences(plan.person.identity)) for plan in look_alikes] == [1, 1, 1, 2, 2, 2]
    assert all(people_group(plan.person.identity) == "test" and is_of_split(subject.outfit, plan.scene, "test") for plan in look_alikes)
    for plan, text in zip(look_alikes, texts[-6:], strict=True):
        names = subject.identity.differences(plan.person.identity)
        words = ", ".join(feature_in_words(name, getattr(plan.person.identity, name)) for name in names)
        assert text == f"{len(names)} difference{'s' if len(names) > 1 else ''}: {words}"


def test_only_png_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must have the suffix \.png"):
        write_contact_sheet(tmp_path / "sheet.jpg", seed=0, subject="<Wilson>")


def test_command_line_builds_a_world_and_explains_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"--out={tmp_path}/world", "--num_train=1", "--num_test=1", "--subject=<Ada>"])
    names = [str(tmp_path / "world" / f"{name}.jsonl") for name in ("reference", "train", "test")]
    assert capsys.readouterr().out == f"wrote {', '.join(names)}\n"
    main([f"--out={tmp_path}/world", "--num_train=1", "--num_calibration=1", "--num_test=1", "--subject=<Ada>"])
    assert "calibration.jsonl" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_info:
        main([f"--out={tmp_path}/world", "--num_train=1", "--num_test=1", "--seed=1"])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.rstrip().splitlines()[-1].startswith("error: ")
    with pytest.raises(SystemExit):
        main([])
    assert "give --out=DIR" in capsys.readouterr().err
