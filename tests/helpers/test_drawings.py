"""The drawings show what the texts beside them say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from helpers import drawings, measures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def logits():
    return {penalty: drawings.fit_discriminator(penalty) for penalty in drawings.PENALTIES}


def test_slope_1_rises_evenly_from_generated_to_real(logits):
    between = (drawings.POSITIONS > drawings.GENERATED) & (drawings.POSITIONS < 1.8)
    slopes = np.gradient(logits["slope 1 on mixtures"], drawings.POSITIONS)[between]
    assert np.abs(slopes - 1).max() < 0.3


def test_slope_0_is_flat_on_real_images_and_steep_before_them(logits):
    slopes = np.gradient(logits["slope 0 on real images"], drawings.POSITIONS)
    assert np.abs(slopes[np.abs(drawings.POSITIONS - 2) < 0.4]).max() < 0.3
    assert slopes[np.abs(drawings.POSITIONS) < 1].max() > 3


def test_without_a_penalty_there_is_a_cliff(logits):
    """Steeper between the kinds than with slope 1, and flatter on the generated images."""
    slopes = np.gradient(logits["no penalty"], drawings.POSITIONS)
    middle, generated = (np.abs(drawings.POSITIONS - at) < 0.4 for at in (-0.5, drawings.GENERATED))
    assert slopes[middle].max() > 3 and slopes[generated].mean() < slopes[middle].max() / 10


def test_each_case_shows_its_fault():
    found = {
        name: measures.neighbour_measures(*case, k=drawings.NEIGHBOUR)
        for name, case in drawings.draw_cases().items()
    }
    good, odd, missing, far = found.values()
    assert min(good["precision"], good["coverage"]) >= 0.9
    assert odd["precision"] <= 0.6 and odd["density"] < good["density"]
    assert missing["precision"] >= 0.9 and missing["coverage"] <= 0.55
    assert far["recall"] > missing["recall"] + 0.3, "one far point raises recall"
    assert far["coverage"] <= missing["coverage"] + 0.01, "and not coverage"


def test_the_balls_reach_to_the_second_neighbour():
    real, _ = drawings.draw_cases()["good"]
    figure = drawings.show_balls()
    radii = sorted(patch.radius for patch in figure.axes[0].patches)
    apart = [sorted(np.linalg.norm(real - point, axis=1))[2] for point in real]
    assert radii == pytest.approx(sorted(apart))


def test_a_permuted_strip_keeps_the_labels_and_prints_its_difference():
    values = np.random.default_rng(0).normal(size=20)
    labels = np.repeat([0, 1], 10)
    _, below = drawings.show_permutations(values, labels, seed=1).axes
    for row, line in enumerate(zip(below.lines[::2], below.lines[1::2], strict=True)):
        marks = [set(part.get_xdata()) for part in line]
        assert [len(part) for part in marks] == [10, 10] and not marks[0] & marks[1]
        ordered = np.sort(values)
        apart = ordered[sorted(marks[1])].mean() - ordered[sorted(marks[0])].mean()
        assert below.texts[row].get_text() == f"{apart:+.3f}"
    true = values[labels == 1].mean() - values[labels == 0].mean()
    assert below.texts[0].get_text() == f"{true:+.3f}"


def test_intervals_that_miss_are_another_colour():
    figure = drawings.show_intervals(np.array([0.0, 1.0, 5.0]), np.array([1.0, 1.5, 2.0]), 0.5)
    hit, missed = figure.axes[0].containers
    assert list(hit[0].get_xdata()) == [0, 1] and list(missed[0].get_xdata()) == [2]


def test_the_generators_update_goes_back_through_the_discriminator():
    """Boxes from right to left, joined by the dotted arrows."""
    (axis,) = drawings.show_updates().axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "the pass", "the discriminator's update", "the generator's update",
    ]  # fmt: skip
    arrows = [text for text in axis.texts if text.arrow_patch is not None]
    dotted = [text for text in arrows if text.arrow_patch.get_linestyle() in (":", "dotted")]
    boxes = {text.xy: text.get_text() for text in axis.texts if text.get_text()}
    way = [(boxes[text.xyann], boxes[text.xy]) for text in dotted]
    assert way == [
        ("generator's\nloss", "discriminator"), ("discriminator", "generated\nimages"),
        ("generated\nimages", "generator"),
    ]  # fmt: skip
