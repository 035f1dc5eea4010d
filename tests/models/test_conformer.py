"""The Conformer's block against two blocks of a public reference implementation, with all weights and stages given."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.config import FeatureConfig, ModelConfig
from kser.models import blocks, conformer

NUM_BLOCKS, NUM_TOKENS, HIDDEN_DIM = 2, 50, 32
CONFIG = ModelConfig(num_layers=NUM_BLOCKS, hidden_dim=HIDDEN_DIM, num_heads=4, ffn_dim=128, kernel_size=15, norm="layer")
# Float32 rounding in another order of operations, on outputs of order 1.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def oracle(speech_data_dir):
    path = speech_data_dir.parent / "oracles" / "conformer_block.npz"
    if not path.is_file():
        pytest.skip(f"no reference outputs in {path}")
    return np.load(path)


def two_blocks() -> keras.Model:
    """(batch, 1, num_tokens, hidden_dim) to the outputs of both blocks."""
    builder = blocks.Builder(CONFIG, FeatureConfig(), seed=0)
    outputs = [keras.Input((1, NUM_TOKENS, HIDDEN_DIM))]
    for index in range(NUM_BLOCKS):
        outputs.append(conformer.block(builder, outputs[-1], f"block_{index}"))
    return keras.Model(outputs[0], outputs[1:])


def linear(weights: dict, name: str) -> list[np.ndarray]:
    """A PyTorch Linear or pointwise Conv1d, kernel (out, in[, 1]), as a Dense."""
    kernel = weights[f"{name}.weight"]
    return [kernel.reshape(kernel.shape[:2]).T, weights[f"{name}.bias"]]


def norm(weights: dict, name: str) -> list[np.ndarray]:
    return [weights[f"{name}.weight"], weights[f"{name}.bias"]]


def attention_projections(weights: dict) -> dict[str, list[np.ndarray]]:
    """Query, key and value, which PyTorch stacks along the outputs."""
    kernels, biases = (np.split(weights[f"self_attn.in_proj_{part}"], 3) for part in ("weight", "bias"))
    parts = zip(("query", "key", "value"), kernels, biases, strict=True)
    return {f"attention_{role}": [kernel.T, bias] for role, kernel, bias in parts}


def gated_unit(weights: dict) -> dict[str, list[np.ndarray]]:
    """The GLU's value and gate, the halves of one pointwise convolution."""
    kernel, bias = linear(weights, "conv_module.sequential.0")
    halves = zip(("conv_value", "conv_gate"), np.split(kernel, 2, axis=1), np.split(bias, 2), strict=True)
    return {name: list(half) for name, *half in halves}


def layer_weights(weights: dict) -> dict[str, list[np.ndarray]]:
    """One reference block's weights by the name of kser's layer."""
    result = {"norm": norm(weights, "final_layer_norm"), **attention_projections(weights), **gated_unit(weights)}
    for ffn in ("ffn1", "ffn2"):
        result[f"{ffn}_norm"] = norm(weights, f"{ffn}.sequential.0")
        result[f"{ffn}_first"] = linear(weights, f"{ffn}.sequential.1")
        result[f"{ffn}_second"] = linear(weights, f"{ffn}.sequential.4")
    result["attention_norm"] = norm(weights, "self_attn_layer_norm")
    result["attention_out"] = linear(weights, "self_attn.out_proj")
    result["conv_norm"] = norm(weights, "conv_module.layer_norm")
    depthwise = weights["conv_module.sequential.2.weight"]  # (channels, 1, kernel_size)
    result["conv_depthwise"] = [depthwise[:, 0].T[np.newaxis, :, :, np.newaxis], weights["conv_module.sequential.2.bias"]]
    parts = ("weight", "bias", "running_mean", "running_var")
    result["conv_bn"] = [weights[f"conv_module.sequential.3.{part}"] for part in parts]
    result["conv_out"] = linear(weights, "conv_module.sequential.5")
    return result


def set_oracle_weights(model: keras.Model, oracle) -> None:
    """Gives the model the reference's weights, each of them once."""
    used = 0
    for index in range(NUM_BLOCKS):
        prefix = f"w:conformer_layers.{index}."
        weights = {key.removeprefix(prefix): oracle[key] for key in oracle.files if key.startswith(prefix)}
        for name, values in layer_weights(weights).items():
            model.get_layer(f"block_{index}_{name}").set_weights(values)
            used += sum(value.size for value in values)
    assert used == model.count_params() == sum(oracle[key].size for key in oracle.files if _is_weight(key))


def _is_weight(key: str) -> bool:
    return key.startswith("w:") and not key.endswith("num_batches_tracked")


def test_every_stage_is_the_references(oracle):
    model = two_blocks()
    set_oracle_weights(model, oracle)
    stages = [output[:, 0] for output in model(oracle["x"][:, np.newaxis])]
    assert {key for key in oracle.files if key.startswith("stage:")} == {f"stage:{i}" for i in range(NUM_BLOCKS)}
    for index, stage in enumerate(stages):
        np.testing.assert_allclose(stage, oracle[f"stage:{index}"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(stages[-1], oracle["y"], rtol=0, atol=TOLERANCE)


def test_half_steps_scale_the_feed_forward_networks():
    model = two_blocks()
    halves = [layer for layer in model.layers if layer.name.endswith("_half")]
    assert len(halves) == 2 * NUM_BLOCKS and {layer.factor for layer in halves} == {0.5}


def test_a_token_is_reached_by_all_others():
    model = two_blocks()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 1, NUM_TOKENS, HIDDEN_DIM)).astype(np.float32)
    changed = x.copy()
    changed[0, 0, -1] = -x[0, 0, -1]  # a constant added would be taken away by the norms
    difference = np.abs(model(changed)[0] - model(x)[0]).max(axis=-1)[0, 0]
    assert difference.min() > 1e-4  # attention carries it to where the convolution's kernel does not reach
