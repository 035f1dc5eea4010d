"""Appends int8 ops to a graph as TensorFlow Lite's converter does."""

from __future__ import annotations

from collections.abc import Sequence

from kser.tflite.op_graph import Node, Tensor

Shape = tuple[int, ...]


class OpBuilder:
    """Collects ops; equal shape and index constants share one tensor, as in the converter."""

    def __init__(self):
        self.input_is_reshaped = False
        self.nodes: list[Node] = []
        self._constants: dict[tuple, Tensor] = {}
        self._producers: dict[int, Node] = {}

    def op(self, op: str, name: str, inputs: Sequence[Tensor], *shapes: Shape, **options):
        """Appends an op; returns its output or outputs."""
        # Measured scales hardly ever coincide, so the tables of kernels are not shared.
        scale = float(len(self.nodes) + 1)
        outputs = tuple(Tensor(shape, name=f"{name}:{i}" if i else name, scale=scale) for i, shape in enumerate(shapes))
        self.nodes.append(Node(op, tuple(inputs), outputs, **options))
        self._producers.update((id(output), self.nodes[-1]) for output in outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    def indices(self, *values: int, shape: Shape | None = None) -> Tensor:
        """An int32 constant."""
        return self.shared((len(values),) if shape is None else shape, "int32", values, num_scales=0)

    def shared(self, shape: Shape, dtype: str, content, num_scales: int = 1) -> Tensor:
        """A constant that is stored once, however many ops read it."""
        key = (shape, dtype, content)
        if key not in self._constants:
            self._constants[key] = Tensor(shape, dtype, str(content), constant=True, num_scales=num_scales)
        return self._constants[key]

    def weights(self, name: str, shape: Shape, dtype: str = "int8", num_scales: int = 1) -> Tensor:
        """A constant of a single layer."""
        return Tensor(shape, dtype, name, constant=True, num_scales=num_scales)

    def reshaped_from(self, x: Tensor) -> Tensor:
        """The input of the RESHAPE that made `x`; `x` itself if there is none."""
        node = self._producers.get(id(x))
        return node.inputs[0] if node is not None and node.op == "RESHAPE" else x

    def reshape(self, name: str, x: Tensor, shape: Shape) -> Tensor:
        """A RESHAPE that replaces successive ones; none if the shape is the same."""
        x = self.reshaped_from(x)
        return x if x.shape == shape else self.op("RESHAPE", name, (x, self.indices(*shape)), shape)

    def transpose(self, name: str, x: Tensor, order: Sequence[int]) -> Tensor:
        """A TRANSPOSE, or a RESHAPE if it only moves axes of length 1."""
        shape = tuple(x.shape[axis] for axis in order)
        moved = [axis for axis in order if x.shape[axis] > 1]
        if moved == sorted(moved):
            return self.reshape(name, x, shape)
        return self.op("TRANSPOSE", name, (x, self.indices(*order)), shape)

    def pad(self, name: str, x: Tensor, *paddings: tuple[int, int]) -> Tensor:
        amounts = self.indices(*(n for pair in paddings for n in pair), shape=(len(paddings), 2))
        shape = tuple(size + sum(pair) for size, pair in zip(x.shape, paddings, strict=True))
        return self.op("PAD", name, (x, amounts), shape)

    def slice(self, name: str, x: Tensor, begin: Shape, size: Shape) -> Tensor:
        shape = tuple(length - start if n < 0 else n for length, start, n in zip(x.shape, begin, size, strict=True))
        return self.op("SLICE", name, (x, self.indices(*begin), self.indices(*size)), shape)

    def mean(self, name: str, x: Tensor, *axes: int, shape: Shape) -> Tensor:
        return self.op("MEAN", name, (x, self.indices(*axes, shape=() if axes == (-1,) else None)), shape)

    def activation(self, name: str, x: Tensor, function: str) -> Tensor:
        """ReLU is fused into the op before it."""
        if "hard_swish" in function:
            return self.op("HARD_SWISH", f"{name}/mul_1", (x,), x.shape)
        if function in ("sigmoid", "swish", "silu"):
            gate = self.op("LOGISTIC", f"{name}/Sigmoid", (x,), x.shape)
            return gate if function == "sigmoid" else self.op("MUL", f"{name}/mul_1", (x, gate), x.shape)
        return x
