"""The pictures behind the sliders show the numbers that they should, and sliders draw them anew."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from results import kept

from helpers import copies, interactive, networks, planted, plots, preprocessing, sampling
from helpers.verdict import foresee


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_moved_slider_draws_the_picture_for_its_value(monkeypatch):
    drawn, shown = [], []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append((figure, alt)))
    sliders = interactive.touch(
        lambda a, b: drawn.append((a, b)) or f"{a}{b}",
        "words",
        a=([1, 2, 3], 2),
        b=(["x", "y"], "x"),
    )
    assert drawn == [(2, "x")] and shown == [("2x", "words")], "the still picture, once"
    sliders["a"].value = 3
    sliders["b"].value = "y"
    assert drawn[1:] == [(3, "x"), (3, "y")] and shown[-1] == ("3y", "words")


def test_without_ipywidgets_the_still_picture_is_shown(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plots, "show", lambda figure, alt: shown.append(alt))
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    assert interactive.touch(lambda a: None, "words", a=([1], 1)) == {}
    assert shown == ["words"] and "install ipywidgets" in capsys.readouterr().out


@pytest.mark.parametrize(("momentum", "least", "most"), [(0.8, 0.9, 1.1), (0.99, 0.2, 0.35)])
def test_a_large_momentum_is_far_from_the_mean_after_thirty_batches(momentum, least, most):
    """1 − momentum ** 30: 0.999 and 0.26."""
    (axis,) = interactive.draw_momentum(momentum, 30).axes
    (average,) = (line for line in axis.lines if "momentum" in str(line.get_label()))
    assert average.get_ydata()[0] == 0 and least < average.get_ydata()[-1] < most
    assert average.get_ydata()[-1] == pytest.approx(1 - momentum**30, abs=0.1)


def test_the_ends_of_the_walk_are_the_two_heads():
    generator = networks.build_generator()
    ends = sampling.draw_latent(2, 1)
    first, second = sampling.generate(generator, ends)
    draw = partial(interactive.draw_latent_space, generator=generator, ends=ends, seed=3)
    for position, where in ((0.0, first), (1.0, second)):
        pictures = [
            np.asarray(axis.images[0].get_array())
            for axis in draw(position, 1.5).axes
            if axis.images
        ]
        assert np.allclose(pictures[3], first[..., 0], atol=0.01)
        assert np.allclose(pictures[4], where[..., 0], atol=0.01)
        assert np.allclose(pictures[5], second[..., 0], atol=0.01)
    free = [np.asarray(a.images[0].get_array()) for a in draw(0.5, "none").axes if a.images]
    expected = sampling.generate(generator, sampling.draw_latent(10, 3))
    assert np.allclose(free[-10:], expected[..., 0], atol=0.01)


def test_a_suspect_stands_beside_its_nearest_known_slice():
    images, _ = preprocessing.fresh_slices(30, 5)
    known, new = images[:15], images[15:]
    spiked, places, _ = planted.plant_copies(new, known, 2, np.random.default_rng(0))
    distances = copies.aligned_distances(spiked, known)
    place = int(places[0])
    figure = interactive.draw_suspect(
        place + 1, spiked, known, distances, np.full(len(spiked), 0.25)
    )
    left, right = (axis.images[0].get_array() for axis in figure.axes)
    assert np.array_equal(left, spiked[place][..., 0])
    assert np.array_equal(right, known[distances[place].argmin()][..., 0])
    said = figure.get_suptitle()
    assert f"correlation {1 - distances[place].min():.2f}" in said and "chance 0.25" in said


def test_accuracies_by_steps_are_those_of_the_kept_results():
    steps = kept("steps")["rows"]
    (axis,) = interactive.draw_steps(120, pd.DataFrame(steps)).axes
    lines = [line.get_ydata() for line in axis.lines]
    expected = {
        row["set"]: row["accuracy"]
        for row in steps
        if (row["steps"], row["arm"]) == (120, "classic")
    }
    assert sorted(y[1] for y in lines) == pytest.approx(sorted(100 * x for x in expected.values()))


@pytest.mark.parametrize("patients", [100, 200, 3200])
def test_the_plan_shows_the_chances_of_a_study_of_as_many_patients(patients):
    axis = interactive.draw_plan(patients).axes[0]
    _, by_gain = foresee([patients / 2] * 2, quarters=0 if patients < 150 else 1)
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    shown = {
        name.replace(" ", "_"): [bar.get_width() for bar in bars]
        for name, bars in zip(names, axis.containers, strict=True)
    }
    for k, chances in enumerate(by_gain.values()):
        assert {name: shares[k] / 100 for name, shares in shown.items()} == pytest.approx(chances)
    assert sum(shares[0] for shares in shown.values()) == pytest.approx(100)
