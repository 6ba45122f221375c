"""Labels, losses, penalty and the step, by hand."""

import numpy as np
import pytest

from helpers import machine, networks, recipes
from helpers.gan import (
    augment,
    augment_input,
    cross_entropy,
    discriminator_loss,
    gan_losses,
    generator_loss,
    gradient_penalty,
    make_train_step,
    noisy_targets,
    penalty_for,
)
from helpers.recipes import Recipe

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402  after keras, which decides whether there is one

# --- Losses and labels ---------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    targets, logits = np.array([[0.9], [0.0], [1.0]]), np.array([[2.0], [-1.0], [-3.0]])
    p = 1 / (1 + np.exp(-logits))
    by_hand = -np.mean(targets * np.log(p) + (1 - targets) * np.log(1 - p))
    assert float(cross_entropy(targets, logits)) == pytest.approx(by_hand, rel=1e-6)
    assert np.isfinite(float(cross_entropy([[1.0]], [[-500.0]])))


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_known(slope):
    start = keras.initializers.Constant(slope / 32)
    flat = keras.layers.Dense(1, kernel_initializer=start)
    critic = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Flatten(), flat])
    x = tf.random.stateless_normal((5, 32, 32, 1), [1, 2])
    assert float(gradient_penalty(critic, x)) == pytest.approx((slope - 1) ** 2, abs=1e-4)
    with tf.GradientTape() as tape:  # the root at 0 must not give NaN further down
        penalty = gradient_penalty(critic, x)
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
    assert float(gradient_penalty(critic, tf.constant(x))) == pytest.approx(by_hand, rel=1e-2)


@pytest.mark.parametrize("real", [True, False])
def test_targets_are_soft_noisy_and_flipped_the_right_way(real):
    recipe = Recipe(flip_share=0.1)
    targets = noisy_targets(real, 20_000, recipe, tf.constant([1, 2])).numpy()
    right = targets > 0.5 if real else targets < 0.5
    assert np.mean(right) == pytest.approx(0.9, abs=0.01)
    low, high = (0.8, 1.0) if real else (0.0, 0.2)
    assert targets[right].min() >= low and targets[right].max() <= high
    assert np.std(targets[right]) == pytest.approx(0.2 / np.sqrt(12), rel=0.05)
    hard = Recipe(soften_real=0, soften_generated=0, flip_share=0)
    assert set(noisy_targets(real, 50, hard, tf.constant([1, 2])).numpy().ravel()) == {float(real)}


def told(real, **values):
    recipe = recipes.choose_recipe("paper", {"flip_share": 0.0} | values)
    return noisy_targets(real, 5_000, recipe, tf.constant([1, 2])).numpy()


def test_one_sided_softening_leaves_the_generated_at_zero():
    assert told(False, soften_generated=0.0).max() == 0
    assert told(True, soften_generated=0.0).min() < 0.85
    assert told(True, soften_real=0.0).min() == 1
    assert told(False, soften_real=0.0).max() > 0.15


def test_soft_without_noise_is_one_number():
    assert np.unique(told(True, noisy_labels=False)) == pytest.approx([0.8])
    assert np.unique(told(False, noisy_labels=False)) == pytest.approx([0.2])


def test_discriminator_losses_by_hand():
    on_real, on_fake = np.array([[2.0], [1.0]], "float32"), np.array([[-1.0], [0.5]], "float32")
    seed = tf.constant([1, 2])
    hard = {"flip_share": 0.0, "soften_real": 0.0, "soften_generated": 0.0}
    by_hand = np.mean(np.log1p(np.exp(-on_real))) + np.mean(np.log1p(np.exp(on_fake)))
    bce = discriminator_loss(
        tf.constant(on_real), tf.constant(on_fake), recipes.choose_recipe("paper", hard), seed
    )
    assert float(bce) == pytest.approx(by_hand, rel=1e-6)
    critic = recipes.choose_recipe("paper", hard | {"loss": "wasserstein"})
    gap = discriminator_loss(tf.constant(on_real), tf.constant(on_fake), critic, seed)
    assert float(gap) == pytest.approx(-0.25 - 1.5)
    assert float(generator_loss(tf.constant(on_fake), critic)) == pytest.approx(0.25)


@pytest.mark.parametrize("logit", [-6.0, 0.0, 3.0])
def test_swapped_labels_push_the_same_way_and_harder_where_it_loses(logit):
    slopes = {}
    for swap in (True, False):
        recipe = recipes.choose_recipe("paper", {"swap_labels": swap})
        variable = tf.Variable([[logit]])
        with tf.GradientTape() as tape:
            loss = generator_loss(variable, recipe)
        slopes[swap] = float(tape.gradient(loss, variable)[0, 0])
    sure = 1 / (1 + np.exp(-logit))  # that the image is real
    assert slopes[True] == pytest.approx(sure - 1, abs=1e-5)  # of -log(sure)
    assert slopes[False] == pytest.approx(-sure, abs=1e-5)  # of log(1 - sure)


def test_penalty_stands_where_the_recipe_says():
    """A critic whose slope at x is x: the penalty tells where it was asked."""

    def critic(x, training):
        return tf.reduce_sum(tf.square(x), axis=[1, 2, 3])[:, None] / 2

    one = tf.one_hot([0, 0, 0, 0], 1024)
    real, fake = (tf.reshape(k * one, (4, 32, 32, 1)) for k in (3.0, 5.0))
    seed = tf.constant([4, 5])
    on_real = recipes.choose_recipe("paper", {"penalty_on": "real"})
    assert float(penalty_for(critic, real, fake, on_real, seed)) == pytest.approx(9)
    mixed = [
        float(penalty_for(critic, real, fake, recipes.RECIPES["paper"], tf.constant([4, k])))
        for k in range(200)
    ]
    # (slope - 1)^2 for slopes uniform on 3 to 5: the integral gives 28 / 3, ends 4 and 16.
    assert np.mean(mixed) == pytest.approx(28 / 3, rel=0.03)
    assert min(mixed) >= 4 and max(mixed) <= 16
    off = recipes.choose_recipe("paper", {"penalty_weight": 0.0})
    assert float(penalty_for(critic, real, fake, off, seed)) == 0


# --- What the discriminator is shown -------------------------------------------------------------


def test_augmentation_does_the_same_to_real_and_generated(images):
    some, seed = tf.constant(images[:8]), tf.constant([3, 4])
    for kind in recipes.AUGMENTATIONS:
        first = augment(some, (kind,), seed).numpy()
        other = augment(some + 0.25, (kind,), seed).numpy()
        moved = other - first  # but where air came in, for both alike
        assert np.isclose(moved, 0.25, atol=1e-6).mean() > 0.6
        assert np.all(np.isclose(moved, 0.25, atol=1e-6) | ((first == -1) & (other == -1)))
        assert not np.array_equal(first, some.numpy())
        assert first.shape == some.shape
    assert np.array_equal(augment(some, (), seed).numpy(), some.numpy())


def test_translation_moves_by_an_eighth_at_most_and_brings_in_air():
    dot = np.full((200, 32, 32, 1), -1.0, "float32")
    dot[:, 16, 16] = 1.0
    moved = augment(tf.constant(dot), ("translation",), tf.constant([1, 1])).numpy()
    rows, columns = np.nonzero(moved[..., 0] == 1)[1:]
    assert len(rows) == 200 and set(rows - 16) == set(columns - 16) == set(range(-4, 5))
    white = augment(tf.ones((50, 32, 32, 1)), ("translation",), tf.constant([1, 2]))
    assert set(np.unique(white)) == {-1.0, 1.0}


def test_cutout_and_brightness():
    white = tf.ones((400, 32, 32, 1))
    holes = (augment(white, ("cutout",), tf.constant([1, 2])).numpy() == -1).sum((1, 2, 3))
    assert holes.max() == 16 * 16 and holes.min() >= 8 * 8  # smaller where the edge cuts it off
    bright = augment(white, ("brightness",), tf.constant([1, 2])).numpy()
    assert np.ptp(bright, axis=(1, 2, 3)).max() == 0
    assert 0.5 <= bright.min() < 0.52 and 1.48 < bright.max() <= 1.5
    all_three = augment(white, recipes.AUGMENTATIONS, tf.constant([1, 2])).numpy()
    assert ((all_three == -1).sum((1, 2, 3)) >= 8 * 8).all()  # holes are air, not brighter


def test_augmentation_passes_gradients():
    x = tf.Variable(tf.zeros((4, 32, 32, 1)))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(augment(x, recipes.AUGMENTATIONS, tf.constant([1, 2])))
    gradient = tape.gradient(y, x).numpy()
    assert set(np.unique(gradient)) == {0.0, 1.0} and gradient.mean() > 0.3


def test_instance_noise_fades():
    recipe = recipes.choose_recipe("paper", {"instance_noise": 0.4, "instance_noise_steps": 100})
    zeros = tf.zeros((16, 32, 32, 1))
    for step, spread in ((0, 0.4), (50, 0.2), (100, 0.0), (500, 0.0)):
        seen = augment_input(zeros, recipe, tf.constant([1, 2]), tf.constant(step))
        assert float(tf.math.reduce_std(seen)) == pytest.approx(spread, rel=0.02, abs=1e-9)


# --- The step ------------------------------------------------------------------------------------


class AlwaysDraws:
    """A generator of the same images whatever the latent vectors are."""

    input_shape = (None, 100)

    def __init__(self, images):
        self.images = tf.constant(images)

    def __call__(self, latent, training):
        return self.images


def hard_recipe(**changes):
    hard = {"flip_share": 0.0, "soften_real": 0.0, "soften_generated": 0.0}
    return recipes.choose_recipe("paper", hard | changes)


@pytest.mark.parametrize("loss", ["bce", "wasserstein"])
@pytest.mark.parametrize("penalty_on", ["mixtures", "real"])
def test_losses_add_up_as_by_hand(images, loss, penalty_on):
    """A linear critic, whose slope is the same everywhere: 3."""
    kernel = np.random.default_rng(3).normal(size=1024).astype("float32")
    kernel *= 3 / np.linalg.norm(kernel)

    def critic(x, training):
        return tf.linalg.matvec(tf.reshape(x, (-1, 1024)), kernel)[:, None]

    real, fake = images[:16], images[16:32]
    recipe = hard_recipe(loss=loss, penalty_on=penalty_on, penalty_weight=7.0)
    found = gan_losses(AlwaysDraws(fake), critic, tf.constant(real), tf.constant([5, 9]), recipe)
    on_real, on_fake = (x.reshape(16, 1024) @ kernel for x in (real, fake))
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    penalty = (3 - 1) ** 2 if penalty_on == "mixtures" else 3**2
    told = np.mean(-np.log(sigmoid(on_real))) + np.mean(-np.log(1 - sigmoid(on_fake)))
    fooled, output = np.mean(-np.log(sigmoid(on_fake))), sigmoid
    if loss == "wasserstein":
        told, fooled = on_fake.mean() - on_real.mean(), -on_fake.mean()
        output = lambda x: x  # noqa: E731
    by_hand = {
        "discriminator_loss": told + 7 * penalty,
        "generator_loss": fooled,
        "penalty": penalty,
        "output_on_real": output(on_real).mean(),
        "output_on_fake": output(on_fake).mean(),
    }
    assert {k: float(v) for k, v in found.items()} == pytest.approx(by_hand, rel=1e-3, abs=1e-4)


def what_the_critic_saw(real, fake, **changes):
    """Real images, generated ones and mixtures, as they come to the critic."""
    seen = []

    def critic(x, training):
        seen.append(x.numpy())
        return tf.reduce_sum(x, axis=[1, 2, 3])[:, None]

    gan_losses(
        AlwaysDraws(fake), critic, tf.constant(real), tf.constant([5, 9]), hard_recipe(**changes)
    )
    return seen


@pytest.mark.parametrize(
    "changes", [*({"augmentation": k} for k in recipes.AUGMENTATIONS), {"instance_noise": 0.2}]
)
def test_real_and_generated_reach_the_critic_changed_alike(images, changes):
    real, fake = images[:16], images[16:32]
    for seen, image in zip(what_the_critic_saw(real, fake), (real, fake), strict=False):
        assert np.array_equal(seen, image), "changed without being asked"
    for seen, image in zip(what_the_critic_saw(real, fake, **changes), (real, fake), strict=False):
        assert (seen != image).any(axis=(1, 2, 3)).sum() > 12
    on_real, on_fake, _ = what_the_critic_saw(real, real, **changes)
    assert np.array_equal(on_real, on_fake)


def test_mixtures_are_of_augmented_images(images):
    kinds = ",".join(recipes.AUGMENTATIONS)
    flat = [
        x.reshape(16, -1)
        for x in what_the_critic_saw(images[:16], images[16:32], augmentation=kinds)
    ]
    real, fake, mixed = flat
    # The weight that explains each mixture best explains all of it, and lies between 0 and 1.
    weight = ((mixed - fake) * (real - fake)).sum(1) / ((real - fake) ** 2).sum(1)
    assert np.allclose(mixed, weight[:, None] * real + (1 - weight[:, None]) * fake, atol=1e-5)
    assert 0 <= weight.min() < 0.3 and 0.7 < weight.max() <= 1


def test_generator_is_pushed_towards_real_and_discriminator_apart(small_networks, images):
    """Reversing either direction, or training one network on the other's loss, fails this."""
    machine.seed_everything(0)
    generator, discriminator = networks.build_generator(), networks.build_discriminator()

    def outputs_after(rates):
        generator.set_weights(first[0])
        discriminator.set_weights(first[1])
        optimizers = [keras.optimizers.SGD(rate) for rate in rates]
        recipe = Recipe(penalty_weight=0, flip_share=0, soften_real=0, soften_generated=0)
        step = make_train_step(generator, discriminator, *optimizers, recipe)
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
        machine.seed_everything(0)
        pair = networks.build_generator(), networks.build_discriminator()
        optimizers = [keras.optimizers.SGD(0.1) for _ in pair]
        recipe = Recipe(penalty_weight=penalty_weight)
        step = make_train_step(*pair, *optimizers, recipe)
        step(tf.constant(images[:16]), tf.constant([0, 0]))
        return [np.concatenate([np.ravel(w) for w in network.get_weights()]) for network in pair]

    without, with_it = weights_after_a_step(0.0), weights_after_a_step(10.0)
    assert np.array_equal(without[0], with_it[0])
    assert not np.array_equal(without[1], with_it[1])
