import pytest
from pydantic import ValidationError

from nas_skeleton.spaces import load_any_space
from nas_skeleton.spaces.recipe import TrainingRecipe

PLAIN = {
    "frames": 16,
    "epochs": 10,
    "batch_size": 32,
    "drop_last": True,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "evaluate_every": 1,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "step"}, "milestones go with"),
        ({"milestones": [3]}, "milestones go with"),
        ({"schedule": "step", "milestones": [5, 3]}, "must rise"),
        ({"schedule": "step", "milestones": [10]}, "before the last epoch"),
        ({"schedule": "step", "milestones": [0]}, "greater than 0"),
        ({"warmup_epochs": 10}, "fewer than epochs"),
        ({"momentum": 0.0}, "nesterov needs"),
        ({"schedule": "step", "milestones": [3], "decay": 1.0}, "less than 1"),
        ({"learning_rate_for_batch": 0}, "greater than 0"),
        ({"averaging": "swa"}, "averaging goes with average_from"),
        ({"average_from": 3}, "averaging goes with average_from"),
        ({"averaging": "ema", "average_from": 3}, "average_decay goes with averaging 'ema'"),
        (
            {"averaging": "swa", "average_from": 3, "average_decay": 0.9},
            "average_decay goes with averaging 'ema'",
        ),
        ({"average_decay": 0.9}, "average_decay goes with averaging 'ema'"),
        ({"averaging": "ema", "average_from": 3, "average_decay": 1.0}, "less than 1"),
        ({"averaging": "swa", "average_from": 10}, "before the last epoch"),
        ({"averaging": "polyak", "average_from": 3}, "'swa' or 'ema'"),
    ],
)
def test_a_recipe_that_does_not_hold_together_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        TrainingRecipe.model_validate({**PLAIN, **change})


@pytest.mark.parametrize(
    ("batch_size", "for_batch", "peak"), [(32, None, 0.1), (128, 32, 0.4), (16, 64, 0.025)]
)
def test_the_learning_rate_is_scaled_with_the_batch(batch_size, for_batch, peak):
    recipe = {**PLAIN, "batch_size": batch_size, "learning_rate_for_batch": for_batch}
    assert TrainingRecipe.model_validate(recipe).peak_learning_rate == pytest.approx(peak)


def test_models_are_trained_as_cells_are_where_recipes_have_one_name():
    cells = load_any_space("nb201").card
    for space in ("models", "models-asgcn", "nb201-graph", "nb201-asgcn"):
        card = load_any_space(space).card
        for name in ("quick", "standard"):
            wanted = cells.recipe(name).model_dump(exclude={"channels", "cells_per_stage"})
            own = card.recipe(name).model_dump(exclude={"channels", "cells_per_stage", "dropout"})
            assert own == wanted
