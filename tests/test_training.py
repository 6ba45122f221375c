"""Losses by hand, label tricks, and a training that goes on where it stopped."""

import numpy as np
import pytest

from helpers import networks, runtime, sampling, training
from helpers.runtime import CourseError

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402  after keras, which decides whether there is one


@pytest.fixture
def small_networks(monkeypatch):
    """Networks of the same kinds of layers that train in milliseconds."""
    layers = keras.layers

    def discriminator():
        image = x = keras.Input((32, 32, 1))
        x = networks.normalise_and_activate(layers.Conv2D(4, 4, strides=4)(x))
        x = layers.Dropout(0.4)(layers.Flatten()(x))
        x = layers.Dense(1, name="logit")(x)
        return keras.Model(image, layers.Activation("sigmoid")(x))

    def generator(latent_dim=100):
        latent = x = keras.Input((latent_dim,))
        x = networks.normalise_and_activate(layers.Dense(64)(x))
        x = layers.Conv2DTranspose(1, 4, strides=4, activation="tanh")(layers.Reshape((8, 8, 1))(x))
        return keras.Model(latent, x)

    monkeypatch.setattr(networks, "build_discriminator", discriminator)
    monkeypatch.setattr(networks, "build_generator", generator)


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (40, 32, 32, 1)).astype("float32")


def train(images, steps, **more):
    return training.train_gan(images, steps=steps, seed=3, **more)


def weights(trained):
    return [np.asarray(v) for v in trained.generator.variables + trained.discriminator.variables]


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


# --- Losses and labels ---------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    targets, logits = np.array([[0.9], [0.0], [1.0]]), np.array([[2.0], [-1.0], [-3.0]])
    p = 1 / (1 + np.exp(-logits))
    by_hand = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    assert float(training.cross_entropy(targets, logits)) == pytest.approx(by_hand, rel=1e-6)
    assert np.isfinite(float(training.cross_entropy([[1.0]], [[-500.0]])))


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_known(slope):
    start = keras.initializers.Constant(slope / 32)
    flat = keras.layers.Dense(1, kernel_initializer=start)
    critic = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten(), flat])
    x = tf.random.stateless_normal((5, 32, 32, 1), [1, 2])
    assert float(training.gradient_penalty(critic, x)) == pytest.approx((slope - 1) ** 2, abs=1e-4)
    with tf.GradientTape() as tape:  # the root at 0 must not give NaN further down
        penalty = training.gradient_penalty(critic, x)
    gradients = tape.gradient(penalty, critic.trainable_variables)
    assert all(np.isfinite(g).all() for g in gradients if g is not None)


def test_penalty_against_finite_differences():
    keras.utils.set_random_seed(0)
    critic = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dense(1),
        ]
    )
    x = np.random.default_rng(1).normal(size=(3, 4, 4, 1)).astype("float32")
    slopes = np.zeros((3, 16))
    for k in range(16):
        step = np.zeros(16, "float32")
        step[k] = 1e-2
        step = step.reshape(1, 4, 4, 1)
        slopes[:, k] = (np.asarray(critic(x + step)) - np.asarray(critic(x - step)))[:, 0] / 2e-2
    by_hand = np.mean((np.linalg.norm(slopes, axis=1) - 1) ** 2)
    assert float(training.gradient_penalty(critic, tf.constant(x))) == pytest.approx(
        by_hand, rel=1e-2
    )


@pytest.mark.parametrize("real", [True, False])
def test_targets_are_soft_noisy_and_flipped_the_right_way(real):
    recipe = training.Recipe(label_softness=0.2, label_flips=0.1)
    targets = training.noisy_targets(real, 20_000, recipe, tf.constant([1, 2])).numpy()
    right = targets > 0.5 if real else targets < 0.5
    assert np.mean(right) == pytest.approx(0.9, abs=0.01)
    low, high = (0.8, 1.0) if real else (0.0, 0.2)
    assert targets[right].min() >= low and targets[right].max() <= high
    assert np.std(targets[right]) == pytest.approx(0.2 / np.sqrt(12), rel=0.05)
    hard = training.Recipe(label_softness=0.0, label_flips=0.0)
    assert set(training.noisy_targets(real, 50, hard, tf.constant([1, 2])).numpy().ravel()) == {
        float(real)
    }


def test_batches_are_epochs_without_the_last_half():
    seen = [training.batch_of(step, 72, 16, 5) for step in range(8)]
    for epoch in (seen[:4], seen[4:]):
        assert len(np.unique(epoch)) == 64
    assert not np.array_equal(seen[0], seen[4])
    assert np.array_equal(seen[6], training.batch_of(6, 72, 16, 5))


# --- The step ------------------------------------------------------------------------------------


def test_generator_is_pushed_towards_real_and_discriminator_apart(small_networks, images):
    """Reversing either direction, or training one network on the other's loss, fails this."""
    runtime.seed_everything(0)
    generator, discriminator = networks.build_generator(), networks.build_discriminator()

    def outputs_after(rates):
        generator.set_weights(first[0])
        discriminator.set_weights(first[1])
        optimizers = [keras.optimizers.SGD(rate) for rate in rates]
        recipe = training.Recipe(penalty_weight=0, label_flips=0, label_softness=0)
        step = training.make_train_step(generator, discriminator, *optimizers, recipe)
        for k in range(30):
            values = step(tf.constant(images[:16]), tf.constant([0, k]))
        return float(values["output_on_real"]), float(values["output_on_fake"])

    first = generator.get_weights(), discriminator.get_weights()
    neither = outputs_after((0.0, 0.0))
    only_generator = outputs_after((0.1, 0.0))
    only_discriminator = outputs_after((0.0, 0.01))
    assert only_generator[1] > neither[1] + 0.02
    assert only_discriminator[0] - only_discriminator[1] > neither[0] - neither[1] + 0.02


def test_penalty_reaches_the_discriminator_only(small_networks, images):
    def weights_after_a_step(penalty_weight):
        runtime.seed_everything(0)
        pair = networks.build_generator(), networks.build_discriminator()
        optimizers = [keras.optimizers.SGD(0.1) for _ in pair]
        recipe = training.Recipe(penalty_weight=penalty_weight)
        step = training.make_train_step(*pair, *optimizers, recipe)
        step(tf.constant(images[:16]), tf.constant([0, 0]))
        return [np.concatenate([np.ravel(w) for w in network.get_weights()]) for network in pair]

    without, with_it = weights_after_a_step(0.0), weights_after_a_step(10.0)
    assert np.array_equal(without[0], with_it[0])
    assert not np.array_equal(without[1], with_it[1])


# --- The loop ------------------------------------------------------------------------------------


def test_same_seed_same_weights(small_networks, images):
    assert same(train(images, 5), train(images, 5))
    other = training.train_gan(images, steps=5, seed=4)
    assert not same(train(images, 5), other)


def test_resumed_is_unbroken_bit_for_bit(small_networks, images, tmp_path):
    whole = train(images, 9, preview_every=3)
    train(images, 5, checkpoints=tmp_path, checkpoint_every=2, preview_every=3)
    resumed = train(images, 9, checkpoints=tmp_path, checkpoint_every=2, preview_every=3)
    assert same(whole, resumed)
    assert np.array_equal(whole.previews[[0, 1]], resumed.previews[[0, 2]])
    for name, values in whole.history.items():
        assert np.array_equal(values, resumed.history[name])


def test_corrupt_checkpoint_falls_back(small_networks, images, tmp_path, capsys):
    whole = train(images, 6, checkpoints=tmp_path, checkpoint_every=2)
    newest = max(tmp_path.glob("step-*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    assert same(whole, train(images, 6, checkpoints=tmp_path, checkpoint_every=2))
    assert f"{newest.name} cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["data", "recipe", "seed"])
def test_foreign_checkpoint_is_refused(small_networks, images, tmp_path, change):
    train(images, 2, checkpoints=tmp_path)
    arguments = {"steps": 4, "seed": 3, "checkpoints": tmp_path}
    if change == "data":
        images = images + 0.001
    elif change == "recipe":
        arguments["recipe"] = training.Recipe(label_flips=0.0)
    else:
        arguments["seed"] = 4
    with pytest.raises(CourseError, match="made from other data or settings"):
        training.train_gan(images, **arguments)


def test_too_few_images(images):
    with pytest.raises(CourseError, match="15 training images are fewer than one batch of 16"):
        train(images[:15], 1)


def test_nan_stops_with_advice(small_networks, images, tmp_path):
    images[0] = np.nan
    with pytest.raises(CourseError, match="stopped being numbers at step"):
        train(images, 9, checkpoints=tmp_path)


# --- The file ------------------------------------------------------------------------------------


def test_h5_comes_back_exact_and_names_what_is_wrong(tmp_path):
    keras.utils.set_random_seed(1)
    generator, path = networks.build_generator(), tmp_path / "clear.h5"
    training.save_generator(generator, path)
    assert [p.name for p in tmp_path.iterdir()] == ["clear.h5"]
    again = sampling.load_generator(path)
    for a, b in zip(generator.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(CourseError, match="with 64 latent numbers"):
        sampling.load_generator(path, latent_dim=64)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CourseError, match="does not hold this course's generator"):
        sampling.load_generator(path)
    with pytest.raises(CourseError, match="is missing: run notebooks/03"):
        sampling.load_generator(tmp_path / "other.h5")
