"""The rule that answers the course's question, and its words (notebook 05)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t

from helpers import files, intervals

MARGIN = 0.05  # of balanced accuracy: less than that is not worth a GAN
FEWEST_REPLICATES = 5  # fewer never give an answer
RULE = files.RESULTS / "rule.json"  # what `experiments/rule.py` found, before any real score
ONE_QUARTER = files.RESULTS / "rule_one_quarter.json"  # the same with GANs on one quarter of a fold
# Of the bootstrap's intervals, by what they are about; `RULE` says why.
FACTORS = {"exposure": 1.04, "compute": 1.0, "oracle": 1.06, "stronger": 1.03, "missing": 1.01}
STRONGER = {"whole": "classic", "quarter": "part"}  # the stronger baseline on average, by `RULE`


# --- The rule -------------------------------------------------------------------------------------


def decide(gains: dict[str, dict[str, Any]], replicates: int, margin: float = MARGIN) -> str:
    """Answer by the first line that applies: harms, helps, no_room, no_gain; else undecided."""
    if replicates < FEWEST_REPLICATES:
        return "undecided"
    low, high = ({name: gain["ci"][end] for name, gain in gains.items()} for end in (0, 1))
    if high["exposure"] < 0:
        return "harms"
    if low["exposure"] > 0 and low["compute"] > 0:
        return "helps"
    if "oracle" in gains and high["oracle"] < margin:
        return "no_room"
    if "missing" in gains and high["stronger"] < margin and low["missing"] > 0:
        return "no_gain"
    return "undecided"


# What each text begins with; the report shows it in bold.
HEADLINES = {
    "helps": "GAN images help",
    "harms": "GAN images do harm",
    "no_room": "No room",
    "no_gain": "No gain",
    "undecided": "Not enough data to tell",
}


def say(answer: str, gains: dict[str, dict[str, Any]], replicates: int, where: str = "") -> str:
    """The answer in words: its headline, a colon or a full stop, and the numbers.

    Args:
        answer: From `decide`.
        gains, replicates: As `decide` had them, with the margin `MARGIN`.
        where: What comes after the gains of the oracle, as " at a quarter of these images".
    """
    headline, points = HEADLINES[answer], f"{100 * MARGIN:.0f} points"
    gain = {name: points_of(measured) for name, measured in gains.items()}
    exposure = (
        f"GAN images beside classic augmentation moved the balanced accuracy by {gain['exposure']}"
    )
    if answer == "helps":
        return f"{headline}: {exposure}, and by {gain['compute']} against the same effort."
    if answer == "harms":
        return f"{headline}: {exposure}."
    if answer == "no_room":
        return (
            f"{headline}: even true new images in the GAN's place would add less than "
            f"{points}{where}: {gain['oracle']}. {exposure}."
        )
    if answer == "no_gain":
        larger = (
            f" So with all images a gain of {points} is not ruled out."
            if where and gains["exposure"]["ci"][1] >= MARGIN
            else ""
        )
        return (
            f"{headline}: GAN images would add less than {points}{where}: {gain['stronger']}. True "
            f"new images bring {gain['missing']} more than they do. {exposure}.{larger}"
        )
    if replicates < FEWEST_REPLICATES:
        return f"{headline}: fewer than {FEWEST_REPLICATES} replicates. {exposure}."
    return f"{headline}. {exposure}; {_why(gains, gain, where)}."


def _why(gains: dict[str, dict[str, Any]], words: dict[str, str], where: str) -> str:
    """What keeps the answer open; `words` are the gains in points."""
    if gains["exposure"]["ci"][0] > 0:
        same = f"against the same effort without a GAN it is {words['compute']}"
        return f"{same}, which is not clearly above 0"
    if "missing" not in gains:
        return "the interval holds 0, and no GAN was set beside true new images"
    small = bool(where) and gains["exposure"]["ci"][1] < MARGIN  # with all images
    points = f"{100 * MARGIN:.0f} points"
    if gains["stronger"]["ci"][1] >= MARGIN:
        ruled_out = "ruled out with all images, but not" if small else "not ruled out"
        return f"a gain of {points} is {ruled_out}{where} ({words['stronger']})"
    ends = f"{where.strip()} the interval ends below {points}"
    if small:
        found = f"with all images a gain of {points} is ruled out; {ends} as well"
    else:
        found = ends if where else f"a gain of {points} is ruled out"
    there = " there" if where else ""
    return f"{found}, but true new images may do no better{there} ({words['missing']} more)"


def points_of(gain: dict[str, Any]) -> str:
    """A gain in points with its interval."""
    low, high = gain["ci"]
    return f"{100 * gain['mean']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


# --- Before a study ------------------------------------------------------------------------------

ANSWERS = ("helps", "harms", "no_gain", "no_room", "undecided")
BETTER = 0.08  # more than true new images bring beside 200


def foresee(people: Sequence[int], quarters: int) -> tuple[float, dict[float, dict[str, float]]]:
    """How wide the interval of the gain will be, and how likely each answer of the rule is.

    This holds if the images scatter as in the simulated studies of `RULE`, and if true new images
    bring as much as there at a quarter of the images.

    Args:
        people: Patients, or groups, of each class.
        quarters: Of each fold, that have a GAN.

    Returns:
        Width, a share; and the chances, by the true gain of GAN images: nothing, as much as true
        new images bring beside 200, and `BETTER`.
    """
    found = files.read_json(ONE_QUARTER if quarters == 1 else RULE)
    rule = found["summary"]
    scale = math.sqrt(sum(1 / max(1, n) for n in people) / (4 / found["settings"]["slices"]))
    width = 2 * scale * FACTORS["exposure"] * rule["scatter"]["few"]["half_width"]["exposure"]
    perfect = rule["true_gains"]["true"]
    room = perfect["oracle"]
    truths = (
        ("few", [0.0, 0.0, room, 0.0, room]),
        ("true", [perfect[name] for name in FACTORS]),
        ("true", [BETTER, BETTER, room, BETTER, room - BETTER]),
    )
    return width, {
        truth[0]: chances_of_answers(rule, generator, truth, scale, quarters)
        for generator, truth in truths
    }


def foresee_sets(sets: int, images: int) -> tuple[float, dict[float, dict[str, float]]]:
    """As `foresee`, for a study of simulated sets.

    This holds if the gains of the sets scatter as in the course's own study of 36 or of 144 slices,
    and if *classic long* and true new slices bring as much as there.

    Args:
        sets: Simulated sets, at least `FEWEST_REPLICATES`.
        images: Real slices in each; the study with the nearer number is taken.

    Returns:
        Width, a share; and the chances, by the true gain of GAN images: nothing, the margin, and
        `BETTER`.
    """
    size = min((36, 144), key=lambda size: abs(size - images))
    rows = files.read_json(files.RESULTS / f"study_{size}.json")["rows"]
    classic, *others = (
        [row["arms"][name]["fresh"]["balanced_accuracy"] for row in rows]
        for name in ("classic", "classic_gan", "classic_long", "oracle")
    )
    over_classic = np.array(others) - classic
    noise = np.random.default_rng(0).standard_normal((10_000, sets, 3))
    noise = noise @ _symmetric_root(np.cov(over_classic))
    quantile = t.ppf(0.975, sets - 1) / math.sqrt(sets)

    def ends(gains):  # ``(10_000, sets)``
        half = quantile * gains.std(axis=1, ddof=1)
        return gains.mean(axis=1) - half, gains.mean(axis=1) + half

    by_gain = {}
    _, more_views, true_slices = over_classic.mean(axis=1)
    for truth in (0.0, MARGIN, BETTER):
        means = np.array([truth, more_views, true_slices])
        gan, long, true = np.moveaxis(means + noise, 2, 0)
        by_gain[truth] = _count_answers({
            "exposure": ends(gan),
            "compute": ends(gan - long),
            "oracle": ends(true),
            "stronger": ends(gan),
            "missing": ends(true - gan),
        })  # fmt: skip
    return float(2 * quantile * over_classic[0].std(ddof=1)), by_gain


def chances_of_answers(
    rule: dict[str, Any], generator: str, truth: list[float], scale: float, quarters: int
) -> dict[str, float]:
    """How often the rule gives each answer, if estimates scatter as in simulated studies.

    Args:
        rule: The summary of `experiments/rule.py`.
        generator: Whose scatter: "few" or "true".
        truth: The true gains, in the order of `FACTORS`.
        scale: How many times as wide the scatter is, because there are fewer people.
        quarters: Of each fold, that have a GAN.
    """
    scatter = rule["scatter"][generator]
    half = {name: scale * FACTORS[name] * scatter["half_width"][name] for name in FACTORS}
    drawn = np.random.default_rng(0).standard_normal((10_000, len(truth)))
    drawn = truth + scale * drawn @ _symmetric_root(scatter["covariance"])
    return _count_answers({
        name: (value - half[name], value + half[name])
        for name, value in zip(FACTORS, drawn.T, strict=True)
        if quarters or name not in ("stronger", "missing")
    })  # fmt: skip


def _symmetric_root(covariance: np.ndarray) -> np.ndarray:
    """This root is unique, so all machines draw the same. The covariance may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(values.clip(0)) @ vectors.T


def _count_answers(ends: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """How often the rule gives each answer to simulated intervals: their lower and upper ends."""
    count = len(ends["exposure"][0])
    answers = [
        decide({name: {"ci": (low[k], high[k])} for name, (low, high) in ends.items()},
               FEWEST_REPLICATES)
        for k in range(count)
    ]  # fmt: skip
    return {name: answers.count(name) / count for name in ANSWERS}


# --- One split -----------------------------------------------------------------------------------

WORDS = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}


def deciding(scores: dict[str, dict[str, Any]]) -> str:
    """Which score decides: accuracy, or balanced accuracy where the classes are not 1:1.

    Whoever calls all images the larger class has a high accuracy, and a balanced one of a half.

    Args:
        scores: By arm, as `intervals.score` gives them; all on the same test images.
    """
    (tn, fp), (fn, tp) = next(iter(scores.values()))["confusion"]
    return "accuracy" if tn + fp == fn + tp else "balanced_accuracy"


def single_split_verdict(
    arms: dict[str, dict[str, Any]], labels: np.ndarray, groups: np.ndarray, settle: str
) -> dict[str, Any]:
    """The verdict on one split: never yes or no, since one replicate shows no spread.

    Args:
        arms: Scores of *bundled* by arm, as `intervals.score` gives them; "classic", "classic_long"
            and "classic_gan" are among them.
        labels, groups: ``(n,)``, of the test images.
        settle: The command of a study.

    Returns:
        `answer`, `text`, and `smallest_detectable_effect`: the smallest gain that McNemar's test
        could call significant (`intervals.smallest_significant_gain`), a share, or None. No power
        is in it, unlike in the function `intervals.smallest_detectable_effect`.
    """
    measure = deciding(arms)
    gains = [
        f"{100 * (arms['classic_gan'][measure] - arms[other][measure]):+.1f} points"
        for other in ("classic", "classic_long")
    ]
    patients = [len(np.unique(groups[labels == label])) for label in (0, 1)]
    n, word = sum(patients), "images" if sum(patients) == len(labels) else "patients"
    smallest = intervals.smallest_significant_gain(n, max(patients))
    could = f"{n} test {word} can tell no gain from chance"
    if smallest is not None:
        least = f"{100 * smallest:.0f} points"
        could = f"on these {n} test {word} only a gain of {least} or more could be told from chance"
    return {
        "answer": "undecided",
        "text": (
            f"Not enough data to tell. On this one split, with the classifier bundled, GAN images "
            f"beside classic augmentation changed the {WORDS[measure]} by {gains[0]} against "
            f"classic, and by {gains[1]} against classic long; {could}, and one split shows no "
            f"spread between splits. To settle it, run a study: {settle}"
        ),
        "smallest_detectable_effect": smallest,
    }
