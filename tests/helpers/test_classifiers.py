"""Batches, arms that know nothing of each other, and the real ImageNet path."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from PIL import Image

from helpers import classifiers, files, preprocessing
from helpers.arms import IN_NOTEBOOK
from helpers.classifiers import Arm
from helpers.files import CourseError
from helpers.folder import read_folder

keras = pytest.importorskip("keras")


@pytest.fixture(scope="module")
def synthetic():
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (30, 32, 32, 1)).astype("float32"), np.repeat([1, 0], 15)


def which(batches, pool):
    """Index in `pool` of each image of `batches`."""
    keys = {image.tobytes(): i for i, image in enumerate(pool)}
    return np.array([keys.get(image.tobytes(), -1) for image in batches])


def test_batches_are_balanced_and_use_every_image_equally(slices):
    images, labels = classifiers.draw_batches(Arm(*slices), steps=5, seed=0)
    assert images.shape == (160, 32, 32, 1)
    assert (labels.reshape(5, 32).sum(axis=1) == 16).all()
    found = which(images, slices[0])
    assert np.array_equal(slices[1][found], labels), "label order"
    assert np.bincount(found, minlength=40).tolist() == [4] * 40


@pytest.mark.parametrize("dose", [6, 30])
def test_half_of_each_batch_is_real_whatever_the_dose(slices, synthetic, dose):
    keep = np.r_[: dose // 2, 15 : 15 + dose // 2]
    arm = Arm(*slices, synthetic[0][keep], synthetic[1][keep])
    images, labels = classifiers.draw_batches(arm, steps=6, seed=0)
    real = which(images, slices[0]) >= 0
    assert (real.reshape(6, 32).sum(axis=1) == 16).all()
    found = which(images[~real], synthetic[0])
    assert np.array_equal(synthetic[1][found], labels[~real])
    assert set(found) == set(keep)


def test_augmentation_changes_every_image_that_is_drawn_and_no_label(slices, synthetic):
    plain = Arm(*slices, *synthetic)
    moved = dataclasses.replace(plain, augment=lambda images: images + 100)
    (images, labels), (changed, of_changed) = (
        classifiers.draw_batches(arm, steps=4, seed=0) for arm in (plain, moved)
    )
    assert np.array_equal(changed, images + 100) and np.array_equal(labels, of_changed)


def test_a_dose_is_dealt_to_both_classes_and_no_more_than_there_is(synthetic):
    images, labels = classifiers.take_dose(*synthetic, 0.25 * 40)
    assert labels.tolist() == [1] * 5 + [0] * 5 and len(images) == 10
    assert (synthetic[1][which(images, synthetic[0])] == labels).all(), "an image under no label"
    with pytest.raises(CourseError, match=r"dose: it asks for 20 .* raise samples_per_class"):
        classifiers.take_dose(*synthetic, 40)


def test_arms_are_chosen_by_name(slices):
    every = dict.fromkeys(IN_NOTEBOOK, Arm(*slices))
    assert list(classifiers.choose_arms(every, "classic, original_gan,original")) == [
        "original", "original_gan", "classic",
    ]  # fmt: skip
    with pytest.raises(CourseError, match="'clasic' is unknown"):
        classifiers.choose_arms(every, "original, original_gan, clasic")
    with pytest.raises(CourseError, match="original_gan is missing"):
        classifiers.choose_arms(every, "original, classic")


# --- The arms of notebook 05 ---------------------------------------------------------------------


def compose_arms(out, prepared, dose):
    """Every arm, as notebook 05's own cells make them of a run's folder."""
    cells = json.loads((ROOT / "notebooks" / "05_evaluation.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    [first] = (k for k, source in enumerate(sources) if source.startswith("train_images, train_l"))
    room = {
        "np": np, "read_folder": read_folder, "preprocessing": preprocessing, "files": files,
        "classifiers": classifiers, "out": out,
        "prepared": prepared, "dose": dose, "seed": 5, "arms": "original, original_gan",
    }  # fmt: skip
    for source in sources[first : first + 2]:
        exec(source, room)
    assert list(room["chosen"]) == ["original", "original_gan"]
    return room["every_arm"]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """Samples as notebook 04 leaves them, 40 of each class; and 36 slices of which 20 to fit."""
    rng, out = np.random.default_rng(2), tmp_path_factory.mktemp("run")
    (out / "samples").mkdir()
    rows = ["id,label", *(f"{k},{k % 2}" for k in range(80))]
    (out / "samples" / "labels.csv").write_text("\n".join(rows))
    for k in range(80):
        grey = rng.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(grey).save(out / "samples" / f"{k}.png")
    images = rng.uniform(-1, 1, (36, 32, 32, 1)).astype("float32")
    parts = np.repeat(["train", "validation", "test"], [20, 8, 8])
    return out, preprocessing.Prepared(
        images, pd.DataFrame({"label": np.arange(36) // 2 % 2, "split": parts})
    )


DOSES = (0.25, 0.5, 1, 1.39, 2)


@pytest.mark.parametrize("dose", DOSES)
def test_what_each_arm_is_made_of(run_folder, dose):
    arms = compose_arms(*run_folder, dose)
    train, labels = run_folder[1].part("train")
    classic = {"classic", "classic_gan", "control_shuffled", "classic_long"}
    assert {name for name, arm in arms.items() if arm.augment} == classic
    for name, arm in arms.items():
        if name == "gan_only":
            assert (which(arm.images, train) < 0).all() and arm.synthetic_images is None
        else:
            assert np.array_equal(arm.images, train) and np.array_equal(arm.labels, labels)
    made = arms["gan_only"]
    assert len(made.images) == 2 * round(dose * 20 / 2) and np.mean(made.labels) == 0.5
    greys = [np.asarray(Image.open(run_folder[0] / "samples" / f"{k}.png")) for k in range(80)]
    drawn = np.rint((made.images[..., 0] + 1) * 127.5).astype(np.uint8)
    assert (which(drawn, greys) % 2 == made.labels).all(), "not the label of its file"
    for name in ("original_gan", "classic_gan"):
        assert np.array_equal(arms[name].synthetic_images, made.images)
        assert np.array_equal(arms[name].synthetic_labels, made.labels)
    assert arms["original"].synthetic_images is arms["classic"].synthetic_images is None
    long = {name for name, arm in arms.items() if arm.step_factor == 2}
    assert long == set(arms) - {"original", "gan_only", "classic"}
    assert arms["classic_long"].synthetic_images is None


def test_classic_arms_move_the_images_of_the_arms_beside_them(run_folder):
    """As a plain arm's batches, moved: real and generated ones, since either may give it away."""
    arms = compose_arms(*run_folder, 1)
    for name, without in (("classic", "original"), ("classic_gan", "original_gan")):
        plain, moved = (classifiers.draw_batches(arms[n], 4, seed=0)[0] for n in (without, name))
        assert np.array_equal(moved, arms[name].augment(plain)), name
        assert (np.abs(moved - plain).mean(axis=(1, 2, 3)) > 0.1).all(), name


@pytest.mark.parametrize("dose", DOSES)
def test_the_control_has_the_same_images_under_other_labels(run_folder, dose):
    arms = compose_arms(*run_folder, dose)
    gan, control = arms["classic_gan"], arms["control_shuffled"]
    assert np.array_equal(control.synthetic_images, gan.synthetic_images)
    assert np.bincount(control.synthetic_labels).tolist() == (
        np.bincount(gan.synthetic_labels).tolist()
    )
    agree = np.mean(control.synthetic_labels == gan.synthetic_labels)
    assert 0.2 <= agree <= 0.8, "shuffled: neither kept nor all turned round"
    assert np.array_equal(control.labels, gan.labels), "the real images keep theirs"


@pytest.mark.parametrize("dose", DOSES)
def test_duplicates_are_real_images_under_their_own_labels_as_many_as_generated(run_folder, dose):
    arms = compose_arms(*run_folder, dose)
    train, labels = run_folder[1].part("train")
    copies = which(arms["duplicated"].synthetic_images, train)
    assert len(copies) == len(arms["gan_only"].images) and (copies >= 0).all()
    assert np.array_equal(arms["duplicated"].synthetic_labels, labels[copies])


@pytest.mark.parametrize("dose", DOSES)
def test_a_batch_holds_as_many_real_images_at_every_dose_and_no_test_image(run_folder, dose):
    out, prepared = run_folder
    train, held_out = (
        prepared.part("train")[0],
        (prepared.part(x)[0] for x in ("validation", "test")),
    )
    unseen = np.concatenate(list(held_out))
    real = {"original": 32, "gan_only": 0, "original_gan": 16, "duplicated": 32}
    real |= {"classic": 32, "classic_long": 32, "classic_gan": 16, "control_shuffled": 16}
    for name, arm in compose_arms(out, prepared, dose).items():
        plain = dataclasses.replace(arm, augment=None)  # which moves images and exchanges none
        images, labels = classifiers.draw_batches(plain, steps=30, seed=0)
        of_batch = (which(images, train) >= 0).reshape(30, 32).sum(axis=1)
        assert (of_batch == real[name]).all(), name
        assert (labels.reshape(30, 32).sum(axis=1) == 16).all(), name
        assert (which(images, unseen) < 0).all(), name


# --- Classic augmentation ------------------------------------------------------------------------


def test_classic_augmentation_goes_as_far_as_the_original_and_no_farther():
    """Where three dots of a probe went tells how each copy was turned, moved, sheared, zoomed."""
    edge, copies, middle = 96, 400, 47.5
    dots = np.array([[0, 0], [8, 0], [0, 8]])  # x and y from the middle, one dot a channel
    y, x = np.mgrid[:edge, :edge][..., None] - middle
    probe = 2 * np.exp(-((x - dots[:, 0]) ** 2 + (y - dots[:, 1]) ** 2) / 18) - 1
    batch = np.repeat(probe[None].astype("float32"), copies, axis=0)
    light = classifiers.classic_augmentation(3)(batch) + 1
    light /= light.sum(axis=(1, 2), keepdims=True)
    went = np.stack([(light * axis).sum(axis=(1, 2)) for axis in (x, y)], axis=1)
    steps = (went[:, :, 1:] - went[:, :, :1]) / 8
    back = np.linalg.inv(steps)  # from a copy to the probe, as Keras' generator counts
    shift = -np.einsum("nij,nj->ni", back, went[:, :, 0]) / edge
    # A turn, then a triangle with zoom on its diagonal; a mirror makes the determinant negative.
    mirror = np.sign(np.linalg.det(back))
    first = back[:, :, 0] * mirror[:, None]
    angle = np.arctan2(first[:, 1], first[:, 0])
    zoom_x = np.hypot(*first.T)
    across = (
        np.stack([np.cos(angle), np.sin(angle)], 1),
        np.stack([-np.sin(angle), np.cos(angle)], 1),
    )
    along, zoom_y = (np.sum(axis * back[:, :, 1], axis=1) for axis in across)
    measured = [
        (np.rad2deg(angle), 40), (along / zoom_y, 0.2), (zoom_x - 1, 0.2), (zoom_y - 1, 0.2),
        (shift[:, 0], 0.2), (shift[:, 1], 0.2),
    ]  # fmt: skip
    for number, (values, limit) in enumerate(measured):
        assert np.abs(values).max() < 1.01 * limit, number
        assert values.min() < -0.95 * limit and values.max() > 0.95 * limit, number
        assert abs(values.mean()) < 4 * limit / np.sqrt(3 * copies), number  # of a uniform spread
        assert abs(values.std() / limit - 1 / np.sqrt(3)) < 0.06, number
    assert 0.4 < np.mean(mirror < 0) < 0.6


def test_classic_augmentation_moves_and_stays_in_range(slices):
    augment = classifiers.classic_augmentation(0)
    out = augment(slices[0])
    assert out.shape == slices[0].shape and np.abs(out).max() <= 1
    assert all(not np.array_equal(a, b) for a, b in zip(out, slices[0], strict=True))
    white = augment(np.ones((64, 32, 32, 1), "float32"))
    assert white.min() == -1, "what comes in from outside is black"


def test_arms_are_fitted_independently(small_trunk, slices, synthetic):
    """Order does not matter; noise for GAN images changes the GAN arms and no other."""
    classifier = classifiers.build_classifier("resnet50")

    def run(names, gan):
        arms = {
            "original": Arm(*slices),
            "gan_only": Arm(*gan),
            "original_gan": Arm(*slices, *gan),
        }
        found = classifiers.run_arms(
            classifier, {n: arms[n] for n in names}, test=slices, validation=slices, steps=3, seed=1
        )
        return found.probabilities

    there = run(["original", "gan_only", "original_gan"], synthetic)
    back = run(["original_gan", "gan_only", "original"], synthetic)
    for name in there:
        assert np.array_equal(there[name], back[name]), name
    noise = np.random.default_rng(9).uniform(-1, 1, synthetic[0].shape).astype("float32")
    swapped = run(["original", "gan_only", "original_gan"], (noise, synthetic[1]))
    assert np.array_equal(swapped["original"], there["original"])
    assert not np.array_equal(swapped["gan_only"], there["gan_only"])
    assert not np.array_equal(swapped["original_gan"], there["original_gan"])


@pytest.fixture
def handed_over(small_trunk, monkeypatch):
    """A classifier, and how many images each of its steps, or of its epochs, was given."""
    classifier, counts = classifiers.build_classifier("resnet50"), []

    def watch(name):
        plain = getattr(classifier.learner, name)

        def watched(images, *rest, **more):
            counts.append(len(images))
            return plain(images, *rest, **more)

        monkeypatch.setattr(classifier.learner, name, watched)

    watch("train_on_batch")
    watch("fit")
    return classifier, counts


def test_every_arm_shows_each_real_image_as_often(handed_over, slices, synthetic):
    """Half of a mixed batch is real, so such an arm has twice the batches."""
    classifier, counts = handed_over
    some = slices[0][10:30], slices[1][10:30]
    augment = classifiers.classic_augmentation(0)
    arms = (
        (Arm(*slices), 7), (Arm(*some), 7), (Arm(*some, *synthetic), 14),
        (Arm(*synthetic, augment=augment), 7), (Arm(*slices, augment=augment, turns=2), 14),
    )  # fmt: skip
    for arm, expected in arms:
        classifiers.run_arms(
            classifier, {"original": arm}, test=slices, validation=slices, steps=7, seed=1
        )
        assert counts == [32] * expected
        counts.clear()
    turns = []
    for arm in (Arm(*slices), Arm(*slices, *synthetic)):
        images, _ = classifiers.draw_batches(arm, 10 * arm.step_factor, seed=0)
        found = which(images, slices[0])
        turns.append(np.bincount(found[found >= 0], minlength=40))
    assert (turns[0] == 8).all() and np.array_equal(*turns)


def test_the_papers_epochs_go_over_all_images_of_an_arm_as_often_in_each(
    handed_over, slices, synthetic
):
    """40 real images are one batch of 32, with 30 synthetic ones two: 7 steps are 7 epochs."""
    classifier, counts = handed_over
    arms = {"original": Arm(*slices), "original_gan": Arm(*slices, *synthetic)}
    how = {"test": slices, "validation": slices, "seed": 0, "protocol": "paper"}
    classifiers.run_arms(classifier, arms, steps=7, **how)
    assert counts == [32] * 7 + [64] * 7


def test_the_paper_counts_real_and_synthetic_images_alike(
    small_trunk, slices, synthetic, monkeypatch
):
    classifier, shown = classifiers.build_classifier("resnet50"), []
    history = type("", (), {"history": {"val_loss": [1.0]}})
    monkeypatch.setattr(classifier.learner, "fit", lambda x, *_, **__: shown.append(x) or history)
    both = Arm(*slices, *synthetic)
    classifiers.fit_with_patience(classifier, both, slices, epochs=35, seed=0)
    found = which(np.concatenate(shown), np.concatenate([slices[0], synthetic[0]]))
    assert set(np.bincount(found)) == {32}, "35 epochs of 64 places, 70 images"


def test_the_learning_rate_falls_to_zero_and_begins_anew(small_trunk, slices, monkeypatch):
    classifier, rates = classifiers.build_classifier("resnet50"), []
    train = classifier.learner.train_on_batch

    def noted(*arguments):
        rates.append(float(np.asarray(classifier.learner.optimizer.learning_rate)))
        return train(*arguments)

    monkeypatch.setattr(classifier.learner, "train_on_batch", noted)
    for _ in range(2):
        classifiers.fit(classifier, Arm(*slices), steps=4, seed=0)
    assert rates == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4] * 2)
    classifier.reset(0)
    assert float(np.asarray(classifier.learner.optimizer.learning_rate)) == pytest.approx(1e-3)


def test_each_score_is_of_its_own_images(small_trunk, slices):
    """Under the right labels, the wrong ones, and half of either, one classifier scores three."""
    images, labels = slices
    mixed = np.where(np.arange(40) % 4 < 2, labels, 1 - labels)
    classifier = classifiers.build_classifier("resnet50")
    found = classifiers.run_arms(
        classifier, {"original": Arm(*slices)}, test=slices, validation=(images, 1 - labels),
        fresh=(images, mixed), steps=30, seed=0,
    )  # fmt: skip
    said = found.probabilities["original"] >= 0.5
    scores = [found.scores["original"][f"{x}accuracy"] for x in ("", "validation_", "fresh_")]
    assert scores == [np.mean(said == truth) for truth in (labels, 1 - labels, mixed)]
    assert len(set(scores)) == 3


def test_arms_that_were_cut_off_go_on_with_the_next(small_trunk, slices, synthetic, tmp_path):
    """Ends as if never stopped; an arm is fitted again if anything it was made from differs."""
    keep, fitted = tmp_path / "arms.json", []
    how = {"test": slices, "validation": slices, "fresh": slices, "steps": 3, "seed": 1}
    arms = {
        "original": Arm(*slices),
        "classic": Arm(*slices, augment=classifiers.classic_augmentation(0)),
        "original_gan": Arm(*slices, *synthetic),
    }

    def build(size=32, stop_at=None):
        classifier = classifiers.build_classifier("resnet50", size)
        plain = classifier.reset

        def reset(seed):
            if len(fitted) == stop_at:
                raise KeyboardInterrupt
            fitted.append(seed)
            plain(seed)

        object.__setattr__(classifier, "reset", reset)
        return classifier

    with pytest.raises(KeyboardInterrupt):
        classifiers.run_arms(build(stop_at=2), arms, keep=keep, **how)
    classifier = build()
    resumed = classifiers.run_arms(classifier, arms, keep=keep, **how)
    assert len(fitted) == 3, "each arm once"
    unbroken = classifiers.run_arms(classifier, arms, **how)
    assert len(fitted) == 6, "nothing is kept unasked"
    assert resumed.scores == unbroken.scores and list(resumed.scores) == list(unbroken.scores)
    for name, answers in unbroken.probabilities.items():
        assert resumed.probabilities[name].dtype == answers.dtype
        assert np.array_equal(resumed.probabilities[name], answers), name

    def fitted_anew(classifier=classifier, arms=arms, **changes):
        fitted.clear()
        classifiers.run_arms(classifier, arms, keep=keep, **how | changes)
        return len(fitted)

    images, labels = slices
    turned, noise = 1 - labels, np.clip(images + 0.1, -1, 1)
    assert fitted_anew() == 0
    for change in (
        {"seed": 2}, {"steps": 4}, {"protocol": "paper"}, {"test": (images, turned)},
        {"validation": (noise, labels)}, {"fresh": (images, turned)}, {"fresh": (None, None)},
        {"classifier": build(size=64)},
    ):  # fmt: skip
        assert fitted_anew(arms={"original": arms["original"]}, **change) == 1, change
    other = {
        "original": Arm(noise, labels),
        "classic": Arm(*slices, augment=classifiers.classic_augmentation(1)),
        "original_gan": Arm(*slices, synthetic[0], 1 - synthetic[1]),
    }
    for name, arm in other.items():
        assert fitted_anew(arms=arms | {name: arm}) == 1, name


@pytest.fixture
def frozen_trunk(monkeypatch):
    """A pretrained trunk of one layer in ResNet-50's place."""

    def build(weights, include_top, input_shape):
        return keras.Sequential([keras.Input(input_shape), keras.layers.Conv2D(8, 3, strides=4)])

    monkeypatch.setattr(keras.applications, "ResNet50", build)


def test_head_on_features_is_the_fit_through_a_frozen_trunk(frozen_trunk, slices, synthetic):
    arm = Arm(*slices, *synthetic)
    classifier = classifiers.build_classifier("resnet50-imagenet")
    classifiers.fit(classifier, arm, steps=3, seed=4)
    found = [weight.copy() for weight in classifier.learner.get_weights()]
    assert not np.allclose(found[0], classifier.first_weights[0]), "nothing was learnt"
    classifier.reset(4)
    model = classifier.model
    model.compile(keras.optimizers.RMSprop(1e-3), "sparse_categorical_crossentropy")
    for step, (batch, labels) in enumerate(
        zip(*(np.split(x, 6) for x in classifiers.draw_batches(arm, 6, 4)), strict=True)
    ):
        model.optimizer.learning_rate = 1e-3 * (6 - step) / 6
        model.train_on_batch(batch, labels)
    for one, other in zip(found, classifier.learner.get_weights(), strict=True):
        assert np.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "resnet50-imagenet"])
def test_an_arm_is_kept_whatever_was_fitted_before(frozen_trunk, slices, tmp_path, name):
    """The learning rate that a fit ends with is no part of what an arm was made from."""
    classifier = classifiers.build_classifier(name)
    how = {"test": slices, "validation": slices, "steps": 3, "seed": 1}
    arms, keep = {"original": Arm(*slices)}, tmp_path / "arms.json"
    classifiers.run_arms(classifier, arms, keep=keep, **how)
    classifiers.run_arms(classifier, arms, keep=keep, **how)
    assert len(files.read_json(keep)) == 1


def test_each_image_goes_through_a_frozen_trunk_once(frozen_trunk, slices, monkeypatch):
    classifier = classifiers.build_classifier("resnet50-imagenet")
    predict, seen = classifiers.predict, []

    def counted(model, images):
        seen.append((model.name, len(images)))
        return predict(model, images)

    monkeypatch.setattr(classifiers, "predict", counted)
    classifiers.fit(classifier, Arm(*slices), steps=50, seed=4)
    assert sum(count for name, count in seen if name == "trunk") == len(slices[0])


def test_reset_brings_the_first_fit_back(small_trunk, slices):
    classifier = classifiers.build_classifier("resnet50")
    fits = []
    for _ in range(2):
        model = classifiers.fit(classifier, Arm(*slices), steps=4, seed=2)
        fits.append(classifiers.predict(model, slices[0])[:, 1])
    assert np.array_equal(*fits)


def test_the_same_seed_gives_the_same_classifier_to_the_last_bit():
    """The real ResNet-50: the order in which it adds its gradients must not vary."""
    rng = np.random.default_rng(0)
    arm = Arm(rng.uniform(-1, 1, (64, 32, 32, 1)).astype("float32"), np.repeat([1, 0], 32))
    classifier = classifiers.build_classifier("resnet50")
    first, again = (
        classifiers.fit(classifier, arm, steps=2, seed=3).get_weights() for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_it_learns_and_column_one_is_the_haemorrhage(small_trunk, slices):
    classifier = classifiers.build_classifier("resnet50")
    model = classifiers.fit(classifier, Arm(*slices), steps=60, seed=0)
    found = classifiers.predict(model, slices[0])[:, 1]
    assert found[slices[1] == 1].mean() > found[slices[1] == 0].mean() + 0.3


def test_paper_protocol_scores_both_epochs(small_trunk, slices):
    classifier = classifiers.build_classifier("resnet50")
    found = classifiers.run_arms(
        classifier,
        {"original": Arm(*slices)},
        test=slices,
        validation=slices,
        fresh=slices,
        protocol="paper",
        steps=8,
        seed=0,
    ).scores["original"]
    assert {"last_epoch_accuracy", "best_epoch"} <= set(found)
    assert found["accuracy"] == found["fresh_accuracy"] == found["validation_accuracy"]


def test_early_stopping_and_the_last_epoch_are_two_scores(small_trunk, slices):
    """Validation labels turned round: the more is learnt, the worse, so stopping comes at once."""
    images, labels = slices
    classifier = classifiers.build_classifier("resnet50")
    contrary = images, 1 - labels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers.Classifier, "recalibrate_batch_norm", lambda *_: None)
        kept = classifiers.fit_with_patience(classifier, Arm(*slices), contrary, epochs=24, seed=0)
    unsettled = classifier.model.get_weights()
    classifier.learner.set_weights(kept.best_weights)
    early = classifiers.predict(classifier.model, images)
    loss = -np.log(early[np.arange(len(labels)), contrary[1]]).mean()
    assert kept.best == pytest.approx(loss, rel=1e-3), "not the weights of that epoch"

    kept = classifiers.fit_with_patience(classifier, Arm(*slices), contrary, epochs=24, seed=0)
    trained = {variable.path for variable in classifier.model.trainable_variables}
    for variable, before in zip(classifier.model.weights, unsettled, strict=True):
        moved = not np.array_equal(variable.numpy(), before)
        assert moved == (variable.path not in trained), "averages alone settle, and all of them"
    last = classifiers.predict(classifier.model, images)[:, 1]
    classifier.learner.set_weights(kept.best_weights)
    early = classifiers.predict(classifier.model, images)
    found = classifiers.run_arms(
        classifier, {"original": Arm(*slices)}, test=slices, validation=contrary,
        protocol="paper", steps=24, seed=0,
    )  # fmt: skip
    scores = found.scores["original"]
    assert scores["best_epoch"] == kept.best_epoch + 1 < 24 - classifiers.PATIENCE
    assert np.array_equal(found.probabilities["original"], early[:, 1])
    assert scores["last_epoch_accuracy"] == np.mean((last >= 0.5) == labels) > scores["accuracy"]


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([5, 4, 3, 9, 9, 9, 9, 9, 1, 1], 2),  # the fifth epoch in a row without a better one
        ([5, 4, 3, 9, 9, 9, 9, 1, 9, 9], 7),  # better just before
    ],
)
def test_patience_is_five_epochs(small_trunk, slices, monkeypatch, losses, best):
    classifier, left = classifiers.build_classifier("resnet50"), iter(losses)

    def fit(*_, **__):
        return type("", (), {"history": {"val_loss": [next(left)]}})

    monkeypatch.setattr(classifier.learner, "fit", fit)
    kept = classifiers.fit_with_patience(classifier, Arm(*slices), slices, epochs=10, seed=0)
    assert kept.best_epoch == best and next(left, None) is None, "and it trains on to the end"


def test_a_trunk_from_scratch_settles_its_averages_and_nothing_else(small_trunk, slices):
    classifier = classifiers.build_classifier("resnet50")
    model = classifier.model
    body = next(x for x in model.get_layer("trunk").layers if isinstance(x, keras.Sequential))
    convolution, norm, _ = body.layers
    assert norm.momentum == 0.8, "at Keras' own 0.99 a short fit ends with its first averages"
    assert model.get_layer("head").layers[0].rate == 0.4
    ends, moved = [], Arm(*slices, augment=classifiers.classic_augmentation(0))
    for settle in (lambda _: None, classifier.recalibrate_batch_norm):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                classifiers.Classifier,
                "recalibrate_batch_norm",
                lambda _, images, do=settle: do(images),
            )
            classifiers.fit(classifier, moved, steps=20, seed=0)
        ends.append([weight.copy() for weight in model.get_weights()])
    trained = {variable.path for variable in model.trainable_variables}
    for variable, before, after in zip(model.weights, *ends, strict=True):
        if variable.path in trained:
            assert np.array_equal(before, after), variable.path
    # By hand: fifteen batches of plain images, each through the final weights.
    mean = ends[0][[v.path for v in model.weights].index(norm.moving_mean.path)]
    images = classifiers.draw_batches(Arm(*slices), 15, seed=0)[0]
    for batch in np.split(np.repeat(images, 3, axis=-1), 15):
        mean = 0.8 * mean + 0.2 * np.asarray(convolution(batch)).mean(axis=(0, 1, 2))
    assert np.allclose(np.asarray(norm.moving_mean), mean, atol=1e-5)


def test_weights_that_cannot_be_downloaded_are_refused(small_trunk):
    with pytest.raises(CourseError, match='choose the classifier "bundled" or "resnet50"'):
        classifiers.build_classifier("resnet50-imagenet")


@pytest.mark.parametrize(("name", "size"), [("vgg", 32), ("auto", 32), ("resnet50", 16)])
def test_unknown_name_and_small_size(name, size):
    with pytest.raises(CourseError, match=r"unknown|too small"):
        classifiers.build_classifier(name, size)


def test_imagenet_trunk_with_a_made_weights_file(imagenet_weights, slices):
    """The real ResNet-50 and Keras' own loading, from a file made here instead of a download."""
    classifier = classifiers.build_classifier("resnet50-imagenet", seed=1)
    assert classifier.trunk == "imagenet" and imagenet_weights[0][1], (
        "downloaded without a checksum"
    )
    trainable = sum(int(np.prod(w.shape)) for w in classifier.model.trainable_weights)
    assert trainable == 2048 * 2 + 2, "the trunk is frozen: only the softmax learns"
    # The trunk must see what Keras' own preprocessing would have made of the grey levels.
    trunk = classifier.model.get_layer("trunk")
    body = next(layer for layer in trunk.layers if isinstance(layer, keras.Model))
    seen = keras.Model(trunk.input, trunk.layers[trunk.layers.index(body) - 1].output)
    grey = (slices[0][:2] + 1) * 127.5
    expected = keras.applications.resnet50.preprocess_input(np.repeat(grey, 3, axis=-1))
    assert np.allclose(np.asarray(seen(slices[0][:2])), expected, atol=1e-3)
    before = [np.asarray(w) for w in body.weights]
    classifiers.fit(classifier, Arm(*slices), steps=1, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, body.weights, strict=True))
