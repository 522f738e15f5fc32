"""A model pack in insightface's format, small enough to make in a test, whose answers depend on the picture.

The detector takes a red cell of 16 x 16 pixels on the 16-pixel grid for the middle of a face of 48 x 48 pixels. The recogniser describes
the face by a random projection of its coarse colours, so that equal surroundings give equal embeddings.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 128  # pixels of the detector's input and of the test frames
CELL = 16
FACE = 48
_VALUES_PER_ANCHOR = {"score": 1, "bbox": 4, "kps": 10}
_STRIDES = (8, 16, 32)
_ANCHORS = 2
_KEYPOINTS = (-0.6, -0.4, 0.6, -0.4, 0.0, 0.1, -0.5, 0.7, 0.5, 0.7)  # x and y of the five, in strides from the anchor


def write_pack(folder: Path, *, detector: bool = True, recogniser: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if detector:
        _write_detector(folder / "det_tiny.onnx")
    if recogniser:
        _write_recogniser(folder / "w_tiny.onnx")
    return folder


def draw_face(frame: np.ndarray, column: int, row: int, identity: int) -> None:
    """Paints a face into uint8[128, 128, 3] RGB whose red middle is that cell of the grid; `identity` decides its other colours.

    The detector's anchor is the upper left corner of the cell, and its box reaches 24 pixels from there.
    """
    left, top = column * CELL - FACE // 2, row * CELL - FACE // 2
    blue_and_green = np.random.default_rng(identity).integers(0, 200, (6, 6, 3), np.uint8)
    blue_and_green[..., 0] = 0
    frame[top : top + FACE, left : left + FACE] = blue_and_green.repeat(8, axis=0).repeat(8, axis=1)
    frame[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = (255, 0, 0)


def _write_detector(path: Path) -> None:
    """SCRFD's nine outputs: scores, box sides and keypoints for each stride, all from one convolution each."""
    nodes, constants, outputs = [], [], []
    for kind, width in _VALUES_PER_ANCHOR.items():
        constants.append(numpy_helper.from_array(np.array([-1, width], np.int64), f"{kind}_shape"))
        for stride in _STRIDES:
            name = f"{kind}_{stride}"
            weights = np.zeros((_ANCHORS * width, 3, stride, stride), np.float32)
            bias = np.full(_ANCHORS * width, -10.0, np.float32)
            if kind == "score" and stride == CELL:  # red counts for, green and blue against, and only the first anchor looks
                weights[0, 0], weights[0, 1:] = 8 / stride**2, -4 / stride**2
                bias[0] = -8.0
            elif kind == "bbox":
                bias[:] = FACE / 2 / CELL
            elif kind == "kps":
                bias[:] = np.tile(_KEYPOINTS, _ANCHORS)
            constants += [numpy_helper.from_array(weights, f"{name}_weights"), numpy_helper.from_array(bias, f"{name}_bias")]
            convolved = ["input.1", f"{name}_weights", f"{name}_bias"]
            nodes.append(helper.make_node("Conv", convolved, [f"{name}_map"], kernel_shape=[stride, stride], strides=[stride, stride]))
            nodes.append(helper.make_node("Transpose", [f"{name}_map"], [f"{name}_cells"], perm=[0, 2, 3, 1]))
            if kind == "score":
                nodes.append(helper.make_node("Sigmoid", [f"{name}_cells"], [f"{name}_shares"]))
            values = f"{name}_shares" if kind == "score" else f"{name}_cells"
            nodes.append(helper.make_node("Reshape", [values, f"{kind}_shape"], [name]))
            number = (SIDE // stride) ** 2 * _ANCHORS
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [number, width]))
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    _save(helper.make_graph(nodes, "detector", [picture], outputs, constants), path)


def _write_recogniser(path: Path, width: int = 512) -> None:
    projection = np.random.default_rng(0).standard_normal((192, width)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["coarse"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("ReduceMean", ["coarse"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Sub", ["coarse", "mean"], ["centred"], name="centre"),  # a name with Sub would change the input's scale
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["683"]),
    ]
    faces = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["N", 3, 112, 112])
    embeddings = helper.make_tensor_value_info("683", TensorProto.FLOAT, ["N", width])
    _save(helper.make_graph(nodes, "recogniser", [faces], [embeddings], [numpy_helper.from_array(projection, "projection")]), path)


def _save(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)
