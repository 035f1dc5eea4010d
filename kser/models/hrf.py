"""High-rank factorization (HRF): a Dense layer trained as a product of matrices, deployed as the equal plain Dense."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import tensorflow as tf
import tf_keras as keras

from kser.config import HRF_FORM, HRF_INIT
from kser.errors import ConfigError, FoldError
from kser.models.hrf_starts import start_factors, start_generator
from kser.models.layers import register

# Attributes that the folded Dense takes over from its HRFDense, besides the initializers.
_DENSE_SETTINGS = (
    *("units", "activation", "use_bias", "kernel_regularizer", "bias_regularizer", "activity_regularizer"),
    *("kernel_constraint", "bias_constraint", "name", "trainable"),
)
# Largest difference between a layer and its fold by rounding, relative to the largest output; second: half precision.
_MAX_DIFFERENCE, _MAX_DIFFERENCE_HALF = 1e-4, 5e-2
_CHECKED_ROWS = 8


@register
class HRFDense(keras.layers.Dense):
    """A Dense layer that trains its kernel as a product of matrices (HRF, arXiv 2411.09339) and folds to a plain Dense.

    `y = activation(x W + b)` as in `keras.layers.Dense`, with `W = W1 W2`, `W1: (d_in, r)`, `W2: (r, units)` and
    `r = expansion * d_in`. With `depth` above 1, more factors `(r, r)` stand between the two. There is no nonlinearity
    between the factors: the layer always equals the Dense that `folded` returns and cannot represent more functions than a
    Dense; only its optimization differs. It costs training time and memory, and nothing after the fold.

    The arguments of Dense keep their meaning: `kernel_regularizer` and `kernel_constraint` act on the product W,
    `bias_regularizer` and `bias_constraint` on the bias of the whole layer. A constraint is applied by the smallest change
    of the last factor that gives W its constrained value, up to rounding. Products are computed in the variables' dtype,
    then cast to the compute dtype.

    Args:
      expansion: inner width r in multiples of d_in, at least 1.
      hrf_init: initialization of the factors. With the first two the layer starts as the Dense with this
        `kernel_initializer`. `spectral`: W = U S V^T, with S divided evenly among the n factors: U S^(1/n), S^(1/n), ...,
        S^(1/n) V^T (Khodak et al. 2021). `identity`: the last factor is W, all others are the identity. `glorot`: each
        factor is drawn by Glorot's rule; only the seed of `kernel_initializer` is used. Columns not needed to represent W
        start with random numbers in all factors but the last, and zeros in the last: W is unchanged. At the first step
        they therefore have a gradient in the last factor alone, and from the second on in all.
      inner_bias: whether the inserted layers have a bias: `b_total = b1 W2 + b`.
      depth: number of inserted layers, at least 1; there are `depth + 1` factors.
      form: `product` multiplies the kernels first, `x (W1 W2)`; `layers` applies one after the other, `(x W1) W2`. The same
        function; the first is much faster if `x` has more rows than features.

    Shapes: dense tensors (..., d_in) to (..., units).

    Raises:
      ConfigError: `expansion` or `depth` below 1, an unknown `hrf_init` or `form`, `inner_bias` without `use_bias`.

    Example:
      >>> layer = kser.HRFDense(3, "relu", expansion=2)
      >>> y = layer(np.ones((1, 4), np.float32))
      >>> [w.shape for w in layer.get_weights()]
      [(4, 8), (8, 3), (3,)]
      >>> [w.shape for w in layer.folded().get_weights()]
      [(4, 3), (3,)]
    """

    def __init__(
        self,
        units: int,
        activation=None,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        *,
        expansion: int = 4,
        hrf_init: str = "spectral",
        inner_bias: bool = False,
        depth: int = 1,
        form: str = "product",
        **kwargs,
    ):
        super().__init__(
            *(units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer),
            *(activity_regularizer, kernel_constraint, bias_constraint),
            **kwargs,
        )
        self.expansion = expansion
        self.hrf_init = hrf_init
        self.inner_bias = inner_bias
        self.depth = depth
        self.form = form
        self._kernel_in_place = None
        self._check_settings()

    def _check_settings(self) -> None:
        for name in ("expansion", "depth"):
            if getattr(self, name) < 1:
                raise ConfigError(f"HRFDense needs {name} >= 1, not {getattr(self, name)}; use Dense for a plain layer.")
        _check_choice("hrf_init", self.hrf_init, HRF_INIT)
        _check_choice("form", self.form, HRF_FORM)
        if self.inner_bias and not self.use_bias:
            raise ConfigError("HRFDense cannot have inner_bias=True with use_bias=False: inner biases fold to a bias.")
        if self.hrf_init == "glorot" and not isinstance(self.kernel_initializer, keras.initializers.GlorotUniform):
            self._warn("hrf_init='glorot' ignores its kernel_initializer; choose 'spectral' or 'identity' to start from it")

    def _warn(self, consequence: str) -> None:
        warnings.warn(f"HRFDense '{self.name}': {consequence}.", stacklevel=4)

    def build(self, input_shape):
        input_dim = tf.compat.dimension_value(tf.TensorShape(input_shape)[-1])
        if input_dim is None:
            raise ConfigError(f"HRFDense '{self.name}' needs inputs whose last dimension is known, not {input_shape}.")
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_dim})
        *first, last = self._start(input_dim)
        constraint = self._constrained_factor if self.kernel_constraint else None
        self.factors = [
            *(self._add(f"factor_{i}", values.shape, _given(values)) for i, values in enumerate(first, 1)),
            self._add(f"factor_{self.depth + 1}", last.shape, _given(last), constraint),
        ]
        self._build_biases(self.expansion * input_dim)
        self._add_penalties()
        keras.layers.Layer.build(self, input_shape)

    def _build_biases(self, rank: int) -> None:
        inner = range(1, self.depth + 1) if self.inner_bias else ()
        self.inner_biases = [self._add(f"bias_{i}", (rank,), "zeros") for i in inner]
        constraint = self._constrained_bias if self.bias_constraint else None
        self.bias = self._add("bias", (self.units,), self.bias_initializer, constraint) if self.use_bias else None

    def _add(self, name: str, shape, initializer, constraint=None) -> tf.Variable:
        # Not cast to the compute dtype when read: a product of rounded factors has a larger error than a rounded product.
        return self.add_weight(name, shape, initializer=initializer, constraint=constraint, experimental_autocast=False)

    def _add_penalties(self) -> None:
        if self.kernel_regularizer:
            self.add_loss(self._kernel_penalty)
        if self.bias_regularizer and self.use_bias:
            self.add_loss(self._bias_penalty)

    def _kernel_penalty(self) -> tf.Tensor:
        return self.kernel_regularizer(self.effective_kernel())

    def _bias_penalty(self) -> tf.Tensor:
        return self.bias_regularizer(self.effective_bias())

    def _constrained_factor(self, last: tf.Tensor) -> tf.Tensor:
        before = functools.reduce(tf.matmul, self.factors[:-1])
        kernel = tf.matmul(before, last)
        return last + tf.matmul(tf.linalg.pinv(before), self.kernel_constraint(kernel) - kernel)

    def _constrained_bias(self, bias: tf.Tensor) -> tf.Tensor:
        inner = self._inner_bias()
        return self.bias_constraint(inner + bias) - inner

    def _start(self, input_dim: int) -> list[np.ndarray]:
        drawn = self.kernel_initializer((input_dim, self.units), dtype=tf.as_dtype(self.dtype))
        kernel = np.asarray(drawn, np.float64)
        if self.hrf_init == "spectral" and not kernel.any():
            self._warn("its kernel starts at zero, where factors of hrf_init='spectral' never learn; choose 'identity'")
        rng = start_generator(self.kernel_initializer, kernel)
        return start_factors(kernel, self.hrf_init, self.expansion * input_dim, self.depth, rng)

    @property
    def kernel(self) -> tf.Tensor:
        """(d_in, units): the kernel that `call` uses: `effective_kernel`, unless another one was set, as quantization-aware
        training does with the rounded kernel."""
        return self.effective_kernel() if self._kernel_in_place is None else self._kernel_in_place

    @kernel.setter
    def kernel(self, value: tf.Tensor) -> None:
        self._kernel_in_place = value

    def effective_kernel(self) -> tf.Tensor:
        """(d_in, units): the product of the factors."""
        return functools.reduce(tf.matmul, self.factors)

    def effective_bias(self) -> tf.Tensor:
        """(units,): the bias of the whole layer (only with `use_bias`)."""
        return self._inner_bias() + self.bias

    def _inner_bias(self) -> tf.Tensor:
        """The contribution of the inserted layers' biases to the bias."""
        total = tf.zeros((self.units,), self.dtype)
        for i, inner in enumerate(self.inner_biases, 1):
            total += functools.reduce(tf.matmul, self.factors[i:], inner[tf.newaxis])[0]
        return total

    def call(self, inputs):
        inputs = self._cast(inputs)
        return self.activation(self._multiplied(inputs) if self.form == "product" else self._chained(inputs))

    def _multiplied(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = tf.tensordot(inputs, self._cast(self.kernel), 1)
        return outputs + self._cast(self.effective_bias()) if self.use_bias else outputs

    def _chained(self, inputs: tf.Tensor) -> tf.Tensor:
        biases = [*(self.inner_biases or [None] * self.depth), self.bias]
        for factor, bias in zip(self.factors, biases, strict=True):
            inputs = tf.tensordot(inputs, self._cast(factor), 1)
            inputs = inputs if bias is None else inputs + self._cast(bias)
        return inputs

    def _cast(self, values) -> tf.Tensor:
        return tf.cast(values, self.compute_dtype)

    def folded(self) -> keras.layers.Dense:
        """The equal plain Dense layer: built, with the same name and settings; its weights are rounded once.

        Raises:
          FoldError: the layer has no weights yet, or a subclass computes something else than the product of its factors.
        """
        if not self.built:
            raise FoldError(f"Cannot fold {self.name}: it has no weights yet; build its model or call it on data first.")
        kernel, *bias = self.folded_weights()
        settings = {name: getattr(self, name) for name in _DENSE_SETTINGS}
        dense = keras.layers.Dense(**settings, kernel_initializer="zeros", dtype=self.dtype_policy)
        dense.build((None, len(kernel)))
        # Set only now: an unseeded initializer that draws twice repeats its numbers and warns.
        dense.kernel_initializer, dense.bias_initializer = self.kernel_initializer, self.bias_initializer
        dense.set_weights([kernel, *bias])
        _require_same_function(self, dense)
        return dense

    def folded_weights(self) -> list[np.ndarray]:
        """`W1 W2 ...` (d_in, units) and, with `use_bias`, `(b1 W2 + b2) W3 ... + b` (units,), float64."""
        factors = _exact(self.factors)
        kernel = functools.reduce(np.matmul, factors)
        if not self.use_bias:
            return [kernel]
        bias, *following = _exact([*self.inner_biases, self.bias])
        for factor, inner in zip(factors[1:], following, strict=False):
            bias = bias @ factor + inner
        return [kernel, bias]

    def get_config(self):
        return {
            **super().get_config(),
            "expansion": self.expansion,
            "hrf_init": self.hrf_init,
            "inner_bias": self.inner_bias,
            "depth": self.depth,
            "form": self.form,
        }


def _require_same_function(layer: HRFDense, dense: keras.layers.Dense) -> None:
    """Raises FoldError if layer and fold differ on random inputs: a subclass may not be the product of its factors."""
    rows = np.random.default_rng(0).standard_normal((_CHECKED_ROWS, layer.factors[0].shape[0]))
    x = tf.cast(rows, layer.compute_dtype)
    expected, found = (np.asarray(f(x), np.float64) for f in (layer, dense))
    allowed = _MAX_DIFFERENCE_HALF if x.dtype.size == 2 else _MAX_DIFFERENCE
    if not np.abs(expected - found).max() <= allowed * np.abs(expected).max():
        raise FoldError(
            f"Cannot fold {layer.name}: {type(layer).__name__} computes something else than the product of its factors; "
            "override folded() in that class to return the plain layer."
        )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not '{value}'.")


def _exact(variables) -> list[np.ndarray]:
    return [np.asarray(variable.numpy(), np.float64) for variable in variables]


def _given(values: np.ndarray):
    return lambda shape, dtype=None, **kwargs: tf.constant(values, dtype, shape)
