"""Models of the user's own fold to the same function, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import tf_keras as keras

from kser.errors import FoldError
from kser.export.fold import fold_model, foldable_layers, prove
from kser.models.hrf import HRFDense
from tests.export.users_models import USERS_MODELS, Block, Cell, Doubled, Subclassed, functional, trained, values


@pytest.mark.parametrize("make", USERS_MODELS.values(), ids=USERS_MODELS)
def test_a_users_model_folds_to_the_same_function(make):
    model = trained(make())
    folded = fold_model(model)
    assert foldable_layers(model) != [] and foldable_layers(folded) == []
    assert folded.count_params() < model.count_params()
    x = values(5, *model.input_shape[1:])
    y = model(x).numpy()
    np.testing.assert_allclose(folded(x), y, rtol=1e-5, atol=1e-5 * np.abs(y).max())


@pytest.mark.parametrize("name", ["sequential", "nested, of the same name", "time distributed model"])
def test_a_users_model_is_proven_layer_by_layer_without_a_plain_network(name):
    model = keras.Sequential([trained(USERS_MODELS[name]()), keras.layers.Flatten()])
    x = values(8, *model.layers[0].input_shape[1:])
    model(x)
    proof = prove(model, fold_model(model), None, x)
    assert proof.parameters_plain is None and proof.parameters_after < proof.parameters_before
    assert [layer.name for layer in proof.layers] == foldable_layers(model)


def test_a_layer_shared_with_a_nested_model_stays_shared():
    shared = HRFDense(6, expansion=2, name="shared")
    x, y = keras.Input((6,)), keras.Input((6,))
    inner = keras.Model(x, shared(x), name="inner")
    assert fold_model(trained(keras.Model(y, shared(inner(y))))).count_params() == 6 * 6 + 6


def test_several_inputs_and_outputs():
    a, b = keras.Input((6,)), keras.Input((6,))
    shared = HRFDense(4, "relu", expansion=2)
    model = keras.Model([a, b], [shared(a), keras.layers.Add()([shared(a), shared(b)])])
    x = [values(3, 6), 2 * values(3, 6)]
    for found, expected in zip(fold_model(model)(x), model(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_subclassed_model_is_refused_by_name_and_the_advice_helps():
    model, x = Subclassed(), values(8, 6)
    model.compile("adam", "mse")
    model.fit(x, np.ones((8, 2)), verbose=0)
    with pytest.raises(FoldError, match=r"Cannot fold hidden \(in 'net', a Subclassed\).*keras.Model\(inputs, "):
        fold_model(model)
    inputs = keras.Input((6,))
    folded = fold_model(keras.Model(inputs, model.call(inputs)))
    np.testing.assert_allclose(folded(x), model(x), rtol=1e-5, atol=1e-6)


OUT_OF_REACH = {
    "in a layer": (lambda: functional(Block(name="block")), "'block', a Block"),
    "in a model": (lambda: functional(Subclassed()), "'net', a Subclassed"),
    "in a layer in a wrapper": (lambda: functional(keras.layers.TimeDistributed(Block(name="block"))), "'block', a Block"),
    "in a cell": (lambda: functional(keras.layers.RNN(Cell(), name="rnn")), "'rnn', a RNN"),
    "in a bidirectional cell": (
        lambda: functional(keras.layers.Bidirectional(keras.layers.RNN(Cell()), name="both")),
        "'both', a Bidirectional",
    ),
}


@pytest.mark.parametrize(("make", "holder"), OUT_OF_REACH.values(), ids=OUT_OF_REACH)
def test_a_layer_out_of_reach_is_refused_by_name(make, holder):
    with pytest.raises(FoldError, match=rf"Cannot fold hidden \(in {holder}\)"):
        fold_model(make())


def test_a_subclass_that_computes_something_else_is_refused_by_name():
    with pytest.raises(FoldError, match="Cannot fold twice: Doubled computes something else"):
        fold_model(functional(Doubled(6, expansion=2, name="twice")))


def test_a_layer_without_weights_is_refused_by_name():
    with pytest.raises(FoldError, match="Cannot fold early: it has no weights yet"):
        fold_model(keras.Sequential([HRFDense(6, expansion=2, name="early")]))


def test_any_layer_that_brings_its_fold_is_folded():
    class Halved(keras.layers.Dense):
        def call(self, inputs):
            return super().call(inputs) / 2

        def folded(self):
            plain = keras.layers.Dense(self.units, name=self.name)
            plain.build((None, self.kernel.shape[0]))
            plain.set_weights([w / 2 for w in self.get_weights()])
            return plain

    model = functional(Halved(4))
    folded = fold_model(model)
    assert type(folded.layers[-1]) is keras.layers.Dense
    np.testing.assert_array_equal(folded(values(5, 4, 6)), model(values(5, 4, 6)))
