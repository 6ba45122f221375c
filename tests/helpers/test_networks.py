"""The two networks against the published counts and the layers worked out from them."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from helpers import fast, gan, machine, networks
from helpers.training import _dtype_policy, save_generator

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
    normalised = sum(kind in ("BatchNormalization", "ExactBatchNorm") for kind in kinds)
    assert normalised == kinds.count("LeakyReLU") == hidden
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


# --- Computed faster, to the same numbers ---------------------------------------------------------


def by_hand(layer, images, training=False, mask=None):
    """BatchNorm from its definition, so that gradients of any order are right."""
    mean, variance = layer.moving_mean, layer.moving_variance
    if training:
        mean = tf.reduce_mean(images, axis=[0, 1, 2])
        variance = tf.reduce_mean(tf.square(images - mean), axis=[0, 1, 2])
    return (images - mean) * tf.math.rsqrt(variance + layer.epsilon) * layer.gamma + layer.beta


def test_batch_norm_is_the_definition_to_the_second_order():
    """Also what a penalty needs: gradients of a gradient's length.

    Smooth between the layers: rounding that moves a number across LeakyReLU's kink moves slopes.
    """
    images = tf.random.stateless_uniform((16, 8, 8, 1), [1, 2], -1, 1)
    found = {}
    for how in ("fused", "exact", "by hand", "Keras"):
        machine.seed_everything(4)
        batch_norm = networks.ExactBatchNorm if how == "exact" else keras.layers.BatchNormalization
        critic = keras.Sequential([
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3),
            batch_norm(),
            keras.layers.Activation("tanh"),
            keras.layers.Conv2D(4, 3),
            batch_norm(),
            keras.layers.Activation("tanh"),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ])  # fmt: skip
        if how == "fused":
            critic = fast.speed_up(critic)
        for layer in critic.layers:
            if how == "by hand" and isinstance(layer, keras.layers.BatchNormalization):
                layer.call = functools.partial(by_hand, layer)
        with tf.GradientTape() as tape:
            penalty = gan.gradient_penalty(critic, images)
        slopes = tape.gradient(penalty, critic.trainable_variables[:-1])  # the last bias has none
        found[how] = [np.asarray(x) for x in (penalty, *slopes)]

    def same(one, other):
        return all(
            np.allclose(a, b, rtol=0, atol=1e-4 + 1e-3 * np.abs(b).max())
            for a, b in zip(found[one], found[other], strict=True)
        )

    assert same("fused", "by hand") and same("exact", "by hand")
    assert not same("Keras", "by hand")  # or there is nothing to fix


def test_moving_averages_and_weights_stay_as_they_were():
    images = tf.random.stateless_uniform((16, 32, 32, 1), [1, 2], -1, 1)
    exact = networks.build_discriminator(dropout=0.0)
    before = exact.get_weights()

    def keras_own(layer):
        normalises = isinstance(layer, keras.layers.BatchNormalization)
        kind = keras.layers.BatchNormalization if normalises else type(layer)
        return kind.from_config(layer.get_config())

    plain = keras.models.clone_model(exact, clone_function=keras_own)
    plain.set_weights(before)
    fused = fast.speed_up(exact, "float32+winograd")
    for network in (plain, fused):
        network(images, training=True)
    assert all(map(np.array_equal, exact.get_weights(), before)), "the clone's own weights moved"
    exact(images, training=True)
    for network in (exact, fused):
        for one, other in zip(plain.weights, network.weights, strict=True):
            # Variances differ by n / (n - 1), n = 16 * 4 * 4 at least.
            assert np.allclose(one, other, rtol=5e-3, atol=1e-5)
    plain.set_weights(fused.get_weights())
    assert np.allclose(plain(images), fused(images, training=False), atol=1e-4)


@pytest.mark.parametrize(
    ("convolve", "height", "kernel", "off"),
    [(fast.to_one_channel, 9, (size, size, 7, 1), 1e-4) for size in (3, 4, 5)]
    + [(fast.winograd, 8, (5, 5, 7, 6), 1e-3)],
)
def test_a_faster_convolution_is_keras_own(convolve, height, kernel, off):
    """Values, and the slopes towards images and kernel."""
    images = tf.random.stateless_normal((3, height, 12, 7), [1, 2])
    towards = tf.random.stateless_normal((3, height, 12, kernel[-1]), [5, 6])
    kernel = tf.random.stateless_normal(kernel, [3, 4])
    found = []
    for way in (convolve, functools.partial(keras.ops.conv, padding="same")):
        with tf.GradientTape() as tape:
            tape.watch((images, kernel))
            answer = way(images, kernel)
        found.append((answer, *tape.gradient(answer, (images, kernel), output_gradients=towards)))
    for one, other in zip(*found, strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=off)


def test_winograd_rounds_a_few_times_what_the_sum_does_and_far_less_than_bfloat16():
    images = tf.random.stateless_normal((2, 32, 32, 128), [1, 2])
    kernel = tf.random.stateless_normal((5, 5, 128, 8), [3, 4])

    def plain(number):
        return tf.nn.conv2d(tf.cast(images, number), tf.cast(kernel, number), 1, "SAME")

    exact = plain(tf.float64)
    off, sums = (
        float(tf.norm(tf.cast(found, tf.float64) - exact) / tf.norm(exact))
        for found in (fast.winograd(images, kernel), plain(tf.float32))
    )
    assert off < 10 * sums and off < 1e-5 < 2.0**-9 / 100  # the last: half a step of bfloat16


def test_a_fused_generator_draws_and_learns_as_before(tmp_path):
    latent = tf.random.stateless_normal((16, 100), [1, 2])
    drawn, slopes = [], []
    for fused in (False, True):
        machine.seed_everything(4)
        generator = networks.build_generator()
        generator.layers[-1].kernel.assign(10 * generator.layers[-1].kernel)  # far from all grey
        generator.layers[-1].bias.assign([0.3])
        if fused:
            generator = fast.speed_up(generator, "float32+winograd")
        with tf.GradientTape() as tape:
            drawn.append(generator(latent, training=True))
            loss = tf.reduce_mean(drawn[-1] ** 2)
        slopes.append(tape.gradient(loss, generator.layers[-1].trainable_variables))
    assert np.std(drawn[0]) > 0.1 and np.allclose(*drawn, atol=1e-4)
    for one, other in zip(*slopes, strict=True):
        assert np.allclose(one, other, rtol=0, atol=1e-4 * np.abs(one).max())
    clone, generator = generator, networks.build_generator()
    generator.set_weights(clone.get_weights())
    save_generator(generator, tmp_path / "file.h5")
    machine.seed_everything(5)
    again = networks.build_generator()
    again.load_weights(tmp_path / "file.h5")
    assert np.allclose(again(latent), clone(latent), atol=1e-4)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_faster_convolutions_are_given_the_format_of_the_layers_before(policy, monkeypatch):
    """And give float32. Only traced: some processors cannot run bfloat16 at all."""
    seen = []

    def watched(images, kernel, name, convolve):
        answer = convolve(images, kernel)
        formats = (keras.backend.standardize_dtype(x.dtype) for x in (images, kernel, answer))
        seen.append((name, *formats))
        return answer

    for name in ("winograd", "to_one_channel"):
        kept = functools.partial(watched, name=name, convolve=getattr(fast, name))
        monkeypatch.setattr(fast, name, kept)
    with _dtype_policy(policy):
        generator = networks.build_generator()
    generator = fast.speed_up(generator, policy + "+winograd")
    draw = tf.function(lambda latent: generator(latent, training=True))
    traced = draw.get_concrete_function(tf.TensorSpec((16, 100)))
    given = policy.removeprefix("mixed_"), "float32", "float32"
    assert seen == [("winograd", *given)] * 3 + [("to_one_channel", *given)]
    assert traced.structured_outputs.dtype == tf.float32 and traced.output_shapes[0] == 16


OTHERS = [{"padding": "valid"}, {"strides": 2}, {"dilation_rate": 2}]
NOT_WINOGRADS = [{"kernel_size": 3}, {"groups": 2}, {"edges": (8, 10)}, {"edges": (6, 8)}]


@pytest.mark.parametrize(
    ("filters", "more"),
    [(1, more) for more in OTHERS] + [(8, more) for more in OTHERS + NOT_WINOGRADS],
)
def test_other_convolutions_stay_keras_own(filters, more):
    more = {"kernel_size": 5, "padding": "same", "edges": (8, 8)} | more
    image = keras.Input((*more.pop("edges"), 8))
    layer = keras.layers.Conv2D(filters, **more)
    network = fast.speed_up(keras.Model(image, layer(image)), "float32+winograd")
    assert type(network.layers[-1]) is keras.layers.Conv2D


def kinds(network):
    """Names of the faster layers' classes, in order."""
    found = [type(layer).__name__ for layer in network.layers]
    return [name for name in found if name in ("WinogradConv2D", "OneChannelConv2D")]


def test_a_gpu_has_its_own_ways(monkeypatch):
    monkeypatch.setattr(machine, "usable_gpus", lambda: ["one"])
    generator = fast.speed_up(networks.build_generator(), "float32+winograd")
    assert not kinds(generator)
    assert any(isinstance(layer, fast.FusedBatchNorm) for layer in generator.layers)


@pytest.mark.parametrize("way", ["", "+winograd"])
def test_a_network_inside_another_computes_as_fast(way):
    inner = networks.build_generator(latent_dim=8)
    latent = keras.Input((8,))
    network = fast.speed_up(keras.Model(latent, inner(latent)), "float32" + way)
    (found,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
    assert kinds(found) == ["WinogradConv2D"] * 3 * bool(way) + ["OneChannelConv2D"]
    assert not kinds(inner), "the network itself stays Keras' own"
