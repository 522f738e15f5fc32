from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pvchat_jax.errors import UserError
from pvchat_jax.world.__main__ import main
from pvchat_jax.world.contact_sheet import write_contact_sheet


def test_command_line_draws_the_people_of_the_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"--sheet={tmp_path}/sheet.png", "--seed=5"])
    assert "sheet.png" in capsys.readouterr().out
    with Image.open(tmp_path / "sheet.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] == 1280
    assert pixels.std(axis=(0, 1)).min() > 30
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_only_png_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must have the suffix \.png"):
        write_contact_sheet(tmp_path / "sheet.jpg", seed=0, subject="<Wilson>")


def test_command_line_builds_a_world_and_explains_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([f"--out={tmp_path}/world", "--num_train=1", "--num_test=1", "--subject=<Ada>"])
    assert str(tmp_path / "world" / "train.jsonl") in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_info:
        main([f"--out={tmp_path}/world", "--num_train=1", "--num_test=1", "--seed=1"])
    assert exit_info.value.code == 2
    assert capsys.readouterr().err.rstrip().splitlines()[-1].startswith("error: ")
    with pytest.raises(SystemExit):
        main([])
    assert "give --out=DIR" in capsys.readouterr().err
