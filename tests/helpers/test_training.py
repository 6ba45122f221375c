"""The loop: it resumes where it stopped; checkpoints, files, and speed that changes no number."""

import functools
import os
import signal

import numpy as np
import pytest
from small import same
from small import train_seeded as train

from helpers import machine, networks, recipes, sampling
from helpers.files import CourseError
from helpers.gan import (
    Adam,
    gan_losses,
    make_train_step,
    update_average,
)
from helpers.recipes import Recipe
from helpers.training import (
    COLUMNS,
    _read_newest,
    _State,
    batch_of,
    save_generator,
    train_gan,
    warn_in_card,
    write_log,
    write_model_card,
)

keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402  after keras, which decides whether there is one


def test_batches_are_epochs_without_the_last_half():
    seen = [batch_of(step, 72, 16, 5) for step in range(8)]
    for epoch in (seen[:4], seen[4:]):
        assert len(np.unique(epoch)) == 64
    assert not np.array_equal(seen[0], seen[4])
    assert np.array_equal(seen[6], batch_of(6, 72, 16, 5))


# --- The loop ------------------------------------------------------------------------------------


@pytest.fixture
def watched_step(monkeypatch):
    """What `train_gan` hands to its step, and the generator's numbers before and after each."""
    seen, make = {"numbers": [], "xla": [], "seeds": []}, make_train_step

    @functools.wraps(make)
    def make_watched(generator, discriminator, *others):
        seen["optimizers"] = others[:2]
        seen["numbers"].append([np.asarray(v) for v in generator.variables])
        step = make(generator, discriminator, *others)
        seen["xla"].append(step._jit_compile)

        def train_step(*arguments):
            seen["seeds"].append(arguments[1].numpy().tolist())
            values = step(*arguments)
            seen["numbers"].append([np.asarray(v) for v in generator.variables])
            return values

        return train_step

    monkeypatch.setitem(train_gan.__kwdefaults__, "make_step", make_watched)
    return seen


@pytest.mark.parametrize("mover", ["generator", "discriminator"])
def test_each_rate_moves_its_own_network(small_networks, images, mover):
    rates = {"generator_learning_rate": 1e-9, "discriminator_learning_rate": 1e-9}
    recipe = recipes.choose_recipe("paper", rates | {f"{mover}_learning_rate": 0.01})
    start, end = train(images, 0, recipe=recipe), train(images, 2, recipe=recipe)
    for name in ("generator", "discriminator"):
        before, after = (getattr(gan, name).trainable_variables for gan in (start, end))
        moved = max(np.abs(a - b).max() for a, b in zip(before, after, strict=True))
        assert moved > 1e-3 if name == mover else moved < 1e-7, name


def test_rates_momentum_and_dropout_reach_their_objects(small_networks, images, watched_step):
    changes = {"generator_learning_rate": 3e-4, "discriminator_learning_rate": 7e-4}
    changes |= {"beta_1": 0.3, "dropout": 0.15}
    trained = train(images, 1, recipe=recipes.choose_recipe("paper", changes))
    adams = watched_step["optimizers"]
    assert [adam.beta_1 for adam in adams] == [0.3, 0.3]
    assert [float(adam.learning_rate) for adam in adams] == pytest.approx([3e-4, 7e-4])
    kinds = trained.discriminator.layers
    assert [x.rate for x in kinds if isinstance(x, keras.layers.Dropout)] == [0.15]


def test_the_averaged_generator_is_the_average(small_networks, images, watched_step):
    changes = {"average_decay": 0.15, "generator_learning_rate": 0.01}
    trained = train(images, 2, recipe=recipes.choose_recipe("paper", changes))
    start, first, second = watched_step["numbers"]
    # Over k + 10 steps at first, (1 + k) / (10 + k) = 1/10 and 2/11, but no more than 0.15.
    by_hand = [
        0.15 * (0.1 * a + 0.9 * b) + 0.85 * c for a, b, c in zip(start, first, second, strict=True)
    ]
    found = [np.asarray(v) for v in trained.generator.variables]
    assert any("moving" in v.path for v in trained.generator.variables)
    for average, hand in zip(found, by_hand, strict=True):
        assert np.allclose(average, hand, atol=1e-6)
    assert not all(np.allclose(a, b, atol=1e-4) for a, b in zip(found, second, strict=True))


def test_every_step_has_its_own_number_on_which_its_randomness_depends(
    small_networks, images, watched_step, tmp_path
):
    """Also after a resume: latent vectors, the average and fading noise all count on it."""
    train(images, 3, checkpoints=tmp_path, checkpoint_every=1)
    train(images, 7, checkpoints=tmp_path, checkpoint_every=1)
    assert watched_step["seeds"] == [[3, step] for step in range(7)]


def test_each_step_draws_latent_vectors_of_its_own(small_networks, images):
    drawn, generator = [], networks.build_generator()

    def recording(latent, training):
        drawn.append(np.asarray(latent))
        return generator(latent, training=training)

    recording.input_shape = generator.input_shape
    critic = networks.build_discriminator()
    for seed in ([3, 0], [3, 1], [4, 0], [3, 0]):
        gan_losses(recording, critic, tf.constant(images[:16]), tf.constant(seed), Recipe())
    first, *others, again = drawn
    assert np.array_equal(first, again)
    assert len(np.unique(np.concatenate([first, *others]), axis=0)) == 48


def test_same_seed_same_weights(small_networks, images):
    assert same(train(images, 5), train(images, 5))
    other = train_gan(images, steps=5, seed=4)
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


def test_a_flipped_byte_is_seen(tmp_path, capsys):
    """The newest state to the bit, or the one before it, or a sentence: nothing else."""
    numbers = np.random.default_rng(1).normal(size=(3, 2, 40)).astype("float32")
    origin = {"seed": 1, "recipe": {"loss": "bce"}}

    def state(values):
        return _State([tf.Variable(value) for value in values], origin)

    for k in (1, 2):
        kept = state(numbers[k])
        kept.rows = [[float(k)] * 7] * k
        kept.save(tmp_path)
    newest = tmp_path / "step-000002.npz"
    whole, rng = newest.read_bytes(), np.random.default_rng(2)
    outcomes = {1: 0, 2: 0, "sentence": 0}
    for _ in range(400):
        spoilt = bytearray(whole)
        spoilt[rng.integers(len(spoilt))] ^= rng.integers(1, 256)
        newest.write_bytes(spoilt)
        again = state(numbers[0])
        try:
            again.restore(_read_newest(tmp_path))
        except CourseError:
            outcomes["sentence"] += 1
            continue
        k = len(again.rows)
        assert np.array_equal(again.variables, numbers[k]) and again.rows == [[float(k)] * 7] * k
        said = "step-000002.npz cannot be read; going back" in capsys.readouterr().out
        assert said == (k == 1)
        outcomes[k] += 1
    assert outcomes[1] > 200 and outcomes[2] > 10


def test_a_header_that_asks_for_half_of_the_numbers_is_seen(tmp_path):
    """NumPy would read half as many bytes, and zipfile not come to the checksum."""
    for k in (1, 2):
        kept = _State([tf.fill(5000, float(k))], {"recipe": {}})
        kept.rows = [[0.0] * 7] * k
        kept.save(tmp_path)
    newest = tmp_path / "step-000002.npz"
    whole = newest.read_bytes()
    field = b"'descr': '<f4', 'fortran_order': False, 'shape': (5000,)"
    newest.write_bytes(whole.replace(field, field.replace(b"<f4", b"<f2")))
    assert newest.read_bytes() != whole
    assert len(_read_newest(tmp_path)["rows"]) == 1


def test_checkpoints_after_damaged_ones_are_kept(tmp_path):
    """A run that had to go back keeps what it can go on from, not what it could not read."""
    for step in (475, 500):
        (tmp_path / f"step-{step:06d}.npz").write_bytes(b"damaged")
    state = _State([tf.zeros(3)], {"recipe": {}})
    for done in range(1, 4):
        state.rows.append([0.0] * len(COLUMNS))
        state.save(tmp_path)
        assert len(_read_newest(tmp_path)["rows"]) == done
    assert [path.stem for path in sorted(tmp_path.glob("*"))] == ["step-000002", "step-000003"]


@pytest.mark.parametrize(
    ("field", "value"),
    [(8, 99), (6, 1), (6, 0x20)],
    ids=["unknown compression", "encrypted", "patched"],
)
def test_a_zip_that_says_it_is_of_another_kind_falls_back(
    small_networks, images, tmp_path, field, value
):
    """`zipfile` has errors of its own for these: NotImplementedError and RuntimeError."""
    whole = train(images, 2, checkpoints=tmp_path, checkpoint_every=1)
    newest = max(tmp_path.glob("step-*.npz"))
    spoilt = bytearray(newest.read_bytes())
    entry = spoilt.index(b"PK\x01\x02")  # of the central directory: fields stand two bytes later
    spoilt[field] = spoilt[entry + 2 + field] = value
    newest.write_bytes(spoilt)
    assert same(whole, train(images, 2, checkpoints=tmp_path, checkpoint_every=1))


def test_what_a_kill_left_half_written_goes(small_networks, images, tmp_path):
    train(images, 2, checkpoints=tmp_path)
    (tmp_path / ".step-000003-x1y2.npz").write_bytes(b"PK half")
    train(images, 2, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002.npz"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"images": 0.001}, "data"),
        ({"recipe": Recipe(flip_share=0.0)}, "recipe, flip_share"),
        ({"recipe": recipes.RECIPES["brief"]}, "recipe, generator_learning_rate, discriminator_"),
        ({"seed": 4}, "seed"),
        ({"seed": 4, "preview_every": 3}, "seed, preview_every"),
        ({"precision": "mixed_bfloat16"}, "precision"),
    ],
)
def test_foreign_checkpoint_is_refused_and_says_what_differs(
    small_networks, images, tmp_path, change, named
):
    train(images, 2, checkpoints=tmp_path)
    images = images + np.float32(change.pop("images", 0))
    with pytest.raises(CourseError, match=rf"from other data or settings \({named}") as caught:
        train_gan(images, **{"steps": 4, "seed": 3, "checkpoints": tmp_path} | change)
    assert named.endswith("_") or f"({named})" in str(caught.value)


def test_fewer_steps_than_are_done_is_a_sentence(small_networks, images, tmp_path):
    whole = train(images, 4, checkpoints=tmp_path)
    with pytest.raises(CourseError, match="4 steps are done, more than the 3 asked for"):
        train(images, 3, checkpoints=tmp_path)
    assert same(whole, train(images, 4, checkpoints=tmp_path))


def test_too_few_images(images):
    with pytest.raises(CourseError, match="15 training images are fewer than one batch of 16"):
        train(images[:15], 1)


@pytest.mark.parametrize("name", ["preview_every", "checkpoint_every"])
def test_an_interval_of_no_steps_is_a_sentence(images, name):
    with pytest.raises(CourseError, match=f"{name} is 0: use a whole number from 1"):
        train(images, 1, **{name: 0})


@pytest.mark.parametrize("every", [1, 50])
def test_nan_stops_with_advice_that_can_be_followed(small_networks, images, tmp_path, every):
    bad = batch_of(1, len(images), 16, 3)[0]  # of the second step, so not of the first
    images[bad] = np.nan
    kept = "step-000001.npz holds the last good state" if every == 1 else "nothing was saved"
    with pytest.raises(CourseError, match=f"infinite at step 2; .*{kept}: .*another folder"):
        train(images, 9, checkpoints=tmp_path, checkpoint_every=every)
    assert len(list(tmp_path.iterdir())) == (every == 1)
    for path in tmp_path.iterdir():
        with np.load(path) as saved:
            assert all(np.isfinite(saved[k]).all() for k in saved.files if k.startswith("arr_"))
    milder = recipes.choose_recipe("paper", {"generator_learning_rate": 1e-5})
    images[bad] = 0
    if every == 1:  # another recipe, so only in another folder, as the sentence says
        with pytest.raises(CourseError, match="data, recipe, generator_learning_rate"):
            train(images, 2, checkpoints=tmp_path, recipe=milder)
    train(images, 2, checkpoints=tmp_path / "fresh", recipe=milder)


def test_nan_without_checkpoints_promises_none(small_networks, images):
    images[:] = np.nan
    with pytest.raises(CourseError, match="infinite at step 1; nothing was saved"):
        train(images, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"average_decay": 0.9},
        {"augmentation": "translation,cutout,brightness", "instance_noise": 0.1},
        {"penalty_on": "real"},
    ],
)
def test_every_recipe_resumes_bit_for_bit(small_networks, images, tmp_path, changes):
    more = {"recipe": recipes.choose_recipe("paper", changes), "preview_every": 2}
    whole = train(images, 7, **more)
    train(images, 4, checkpoints=tmp_path, checkpoint_every=3, **more)
    assert same(whole, train(images, 7, checkpoints=tmp_path, checkpoint_every=3, **more))
    assert not same(whole, train(images, 7, preview_every=2)), "the change changed nothing"


def test_wasserstein_trains_the_critic(monkeypatch, images):
    """On the real critic, for it has no BatchNorm and no sigmoid."""
    changes = {"loss": "wasserstein", "flip_share": 0, "soften_real": 0, "soften_generated": 0}
    recipe = recipes.choose_recipe("paper", changes)
    trained = train(images, 2, recipe=recipe)
    kinds = {type(layer).__name__ for layer in trained.discriminator.layers}
    assert "LayerNormalization" in kinds and not kinds & {"BatchNormalization", "Activation"}
    assert networks.count_trainable(trained.discriminator) == 791_169
    assert trained.discriminator.name == "critic"
    once = train(images, 1, recipe=recipe).discriminator.trainable_variables
    for first, second in zip(once, trained.discriminator.trainable_variables, strict=True):
        moved = not np.array_equal(first, second)
        assert moved == (first.path != "logit/bias"), "the last bias is in both means alike"


def test_the_average_follows_weights_and_statistics(small_networks, images):
    machine.seed_everything(0)
    now, average = networks.build_generator(), networks.build_generator()
    before = [np.asarray(v) for v in average.variables]
    update_average(average, now, 0.9, tf.constant(10_000))
    for old, new, target in zip(before, average.variables, now.variables, strict=True):
        assert np.allclose(new, 0.9 * old + 0.1 * np.asarray(target), atol=1e-6)
    assert any("moving" in v.path for v in now.variables)
    middle = [np.asarray(v) for v in average.variables]
    update_average(average, now, 0.9, tf.constant(0))  # early on it forgets its start
    for old, new, target in zip(middle, average.variables, now.variables, strict=True):
        assert np.allclose(new, 0.1 * old + 0.9 * np.asarray(target), atol=1e-6)


def test_watching_is_kept_over_a_resume_and_changes_nothing(small_networks, images, tmp_path):
    def watch(generator):
        return {"mean": float(np.mean(generator.predict_on_batch(np.zeros((2, 100)))))}

    whole = train(images, 6, preview_every=2, watch=watch)
    assert same(whole, train(images, 6, preview_every=2))
    train(images, 3, preview_every=2, watch=watch, checkpoints=tmp_path, checkpoint_every=2)
    again = train(images, 6, preview_every=2, watch=watch, checkpoints=tmp_path)
    assert [w["mean"] for w in whole.watched] == [
        w["mean"] for s, w in zip(again.preview_steps, again.watched, strict=True) if s % 2 == 0
    ]


def test_ctrl_c_keeps_the_step_at_hand(small_networks, images, tmp_path, capsys):
    def interrupt(_):
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    whole = train(images, 7, preview_every=5)
    with pytest.raises(KeyboardInterrupt):
        train(images, 7, preview_every=5, watch=interrupt, checkpoints=tmp_path)
    assert "stopped after 5 of 7 steps; run the same again" in capsys.readouterr().out
    assert same(whole, train(images, 7, preview_every=5, checkpoints=tmp_path))


def test_bfloat16_computes_in_it_and_keeps_float32_weights(small_networks, images):
    trained = train(images, 1, precision="mixed_bfloat16")
    assert trained.precision == "mixed_bfloat16" and trained.previews.dtype == np.float32
    assert {v.dtype for v in trained.generator.trainable_variables} == {"float32"}
    assert trained.generator.layers[1].compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32", "the policy leaks"


def test_xla_compiles_the_same_step(small_networks, images, watched_step, monkeypatch):
    """XLA draws other random numbers from the same seed, so here nothing is drawn."""

    def waves(shape, seed, *_, **__):
        return tf.reshape(0.5 + 0.4 * tf.sin(tf.range(np.prod(shape), dtype=tf.float32)), shape)

    for name in ("stateless_normal", "stateless_uniform"):
        monkeypatch.setattr(tf.random, name, waves)
    recipe = recipes.choose_recipe("paper", {"dropout": 0})
    plain, compiled = (
        train(images, 3, precision=name, recipe=recipe) for name in ("float32", "float32+xla")
    )
    assert watched_step["xla"] == [False, True] and compiled.precision == "float32+xla"
    for name, values in plain.history.items():
        assert np.allclose(values, compiled.history[name], rtol=1e-3, atol=1e-4), name


def test_a_run_that_goes_on_keeps_its_precision(small_networks, images, tmp_path, monkeypatch):
    train(images, 2, precision="mixed_bfloat16", checkpoints=tmp_path)
    monkeypatch.setattr(machine, "time_precisions", lambda: {"float32": 1.0})
    assert train(images, 3, precision="auto", checkpoints=tmp_path).precision == "mixed_bfloat16"
    assert train(images, 1, precision="auto").precision == "float32"


# --- The file ------------------------------------------------------------------------------------


def test_h5_comes_back_exact_and_names_what_is_wrong(tmp_path):
    keras.utils.set_random_seed(1)
    generator, path = networks.build_generator(), tmp_path / "clear.h5"
    save_generator(generator, path)
    assert [p.name for p in tmp_path.iterdir()] == ["clear.h5"]
    again = sampling.load_generator(path)
    for a, b in zip(generator.get_weights(), again.get_weights(), strict=True):
        assert np.array_equal(a, b)
    save_generator(networks.build_generator(64), tmp_path / "short.h5")
    with pytest.raises(CourseError, match="does not hold this course's generator"):
        sampling.load_generator(tmp_path / "short.h5")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CourseError, match="does not hold this course's generator"):
        sampling.load_generator(path)
    with pytest.raises(CourseError, match="is missing: run notebooks/03"):
        sampling.load_generator(tmp_path / "other.h5")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    generator = networks.build_generator()
    first = generator.trainable_variables[0]
    for bad in (np.nan, np.inf):
        first.assign(tf.tensor_scatter_nd_update(first.value, [[0, 0]], [bad]))
        save_generator(generator, tmp_path / "clear.h5")
        with pytest.raises(CourseError, match=r"clear\.h5 holds weights that are not finite"):
            sampling.load_generator(tmp_path / "clear.h5")


def test_the_card_says_what_the_model_is(tmp_path):
    facts = {
        "data": "5f0c", "recipe": {"loss": "bce", "beta_1": 0.5}, "steps": 500, "seed": 2019,
        "quality": {"kid": 0.125}, "precision": "mixed_bfloat16", "training_images": 72,
    }  # fmt: skip
    write_model_card(tmp_path / "clear.md", **facts)
    card = (tmp_path / "clear.md").read_text(encoding="utf-8")
    assert card.startswith("# Generator: clear\n")
    for name, value in facts.items():
        assert f"\n- {name.replace('_', ' ')}: {value}\n" in card
    assert "may repeat its training images" in card and "never for a clinical decision" in card
    assert f"from {networks.LATENT_DIM} standard normal numbers" in card
    assert "draws {}x{} grey slices".format(*networks.IMAGE_SHAPE) in card


def test_a_copier_is_marked_once_in_its_card(tmp_path):
    card = tmp_path / "clear.md"
    warn_in_card(card, "Do not hand it on.")
    assert not card.exists(), "a model without a card gets none"
    write_model_card(card, steps=4)
    before = card.read_text()
    for _ in range(2):
        warn_in_card(card, "Do not hand it on.")
    assert card.read_text() == before.rstrip() + "\n\n**Do not hand it on.**\n"


def test_the_log_counts_steps_from_one(tmp_path):
    write_log(tmp_path / "log.csv", {"a": np.array([0.5, 0.25]), "b": np.array([1, 2])})
    assert (tmp_path / "log.csv").read_text() == "step,a,b\n1,0.5,1\n2,0.25,2\n"


# --- Speed that changes no number ----------------------------------------------------------------


def test_adam_is_keras_adam_but_for_rounding():
    """Beside Keras' own, and the formula by hand in float64, with slopes over many decades."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(4, 50))
    slopes = [rng.normal(size=(4, 50)) * 10.0 ** rng.integers(-9, 3, (4, 50)) for _ in range(20)]
    found = []
    for adam in (Adam, keras.optimizers.Adam):
        weights, optimizer = keras.Variable(first, dtype="float32"), adam(1e-2, beta_1=0.5)
        optimizer.build([weights])
        for slope in slopes:
            optimizer.apply([tf.constant(slope, tf.float32)], [weights])
        assert int(optimizer.iterations) == len(slopes)
        found.append([np.asarray(x) for x in (weights, *optimizer.variables[2:])])
    assert len(found[0]) == 3  # the weights, and both moments
    for ours, theirs in zip(*found, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    weights, mean, square = first, 0.0, 0.0
    for k, slope in enumerate(slopes, 1):
        mean, square = 0.5 * mean + 0.5 * slope, 0.999 * square + 0.001 * slope**2
        # Keras' epsilon is that of Kingma and Ba's shorter form, beside the uncorrected root.
        rate = 1e-2 * np.sqrt(1 - 0.999**k) / (1 - 0.5**k)
        weights = weights - rate * mean / (np.sqrt(square) + 1e-7)
    assert np.allclose(found[0][0], weights, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("small_networks")
def test_training_updates_each_tensor_in_one_operation(images):
    steps = []

    def keep(*args, make=make_train_step, **named):
        steps.append(make(*args, **named))
        return steps[-1]

    gan = train(images, 1, make_step=functools.wraps(make_train_step)(keep))
    graph = (
        steps[0]
        .get_concrete_function(tf.TensorSpec((16, 32, 32, 1)), tf.TensorSpec(2, tf.int32))
        .graph
    )
    updates = [x for x in graph.get_operations() if x.type == "ResourceApplyAdam"]
    pair = gan.generator, gan.discriminator
    assert len(updates) == sum(len(network.trainable_variables) for network in pair)


@pytest.mark.parametrize("way", ["", "+winograd"])
def test_what_trains_are_faster_clones(images, way):
    """And what comes back are Keras' own layers, with the trained weights."""
    handed = []

    @functools.wraps(make_train_step)
    def keep(*args):
        handed.extend(args[:2])
        return lambda *_: dict.fromkeys((*COLUMNS, "generator_loss"), 0.0)

    trained = train(images, 1, make_step=keep, precision="float32" + way)
    kinds = [{type(layer).__name__ for layer in network.layers} for network in handed]
    assert all("FusedBatchNorm" in found for found in kinds)
    assert ("WinogradConv2D" in kinds[0]) == bool(way) and "OneChannelConv2D" in kinds[0]
    assert {type(layer).__module__.split(".")[0] for layer in trained.generator.layers} == {"keras"}
    for clone, plain in zip(handed, (trained.generator, trained.discriminator), strict=True):
        assert all(map(np.array_equal, clone.get_weights(), plain.get_weights()))
