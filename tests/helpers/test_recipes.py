"""Recipes: what is allowed, and a sentence where it is not."""

import pytest

from helpers import recipes
from helpers.files import CourseError
from helpers.training import (
    BATCH_SIZE,
)

keras = pytest.importorskip("keras")

NO_LABELS = {"loss": "wasserstein", "flip_share": 0, "soften_real": 0, "soften_generated": 0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "wasserstein"}, "the Wasserstein loss has no labels: set flip_share"),
        (NO_LABELS | {"penalty_weight": 0.0}, "no bound without its penalty: set penalty_weight"),
        ({"loss": "hinge"}, "loss is 'hinge': it must be bce or wasserstein"),
        ({"flip_share": 0.7}, "flip_share is 0.7: it must be a number from 0 to 0.5"),
        ({"beta_1": "fast"}, "beta_1 is 'fast': it must be a number"),
        ({"beta_1": "5e-1"}, r"beta_1 is '5e-1': .* to 0\.99999 \(YAML .* write 5\.0e-4\)"),
        ({"swap_labels": "no"}, "swap_labels is 'no': it must be True or False"),
        ({"augmentation": 3}, "augmentation 3 must hold"),
        ({"augmentation": "mixup"}, "augmentation 'mixup' must hold none or some of translation"),
        ({"flips": 0.1}, "'flips' is no setting of a recipe"),
    ],
)
def test_a_wrong_recipe_is_a_sentence(changes, sentence):
    with pytest.raises(CourseError, match=sentence):
        recipes.choose_recipe("paper", changes)


@pytest.mark.parametrize(
    "trick",
    [{"flip_share": 0.05}, {"soften_real": 0.1}, {"soften_generated": 0.1}, {"swap_labels": False}],
)
def test_each_label_trick_alone_is_refused_with_the_wasserstein_loss(trick):
    assert recipes.choose_recipe("paper", NO_LABELS).loss == "wasserstein"
    with pytest.raises(CourseError, match=r"no labels: set .* swap_labels to True"):
        recipes.choose_recipe("paper", NO_LABELS | trick)


def test_an_unknown_recipe_is_a_sentence():
    with pytest.raises(CourseError, match="recipe 'mine' is unknown: use paper"):
        recipes.choose_recipe("mine")


def test_the_papers_recipe_is_the_papers():
    recipe = recipes.RECIPES["paper"]
    assert (recipe.loss, recipe.beta_1, recipe.dropout) == ("bce", 0.5, 0.4)
    assert recipe.generator_learning_rate == recipe.discriminator_learning_rate == 2e-4
    assert recipe.penalty_weight > 0 and recipe.swap_labels and recipe.noisy_labels
    assert BATCH_SIZE == 16
