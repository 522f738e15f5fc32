import numpy as np
import PIL.Image
import pytest

from pvchat_jax.synthesis.generators.pictures import fit


@pytest.mark.parametrize(("size", "canvas"), [((30, 40), (64, 48)), ((40, 30), (48, 64)), ((10, 10), (96, 32)), ((33, 7), (64, 64))])
def test_a_picture_is_shown_whole_and_undistorted(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    picture = PIL.Image.new("RGB", size, (200, 0, 0))
    picture.paste((0, 0, 200), (size[0] // 2, 0, size[0], size[1]))
    fitted = np.asarray(fit(picture, *canvas)).astype(int)
    assert fitted.shape == (canvas[1], canvas[0], 3)
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    width, height = round(size[0] * scale), round(size[1] * scale)
    left, top = (canvas[0] - width) // 2, (canvas[1] - height) // 2
    inner = fitted[top : top + height, left : left + width]
    assert (inner[:, : width // 2 - 2, 0] > 150).all() and (inner[:, width // 2 + 3 :, 2] > 150).all()
    assert fitted.sum(-1).min() > 100  # no black bars
