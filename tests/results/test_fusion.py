"""Late fusion: weights, accuracies, and which trainings may be joined."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from nas_skeleton.errors import InputError
from nas_skeleton.results.fusion import (
    confusion_matrix,
    fitted_weights,
    fuse,
    mixture,
    open_stream,
    quality,
    relative,
)
from nas_skeleton.results.run import Arguments, Clips, DataFacts, open_run, plan_run
from nas_skeleton.results.schema import DONE, FAILED
from nas_skeleton.results.scores import write_scores
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.training.loop import measure

CLASSES = 6
LABELS = {
    split: np.random.default_rng(1).integers(0, CLASSES, clips)
    for split, clips in (("train", 5), ("valid", 60), ("test", 80))
}


def probabilities(split, seed, right=2.0, labels=LABELS):
    """Made-up probabilities that favour the true class."""
    scores = np.random.default_rng(seed).normal(size=(len(labels[split]), CLASSES))
    scores[np.arange(len(scores)), labels[split]] += right
    values = np.exp(scores)
    return values / values.sum(axis=1, keepdims=True)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """`made("name", (arch, seed), ...)` writes a run whose trainings kept scores."""
    monkeypatch.chdir(tmp_path)

    def make(name, *pairs, protocol="thesis", labels=LABELS, kept=True, status=DONE):
        splits = {
            split: Clips([f"{split}{i}" for i in range(len(of_split))], of_split.tolist())
            for split, of_split in labels.items()
        }
        data = DataFacts([f"class {i}" for i in range(CLASSES)], 20, 1, splits)
        arguments = Arguments("nb201", "made-up", protocol, "quick", "random", [7], "f", "h")
        run = plan_run(name, arguments, data)
        run.write()
        writer = ResultWriter(run.results_folder, "w")
        for arch, seed in pairs:
            key = f"{name}{arch}{seed}"
            writer.append(
                {
                    "key": key,
                    "arch_index": arch,
                    "seed": seed,
                    "status": status,
                    "fingerprint": "f",
                    "recipe_hash": "h",
                }
            )
            if kept:
                scores = {
                    split: np.log(probabilities(split, seed, 1.0 + seed, labels)).astype("f2")
                    for split in ("valid", "test")
                    if len(labels[split])
                }
                write_scores(run.scores_path(key), scores)
        writer.close()

    return make


# --- the mathematics


def test_accuracies_are_those_of_the_training_loop():
    for seed in range(5):
        values = probabilities("test", seed)
        labels = LABELS["test"]
        expected = measure(torch.tensor(values), torch.tensor(labels))
        found = quality(values, labels)
        assert found.top1 == pytest.approx(expected.top1)
        assert found.top5 == pytest.approx(expected.top5)
        assert found.mean_class == pytest.approx(expected.mean_class)


def test_a_class_without_clips_does_not_count_in_the_mean():
    found = quality(np.eye(3)[[0, 0, 2]], np.array([0, 0, 0]))
    assert found.mean_class == pytest.approx(2 / 3)


def test_a_mixture_is_the_weighted_mean_of_probabilities_not_of_their_logarithms():
    first, second = np.array([[0.9, 0.1]]), np.array([[0.2, 0.8]])
    mixed = mixture([first, second], relative([3, 1], 2))
    assert mixed.tolist() == [[pytest.approx(0.725), pytest.approx(0.275)]]


@pytest.mark.parametrize("seeds", [(0, 1), (2, 3, 4)])
def test_fitted_weights_have_the_highest_likelihood_of_all(seeds):
    labels = LABELS["valid"]
    streams = [probabilities("valid", seed, seed / 2) for seed in seeds]

    def loss(weights):
        mixed = mixture(streams, np.abs(weights) / np.abs(weights).sum())
        return -np.log(mixed[np.arange(len(labels)), labels]).mean()

    found = fitted_weights(streams, labels)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    other = minimize(
        loss, np.full(len(seeds), 1.0), method="Nelder-Mead", options={"maxiter": 4000}
    )
    assert loss(found) <= other.fun + 1e-7


def test_a_stream_that_knows_nothing_gets_no_weight():
    good = probabilities("valid", 3, 4.0)
    nothing = np.full_like(good, 1 / CLASSES)
    nothing[np.arange(len(good)), LABELS["valid"]] = 0.0  # as sure as it can be, and wrong
    assert fitted_weights([good, nothing], LABELS["valid"])[1] < 1e-3


def test_the_confusion_matrix_counts_true_classes_in_rows():
    matrix = confusion_matrix(np.eye(3)[[1, 1, 2]], np.array([0, 1, 2]))
    assert matrix.tolist() == [[0, 1, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize("weights", [[1], [1, 2, 3], [-1, 2], [0, 0], [float("nan"), 1]])
def test_weights_that_do_not_go_with_the_runs_are_refused(weights):
    with pytest.raises(InputError, match="--weights"):
        relative(weights, 2)


# --- which trainings


def test_streams_are_fused_with_the_weights_given(made):
    made("a", (1, 1))
    made("b", (1, 2))
    streams = [open_stream("a"), open_stream("b")]
    found = fuse(streams, [2, 1])
    assert found.weights == pytest.approx([2 / 3, 1 / 3])
    first, second = (stream.probabilities["test"] for stream in streams)
    assert np.allclose(first.sum(axis=1), 1)
    expected = quality((2 * first + second) / 3, LABELS["test"])
    assert found.fused["test"] == expected
    assert found.of_streams[1]["valid"] == quality(
        streams[1].probabilities["valid"], LABELS["valid"]
    )
    assert found.confusion.sum() == len(LABELS["test"])
    assert found.confusion.trace() == round(expected.top1 * len(LABELS["test"]))


def test_fitting_looks_at_validation_clips_only(made):
    made("a", (1, 1))
    made("b", (1, 2))
    before = fuse([open_stream("a"), open_stream("b")], None).weights
    for name, key in (("a", "a11"), ("b", "b12")):
        path = open_run(name).scores_path(key)
        with np.load(path) as kept:
            nonsense = np.full_like(kept["test"], np.log(1 / CLASSES))
            write_scores(path, {"valid": kept["valid"], "test": nonsense})
    again = fuse([open_stream("a"), open_stream("b")], None)
    assert again.weights == before
    assert before[1] > before[0]  # the better one


def test_weights_cannot_be_fitted_without_validation_clips(made):
    made("a", (1, 1), (1, 2), labels={**LABELS, "valid": np.zeros(0, np.int64)})
    streams = [open_stream("a:1:1"), open_stream("a:1:2")]
    with pytest.raises(InputError, match=r"no validation clips.*--weights 1:1"):
        fuse(streams, None)
    assert list(fuse(streams, [1, 1]).fused) == ["test"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"protocol": "odd-even"}, "other protocol.*'odd-even', not 'thesis'"),
        ({"labels": {**LABELS, "test": LABELS["test"][::-1]}}, "other test clips"),
        ({"labels": {**LABELS, "train": LABELS["train"][:-1]}}, "other train clips"),
    ],
)
def test_trainings_on_other_clips_are_refused_in_one_line(made, other, message):
    made("a", (1, 1))
    made("b", (1, 2), **other)
    with pytest.raises(InputError, match=f"'b' has {message}") as caught:
        fuse([open_stream("a"), open_stream("b")], [1, 1])
    assert "\n" not in str(caught.value)


def test_a_training_is_not_counted_twice(made):
    made("a", (1, 1))
    with pytest.raises(InputError, match="same training"):
        fuse([open_stream("a"), open_stream("a:1:1")], [1, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "no run 'nobody'"),
        ("several", "2 trainings.*several:1:1"),
        ("several:1:9", "no finished training of #1, 9"),
        ("several:one:1", "RUN:ARCH:SEED"),
        ("several:1", "RUN:ARCH:SEED"),
        ("bare", "no finished training with class scores.*--keep-scores"),
        ("failed", "no finished training"),
        ("../several", "run '../several'"),
    ],
)
def test_what_is_no_training_with_scores_is_one_line(made, text, message):
    made("several", (1, 1), (2, 1))
    made("bare", (1, 1), kept=False)
    made("failed", (1, 1), status=FAILED)
    with pytest.raises(InputError, match=message):
        open_stream(text)
