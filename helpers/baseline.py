"""Before any GAN: what a classifier reaches on these images, and whether more would help."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from helpers import bundled, folds, machine

MARGIN = 0.05  # of balanced accuracy: less is not worth a GAN
FACTOR = 1.0  # of the gain's interval; the evidence has not set it yet, so the interval is narrow
FOLDS = 8
QUARTERS = 12  # random quarters a fold
HALVES = 4  # random halves a fold
FEWEST = 4  # images of a class in a quarter; a gain measured on fewer says nothing
RESAMPLES = 2000
CURVE = ((0.25, QUARTERS), (0.5, HALVES))


def measure_baseline(
    images: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Measure the classifier *bundled* out of fold, its learning curve and the room for more.

    The room is what three times as many true images bring on top of a quarter: `oracle_part`
    minus the stronger of `part` and `part_long`. All differences are taken image by image,
    weighted by `folds.image_weights`, averaged over the random quarters and bootstrapped over
    groups within classes.

    Args:
        images: ``(n, height, width, 1)``, -1 to 1.
        labels: ``(n,)``, 0 or 1.
        groups: ``(n,)``; images with equal numbers are of one patient.
        seed: Of folds, quarters and bootstrap.

    Returns:
        `images`, `positives`, `groups`, `folds`: counts. `accuracy`, `balanced_accuracy`, `auc`,
        `sensitivity`, `specificity`, `brier`: each `value` and `ci` (95 %), shares from 0 to 1, of
        the fits on all training images. `curve`: for the shares 0.25, 0.5 and 1 of the training
        images `share`, `images` (mean), `draws`, `balanced_accuracy`, `ci` and `auc`; a share is
        left out where a draw held too few images. `room`: `answer` ("room", "little", "open" or
        "too_few"), `text`, and unless "too_few" `gain`, `ci`, `baseline` (the stronger), `draws`,
        `margin`, `factor`, and the balanced accuracy of `part`, `part_long` and `oracle_part`.
        `probabilities`: ``(n,)``, out of fold, of label 1. `text`: all in words.

    Raises:
        CourseError: A class comes from a single group.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    tests = folds.draw_test_folds(labels, groups, seed, FOLDS)
    weights = folds.image_weights(labels, groups, FOLDS)
    features = bundled.view_features(images, bundled.MOST_VIEWS)
    answers, sizes = _fit_all(features, labels, groups, tests, seed)
    draws = _resample(labels, groups, seed)

    def interval(values, kept_weights):
        totals = draws @ kept_weights
        means = (draws @ (kept_weights * values)) / np.where(totals > 0, totals, 1)
        return [float(edge) for edge in np.quantile(means, (0.025, 0.975))]

    def mean(values, kept_weights):
        found = float(np.sum(kept_weights * values) / kept_weights.sum())
        return {"value": found, "ci": interval(values, kept_weights)}

    def balanced(values):
        halves = [
            (draws @ (w * values)) / (draws @ w) for w in (weights * (labels == k) for k in (0, 1))
        ]
        low, high = np.quantile(np.mean(halves, axis=0), (0.025, 0.975))
        return {"value": float(weights @ values), "ci": [float(low), float(high)]}

    whole = answers["all"][0]
    right = (whole >= 0.5) == labels
    found = {
        "images": len(labels),
        "positives": int(labels.sum()),
        "groups": len(np.unique(groups)),
        "folds": len(tests),
        "accuracy": mean(right, np.ones(len(labels))),
        "balanced_accuracy": balanced(right),
        "auc": _auc(labels, whole, weights, draws),
        "sensitivity": mean(right, weights * labels),
        "specificity": mean(right, weights * (1 - labels)),
        "brier": balanced((whole - labels) ** 2),
    }
    scores = {
        name: ((each >= 0.5) == labels).mean(axis=0) for name, each in answers.items() if len(each)
    }
    curve = [
        {
            "share": share,
            "images": sizes[name],
            "draws": len(answers[name]),
            "balanced_accuracy": (score := balanced(scores[name]))["value"],
            "ci": score["ci"],
            "auc": float(
                np.mean([roc_auc_score(labels, p, sample_weight=weights) for p in answers[name]])
            ),
        }
        for share, name in ((0.25, "part"), (0.5, "half"), (1.0, "all"))
        if name in scores
    ]
    room = _find_room(scores, weights, balanced)
    found |= {"curve": curve, "room": room, "probabilities": whole}
    return found | {"text": _say(found)}


def draw_curve(found: dict[str, Any]) -> Figure:
    """The learning curve, and beside it what true images bring on top of a quarter.

    The bar of this point is the interval of the gain over the quarter alone.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    count = [point["images"] for point in found["curve"]]
    value = np.array([100 * point["balanced_accuracy"] for point in found["curve"]])
    low, high = (np.array([100 * point["ci"][k] for point in found["curve"]]) for k in (0, 1))
    error = np.stack([value - low, high - value]).clip(0)  # rounding can make it negative
    axes.errorbar(
        count, value, error, fmt="o-", color="black", capsize=4, label="real images alone"
    )
    room = found["room"]
    if room["answer"] != "too_few":
        below, above = (abs(room["gain"] - edge) for edge in room["ci"])
        axes.errorbar(
            count[0] + 0.02 * count[-1],  # beside the quarter's own bar
            100 * room["oracle_part"], [[100 * below], [100 * above]], fmt="D", mfc="white",
            color="tab:blue", ms=9, capsize=4,
            label="a quarter, and the other true images used like generated ones",
        )  # fmt: skip
    axes.axhline(50, color="grey", ls=":", label="guessing")
    axes.set_xlabel("training images")
    axes.set_ylabel("balanced accuracy, held-out images (%)")
    axes.set_title("EfficientNet features, logistic regression: 95 % intervals", fontsize=10)
    axes.set_xlim(0, None)
    figure.legend(fontsize=8, loc="outside lower center")  # inside it would hide a curve
    return figure


def _fit_all(features, labels, groups, tests, seed):
    """Out-of-fold probabilities by arm, ``(draws, n)``, and the mean number of training images."""
    draws = {"all": 1, "half": HALVES, "part": QUARTERS, "part_long": QUARTERS}
    draws["oracle_part"] = QUARTERS
    answers = {name: np.full((count, len(labels)), np.nan) for name, count in draws.items()}
    sizes = {name: [] for name in draws}
    jobs = [(k, share, j) for k in range(len(tests)) for share, n in CURVE for j in range(n)]
    jobs += [(k, 1.0, 0) for k in range(len(tests))]
    for fold, share, draw in machine.progress(jobs, "classifiers", len(jobs)):
        test = tests[fold]
        kept = ~test
        if share < 1:
            kept = folds.draw_share(labels, groups, ~test, share, [seed, fold, draw])
        rest = ~test & ~kept
        if min(np.bincount(labels[kept], minlength=2)) < (FEWEST if share < 1 else 1):
            continue
        real = features[kept]
        plain = features[test, 0]
        four = real[:, : bundled.VIEWS["classic"]]
        parts = {}
        if share == 0.25:
            added = features[rest][:, : bundled.VIEWS["oracle_part"]]
            parts["part"] = _plain_fit(four, labels[kept])
            parts["part_long"] = _plain_fit(real, labels[kept])
            parts["oracle_part"] = bundled.fit_with_added(four, labels[kept], added, labels[rest])
        else:
            parts["all" if share == 1 else "half"] = _plain_fit(four, labels[kept])
        for name, head in parts.items():
            answers[name][draw, test] = head.answer(plain)
            sizes[name].append(kept.sum())
    # A draw counts where it could be fitted in every fold.
    whole = {name: each[~np.isnan(each).any(axis=1)] for name, each in answers.items()}
    return whole, {name: float(np.mean(found)) if found else 0.0 for name, found in sizes.items()}


def _plain_fit(features, labels):
    return bundled.fit_head([bundled.share(features, labels, len(features))], features)


def _resample(labels, groups, seed) -> np.ndarray:
    """How often each image is in each bootstrap sample, ``(RESAMPLES, n)``: whole groups are drawn,
    those of one class, of the other and of both apart."""
    rng = np.random.default_rng([seed, 1])
    names, numbers = np.unique(groups, return_inverse=True)
    share = np.bincount(numbers, labels) / np.bincount(numbers)
    kind = np.select([share == 0, share == 1], [0, 1], 2)
    counts = np.zeros((RESAMPLES, len(names)), np.float32)
    for of_kind in (np.flatnonzero(kind == k) for k in range(3)):
        if len(of_kind):
            even = np.full(len(of_kind), 1 / len(of_kind))
            counts[:, of_kind] = rng.multinomial(len(of_kind), even, RESAMPLES)
    return counts[:, numbers]


def _auc(labels, probabilities, weights, draws) -> dict[str, Any]:
    def area(counts):
        return roc_auc_score(labels, probabilities, sample_weight=weights * counts)

    classes = [(draws[:, labels == label] > 0).any(axis=1) for label in (0, 1)]
    usable = draws[classes[0] & classes[1]][: RESAMPLES // 4]
    edges = np.quantile([area(counts) for counts in usable], (0.025, 0.975))
    return {"value": float(area(1.0)), "ci": [float(edge) for edge in edges]}


def _find_room(scores, weights, balanced) -> dict[str, Any]:
    if "part" not in scores:
        return {
            "answer": "too_few",
            "text": (
                f"Room for more images: not measured, because a quarter of the training images "
                f"would hold fewer than {FEWEST} of a class, or comes from too few patients."
            ),
        }
    means = {name: float(weights @ scores[name]) for name in ("part", "part_long", "oracle_part")}
    stronger = max(("part", "part_long"), key=means.get)
    found = balanced(scores["oracle_part"] - scores[stronger])
    gain = found["value"]
    low, high = (gain + FACTOR * (edge - gain) for edge in found["ci"])
    answer = "little" if high < MARGIN else "room" if low > 0 else "open"
    size = f"{_points(gain)} points ({_points(low)} to {_points(high)})"
    margin = f"{100 * MARGIN:.0f} points"
    text = {
        "little": f"There is little room: true new images would add less than {margin}: {size}.",
        "room": f"There is room for more images: {size}.",
        "open": f"It is open whether more images would help: true new images add {size}.",
    }[answer]
    text += (
        " That is what the other three quarters of the images bring to a classifier trained on a "
        "quarter, if they are used like generated images: as many images of a perfect GAN could do "
        "no better."
    )
    if FACTOR == 1:
        text += (
            " The interval is too narrow: it shows what other test images would change, but not "
            "what another data set would change. How much too narrow it is has not been measured."
        )
    return means | {
        "answer": answer, "text": text, "gain": gain, "ci": [low, high], "baseline": stronger,
        "margin": MARGIN, "factor": FACTOR,
    }  # fmt: skip


def _say(found: dict[str, Any]) -> str:
    """All in words, a line each."""

    def percent(score):
        value, (low, high) = 100 * score["value"], (100 * edge for edge in score["ci"])
        return f"{value:.1f} % ({low:.1f} to {high:.1f})"

    auc = found["auc"]
    lines = [
        f"{found['images']} images ({found['positives']} of class 1) in {found['groups']} groups, "
        f"{found['folds']} folds; each image is tested by a classifier that saw no image of its "
        "group. 95 % intervals.",
        f"balanced accuracy {percent(found['balanced_accuracy'])}, accuracy "
        f"{percent(found['accuracy'])}",
        f"sensitivity {percent(found['sensitivity'])}, specificity {percent(found['specificity'])}",
        f"AUC {auc['value']:.3f} ({auc['ci'][0]:.3f} to {auc['ci'][1]:.3f})",
        "learning curve: "
        + ", ".join(
            f"{point['images']:.0f} training images {100 * point['balanced_accuracy']:.1f} %"
            for point in found["curve"]
        ),
        found["room"]["text"],
    ]
    return "\n".join(lines)


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
