"""The two networks against the published counts and the layers worked out from them."""

import keras
import numpy as np
import pytest

from helpers import networks

# Kind, output edge, channels, trainable parameters: the facts' arithmetic, not the code's.
DISCRIMINATOR = [
    ("Conv2D", 32, 128, 1_280), ("Conv2D", 16, 128, 262_272), ("Conv2D", 8, 128, 262_272),
    ("Conv2D", 4, 128, 262_272), ("Dense", None, 1, 2_049),
]  # fmt: skip
GENERATOR = [
    ("Dense", None, 32_768, 3_309_568), ("Conv2D", 16, 128, 409_728),
    ("Conv2DTranspose", 32, 128, 262_272), ("Conv2D", 32, 128, 409_728),
    ("Conv2D", 32, 128, 409_728), ("Conv2D", 32, 1, 3_201),
]  # fmt: skip


def learnt(model):
    found = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in ("Conv2D", "Conv2DTranspose", "Dense"):
            shape = layer.output.shape
            edge = shape[1] if len(shape) == 4 else None
            found.append((kind, edge, shape[-1], networks.count_trainable(layer)))
    return found


def test_discriminator():
    model = networks.build_discriminator()
    assert networks.count_trainable(model) == 791_169
    assert learnt(model) == DISCRIMINATOR
    assert model.output_shape == (None, 1)


def test_generator():
    model = networks.build_generator(latent_dim=100)
    assert networks.count_trainable(model) == 4_870_785
    assert learnt(model) == GENERATOR
    assert model.output_shape == (None, 32, 32, 1)


@pytest.mark.parametrize("build", [networks.build_discriminator, networks.build_generator])
def test_every_layer_but_the_last_is_normalised_and_leaky(build):
    kinds = [type(layer).__name__ for layer in build().layers]
    hidden = sum(kind in ("Conv2D", "Conv2DTranspose", "Dense") for kind in kinds) - 1
    assert kinds.count("BatchNormalization") == kinds.count("LeakyReLU") == hidden
    for layer in build().layers:
        if type(layer).__name__ == "LeakyReLU":
            assert layer.negative_slope == pytest.approx(0.01)
        if type(layer).__name__ == "Dropout":
            assert layer.rate == 0.4
        if type(layer).__name__ == "BatchNormalization":
            assert layer.momentum == networks.MOMENTUM


def test_the_tanh_starts_out_of_saturation():
    keras.utils.set_random_seed(0)
    latent = np.random.default_rng(0).standard_normal((16, 100)).astype("float32")
    assert np.abs(networks.build_generator()(latent, training=True)).mean() < 0.2


def test_critic_has_the_count_and_neither_batchnorm_nor_sigmoid():
    model = networks.build_critic()
    assert networks.count_trainable(model) == 791_169
    assert learnt(model) == DISCRIMINATOR
    kinds = {type(layer).__name__ for layer in model.layers}
    assert "LayerNormalization" in kinds and not kinds & {"BatchNormalization", "Activation"}


def test_ranges():
    rng = np.random.default_rng(0)
    images = networks.build_generator().predict_on_batch(rng.normal(size=(4, 100)) * 50)
    assert images.min() >= -1 and images.max() <= 1
    answers = networks.build_discriminator().predict_on_batch(images)
    assert answers.min() >= 0 and answers.max() <= 1
