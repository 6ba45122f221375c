"""Are generated images good, varied, and no copies? Measures, and the audit of a whole class."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from helpers.copies import FEWEST_HELD_OUT, find_copies
from helpers.files import CourseError
from helpers.judge import SPACES, describe

FEWEST = 40  # images of each kind for a measure of quality; with about 20 it says nothing
FEWEST_PEOPLE = 20  # of whom there are real images; halves of fewer people are too different
NEIGHBOURLY = ("precision", "recall", "density", "coverage")
RESEMBLE = ("precision", "coverage")  # what decides whether generated images resemble real ones
NOT_SYNTHETIC = "Its images may show real patients: do not hand them on as synthetic."
PENALTY = 80.0  # of the ridge regression; with 30 images and 20 features, a small one overfits
COMPONENTS = 20  # principal components for the two-sample test; with all features it only overfits


def like_a_slice(images: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Which images resemble real slices at least as much as the oddest real slice does.

    Resemblance is the highest `pixel_likeness`, without shifts, to any (other) real slice. It finds
    noise, grey squares and checkerboards; a blurred head passes.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1.
        real: ``(m, 32, 32, 1)``, m at least 3; slices of the same class.

    Returns:
        ``(n,)``, bool.

    Raises:
        CourseError: Too few real slices to say how odd one can be.
    """
    if len(real) < 3:
        raise CourseError(f"likeness needs at least 3 real images, not {len(real)}.")
    among_real = pixel_likeness(real, real, reach=0)
    np.fill_diagonal(among_real, -1)
    oddest = among_real.max(axis=1).min()
    return pixel_likeness(images, real, reach=0).max(axis=1) >= oddest


def kid(first: np.ndarray, second: np.ndarray) -> float:
    """Kernel inception distance between two sets of features.

    The unbiased estimate of the squared distance between the two distributions under the kernel
    (x·y / d + 1)³: around 0 if they are one (below 0 as often as above), larger if not.

    Args:
        first: ``(n, d)``, n at least 2.
        second: ``(m, d)``, m at least 2.

    Source: Bińkowski et al. 2018, arXiv:1801.01401.
    """

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x):  # the mean over all pairs of two different images
        pairs, count = kernel(x, x), len(x)
        return (pairs.sum() - np.trace(pairs)) / (count * (count - 1))

    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    return float(within(first) + within(second) - 2 * kernel(first, second).mean())


def kid_error(first: np.ndarray, second: np.ndarray) -> float:
    """The standard error of `kid`, by the jackknife, which leaves out one image at a time.

    Args:
        first: ``(n, d)``.
        second: ``(m, d)``.

    Returns:
        The error; NaN, which is "unknown", if either set has fewer than 3 images.
    """
    if min(len(first), len(second)) < 3:
        return float("nan")  # two images without one of them have no pair
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    between = (first @ second.T / first.shape[1] + 1) ** 3
    variance = 0.0
    for x, across in ((first, between), (second, between.T)):
        n, m = across.shape
        own = (x @ x.T / x.shape[1] + 1) ** 3
        rows = own.sum(axis=1) - np.diag(own)
        # Without each image of x. The other set's own pairs stay, and don't change the variance.
        without = (rows.sum() - 2 * rows) / ((n - 1) * (n - 2))
        without -= 2 * (across.sum() - across.sum(axis=1)) / ((n - 1) * m)
        variance += (n - 1) * without.var()
    return float(np.sqrt(variance))


def neighbour_measures(real: np.ndarray, generated: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage, from balls that reach to the k-th neighbour.

    Args:
        real, generated: ``(n, d)`` features, equally many of each, n over k.
        k: Which neighbour within the same set decides the radius of the ball around an image.

    Returns:
        `precision`: share of generated images in some real image's ball; `recall`: the reverse;
        `density`: how many real balls hold a generated image, over k; `coverage`: share of real
        balls that hold one.

    Raises:
        ValueError: Unequal numbers, or too few.

    Source: Kynkäänniemi et al. 2019, arXiv:1904.06991; Naeem et al. 2020, arXiv:2002.09797.
    """
    if len(real) != len(generated) or len(real) <= k:
        raise ValueError(f"as many real as generated images and more than {k} are needed")
    radii = [np.sort(euclidean_distances(x), axis=1)[:, k] for x in (real, generated)]
    apart = euclidean_distances(real, generated)
    in_real, in_generated = apart < radii[0][:, None], apart < radii[1][None, :]
    return {
        "precision": float(in_real.any(axis=0).mean()),
        "recall": float(in_generated.any(axis=1).mean()),
        "density": float(in_real.sum(axis=0).mean() / k),
        "coverage": float(in_real.any(axis=1).mean()),
    }


def expected_coverage(n: int) -> float:
    """The coverage that two sets of n images of one distribution have on average.

    Args:
        n: Images in each set, more than five.

    Source: Naeem et al. 2020, arXiv:2002.09797.
    """
    k = 5  # the default of `neighbour_measures`
    return float(1 - np.prod([(n - j) / (2 * n - j) for j in range(1, k + 1)]))


def quality(
    real: np.ndarray, generated: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> dict[str, Any]:
    """All measures of quality, each beside what images of the same kind would give.

    The people of the real images are halved at random, again and again: the images of one half are
    compared with those of the other, and with generated ones, always in equal numbers. Images of
    one person are alike, and no generator should be asked to draw somebody's next image. So nobody
    is in both halves, and the KID, which compares all pairs of images, sees one image of each.

    Args:
        real, generated: ``(n, d)`` and ``(m, d)`` features, each at least `FEWEST`.
        seed: Of the halvings.
        groups: ``(n,)``: equal ones are one person's; by default each real image is another's.

    Returns:
        `kid` with `kid_ci` (95 %, jackknife) and `kid_floor`, which 19 of 20 pairs of real halves
        stay under; precision, recall, density and coverage, each with `..._expected`; `resembles`:
        whether precision and coverage are at least what the worst of the real halves has.

    Raises:
        CourseError: Too few images, or people.
    """
    if min(len(real), len(generated)) < FEWEST:
        raise CourseError(
            f"quality needs at least {FEWEST} real and {FEWEST} generated images of a class, not "
            f"{len(real)} and {len(generated)}: add images, or draw more."
        )
    groups = np.arange(len(real)) if groups is None else np.asarray(groups)
    alone = one_of_each(groups)
    if len(alone) < FEWEST_PEOPLE:
        raise CourseError(
            f"quality needs real images of at least {FEWEST_PEOPLE} people of a class, not "
            f"{len(alone)}: add images of other people."
        )
    rng = np.random.default_rng(seed)
    measured, expected, floor = [], [], []
    for _ in range(50):
        halves = [real[half] for half in halve_people(groups, rng)]
        size = min(*map(len, halves), len(generated))
        first, second = (half[:size] for half in halves)
        drawn = generated[rng.permutation(len(generated))[:size]]
        measured.append(neighbour_measures(first, drawn))
        expected.append(neighbour_measures(first, second))
        people = min(len(alone) // 2, len(generated))  # the first images: one of each person
        floor.append(kid(*(half[:people] for half in halves)))
    value, error = (measure(real[alone], generated) for measure in (kid, kid_error))
    means = [pd.DataFrame(rows).mean().to_dict() for rows in (measured, expected)]
    lowest = pd.DataFrame(expected).min()
    return {
        "kid": value,
        "kid_ci": [value - 1.96 * error, value + 1.96 * error],
        "kid_floor": float(np.quantile(floor, 0.95)),
        **means[0],
        **{f"{name}_expected": means[1][name] for name in NEIGHBOURLY},
        "resembles": all(means[0][name] >= lowest[name] for name in RESEMBLE),
    }


def one_of_each(groups: np.ndarray) -> np.ndarray:
    """The positions of each person's first image, in ascending order."""
    return np.sort(np.unique(groups, return_index=True)[1])


def halve_people(groups: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Which images are of a random half of the people, and which of the other.

    Args:
        groups: ``(n,)``: equal ones are one person's.
        rng: Of the halving.

    Returns:
        Two arrays of positions. The first image of each person comes first, then the second ones.
        So the first few images are of as many people as possible.
    """
    numbers = np.unique(groups, return_inverse=True)[1]
    people = rng.permutation(numbers.max() + 1)
    place = np.argsort(people)[numbers]
    repeats = pd.Series(numbers).groupby(numbers).cumcount()
    order = np.lexsort((place, repeats))
    inside = place[order] < len(people) // 2
    return [order[inside], order[~inside]]


# --- Likeness -----------------------------------------------------------------------------------


def pixel_likeness(images: np.ndarray, real: np.ndarray, reach: int = 2) -> np.ndarray:
    """The highest correlation of the pixels over small shifts, and mirrored or not.

    Args:
        images: ``(n, height, width, 1)``.
        real: ``(m, height, width, 1)``.
        reach: Shifts of up to this many pixels either way.

    Returns:
        ``(n, m)``, -1 to 1; 1 for a copy, however moved within reach, mirrored, or brightened.
    """

    def standardised(x):
        x = x.reshape(len(x), -1)
        x = x - x.mean(axis=1, keepdims=True)
        return x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-6)

    best, against = np.full((len(images), len(real)), -1.0), standardised(real).T
    for turned in (images, images[:, :, ::-1]):
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                moved = np.roll(turned, (down, right), axis=(1, 2))
                best = np.maximum(best, standardised(moved) @ against)
    return best


# --- Realism -------------------------------------------------------------------------------------


def two_sample_test(
    real: np.ndarray, generated: np.ndarray, seed: int, permutations: int = 999
) -> dict[str, Any]:
    """Can a simple classifier tell generated from real images that it was not fitted on?

    The classifier is a ridge regression of the labels, 1 for real and -1 for generated, so that
    one fit answers for the true labels and for all permuted ones. Labels are permuted within each
    fold, and everything else stays: if both sets are of one kind, no permutation differs from the
    true labels, and p-values up to 0.05 come in one of twenty sets.

    Args:
        real, generated: ``(n, d)`` and ``(m, d)`` features; as many of the larger set are used as
            the smaller one has, but all generated ones get an answer.
        seed: Of folds and permutations.
        permutations: Of the labels, for the p-value.

    Returns:
        `accuracy` in five-fold cross-validation (0.5: it can't); `p_value`, the share of
        labellings with answers as near to the labels as those for the true one; `realism`
        ``(m,)``: the answer for each generated image, from a fit that did not see it, around 1
        where it looks real and around 0 where it looks generated; `unclear`: the share of
        generated images that look less real than 19 of 20 real ones do.

    Raises:
        CourseError: Fewer images of either kind than folds.

    Source: Lopez-Paz and Oquab 2017, arXiv:1610.06545; Kim et al. 2020, arXiv:1602.02210, for the
        linear classifier, and for the power that is lost where only its hits are counted.
    """
    rng = np.random.default_rng(seed)
    if (count := min(len(real), len(generated))) < 5:
        raise CourseError(
            "the two-sample test needs at least 5 real and 5 generated images of a class, not "
            f"{len(real)} and {len(generated)}: add images, or draw more."
        )
    order = rng.permutation(len(generated))
    x = np.concatenate([rng.permutation(real)[:count], generated[order]])
    parts = np.arange(count) % 5  # the k-th real and the k-th generated image are in one fold
    fold = np.concatenate([parts, parts, np.full(len(x) - 2 * count, 5)])  # 5: never fitted on
    # One column per labelling, 1 for real and -1 for generated. The first is the true one.
    labels = np.repeat([1.0, -1.0], count)[:, None].repeat(1 + permutations, axis=1)
    for part in range(5):
        inside = np.flatnonzero(fold[: 2 * count] == part)
        labels[inside, 1:] = rng.permuted(labels[inside, 1:], axis=0)
    answers = np.empty((len(x), 1 + permutations))
    model = make_pipeline(StandardScaler(), Ridge(PENALTY))
    for part in np.unique(fold):
        others = np.flatnonzero(fold[: 2 * count] != part)
        answers[fold == part] = model.fit(x[others], labels[others]).predict(x[fold == part])
    agreement = labels * answers[: 2 * count]
    average = agreement.mean(axis=0)  # for each labelling
    realism = np.empty(len(generated))
    realism[order] = (1 + answers[count:, 0]) / 2
    usual = (1 + answers[:count, 0]) / 2
    return {
        "accuracy": float(np.mean(agreement[:, 0] > 0)),
        "p_value": float(np.mean(average >= average[0])),
        "unclear": float(np.mean(realism < np.quantile(usual, 0.05))),
        "realism": realism,
    }


def principal_components(real: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `COMPONENTS` directions in which all images together differ most.

    Args:
        real, drawn: ``(n, d)`` and ``(m, d)`` features.

    Returns:
        ``(n, k)`` and ``(m, k)``, k at most `COMPONENTS`.
    """
    count = min(COMPONENTS, len(real) + len(drawn), real.shape[1])
    together = PCA(count, random_state=0).fit_transform(np.concatenate([real, drawn]))
    return together[: len(real)], together[len(real) :]


def tells_apart(p_values: list[float]) -> bool:
    """Whether any of the two-sample tests, one per feature space, tells the images apart (5 %)."""
    return min(p_values) <= 0.05 / len(p_values)


# --- All of it -----------------------------------------------------------------------------------


def degenerate_reason(images: np.ndarray) -> str:
    """What makes these images unusable, in words; empty if nothing does.

    Args:
        images: ``(n, height, width, 1)``, n at least 1, -1 to 1.
    """
    if not np.isfinite(images).all():
        return "some pixels are no numbers"
    if np.ptp(images, axis=(1, 2, 3)).max() < 0.05:
        return "each image is one grey level"
    if len(images) > 1 and images.std(axis=0).max() < 0.02:
        return "all images are the same"
    return ""


@threadpool_limits.wrap(limits=1)  # threads that share such small matrices wait for each other
def audit_class(
    images: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    groups: np.ndarray,
    seed: int,
    fresh: np.ndarray | None = None,
    simulated: bool | None = None,
) -> dict[str, Any]:
    """Audit the generated images of one class.

    Args:
        images: ``(n, 32, 32, 1)``, -1 to 1, generated.
        train: Real images that the generator was trained on.
        held_out: Real images that it never saw. Those of a test part only where nothing is chosen
            by the audit.
        groups: Of train and held_out, in this order.
        seed: Of all that is drawn, but for the real images that `find_copies` draws.
        fresh: Newly simulated images to measure quality against, if the data are simulated; by
            default it is measured against train and held_out together.
        simulated: Whether the images show simulated slices, so that the judge can be asked too; by
            default, where there are fresh ones.

    Returns:
        What `quality` gives, and `realism` from `two_sample_test` with one real image of each
        person, both in the features of the network trained on ImageNet; the same by space under
        `spaces`, which has the judge's where the images are simulated; `resembles` and
        `told_apart`, where all spaces or any says so; `copying` from `find_copies`; `like_a_slice`;
        `features`: "imagenet"; and `verdict`, a list of sentences. A measure that has too few
        images is in `refused` as a sentence; images that are none have a `warning` and nothing
        else.
    """
    report: dict[str, Any] = {"samples": len(images), "refused": []}
    if wrong := degenerate_reason(images):
        return report | {"warning": f"The generated images cannot be judged: {wrong}."}
    asked = fresh is not None if simulated is None else simulated
    compared = np.concatenate([train, held_out]) if fresh is None else fresh
    of_whom = np.asarray(groups) if fresh is None else np.arange(len(fresh))
    alone = one_of_each(of_whom)
    spaces: dict[str, dict[str, Any]] = {}
    for space in ("imagenet", "judge") if asked else ("imagenet",):
        real, drawn = describe(compared, space), describe(images, space)
        few = principal_components(real[alone], drawn)
        found = _take(report["refused"], quality, real, drawn, seed, of_whom) or {}
        realism = _take(report["refused"], two_sample_test, *few, seed)
        spaces[space] = found | ({"realism": realism} if realism else {})
    report |= spaces["imagenet"] | {"features": "imagenet", "spaces": spaces}
    if all("resembles" in found for found in spaces.values()):
        report["resembles"] = all(found["resembles"] for found in spaces.values())
    if all("realism" in found for found in spaces.values()):
        p_values = [found["realism"]["p_value"] for found in spaces.values()]
        report["told_apart"] = tells_apart(p_values)
    likeness = _take(report["refused"], like_a_slice, images, train)
    if likeness is not None:
        report["like_a_slice"] = float(likeness.mean())
    copying = _take(report["refused"], find_copies, images, train, held_out, groups)
    if copying:
        report["copying"] = copying
        if copying["repeats"] is None:
            report["refused"].append(
                "whether the generator repeats its training images needs held-out images of at "
                f"least {FEWEST_HELD_OUT} people of a class, not "
                f"{copying['held_out_people']}: add images (or patients)."
            )
    return report | {"verdict": verdict(report)}


def verdict(report: dict[str, Any]) -> list[str]:
    """What an audit found, in sentences: first whether the images are good, then copies.

    Args:
        report: From `audit_class`, before it has a verdict.
    """
    lines = []
    for space, found in report["spaces"].items():
        if found.get("resembles") is False:
            lines.append(
                "The generated images do not resemble the real ones: "
                f"precision {found['precision']:.2f}, coverage {found['coverage']:.2f} where "
                f"halves of the real images give {found['precision_expected']:.2f} and "
                f"{found['coverage_expected']:.2f} (features of the {SPACES[space]})."
            )
    if report.get("resembles"):
        both = " in both feature spaces" if len(report["spaces"]) > 1 else ""
        if report.get("told_apart"):
            lines.append(
                f"The generated images resemble the real ones{both}, but a simple classifier tells "
                "them apart: some kind of image may be missing, or be too frequent."
            )
        else:
            lines.append(f"The generated images resemble the real ones{both}.")
    if "resembles" not in report:
        lines.append("Too few images to say whether the generated ones resemble the real ones.")
    copies = report.get("copying")
    if copies and copies["flagged"]:
        low, high = copies["ci"]
        named, count = len(copies["copies"]), round(copies["share"] * report["samples"])
        chance = f" (about {named - count} of them by chance)" if named > count else ""
        lines.append(
            f"{named} of {report['samples']} generated images are named as copies of training "
            f"images{chance}. 95 % interval of the share of copies: {low:.0%} to {high:.0%}. "
            + NOT_SYNTHETIC
        )
    elif copies and copies["repeats"]:
        lines.append(
            "No generated image can be named as a copy, but training images have nearer generated "
            f"images than held-out ones have (p = {copies['repeats_p']:.2g}): the generator "
            f"repeats what it was trained on. {NOT_SYNTHETIC}"
        )
    elif copies and copies["near_held_out"]:
        lines.append(
            f"{copies['near_held_out']} generated images lie as near to people whom the generator "
            "never saw as copies would. No image is called a copy of a training image."
        )
    elif copies:
        lines.append("No generated image is nearer to a training image than chance allows.")
    return lines


def _take(refused: list[str], measure: Callable[..., Any], *arguments: Any) -> Any:
    """What a measure gives; or None, with the sentence why not in `refused`."""
    try:
        return measure(*arguments)
    except CourseError as error:  # too few images
        if str(error) not in refused:
            refused.append(str(error))
        return None
