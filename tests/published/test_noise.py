"""What a datasheet says of noise is what `analysis` finds in the table's own trainings."""

from dataclasses import replace

import numpy as np
import pytest

from nas_skeleton.analysis.observations import observe
from nas_skeleton.analysis.reliability import worth
from nas_skeleton.analysis.top import top_tests
from nas_skeleton.errors import InputError
from nas_skeleton.published.files import DATASHEET
from nas_skeleton.published.noise import describe_noise, observations_of
from nas_skeleton.published.publish import publish
from nas_skeleton.published.table import PublishedTable
from nas_skeleton.spaces import CellSpace
from nas_skeleton.spaces.liveness import ignores_input


def connected(archs, space):
    return [arch for arch in archs if not ignores_input(space.cell(arch))]


def test_a_tables_observations_are_those_of_its_runs(few, made, tmp_path):
    publish([few], "t", tmp_path)
    table = PublishedTable(tmp_path / "t")
    of_run = observe("few", unconnected=True)
    found = observations_of(table, unconnected=True)
    assert found.archs.tolist() == of_run.archs.tolist()
    assert found.seeds == of_run.seeds
    assert found.classes.tolist() == of_run.classes.tolist()
    for name in ("macs", "seconds", "work"):
        assert np.array_equal(getattr(found, name), getattr(of_run, name))
    for split, hits in of_run.hits.items():
        assert np.array_equal(found.hits[split], hits)


def test_only_trained_connected_cells_with_all_seeds_count(whole, made):
    table = PublishedTable(whole)
    found = observations_of(table)
    some = [arch for arch in made.some if arch != made.lost[0]]
    assert found.archs.tolist() == connected(some, table.space)
    one_seed = observations_of(table, seeds=(777,))
    assert len(one_seed) == 5_234 - 7 - 1  # classes, those that ignore their input, diverged
    assert one_seed.unconnected == 7


def test_the_noise_of_a_table_is_that_of_its_sample(few, made, tmp_path):
    drawn = made.make_run(
        "drawn", [made.training(arch, s) for arch in made.some[40:60] for s in (777, 888)]
    )
    publish([few, drawn], "t", tmp_path, sample=drawn)
    table = PublishedTable(tmp_path / "t")
    assert table.manifest.sample == made.some[40:60]
    found = observations_of(table)
    assert found.archs.tolist() == connected(made.some[40:60], table.space)
    assert len(observations_of(table, sampled=False)) > len(found)
    text = "\n\n".join(describe_noise(table))
    assert f"Over {len(found)} connected cells with all seeds, of 20 whose further seeds" in text
    assert text in (tmp_path / "t" / DATASHEET).read_text()


def test_the_words_have_the_numbers_of_the_analysis(whole):
    table = PublishedTable(whole)
    text = "\n\n".join(describe_noise(table))
    observed = observations_of(table)
    signal = worth(observed).signals["test"]
    assert f"over seeds is {100 * signal.seed_sd:.1f} points: " in text
    assert f"{100 * signal.shared_sd:.1f} of what moves all clips alike, and" in text
    assert f"; {signal.single.value:.2f} [{signal.single.low:.2f}, " in text
    assert f"{len(observed)} connected cells, one of each functional class, that have all" in text
    assert f"{observed.unfinished:,} more lack some" in text
    top = top_tests(observed, 100).cells
    assert f"chosen with seed {top.chosen_with[0]}, tested with {top.tested_with[0]}" in text
    assert f"{top.worse} are worse and {top.better} better on test clips" in text
    one_seed = observations_of(table, seeds=(777,))
    networks = top_tests(one_seed, 100).networks
    assert f"Of the {len(one_seed):,} connected cells with seed 777, the 99 next to the" in text
    assert f"a difference of {100 * networks.detectable:.1f} points is found every" in text


def test_one_seed_and_few_cells_say_so(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = made.make_run("one", [made.training(arch, 777) for arch in made.some[40:60]])
    publish([one], "one", tmp_path)
    text = "\n\n".join(describe_noise(PublishedTable(tmp_path / "one")))
    assert "One seed: another one moves accuracies by more" in text
    assert "ICC" not in text
    two = made.make_run("two", [made.training(arch, 777) for arch in made.some[40:42]])
    publish([two], "two", tmp_path)
    assert "too few to tell" in describe_noise(PublishedTable(tmp_path / "two"))[0]


def test_members_of_a_class_are_one_observation_and_tell_the_pure_noise(
    made, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    space = CellSpace()
    groups = [group for group in space.functional_classes().values() if len(group) >= 3]
    usable = connected([group[0] for group in groups if made.lost[0] not in group], space)
    members = [group[:3] for group in groups if group[0] in usable][:20]
    first = made.make_run(
        "first", [made.training(group[0], s) for group in members for s in (777, 888)]
    )
    mates = made.make_run("mates", [made.training(arch, 888) for g in members for arch in g[1:]])
    publish([first, mates], "t", tmp_path)
    table = PublishedTable(tmp_path / "t")
    assert observations_of(table).archs.tolist() == [group[0] for group in members]
    assert len(observations_of(table, seeds=(888,))) == 20
    every = observations_of(table, seeds=(888,), mates=True)
    assert every.archs.tolist() == sorted(arch for group in members for arch in group)
    accuracy = every.accuracy["test"][:, 0]
    groups = [accuracy[every.classes == key] for key in np.unique(every.classes)]
    spread = np.sqrt(np.mean([group.var(ddof=1) for group in groups]))
    text = "\n\n".join(describe_noise(table))
    assert "among 60 members of 20 functional classes" in text
    assert f"with one seed is {100 * spread:.1f} points" in text


def test_trainings_that_failed_are_not_in_the_sample_and_one_without_any_is_none(
    few, made, tmp_path
):
    failed = {"status": "failed", "error": "lightning"}
    broken = [(made.training(made.some[50], s)[0] | failed, "[]", {}) for s in (777, 888)]
    rows = [made.training(arch, s) for arch in made.some[40:44] for s in (777, 888)]
    drawn = made.make_run("drawn", [*rows, *broken])
    manifest = publish([few, drawn], "t", tmp_path, sample=drawn)
    assert manifest.sample == made.some[40:44]
    nothing = made.make_run("nothing", broken)
    with pytest.raises(InputError, match="--sample nothing: nothing in it is finished"):
        publish([few, nothing], "t", tmp_path, sample=nothing)


def test_half_a_sample_is_none(few, made, tmp_path):
    drawn = made.some[40:44]
    asked = replace(made.arguments, archs=drawn)
    half = [made.training(arch, s) for arch in drawn[:2] for s in (777, 888)]
    run = made.make_run("half", half, asked)
    with pytest.raises(InputError, match="--sample half: 4 of its 8 trainings are missing"):
        publish([few, run], "t", tmp_path, sample=run)
    assert not (tmp_path / "t").exists()


def test_a_diverged_training_is_counted_where_its_cell_is(whole, made):
    found = observations_of(PublishedTable(whole))
    assert made.lost[0] not in found.archs
    assert found.diverged == 1
    assert observations_of(PublishedTable(whole), seeds=(888,)).diverged == 0
