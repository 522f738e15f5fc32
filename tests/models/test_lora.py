"""The adapter's own gradient is that of the product it stands for."""

import jax
import numpy as np

from pvchat_jax.models.lora import LoRADense


def test_gradients_are_those_of_the_written_out_product() -> None:
    random = np.random.default_rng(0)
    inputs, weights = random.standard_normal((2, 5, 6)), random.standard_normal((2, 5, 4))
    shapes = {"kernel": (6, 4), "lora_a": (6, 3), "lora_b": (3, 4)}
    params = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    dense = LoRADense(4, ("embed", "mlp"), rank=3, scale=1.5)

    def ours(params: dict, inputs: jax.Array) -> jax.Array:
        return (weights * dense.apply({"params": params}, inputs)).sum()

    def written_out(params: dict, inputs: jax.Array) -> jax.Array:
        outputs = inputs @ params["kernel"] + 1.5 * (inputs @ params["lora_a"]) @ params["lora_b"]
        return (weights * outputs).sum()

    found, expected = (jax.value_and_grad(function, (0, 1))(params, inputs) for function in (ours, written_out))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)
