"""What a datasheet says of noise is what `analysis` finds in the table's own trainings."""

import numpy as np

from nas_skeleton.analysis.observations import observe
from nas_skeleton.analysis.reliability import worth
from nas_skeleton.analysis.top import top_tests
from nas_skeleton.published.files import DATASHEET
from nas_skeleton.published.noise import describe_noise, observations_of
from nas_skeleton.published.publish import publish
from nas_skeleton.published.table import PublishedTable
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
    assert f"{len(found)} connected cells that were drawn from all in proportion" in text
    assert text in (tmp_path / "t" / DATASHEET).read_text()


def test_the_words_have_the_numbers_of_the_analysis(whole):
    table = PublishedTable(whole)
    text = "\n\n".join(describe_noise(table))
    observed = observations_of(table)
    signal = worth(observed).signals["test"]
    assert f"over seeds is {100 * signal.seed_sd:.1f} points; {signal.single.value:.2f} [" in text
    top = top_tests(observed, 100).cells
    assert f"chosen with seed {top.chosen_with[0]}, tested with {top.tested_with[0]}" in text
    assert f"{top.worse} are worse and {top.better} better on test clips" in text


def test_one_seed_and_few_cells_say_so(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = made.make_run("one", [made.training(arch, 777) for arch in made.some[40:60]])
    publish([one], "one", tmp_path)
    text = "\n\n".join(describe_noise(PublishedTable(tmp_path / "one")))
    assert "One seed: the noise over seeds is unknown" in text
    assert "ICC" not in text
    two = made.make_run("two", [made.training(arch, 777) for arch in made.some[40:42]])
    publish([two], "two", tmp_path)
    assert "too few to tell" in describe_noise(PublishedTable(tmp_path / "two"))[0]
