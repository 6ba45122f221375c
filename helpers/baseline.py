"""Before any GAN: what a classifier reaches on these images, and whether more would help."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from helpers import bundled, folds, intervals, machine
from helpers.arms import ARMS, QUARTER, WHOLE
from helpers.verdict import FACTORS, MARGIN, STRONGER, points_of

# What the answer needs; the baseline at a quarter is the one that `verdict` names.
NEEDED = tuple(dict.fromkeys(("classic", "half", "part", "oracle_part", STRONGER["quarter"])))


def measure_baseline(
    images: np.ndarray, labels: np.ndarray, groups: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Measure the classifier *bundled* out of fold, its learning curve and the room for more.

    The room is what three times as many true images bring on top of a quarter: `oracle_part`
    minus the stronger baseline (`verdict.STRONGER`). All differences are taken image by image,
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
        "too_few"), `text`, and unless "too_few" `gain`, `ci`, `baseline` (the stronger),
        `margin`, `factor`, and the balanced accuracy of `part` and `oracle_part`.
        `weighted`: a sentence where large groups count less, or "". `probabilities`: ``(n,)``, out
        of fold, of label 1. `text`: all in words.

    Raises:
        CourseError: A class comes from a single group.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    plan = folds.plan_folds(labels, groups, seed)
    weights = folds.image_weights(labels, groups, len(plan))
    answers = out_of_fold(images, labels, plan)
    draws = intervals.resample_groups(labels, groups, seed)

    def mean(values, kept_weights):
        totals = draws @ kept_weights
        means = (draws @ (kept_weights * values))[totals > 0] / totals[totals > 0]
        ends = np.quantile(means, (0.025, 0.975))
        return {"value": float(np.average(values, weights=kept_weights)), "ci": ends.tolist()}

    def balanced(values):
        found = intervals.pooled_mean(values, labels, weights, draws)
        return {"value": found["mean"], "ci": found["ci"]}

    whole = answers["classic"][0]
    right = (whole >= 0.5) == labels
    found = {
        "images": len(labels),
        "positives": int(labels.sum()),
        "groups": len(np.unique(groups)),
        "folds": len(plan),
        "weighted": _name_weights(labels, weights),
        "accuracy": mean(right, np.ones(len(labels))),
        "balanced_accuracy": balanced(right),
        "auc": _auc(labels, whole, weights, draws),
        "sensitivity": mean(right, weights * labels),
        "specificity": mean(right, weights * (1 - labels)),
        "brier": balanced((whole - labels) ** 2),
    }
    scores = {name: ((each >= 0.5) == labels).mean(axis=0) for name, each in answers.items()}
    sizes = {
        "part": [fold.quarters for fold in plan],
        "half": [fold.halves for fold in plan],
        "classic": [[fold.train] for fold in plan],
    }
    curve = [
        {
            "share": share,
            "images": float(np.mean(np.sum(sizes[name], axis=-1))),
            "draws": len(answers[name]),
            "balanced_accuracy": (score := balanced(scores[name]))["value"],
            "ci": score["ci"],
            "auc": float(
                np.mean([roc_auc_score(labels, p, sample_weight=weights) for p in answers[name]])
            ),
        }
        for share, name in ((0.25, "part"), (0.5, "half"), (1.0, "classic"))
        if name in scores
    ]
    room = _find_room(scores, labels, weights, draws)
    found |= {"curve": curve, "room": room, "probabilities": whole}
    return found | {"text": _say(found)}


def out_of_fold(
    images: np.ndarray,
    labels: np.ndarray,
    plan: list[folds.Fold],
    arms: tuple[str, ...] = NEEDED,
) -> dict[str, np.ndarray]:
    """Fit the classifier *bundled* in every fold, for the arms that need no GAN.

    Args:
        images: ``(n, height, width, 1)``, -1 to 1.
        labels: ``(n,)``, 0 or 1.
        plan: The folds; each has as many quarters and halves as the others.
        arms: Of `WITHOUT_GAN`, and "half": classic on a half of the training images.

    Returns:
        By arm ``(draws, n)`` probabilities of label 1, NaN for images that no fold tests; one draw
        for an arm on all of them, else one for each random share. Arms without a draw are left out.
    """
    views = {name: ARMS["classic" if name == "half" else name].views for name in arms}
    features = bundled.view_features(images, max(views.values()))
    draws = dict.fromkeys(WHOLE, 1) | {"half": len(plan[0].halves)}
    draws |= dict.fromkeys(QUARTER, len(plan[0].quarters))
    answers = {name: np.full((draws[name], len(labels)), np.nan) for name in arms if draws[name]}
    jobs = [(fold, name, j) for fold in plan for name in answers for j in range(draws[name])]
    for fold, name, draw in machine.progress(jobs, "classifiers", len(jobs)):
        shares = fold.quarters if name in QUARTER else fold.halves
        kept = fold.train if name in WHOLE else shares[draw]
        real = features[kept][:, : views[name]]
        if name == "mixup":
            head = bundled.fit_arm(name, images[kept], labels[kept])
        elif name == "oracle_part":
            rest = fold.train & ~kept
            added = features[rest][:, : views[name]]
            head = bundled.fit_with_added(real, labels[kept], added, labels[rest])
        else:
            head = bundled.fit_head([bundled.weigh_classes(real, labels[kept], kept.sum())], real)
        answers[name][draw, fold.test] = head.answer(features[fold.test, 0])
    return answers


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
            label="a quarter, the others used like generated images; bar: interval of the gain",
        )  # fmt: skip
    axes.axhline(50, color="grey", ls=":", label="guessing")
    axes.set_xlabel("training images")
    axes.set_ylabel("balanced accuracy, held-out images (%)")
    axes.set_title("The classifier bundled: 95 % intervals", fontsize=10)
    axes.set_xlim(0, None)
    figure.legend(fontsize=8, loc="outside lower center")  # inside it would hide a curve
    return figure


def _auc(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, draws: np.ndarray
) -> dict[str, Any]:
    def area(counts):
        return roc_auc_score(labels, probabilities, sample_weight=weights * counts)

    classes = [(draws[:, labels == label] > 0).any(axis=1) for label in (0, 1)]
    usable = draws[classes[0] & classes[1]][: intervals.RESAMPLES // 4]
    edges = np.quantile([area(counts) for counts in usable], (0.025, 0.975))
    return {"value": float(area(1.0)), "ci": [float(edge) for edge in edges]}


def _find_room(
    scores: dict[str, np.ndarray], labels: np.ndarray, weights: np.ndarray, draws: np.ndarray
) -> dict[str, Any]:
    if "part" not in scores:
        return {
            "answer": "too_few",
            "text": (
                f"Room for more images: not measured, because a quarter of the training images "
                f"would hold fewer than {folds.FEWEST_IN_SHARE} of a class, or comes from too few "
                "patients."
            ),
        }
    means = {name: float(weights @ scores[name]) for name in QUARTER if name in scores}
    stronger = STRONGER["quarter"]
    gain = intervals.pooled_mean(
        scores["oracle_part"] - scores[stronger], labels, weights, draws, FACTORS["oracle"]
    )
    low, high = gain["ci"]
    answer = "little" if high < MARGIN else "room" if low > 0 else "open"
    size, margin = points_of(gain), f"{100 * MARGIN:.0f} points"
    text = {
        "little": f"There is little room: true new images would add less than {margin}: {size}.",
        "room": f"There is room for more images: {size}.",
        "open": f"It is open whether more images would help: true new images add {size}.",
    }[answer]
    text += (
        " That is what the other three quarters of the images bring to a classifier trained on a "
        "quarter, if they are used like generated images: as many images of a perfect GAN would "
        "on average do no better."
    )
    return means | {
        "answer": answer, "text": text, "gain": gain["mean"], "ci": gain["ci"],
        "baseline": stronger, "margin": MARGIN, "factor": gain["factor"],
    }  # fmt: skip


def _name_weights(labels: np.ndarray, weights: np.ndarray) -> str:
    """A sentence where the images of a class do not all count the same."""
    if all(np.ptp(weights[labels == label]) < 1e-9 for label in (0, 1)):
        return ""
    return " In all scores but the accuracy, the images of a large group count less."


def _say(found: dict[str, Any]) -> str:
    """All in words, a line each."""

    def percent(score):
        value, (low, high) = 100 * score["value"], (100 * edge for edge in score["ci"])
        return f"{value:.1f} % ({low:.1f} to {high:.1f})"

    auc = found["auc"]
    lines = [
        f"{found['images']} images ({found['positives']} of class 1) in {found['groups']} groups, "
        f"{found['folds']} folds; each image is tested by a classifier that saw no image of its "
        f"group. 95 % intervals.{found['weighted']}",
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
    scores = ("balanced_accuracy", "sensitivity", "specificity")
    if any(found[name]["ci"][0] == found[name]["ci"][1] for name in scores):
        lines.append("An interval without a width says nothing: too few people, or too few errors.")
    return "\n".join(lines)
