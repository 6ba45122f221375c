"""Quality measures against references, by simulation, and with planted faults."""

import json
import re

import numpy as np
import pytest
from conftest import snapshot
from PIL import Image
from sklearn.metrics.pairwise import polynomial_kernel

from course import audit
from course.replicate import plain_numbers
from helpers import judge, measures, planted, recipes, sampling, training
from helpers.files import CourseError
from helpers.judge import describe, judge_features, load_judge


def draw(n, seed, shift=0.0, scale=1.0, d=8):
    return np.random.default_rng(seed).normal(shift, scale, (n, d))


def test_kid_against_a_reference():
    x, y = draw(40, 1), draw(30, 2, 0.5)
    kernels = [polynomial_kernel(a, b, degree=3, coef0=1) for a, b in ((x, x), (y, y), (x, y))]
    off = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
    assert measures.kid(x, y) == pytest.approx(off[0] + off[1] - 2 * kernels[2].mean())


def test_kid_error_is_a_jackknife_by_hand():
    x, y = draw(12, 1), draw(9, 2, 0.5)
    left = [
        [measures.kid(np.delete(x, i, 0), y) for i in range(12)],
        [measures.kid(x, np.delete(y, i, 0)) for i in range(9)],
    ]
    variance = sum((len(v) - 1) * np.var(v) for v in left)
    assert measures.kid_error(x, y) == pytest.approx(np.sqrt(variance))


@pytest.mark.filterwarnings("error")
def test_the_error_of_a_kid_of_two_images_is_unknown():
    assert np.isnan(measures.kid_error(draw(2, 1), draw(9, 2)))
    assert np.isnan(measures.kid_error(draw(9, 1), draw(2, 2)))


def test_kid_is_unbiased_and_its_interval_covers():
    """Against the truth for two normal distributions, by pairs that share no point."""

    def mean_kernel(first, second):
        x, y = draw(1_000_000, 1, first), draw(1_000_000, 2, second)
        return np.mean(((x * y).sum(axis=1) / 8 + 1) ** 3)

    truth = mean_kernel(0, 0) + mean_kernel(0.4, 0.4) - 2 * mean_kernel(0, 0.4)
    pairs = [(draw(60, [3, i]), draw(60, [4, i], 0.4)) for i in range(400)]
    value, error = (
        np.array([measure(*pair) for pair in pairs])
        for measure in (measures.kid, measures.kid_error)
    )
    assert abs(value.mean() - truth) < 4 * value.std() / 20
    covered = np.mean(np.abs(value - truth) < 1.96 * error)
    assert 0.88 < covered < 0.985
    same = np.array([measures.kid(draw(60, [5, i]), draw(60, [6, i])) for i in range(200)])
    assert abs(same.mean()) < 4 * same.std() / np.sqrt(200)


def test_coverage_of_one_distribution_is_what_is_expected():
    found = [measures.neighbour_measures(draw(100, [1, i]), draw(100, [2, i])) for i in range(40)]
    for name in ("coverage", "density"):
        values = np.array([f[name] for f in found])
        expected = measures.expected_coverage(100) if name == "coverage" else 1.0
        assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(40) + 0.005


def test_a_collapsed_and_a_wild_set_are_told_apart():
    real = draw(100, 1)
    collapsed = measures.neighbour_measures(real, real[:1] + draw(100, 2, scale=0.01))
    assert collapsed["precision"] == 1 and collapsed["coverage"] < 0.2 and collapsed["recall"] < 0.1
    wild = measures.neighbour_measures(real, draw(100, 2, shift=20))
    assert wild["precision"] == wild["recall"] == wild["coverage"] == 0


def test_features_tell_kinds_apart_and_fresh_slices_not():
    from helpers import preprocessing

    images, labels = preprocessing.fresh_slices(400, 8)
    judge = load_judge()
    bleeds, clear = (judge_features(images[labels == k], judge) for k in (1, 0))
    assert np.allclose(np.linalg.norm(bleeds, axis=1), 8, atol=1e-3)
    value, error = (m(bleeds[:100], bleeds[100:]) for m in (measures.kid, measures.kid_error))
    assert abs(value) < 3 * error
    value, error = (m(bleeds, clear) for m in (measures.kid, measures.kid_error))
    assert value > 20 * error


def test_the_judge_is_loaded_once_for_all_descriptions(monkeypatch):
    built = []
    monkeypatch.setattr(judge, "load_judge", lambda: built.append(1) or load_judge())
    judge._loaded.cache_clear()
    images = np.random.default_rng(0).uniform(-1, 1, (4, 32, 32, 1)).astype(np.float32)
    first, again = describe(images, "judge"), describe(images, "judge")
    assert len(built) == 1 and np.array_equal(first, again)
    assert np.array_equal(first, judge_features(images, load_judge()))


def test_both_spaces_are_measured_on_simulated_slices_and_one_elsewhere(pool):
    assert describe(pool[:50]).shape == (50, 1280)
    assert np.allclose(np.linalg.norm(describe(pool[:5]), axis=1), np.sqrt(1280), rtol=1e-3)
    own = pool[:50], pool[50:100], pool[100:117], np.arange(67), 0
    report = measures.audit_class(*own)
    assert set(report["spaces"]) == {"imagenet"} and report["features"] == "imagenet"
    assert report["resembles"] and not report["copying"]["flagged"]
    assert report["verdict"][0] == "The generated images resemble the real ones."
    report = measures.audit_class(*own, fresh=pool[120:300])
    assert set(report["spaces"]) == {"imagenet", "judge"}
    assert "in both feature spaces" in report["verdict"][0]
    for name in ("kid", "precision", "coverage"):
        assert report[name] == report["spaces"]["imagenet"][name]


def test_what_the_judge_does_not_see_the_other_network_does(pool):
    """A grid over heads: fine by the judge, who was never asked to look at texture."""
    spoilt = planted.add_grid(pool[:80])
    report = measures.audit_class(
        spoilt, pool[80:152], pool[152:180], np.arange(100), 0, fresh=pool[180:340]
    )
    assert report["spaces"]["judge"]["resembles"]
    assert not report["spaces"]["imagenet"]["resembles"] and not report["resembles"]
    assert re.match(r"The generated images do not resemble the real ones: precision 0\.\d\d, "
                    r"coverage 0\.\d\d where halves", report["verdict"][0])  # fmt: skip
    assert audit.summary(report | {"refused": []})[0] == report["verdict"][0]


@pytest.mark.parametrize("fault", ["grain", "grid", "blur"])
def test_faults_planted_in_textures_are_said_in_the_first_line(fault):
    """What no GAN could learn in a few steps; the rates are in experiments/results/audit.json."""
    images, _ = planted.draw_textures(180, 6)
    rng = np.random.default_rng(0)
    spoilt = {
        "grain": lambda x: planted.grain_over_blobs(x, rng), "grid": planted.add_grid,
        "blur": planted.blur,
    }[fault](images[:80])  # fmt: skip
    report = measures.audit_class(spoilt, images[80:152], images[152:], np.arange(100), 0)
    assert "do not resemble" in report["verdict"][0]


@pytest.mark.slow
def test_a_gan_that_has_not_learned_its_textures_is_said_so_in_the_first_line():
    """What the judge passed: noise in the textures' grey levels, from too few training steps."""
    textures, _ = planted.draw_textures(100, 6)
    train, held_out = textures[:72], textures[72:]
    trained = training.train_gan(train, steps=25, seed=0, recipe=recipes.choose_recipe("brief"))
    images = sampling.generate(trained.generator, sampling.draw_latent(60, 0))
    report = measures.audit_class(images, train, held_out, np.arange(100), 0)
    assert "do not resemble" in report["verdict"][0] and report["coverage"] < 0.1
    assert audit.summary(report)[0] == report["verdict"][0]


def test_a_perfect_generator_resembles_series_of_slices(pool):
    """Eight nearly equal slices of each of 25 people, and generated ones of 160 others."""
    rng = np.random.default_rng(0)
    series, images = np.repeat(pool[:25], 8, axis=0), pool[100:260]
    series, images = (x + rng.normal(0, 0.02, x.shape) for x in (series, images))
    groups = np.repeat(np.arange(25), 8)
    report = measures.audit_class(images, series[:160], series[160:], groups, 0)
    assert report["resembles"] and not report["told_apart"]
    assert report["kid_ci"][0] < report["kid_floor"]
    by_image = measures.audit_class(images, series[:160], series[160:], np.arange(200), 0)
    assert not by_image["resembles"], "so it is the groups that make the difference"


def test_halves_of_people_share_nobody_and_begin_with_one_image_of_each():
    groups = np.array([7, 7, 7, 3, 3, 5, 9, 9, 9, 9, 1])
    for seed in range(20):
        halves = measures.halve_people(groups, np.random.default_rng(seed))
        assert sorted(np.concatenate(halves)) == list(range(11))
        people = [groups[half] for half in halves]
        assert not set(people[0]) & set(people[1])
        for half, count in zip(people, (2, 3), strict=True):
            assert len(set(half[:count])) == len(set(half)) == count


def test_near_copies_of_people_it_never_saw_are_said(pool):
    """Held-out slices handed back: nothing can be named, and nothing is denied."""
    images = pool[100:200].copy()
    images[:8], images[8:13] = pool[72:80], pool[:5]
    report = measures.audit_class(images, pool[:72], pool[72:100], np.arange(100), 0)
    assert re.match(r"\d+ generated images lie as near to people whom", report["verdict"][-1])


def test_copies_are_said_in_the_verdict(pool):
    own = pool[:72], pool[72:100]
    made = planted.plant_copies(pool[100:200], own[0], 8, np.random.default_rng(0))[0]
    report = measures.audit_class(made, *own, np.arange(100), 0)
    assert "may show real patients: do not hand them on as synthetic" in report["verdict"][-1]
    assert report["resembles"], "copies are good images"


def test_the_number_of_copies_that_is_said_fits_its_interval():
    """Where held-out people have near images, too, some of those named are there by chance."""
    copying = {"flagged": True, "copies": [{}] * 100, "share": 0.275, "ci": [0.22, 0.34]}
    (said,) = measures.verdict({"spaces": {}, "resembles": None, "samples": 200} | {
        "copying": copying | {"near_held_out": 45}
    })  # fmt: skip
    assert said.startswith("100 of 200 generated images are named as copies of training images")
    assert "(about 45 of them by chance). 95 % interval of the share of copies: 22% to 34%" in said
    copying |= {"copies": [{}] * 55, "near_held_out": 0}
    (said,) = measures.verdict(
        {"spaces": {}, "resembles": None, "samples": 200, "copying": copying}
    )
    assert "chance" not in said


@pytest.mark.parametrize("people", [4, 5])
def test_too_few_held_out_people_for_the_second_test_are_reported(pool, people):
    """28 held-out images of four people; the other test still names copies."""
    groups = np.r_[np.arange(72), 72 + np.arange(28) % people]
    report = measures.audit_class(pool[100:160], pool[:72], pool[72:100], groups, 0)
    said = f"at least 5 people of a class, not {people}"
    assert ("not measured" in "".join(audit.summary(report))) == (people < 5)
    assert any(said in sentence for sentence in report["refused"]) == (people < 5)
    assert ("repeats" in plain_numbers(report)) == (people == 5)
    assert "copies_flagged" in plain_numbers(report)


@pytest.mark.parametrize(("made", "real"), [(1, 1), (1, 60), (2, 3), (4, 20), (6, 6), (60, 4)])
def test_few_images_of_either_kind_are_refused_by_each_measure_that_needs_more(pool, made, real):
    train = pool[100 : 100 + real]
    report = measures.audit_class(pool[:made], train, pool[:0], np.arange(real), 0)
    assert any("quality needs at least 40" in sentence for sentence in report["refused"])


def test_a_bug_in_a_measure_is_not_taken_for_too_few_images(pool, monkeypatch):
    def broken(*_):
        raise ValueError("a bug")

    monkeypatch.setattr(measures, "quality", broken)
    with pytest.raises(ValueError, match="a bug"):
        measures.audit_class(pool[:50], pool[50:100], pool[100:117], np.arange(67), 0)


def test_unequal_sets_are_refused():
    with pytest.raises(ValueError, match="as many real"):
        measures.neighbour_measures(draw(10, 1), draw(11, 2))


def test_like_a_slice_knows_noise_from_heads_and_blur():
    from scipy.ndimage import gaussian_filter

    from helpers import preprocessing

    images, labels = preprocessing.fresh_slices(160, 3)
    real, more = images[labels == 1][:60], images[labels == 1][60:]
    assert measures.like_a_slice(more, real).mean() >= 0.9
    blurred = np.stack([gaussian_filter(image, (0.7, 0.7, 0)) for image in more])
    assert measures.like_a_slice(blurred, real).mean() >= 0.9
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (20, 32, 32, 1))
    grey = np.full((20, 32, 32, 1), 0.3)
    board = np.tile(np.indices((32, 32)).sum(0) % 2 * 2.0 - 1, (20, 1, 1))[..., None]
    for fake in (noise, grey, board):
        assert not measures.like_a_slice(fake, real).any()


# --- Quality as a whole --------------------------------------------------------------------------


def test_quality_of_the_same_kind_is_what_is_expected_and_of_another_is_not():
    same = [measures.quality(draw(120, [1, i]), draw(100, [2, i]), seed=0) for i in range(20)]
    assert sum(found["kid"] > found["kid_floor"] for found in same) <= 4
    for name in ("precision", "recall", "density", "coverage"):
        apart = [found[name] - found[f"{name}_expected"] for found in same]
        assert abs(np.mean(apart)) < 3 * np.std(apart) / np.sqrt(20) + 0.005, name
    real = draw(120, 1)
    other = measures.quality(real, draw(100, 2, shift=1.0), seed=0)
    assert other["kid_ci"][0] > other["kid_floor"]
    assert other["coverage"] < other["coverage_expected"] - 0.2


def test_floor_holds_back_nineteen_of_twenty_equal_sets():
    over = []
    for i in range(60):
        real = draw(80, [1, i])
        over.append(
            measures.kid(real[:40], draw(40, [2, i])) > measures.quality(real, real, 0)["kid_floor"]
        )
    assert np.mean(over) < 0.2


@pytest.mark.parametrize(("real", "generated"), [(22, 100), (100, 17)])
def test_too_few_images_are_told_how_many_are_needed(real, generated):
    with pytest.raises(CourseError, match="at least 40 real and 40 generated"):
        measures.quality(draw(real, 1), draw(generated, 2), seed=0)


# --- Copies --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    from helpers import preprocessing

    images, labels = preprocessing.fresh_slices(1500, 77)
    return images[labels == 1]


def test_an_audit_writes_nothing_below_the_images_that_it_reads(folder, tmp_path, capsys):
    before = snapshot(folder)
    ask = ["--samples", folder, "--data", folder, "--split", tmp_path / "split.csv"]
    assert audit.main([str(part) for part in [*ask, "--out", folder / "audit"]]) == 2
    assert "is inside DATA" in capsys.readouterr().err and snapshot(folder) == before


def test_a_split_with_other_parts_is_refused(folder, tmp_path, capsys):
    split = tmp_path / "split.csv"
    rows = "".join(f"head_ct/{i:03d}.png,{int(i < 30)},{i},holdout\n" for i in range(60))
    split.write_text("file,label,group,split\n" + rows)
    ask = ["--samples", folder, "--data", folder, "--split", split, "--out", tmp_path / "a"]
    assert audit.main([str(part) for part in ask]) == 2
    assert "'holdout' is no part" in capsys.readouterr().err


def test_pixel_likeness_knows_a_copy_moved_mirrored_and_brightened(pool):
    rng = np.random.default_rng(0)
    copies = 0.8 * planted.shift(pool[:20], rng)[:, :, ::-1] + 0.1
    alike = measures.pixel_likeness(copies, pool[:40])
    assert (alike.argmax(axis=1) == np.arange(20)).all() and alike.max(axis=1).min() > 0.97
    assert measures.pixel_likeness(pool[:5], pool[:5], reach=0).max() == pytest.approx(1, abs=1e-3)


# --- Realism, faults, and anybody's folder -------------------------------------------------------


def p_values(sets, shift=0.0):
    pairs = ((draw(40, [1, i]), draw(50, [2, i], shift)) for i in range(sets))
    found = [measures.two_sample_test(*pair, i, permutations=99) for i, pair in enumerate(pairs)]
    return np.array([one["p_value"] for one in found])


def test_two_sample_test_keeps_its_level():
    """P-values of equal sets are uniform: each level comes as often as it says."""
    found = p_values(300)
    for level in (0.05, 0.25, 0.5):
        error = np.sqrt(level * (1 - level) / 300)
        assert abs(np.mean(found <= level) - level) < 3 * error, level
    assert np.mean(p_values(40, shift=0.5) <= 0.05) > 0.8


def test_two_sample_test_finds_a_difference_and_says_which_images_look_real():
    found = measures.two_sample_test(draw(60, 1), draw(90, 2, shift=1.0), seed=0)
    assert found["accuracy"] > 0.8 and found["p_value"] == pytest.approx(1 / 1000)
    mixed = np.concatenate([draw(30, 3), draw(30, 4, shift=3.0)])
    realism = measures.two_sample_test(draw(60, 5), mixed, seed=0)["realism"]
    assert realism.shape == (60,) and realism[:30].mean() > realism[30:].mean() + 0.3


def test_each_image_is_judged_by_a_fit_that_did_not_see_it():
    """Against scikit-learn's own cross-validation: as accurate on average, set by set."""
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    accuracies = []
    for i in range(15):
        real, generated = draw(60, [1, i]), draw(60, [2, i], shift=0.3)
        x, y = np.concatenate([real, generated]), np.repeat([1, 0], 60)
        for seed in range(5):  # one division into folds alone says little
            folds = StratifiedKFold(5, shuffle=True, random_state=seed)
            reference = cross_val_score(RidgeClassifier(80.0), x, y, cv=folds).mean()
            found = measures.two_sample_test(real, generated, seed, permutations=1)
            accuracies.append((found["accuracy"], reference))
    found, reference = np.array(accuracies).reshape(15, 5, 2).mean(axis=1).T
    assert found.mean() == pytest.approx(reference.mean(), abs=0.015)
    assert np.corrcoef(found, reference)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.full((5, 32, 32, 1), np.nan), "no numbers"),
        (np.zeros((5, 32, 32, 1)), "one grey level"),
        (np.tile(np.linspace(-1, 1, 32)[:, None], (5, 1, 32))[..., None], "are the same"),
    ],
)
def test_images_that_are_none_are_named(images, words):
    assert words in measures.degenerate_reason(images)
    report = measures.audit_class(images, images, images, np.arange(10), seed=0)
    assert words in report["warning"] and "kid" not in report


def test_slices_have_no_fault(pool):
    assert measures.degenerate_reason(pool[:20]) == ""


@pytest.mark.parametrize(
    ("names", "called"),
    [
        ([], ["haemorrhage", "clear"]),
        (["--positive", "tumour", "--negative", "healthy"], ["tumour", "healthy"]),
    ],
)
def test_the_command_calls_the_classes_as_it_is_told(names, called, tmp_path, monkeypatch, capsys):
    """Each name goes with its label: the audit of label 1 sees the bright images, of 0 the dark."""
    grey = np.full((64, 64), 50, "uint8")
    levels = {}
    for number in range(40):
        levels[f"{number:02}.png"] = number % 2
        picture = grey + 100 * (number % 2) + number
        Image.fromarray(picture.astype("uint8")).save(tmp_path / f"{number:02}.png")
    lines = "".join(f"{file},{label}\n" for file, label in levels.items())
    (tmp_path / "labels.csv").write_text("file,label\n" + lines)
    rows = [
        f"{file},{k},{k},{'train' if k < 24 else 'validation'}" for k, file in enumerate(levels)
    ]
    split = tmp_path.parent / "split.csv"
    split.write_text("file,label,group,split\n" + "\n".join(rows))
    seen = []

    def audit_class(images, train, held_out, groups, seed, simulated):
        assert not simulated
        seen.append((images.mean() > 0, len(train), len(held_out)))
        return {"refused": []}

    monkeypatch.setattr(measures, "audit_class", audit_class)
    arguments = ["--samples", tmp_path, "--data", tmp_path, "--split", split]
    arguments += ["--out", tmp_path.parent / "out", *names]
    assert audit.main([str(argument) for argument in arguments]) == 0
    report = json.loads((tmp_path.parent / "out" / "audit.json").read_text())
    assert list(report) == called
    assert seen == [(True, 12, 8), (False, 12, 8)]


def test_a_split_that_names_a_file_twice_is_refused(tmp_path, folder):
    """Joined to the images, its lines would move the ones after them."""
    names = [f"head_ct/{i:03}.png" for i in range(60)]
    lines = [f"{name},{k},{k},train\n" for k, name in enumerate([*names, names[7]])]
    (split := tmp_path / "split.csv").write_text("file,label,group,split\n" + "".join(lines))
    with pytest.raises(CourseError, match=r"split\.csv names head_ct/007\.png twice"):
        audit.run(folder, folder, split, tmp_path / "out")


def test_a_handful_of_images_is_refused_measure_by_measure(pool):
    report = measures.audit_class(
        pool[:4], pool[10:40], pool[40:60], np.arange(50), 0, pool[60:160]
    )
    assert "kid" not in report and "realism" not in report and "copying" in report
    assert len(report["refused"]) == 2 and all(report["refused"])
    assert "Too few images" in report["verdict"][0]


def test_every_measure_has_one_expectation(pool):
    features = judge_features(pool[:80], load_judge())
    found = measures.quality(features[:40], features[40:], 0)
    names = ("precision", "recall", "density", "coverage")
    assert {key for key in found if "expected" in key} == {f"{name}_expected" for name in names}


def test_one_name_for_both_classes_is_refused(tmp_path, capsys):
    folders = [x for name in ("samples", "data", "split", "out") for x in (f"--{name}", tmp_path)]
    names = ["--positive", "clear", "--negative", "clear"]
    assert audit.main([str(argument) for argument in [*folders, *names]]) == 2
    assert "both classes are called 'clear'" in capsys.readouterr().err
