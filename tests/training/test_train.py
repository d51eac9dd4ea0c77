"""Groups of trainings: resuming, falling back, and leaving each other alone."""

import itertools

import pytest
import torch

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.store import load_dataset
from nas_skeleton.spaces import load_space
from nas_skeleton.training import checkpoint
from nas_skeleton.training import train as training
from nas_skeleton.training.candidates import Unsupported
from nas_skeleton.training.clips import FixedClips
from nas_skeleton.training.engines import candidates_of
from nas_skeleton.training.engines.eager import Fast
from nas_skeleton.training.job import Job
from nas_skeleton.training.loop import Diverged, Stopped
from nas_skeleton.training.result import Measured
from nas_skeleton.training.task import Task, build_task
from nas_skeleton.training.train import train_job, train_jobs, training_seed

ARCHS = (6111, 9930, 1462, 5, 13550)
BATCHES = 3  # in each of three epochs, the last batch of an epoch smaller than the others
CPU_ENGINES = ("reference", "fast", "native", "packed")


class Place:
    """A space, a small task in float64 and jobs that take a tenth of a second."""

    def __init__(self, workdir):
        torch.set_num_threads(1)
        card = workdir / "search_spaces/tiny.toml"
        card.write_text(card.read_text().replace("batch_size = 64", "batch_size = 16"))
        self.space = load_space("tiny")
        data = load_dataset("synthetic")
        task = build_task(self.space.card, self.space.card.recipe(), data, "thesis")
        splits = {split: ids[:: len(ids) // 40][:40] for split, ids in task.splits.items()}
        task = Task(task.clips, task.labels, splits, task.classes, task.layout)
        self.task = task.to(torch.device("cpu"), torch.float64)
        self.jobs = [
            Job("tiny", arch, data.name, data.fingerprint, "thesis", "tiny", "0" * 12, 777)
            for arch in ARCHS
        ]
        self.checkpoints = workdir / "checkpoints"

    def path(self, job):
        return self.checkpoints / f"{job.key}.pt"

    def train(self, *jobs, **options):
        """What became of the jobs, in the order in which they ended."""
        return dict(train_jobs(jobs, self.space, self.task, **options))

    def alone(self, job, **options):
        return train_job(job, self.space, self.task, **options)

    def stop(self, *jobs, after, **options):
        """Train until `after` batches are done, and return what ended before."""
        calls = iter(range(1, 10_000))
        ended = {}
        outcomes = train_jobs(
            jobs,
            self.space,
            self.task,
            checkpoint_path=self.path,
            should_stop=lambda: next(calls) >= after,
            **options,
        )
        with pytest.raises(Stopped):
            ended.update(outcomes)  # one by one, as they end
        return ended


@pytest.fixture
def place(workdir):
    return Place(workdir)


def same(first, second):
    """Whether two trainings gave the same numbers, bit for bit."""
    return first.curve == second.curve and all(
        (first.predictions[part] == second.predictions[part]).all() for part in ("valid", "test")
    )


def agree(first, second):
    """Whether two trainings agree as engines must in float64."""
    losses = [[record.train_loss for record in result.curve] for result in (first, second)]
    return losses[0] == pytest.approx(losses[1], abs=1e-9) and all(
        (first.predictions[part] == second.predictions[part]).all() for part in ("valid", "test")
    )


def patch_engine(monkeypatch, make):
    """Let `make(problem, cells, states)` stand for the engine native; others are as they are."""

    def patched(engine, *arguments):
        return make(*arguments) if engine == "native" else candidates_of(engine, *arguments)

    monkeypatch.setattr(training, "candidates_of", patched)


class Broken(Fast):
    """The engine fast with a loss that is no number for one cell, from the start."""

    cell = None

    def step(self, inputs, labels, seeds=()):
        super().step(inputs, labels, seeds)
        for member, cell in enumerate(self.cells):
            if cell == self.cell:
                self.loss_sums[member] = float("nan")

    def __init__(self, problem, cells, states):
        super().__init__(problem, cells, states)
        self.cells = cells


# --- resuming


@pytest.fixture(params=["uniform", "crop-resize", "linear"])
def drawn(request, workdir):
    """A place whose training clips are drawn at random, in frames, in augmentation or in both."""
    card = workdir / "search_spaces/tiny.toml"
    text = card.read_text().replace('frame"\n', f'frame"\nsampling = "{request.param}"\n')
    augmentation = "" if request.param == "uniform" else "mirror = 0.5\nrotation = 0.3\n"
    card.write_text(text.replace("evaluate_every", f"{augmentation}evaluate_every"))
    return Place(workdir)


def test_clips_drawn_at_random_are_the_same_after_a_stop_and_in_any_company(drawn):
    together = drawn.train(*drawn.jobs[:2], engine="fast")
    job, other = together
    drawn.stop(job, after=4, engine="fast")
    rest = drawn.alone(job, engine="fast", checkpoint_path=drawn.path)
    assert same(rest, together[job])
    assert together[job].final.train_loss != together[other].final.train_loss
    seeds = [training_seed(job), training_seed(other)]
    ids = drawn.task.splits["train"][:6]
    first, second = (drawn.task.training_batch(ids[None], [seed])[0] for seed in seeds)
    assert not torch.equal(first, second)
    batches = [list(drawn.task.evaluation_batches(ids)) for _ in range(2)]
    assert torch.equal(batches[0][0], batches[1][0])


@pytest.mark.parametrize("engine", CPU_ENGINES)
def test_a_stopped_training_ends_bit_for_bit_as_an_undisturbed_one(place, engine):
    job = place.jobs[0]
    place.stop(job, after=5, engine=engine)
    rest = place.alone(job, engine=engine, checkpoint_path=place.path)
    assert same(rest, place.alone(job, engine=engine))
    assert rest.engine == engine


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise((*CPU_ENGINES, "reference"))))
def test_any_engine_goes_on_where_another_stopped(place, first, second):
    job = place.jobs[1]
    place.stop(job, after=5, engine=first)
    rest = place.alone(job, engine=second, checkpoint_path=place.path)
    assert agree(rest, place.alone(job, engine="reference"))
    assert rest.engine == f"{first}+{second}"
    assert rest.fallback == ""


def test_a_stopped_group_goes_on_together(place):
    jobs = place.jobs[:3]
    assert place.stop(*jobs, after=4) == {}
    assert all(place.path(job).exists() for job in jobs)
    for job, outcome in place.train(*jobs, checkpoint_path=place.path).items():
        assert same(outcome, place.alone(job))


def test_members_at_different_steps_end_as_undisturbed_ones(place):
    jobs = place.jobs[:4]
    place.stop(jobs[0], after=2)
    place.stop(jobs[1], after=7)
    place.stop(jobs[2], after=2)
    outcomes = place.train(*jobs, checkpoint_path=place.path)
    assert set(outcomes) == set(jobs)
    for job, outcome in outcomes.items():
        assert same(outcome, place.alone(job))


def test_checkpoint_that_does_not_fit_is_one_line(place):
    job = place.jobs[0]
    place.stop(job, after=1)
    state = checkpoint.load(place.path(job), job.key)
    del state["format"], state["key"]
    state["weights"].popitem()
    checkpoint.save(place.path(job), job.key, state)
    with pytest.raises(InputError, match=r"\.pt.*remove it"):
        place.alone(job, checkpoint_path=place.path)


# --- groups


def test_a_group_gives_what_its_members_give_alone(place):
    heard = []
    outcomes = place.train(*place.jobs, on_epoch=lambda job, record: heard.append((job, record)))
    assert list(outcomes) == place.jobs
    for job, outcome in outcomes.items():
        assert same(outcome, place.alone(job))
        assert [record for heard_job, record in heard if heard_job == job] == outcome.curve


@pytest.mark.parametrize("engine", CPU_ENGINES[1:])
def test_engines_agree_on_a_whole_training(place, engine):
    for job, outcome in place.train(*place.jobs, engine=engine).items():
        assert outcome.precision == "float64"
        assert (outcome.engine, outcome.fallback) == (engine, "")
        assert agree(outcome, place.alone(job, engine="reference"))


def test_time_of_a_group_is_shared_among_its_members(place):
    outcomes = place.train(*place.jobs[:2]).values()
    assert len({outcome.train_time_s for outcome in outcomes}) == 1


def test_an_error_of_one_is_its_own(place, monkeypatch):
    faulty = place.space.cell(ARCHS[2])

    def make(problem, cells, states):
        if faulty in cells:
            raise RuntimeError("a bug")
        return Fast(problem, cells, states)

    patch_engine(monkeypatch, make)
    outcomes = place.train(*place.jobs, engine="native")
    error = outcomes.pop(place.jobs[2])
    assert repr(error) == "RuntimeError('a bug')"
    for job, outcome in outcomes.items():
        assert same(outcome, place.alone(job))
        assert (outcome.engine, outcome.fallback) == ("native", "")


# --- falling back


def test_unsupported_goes_to_the_next_engine_alone_and_is_said(place, monkeypatch):
    odd = place.space.cell(ARCHS[1])

    def make(problem, cells, states):
        if odd in cells:
            raise Unsupported("no kernel for\nthis")
        return Fast(problem, cells, states)

    patch_engine(monkeypatch, make)
    for job, outcome in place.train(*place.jobs[:3], engine="native").items():
        fell = job.arch_index == ARCHS[1]
        assert outcome.engine == ("fast" if fell else "native")
        assert outcome.fallback == ("native: no kernel for this" if fell else "")
        assert same(outcome, place.alone(job))


def test_out_of_memory_halves_the_group_until_it_fits(place, monkeypatch):
    sizes = []

    def make(problem, cells, states):
        sizes.append(len(cells))
        if len(cells) > 2:
            raise torch.OutOfMemoryError("too many")
        return Fast(problem, cells, states)

    patch_engine(monkeypatch, make)
    outcomes = place.train(*place.jobs, engine="native")
    assert sizes == [5, 2, 3, 1, 2]
    assert {outcome.engine for outcome in outcomes.values()} == {"native"}
    assert {outcome.fallback for outcome in outcomes.values()} == {""}
    for job, outcome in outcomes.items():
        assert same(outcome, place.alone(job))


def test_out_of_memory_of_one_alone_goes_to_the_next_engine(place, monkeypatch):
    class Full(Fast):
        def step(self, inputs, labels, seeds=()):
            raise torch.OutOfMemoryError("no room")

    patch_engine(monkeypatch, Full)
    outcome = place.alone(place.jobs[0], engine="native")
    assert (outcome.engine, outcome.fallback) == ("fast", "native: no room")
    assert same(outcome, place.alone(place.jobs[0]))


def test_a_loss_that_is_no_number_is_tried_by_the_plain_network_alone_and_is_said(
    place, monkeypatch
):
    Broken.cell = place.space.cell(ARCHS[0])
    patch_engine(monkeypatch, Broken)
    for job, outcome in place.train(*place.jobs[:3], engine="native").items():
        fell = job.arch_index == ARCHS[0]
        assert outcome.engine == ("reference" if fell else "native")
        assert outcome.fallback == ("native: loss is nan in epoch 1" if fell else "")
        assert same(outcome, place.alone(job, engine=outcome.engine.replace("native", "fast")))


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_what_the_plain_network_cannot_train_either_has_diverged(place, engine):
    inputs = place.task.clips.inputs.clone()
    inputs[place.task.splits["train"][0]] = float("nan")
    task = place.task
    place.task = Task(FixedClips(inputs), task.labels, task.splits, task.classes, task.layout)
    outcomes = place.train(*place.jobs[:2], engine=engine)
    assert [type(outcome) for outcome in outcomes.values()] == [Diverged] * 2
    reasons = [f"{name}: loss is nan in epoch 1" for name in dict.fromkeys((engine, "reference"))]
    assert str(outcomes[place.jobs[0]]) == "; ".join(reasons)
    with pytest.raises(Diverged, match="epoch 1"):
        place.alone(place.jobs[0], engine=engine)


def test_a_training_that_fell_back_stays_there_when_it_goes_on(place, monkeypatch):
    Broken.cell = place.space.cell(ARCHS[0])
    patch_engine(monkeypatch, Broken)
    job = place.jobs[0]
    place.stop(job, after=3 * BATCHES, engine="native")  # after three epochs of two trainings
    monkeypatch.undo()
    rest = place.alone(job, engine="fast", checkpoint_path=place.path)
    assert (rest.engine, rest.fallback) == ("reference", "native: loss is nan in epoch 1")
    assert same(rest, place.alone(job, engine="reference"))


# --- stopping


def test_what_is_finished_is_kept_when_a_later_one_is_stopped(place):
    first, second = place.jobs[:2]
    place.stop(first, after=2 * BATCHES)
    ended = place.stop(first, second, after=BATCHES + 2)
    assert same(ended[first], place.alone(first))
    assert second not in ended
    assert place.path(second).exists()


def test_what_is_finished_is_kept_when_one_that_is_tried_again_is_stopped(place, monkeypatch):
    Broken.cell = place.space.cell(ARCHS[0])
    patch_engine(monkeypatch, Broken)
    ended = place.stop(*place.jobs[:2], after=3 * BATCHES + 2, engine="native")
    assert list(ended) == [place.jobs[1]]
    assert isinstance(ended[place.jobs[1]], Measured)


def test_every_engine_on_the_way_down_says_why(place, monkeypatch):
    def patched(engine, *arguments):
        if engine == "packed":
            raise Unsupported("odd")
        return candidates_of(engine, *arguments)

    monkeypatch.setattr(training, "candidates_of", patched)
    outcome = place.alone(place.jobs[0], engine="packed")
    assert outcome.engine == "fast"
    assert outcome.fallback == "packed: odd; cuda-graph: cuda-graph needs a GPU"
