"""Averaged weights against a naive oracle, in every engine, through stops, pauses and looks."""

from functools import partial

import pytest
import torch
from torch import nn

from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.spaces.recipe import Recipe
from nas_skeleton.training import checkpoint
from nas_skeleton.training import train as training
from nas_skeleton.training.averaging import averaged, estimation_steps
from nas_skeleton.training.candidates import Problem
from nas_skeleton.training.engines import candidates_of
from nas_skeleton.training.engines.cuda_graph import CudaGraph
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import Stopped, epoch_order, learning_rate
from nas_skeleton.training.result import Paused
from nas_skeleton.training.task import Task, build_task
from nas_skeleton.training.train import read_weights, train_job, train_jobs, training_seed

ENGINES = ("reference", "fast", "native", "packed", "cuda-graph")
KINDS = {
    "swa": 'averaging = "swa"\naverage_from = 2\n',
    "ema": 'averaging = "ema"\naverage_from = 2\naverage_decay = 0.7\n',
}
EPOCHS, BATCHES = 5, 3  # the last batch of an epoch is smaller than the others
ARCHS = (6111, 5)
TOLERANCE = 1e-9


class Place:
    """A recipe that averages, a small task in float64 and jobs that take a tenth of a second."""

    def __init__(self, workdir, kind="swa"):
        torch.set_num_threads(1)
        path = workdir / "search_spaces/tiny.toml"
        text = (
            path.read_text().partition("averaging")[0].replace("batch_size = 64", "batch_size = 16")
        )
        text = text.replace("epochs = 3", f"epochs = {EPOCHS}")
        path.write_text(text + KINDS.get(kind, ""))
        self.space, self.folder = load_space("tiny"), workdir
        data = load_dataset("synthetic")
        task = build_task(self.space.card, self.space.card.recipe(), data, "thesis")
        splits = {split: ids[:: len(ids) // 40][:40] for split, ids in task.splits.items()}
        task = Task(task.clips, task.labels, splits, task.classes, task.layout)
        self.task = task.to(torch.device("cpu"), torch.float64)
        self.jobs = [self.job(arch) for arch in ARCHS]

    def job(self, arch, until=None):
        data = load_dataset("synthetic")
        identity = ("tiny", arch, data.name, data.fingerprint, "thesis", "tiny", "0" * 12, 777)
        return Job(*identity, until=until)

    def checkpoint(self, job):
        return self.folder / f"{job.key}.pt"

    def written(self, job, which):
        return self.folder / f"{which}-{job.key}.pt"

    def train(self, *jobs, **options):
        options.setdefault("weights_path", self.written)
        return dict(train_jobs(jobs, self.space, self.task, **options))

    def stop(self, *jobs, after, **options):
        """Train until `after` batches are done."""
        calls = iter(range(1, 10_000))
        with pytest.raises(Stopped):
            self.train(
                *jobs,
                checkpoint_path=self.checkpoint,
                should_stop=lambda: next(calls) >= after,
                **options,
            )

    def weights(self, job, which="last"):
        return read_weights(self.written(job, which), job.key)[0]


@pytest.fixture
def place(workdir):
    return Place(workdir)


def same(first, second):
    """Whether two trainings gave the same numbers, bit for bit."""
    return first.curve == second.curve and all(
        (first.scores[part] == second.scores[part]).all() for part in ("valid", "test")
    )


def identical(first, second):
    """Whether two sets of weights are the same, bit for bit."""
    return first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )


# --- what is computed


def naive(place, job, decay):
    """The averaged weights of the last epoch, by PyTorch's SGD and sums written down in full."""
    recipe = place.space.card.recipe()
    problem = Problem(place.space.card, recipe, place.task)
    arch, seed = place.space.architecture(job.arch_index), training_seed(job)
    network = problem.network(arch)
    start = training._Group(problem, None, 1, lambda: False, print, None, ())
    network.load_state_dict(start._initial_state(job, arch).weights, strict=False)
    optimizer = torch.optim.SGD(
        network.parameters(), 0.1, recipe.momentum, 0, recipe.weight_decay, nesterov=True
    )
    train, after = place.task.splits["train"], []
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = learning_rate(recipe, epoch)
        batches = train[epoch_order(len(train), seed, epoch)].split(recipe.batch_size)
        for ids in batches:
            optimizer.zero_grad(set_to_none=False)
            network.train()
            network.loss(place.task.clips.evaluation(ids), place.task.labels[ids]).backward()
            optimizer.step()
        after.append({n: p.detach().clone() for n, p in network.named_parameters()})
    shares = {  # of the weights after epochs 2 to 5
        None: [1 / 4, 1 / 4, 1 / 4, 1 / 4],
        0.7: [0.7**3, 0.3 * 0.7**2, 0.3 * 0.7, 0.3],
    }[decay]
    average = {
        name: sum(s * weights[name] for s, weights in zip(shares, after[1:], strict=True))
        for name in after[0]
    }
    network.load_state_dict(average, strict=False)
    seen = {}

    def look(name, _, inputs):
        [maps] = inputs
        axes = [d for d in range(maps.dim()) if d != 1]
        seen.setdefault(name, []).append((maps.mean(axes), maps.var(axes, correction=1)))

    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.register_forward_pre_hook(partial(look, name))
    network.train()
    with torch.no_grad():
        for ids in batches:
            network(place.task.clips.evaluation(ids))
    recent = torch.tensor([0.9**2, 0.9, 1], dtype=torch.float64)
    for name, parts in seen.items():
        for kind, values in zip(("mean", "var"), zip(*parts, strict=True), strict=True):
            total = sum(w * v for w, v in zip(recent, values, strict=True)) / recent.sum()
            average[f"{name}.running_{kind}"] = total
    network.load_state_dict(average, strict=False)
    return average, network.eval()


@pytest.mark.parametrize(
    ("engine", "kind"), [*((engine, "swa") for engine in ENGINES), ("fast", "ema")]
)
def test_every_engine_evaluates_and_writes_the_average(workdir, monkeypatch, engine, kind):
    def on_cpu(name, *arguments):
        if name == "cuda-graph":
            return CudaGraph(*arguments, capture=False)
        return candidates_of(name, *arguments)

    monkeypatch.setattr(training, "candidates_of", on_cpu)
    place = Place(workdir, kind)
    outcomes = place.train(*place.jobs, engine=engine)
    for job in place.jobs:
        average, network = naive(place, job, 0.7 if kind == "ema" else None)
        written = place.weights(job)
        for name, value in written.items():
            assert (value - average[name]).abs().max() < TOLERANCE, name
        for split in ("valid", "test"):
            ids = place.task.splits[split]
            with torch.no_grad():
                scores = network(place.task.clips.evaluation(ids))
            expected = training.log_probabilities(scores)
            assert abs(outcomes[job].scores[split] - expected).max() < 0.01  # half precision
            hits = scores.argmax(1) == place.task.labels_of(split)
            top1 = outcomes[job].final.accuracy[split].top1
            assert top1 == pytest.approx(hits.double().mean().item())


def test_averaging_changes_no_loss_and_no_evaluation_before_it_begins(workdir):
    place = Place(workdir)
    [job, _] = place.jobs
    averages = place.train(job, looks=(1, 2, 3))[job]
    plain = Place(workdir, "none").train(job, looks=(1, 2, 3))[job]
    losses = [[record.train_loss for record in one.curve] for one in (averages, plain)]
    assert losses[0] == losses[1]
    assert averages.curve[0] == plain.curve[0]
    assert (averages.scores["test"] != plain.scores["test"]).any()


def test_average_of_the_first_epoch_averaged_is_that_epochs_weights():
    weights = {"a": torch.tensor([1.0])}
    stale = {"a": torch.tensor([9.0])}
    recipe = Recipe.model_construct(averaging="swa", average_from=3, average_decay=None)
    assert averaged(recipe, 3, stale, weights) == weights
    third = averaged(recipe, 5, {"a": torch.tensor([4.0])}, weights)
    assert third["a"].item() == pytest.approx(3.0)


def test_epochs_longer_than_the_estimation_give_it_their_first_batches(place, monkeypatch):
    monkeypatch.setattr("nas_skeleton.training.loop.ESTIMATION_STEPS", 1)
    [job, _] = place.jobs
    short = place.train(job)[job]
    first = place.weights(job)
    monkeypatch.undo()
    assert not same(place.train(job)[job], short)
    other = place.weights(job)
    parameters = [name for name in first if "running" not in name]
    assert all(torch.equal(first[name], other[name]) for name in parameters)


@pytest.mark.parametrize(
    ("every", "start", "evaluations"), [(1, 2, 4), (2, 2, 3), (2, 3, 2), (5, 4, 1), (3, 4, 1)]
)
def test_time_is_predicted_with_the_steps_that_estimate_statistics(
    place, every, start, evaluations
):
    recipe = place.space.card.recipe().model_copy(
        update={"evaluate_every": every, "average_from": start}
    )
    assert estimation_steps(recipe, 10) == 10 * evaluations
    assert estimation_steps(recipe, 1000) == 32 * evaluations
    plain = recipe.model_copy(update={"averaging": None, "average_from": None})
    assert estimation_steps(plain, 10) == 0


# --- stops, pauses, looks and company


@pytest.mark.parametrize(
    ("engine", "kind"), [("fast", "ema"), ("native", "swa"), ("packed", "ema")]
)
def test_a_stopped_training_ends_bit_for_bit_as_an_undisturbed_one(workdir, engine, kind):
    place = Place(workdir, kind)
    [job, _] = place.jobs
    whole = place.train(job, engine=engine)[job]
    last, best = place.weights(job), place.weights(job, "best")
    for after in (2 * BATCHES, 2 * BATCHES + 1, 4 * BATCHES + 1):
        place.checkpoint(job).unlink(missing_ok=True)
        place.stop(job, after=after, engine=engine)
        rest = place.train(job, engine=engine, checkpoint_path=place.checkpoint)[job]
        assert same(rest, whole)
        assert identical(place.weights(job), last)
        assert identical(place.weights(job, "best"), best)


def test_another_engine_goes_on_with_the_average(place):
    [job, _] = place.jobs
    place.train(job, engine="reference")
    expected = place.weights(job)
    place.stop(job, after=4 * BATCHES + 1, engine="packed")
    place.train(job, engine="native", checkpoint_path=place.checkpoint)
    for name, value in place.weights(job).items():
        assert (value - expected[name]).abs().max() < TOLERANCE, name


@pytest.mark.parametrize("engine", ["fast", "native"])
def test_company_changes_nothing(place, engine):
    for job, outcome in place.train(*place.jobs, engine=engine).items():
        together = place.weights(job)
        assert same(place.train(job, engine=engine)[job], outcome)
        assert identical(place.weights(job), together)


@pytest.mark.parametrize("engine", ["fast", "native", "packed"])
def test_a_pause_evaluates_as_a_look_and_neither_changes_the_training(place, engine):
    [job, _] = place.jobs
    undisturbed = place.train(job, engine=engine)[job]
    last = place.weights(job)
    looked = place.train(job, engine=engine, looks=(1, 3))[job]
    assert identical(place.weights(job), last)
    assert looked.final == undisturbed.final
    paused = []
    for until in (1, 3):  # before and after averaging begins
        first = place.job(ARCHS[0], until)
        [outcome] = place.train(first, engine=engine, checkpoint_path=place.checkpoint).values()
        assert isinstance(outcome, Paused)
        paused.append(outcome.curve[-1])
    assert paused == [record for record in looked.curve if record.epoch in (1, 3)]
    rest = place.train(job, engine=engine, checkpoint_path=place.checkpoint)[job]
    assert same(rest, looked)
    assert identical(place.weights(job), last)


# --- checkpoints


def test_a_checkpoint_has_an_average_only_where_the_recipe_has_come_to_it(workdir):
    for kind, after, has in (("swa", 4, False), ("swa", 7, True), ("none", 13, False)):
        place = Place(workdir, kind)
        [job, _] = place.jobs
        place.checkpoint(job).unlink(missing_ok=True)
        place.stop(job, after=after)
        assert ("average" in checkpoint.load(place.checkpoint(job), job.key)) == has


def test_an_average_that_does_not_fit_is_one_line(place):
    [job, _] = place.jobs
    place.stop(job, after=3 * BATCHES)
    state = checkpoint.load(place.checkpoint(job), job.key)
    del state["format"], state["key"]
    state["average"].popitem()
    checkpoint.save(place.checkpoint(job), job.key, state)
    with pytest.raises(training.InputError, match=r"\.pt.*remove it"):
        place.train(job, checkpoint_path=place.checkpoint)


def test_what_averages_in_float32_is_float32_and_close(workdir):
    place = Place(workdir)
    [job, _] = place.jobs
    train_job(job, place.space, place.task, weights_path=place.written)
    exact = place.weights(job)
    single = place.task.to(torch.device("cpu"), torch.float32)
    train_job(job, place.space, single, weights_path=place.written)
    for name, value in place.weights(job).items():
        assert value.dtype == torch.float32
        assert torch.allclose(value.double(), exact[name], rtol=1e-2, atol=1e-2), name
