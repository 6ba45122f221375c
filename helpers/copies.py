"""Does a set of generated images hold copies of training images? A score for each image.

A new image lies about as far from its nearest real image as from the second nearest. A copy lies
far nearer to one of them. The ratio of the two distances does not change when a whole set is
blurred or noisy, and for points spread at random its distribution is known: the chance of a ratio
under r is r to the power a, where a is half the dimension of the space (Facco et al. 2017). The
real images, each against those of other people, tell a. So each image gets a chance: how often a
new person's image would lie as near to one training image as this one does.

A generator's own noise can hide which image it repeats. So a second test asks about the set as a
whole: do the training images have nearer generated images than the held-out ones have? Whoever has
never seen an image cannot know in which part it is.

The older test of this course asked whether generated images were nearer to training images than to
held-out ones, by permuting the two. It finds a quarter of the sets with 5 % copies, where this one
finds all but a few (`experiments/results/copying.json`): ten copies are too few to permute.
"""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, rotate
from scipy.stats import binomtest, false_discovery_control, mannwhitneyu
from threadpoolctl import threadpool_limits

from helpers.alignment import standardise
from helpers.files import CourseError

# What a copy may differ by, beside brightness and contrast: shifts to either side in pixels, turns
# in degrees, mirroring, and blur in pixels.
REACH, TURNS, BLURS = 2, (-6, -3, 0, 3, 6), (0.0, 0.7)
SMOOTHING = 1.0  # pixels; both images are smoothed by it, because noise hides what is alike
PIXEL_STEP = 2  # between the pixels that are compared; smoothing leaves little in between
LEVEL = 0.02  # false discovery rate: expected share of wrong names among the images named
FEWEST_HELD_OUT = 5  # people that the generator has not seen; with fewer, no p-value is small
FEWEST_GROUPS = 20  # of real images; with fewer, nobody knows how near two people can be
MOST_COMPARED = 200  # real images that tell how near two people are; more take long and add little
USUAL = 0.9  # share of the real images that fits the rule: the nearest tenth may hold one person
NONE = 1e-6  # added to both distances, since equal images have distance 0


def aligned_distances(images: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The distance of each image from each real one, after the best alignment of the two.

    The distance is 1 minus the correlation of the pixels, which takes no notice of brightness and
    contrast. The image is mirrored or not, turned and shifted, the real one blurred or not.

    `alignment.refine` is another tool: it also scales and shears, for a few candidate pairs. Here
    every image meets every real one, which would take hundreds of times as long. And with that
    freedom two people's heads look more alike: their correlation is 0.93, not 0.88.

    Args:
        images: ``(n, size, size, 1)``.
        real: ``(m, size, size, 1)``.

    Returns:
        ``(n, m)``, 0 for a copy to about 1 for two images that have nothing in common.
    """

    def as_rows(x):
        return standardise(x.reshape(len(x), -1).astype(np.float32))

    edge = real.shape[1] - 2 * REACH  # of the part that stays inside under every shift
    inner = slice(REACH, REACH + edge, PIXEL_STEP)
    versions = [gaussian_filter(real, (0, s, s, 0)) for s in np.hypot(SMOOTHING, BLURS)]
    against = np.concatenate([as_rows(x[:, inner, inner]) for x in versions]).T
    images = gaussian_filter(images, (0, SMOOTHING, SMOOTHING, 0))
    best = np.full((len(images), against.shape[1]), -1, np.float32)
    with threadpool_limits(1):  # threads that share matrices as small as these wait for each other
        for mirrored in (images, images[:, :, ::-1]):
            for angle in TURNS:
                turned = rotate(mirrored, angle, (2, 1), reshape=False, order=1, mode="nearest")
                for down in range(2 * REACH + 1):
                    for right in range(2 * REACH + 1):
                        part = turned[
                            :, down : down + edge : PIXEL_STEP, right : right + edge : PIXEL_STEP
                        ]
                        np.maximum(best, as_rows(part) @ against, out=best)
    return (1 - best.reshape(len(images), len(BLURS), len(real)).max(axis=1)).clip(0)


def nearness(
    distances: np.ndarray, groups: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How much nearer each image is to one person's image than to the nearest of all others.

    Args:
        distances: ``(n, m)``, from `aligned_distances`.
        groups: ``(m,)``: equal ones are one person's.
        own: ``(n,)``: the group of each image, whose images don't count.

    Returns:
        ``(n,)``, the logarithm of the second distance over the first, 0 or more, and ``(n,)``,
        which real image is the nearest.
    """
    if own is not None:
        distances = np.where(own[:, None] == groups[None], np.inf, distances)
    nearest = distances.argmin(axis=1)
    others = np.where(groups[nearest][:, None] == groups[None], np.inf, distances)
    first, second = distances.min(axis=1), others.min(axis=1)
    return np.log((second + NONE) / (first.clip(0) + NONE)), nearest


def chances(scores: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """How often an image of a new person is as near to one real image as these are.

    The `nearness` of new people's images is exponentially distributed. Its mean is estimated from
    real images, without the highest tenth, which may hold unknown pairs of one person, and the
    uncertainty of the estimate is part of the answer.

    Args:
        scores: ``(n,)``, as `nearness` gives them.
        usual: ``(m,)``, the same of real images of different people.

    Returns:
        ``(n,)``, 0 to 1.

    Source: Facco et al. 2017, doi 10.1038/s41598-017-11873-y, for the distribution; Epstein and
        Sobel 1953, doi 10.1080/01621459.1953.10483488, for the mean of a censored sample.
    """
    usual = np.sort(usual)
    kept = int(np.ceil(USUAL * len(usual)))
    total = usual[:kept].sum() + (len(usual) - kept) * usual[kept - 1]
    return (1 + scores / total) ** -kept


def find_copies(
    images: np.ndarray, train: np.ndarray, held_out: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Name the generated images that are copies of training images, and estimate their share.

    Args:
        images: ``(n, size, size, 1)``, -1 to 1, generated.
        train, held_out: Real images of the same class; held_out may be empty.
        groups: Of train and held_out, in this order: equal ones are one person's.

    Returns:
        What `name_copies` gives, and for each image its `likeness`: the correlation with the
        nearest real image after alignment.

    Raises:
        CourseError: Too few people among the real images.
    """
    real, groups = np.concatenate([train, held_out]), np.asarray(groups)
    if (people := len(np.unique(groups))) < FEWEST_GROUPS:
        raise CourseError(
            f"copying needs real images of at least {FEWEST_GROUPS} groups of a class, not "
            f"{people}: add images (or patients)."
        )
    compared = np.random.default_rng(0).permutation(len(real))[:MOST_COMPARED]
    among_real = aligned_distances(real[compared], real)
    distances = aligned_distances(images, real)
    found = name_copies(distances, among_real, compared, groups, len(train))
    return found | {"likeness": 1 - distances.min(axis=1)}


def favours_training(distances: np.ndarray, groups: np.ndarray, trained: int) -> float:
    """Do training images have nearer generated images than held-out images have?

    Each person counts once, with the mean over the person's real images of the distance to the
    nearest generated image. If no training image was learnt by heart, the persons of both parts are
    equally likely to have small distances.

    Args:
        distances: ``(n, m)``, of n generated images from m real ones, training first.
        groups: ``(m,)``: equal ones are one person's.
        trained: How many of the real images the generator was trained on.

    Returns:
        The p-value, 0 to 1, of a one-sided Mann-Whitney test; 1 where fewer than five held-out
        persons are no persons of training.
    """
    nearest, groups = distances.min(axis=0), np.asarray(groups)
    seen = np.unique(groups[:trained])
    unseen = np.setdiff1d(groups[trained:], seen)
    if len(unseen) < FEWEST_HELD_OUT:
        return 1.0
    by_part = [[nearest[groups == person].mean() for person in part] for part in (seen, unseen)]
    return float(mannwhitneyu(*by_part, alternative="less").pvalue)


def name_copies(
    distances: np.ndarray,
    among_real: np.ndarray,
    compared: np.ndarray,
    groups: np.ndarray,
    trained: int,
) -> dict[str, Any]:
    """Name the images that are copies of training images, by their distances.

    Held-out images, which the generator never saw, take part as well. Where generated images lie
    near to held-out people half as often as to people of training, or more often, in proportion to
    their numbers, the reason is not copying, and no image is named.

    Args:
        distances: ``(n, m)``, of n generated images from m real ones, training first.
        among_real: ``(k, m)``, of k of the real images from all.
        compared: ``(k,)``, which those k are.
        groups: ``(m,)``: equal ones are one person's.
        trained: How many of the real images the generator was trained on.

    Returns:
        `flagged`: whether images are named; `repeats_p`, from `favours_training`, and `repeats`:
        whether it is under `LEVEL`, both None where too few people are held out to tell;
        `held_out_people`, how many people the generator has not seen;
        `share` of the images that are copies, with its 95 % interval
        `ci` (Wilson); `p_value`, the chance of a set as near (Simes); `copies`, a list of `image`,
        `real` and `chance`, the clearest first; for each image its `chance` and `nearest`, the
        number of the nearest real one (training first); `near_held_out`, how many are as near to a
        held-out person; `twins`, pairs of real images of different groups that are as near to each
        other as copies are.
    """
    usual, partner = nearness(among_real, groups, own=groups[compared])
    near, nearest = nearness(distances, groups)
    chance = chances(near, usual)
    adjusted = false_discovery_control(chance)  # Benjamini and Hochberg
    named = adjusted <= LEVEL
    seen = np.isin(groups, groups[:trained])  # by the generator, this image or this person
    copied, elsewhere = named & seen[nearest], named & ~seen[nearest]
    count, beside = int(copied.sum()), int(elsewhere.sum())
    if beside:
        people = [len(np.unique(groups[part])) for part in (seen, ~seen)]
        by_chance = beside * people[0] / people[1]
        copied &= count > 2 * by_chance
        count = round(count - by_chance) if copied.any() else 0
    interval = binomtest(count, len(distances)).proportion_ci(method="wilson")
    twin = np.flatnonzero(false_discovery_control(chances(usual, usual)) <= LEVEL)
    repeats_p = favours_training(distances, groups, trained)
    people_held_out = len(np.setdiff1d(groups[trained:], groups[:trained]))
    enough = people_held_out >= FEWEST_HELD_OUT
    return {
        "flagged": bool(copied.any()),
        "repeats": repeats_p < LEVEL if enough else None,
        "repeats_p": repeats_p if enough else None,
        "held_out_people": people_held_out,
        "share": count / len(distances),
        "ci": [float(interval.low), float(interval.high)],
        "p_value": float(adjusted.min()),  # Simes
        "copies": [
            {"image": int(i), "real": int(nearest[i]), "chance": float(chance[i])}
            for i in np.argsort(chance)
            if copied[i]
        ],
        "near_held_out": beside,
        "twins": sorted({tuple(sorted((int(compared[i]), int(partner[i])))) for i in twin}),
        "chance": chance,
        "nearest": nearest,
    }
