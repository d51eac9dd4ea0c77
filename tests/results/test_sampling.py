import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.results.sampling import class_mates, disturbed, stratified_sample
from nas_skeleton.spaces import load_space

OPS = ("nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


@given(st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32))
def test_the_best_are_there_and_the_others_come_from_all_levels(count, best, drawn, seed):
    best, drawn = min(best, count), min(drawn, count - min(best, count))
    size = best + drawn
    valid = pd.Series(
        np.random.default_rng(seed).permutation(count) / 60, index=range(5, 5 + count)
    )
    if not size:
        return
    chosen = stratified_sample(valid, best=best, size=size, seed=seed)
    assert len(set(chosen)) == size
    ranked = sorted(valid.index, key=lambda arch: -valid[arch])
    assert chosen[:best] == ranked[:best]
    for stratum, place in enumerate(sorted(ranked.index(arch) - best for arch in chosen[best:])):
        assert stratum * (count - best) // drawn <= place < (stratum + 1) * (count - best) // drawn


def test_every_member_of_a_stratum_is_drawn_equally_often():
    valid = pd.Series(np.linspace(0.9, 0.1, 12))
    drawn = [stratified_sample(valid, best=2, size=4, seed=seed) for seed in range(2000)]
    counts = pd.Series([arch for chosen in drawn for arch in chosen[2:]]).value_counts()
    assert sorted(counts.index) == list(range(2, 12))
    assert counts.between(330, 470).all()  # 400 expected, s.d. 18


def test_the_drawn_ones_come_in_no_order_of_accuracy():
    valid = pd.Series(np.linspace(0.9, 0.1, 400))
    first = stratified_sample(valid, best=0, size=100, seed=0)[:50]
    assert 150 < np.mean(first) < 250


def test_equals_go_by_index_and_the_seed_decides_the_draw():
    valid = pd.Series(0.5, index=range(30))
    first = stratified_sample(valid, best=3, size=10, seed=1)
    assert first[:3] == [0, 1, 2]
    assert stratified_sample(valid, best=3, size=10, seed=1) == first
    assert stratified_sample(valid, best=3, size=10, seed=2) != first


def test_more_than_there_are_is_refused():
    valid = pd.Series([0.1, 0.2])
    with pytest.raises(InputError, match="only 2 architectures"):
        stratified_sample(valid, best=0, size=3, seed=0)
    with pytest.raises(InputError, match="more than --size"):
        stratified_sample(valid, best=2, size=1, seed=0)


def test_class_mates_are_others_of_the_same_function():
    space = load_space("nb201")
    classes = space.functional_classes().values()
    three = next(members for members in classes if len(members) == 3)
    several = next(members for members in classes if len(members) > 10)
    found = class_mates([three[1], several[0]], space, count=2, seed=0)
    assert sorted(found[:2]) == [three[0], three[2]]
    assert len(set(found)) == 4
    assert several[0] not in found
    assert {space.functional_key(arch) for arch in found[2:]} == {space.functional_key(several[0])}


def test_disturbed_are_those_that_took_longer_than_others_that_cost_the_same():
    space = load_space("nb201")
    single = [space.index(f"|{op}~0|+|none~0|none~1|+|none~0|skip_connect~1|none~2|") for op in OPS]
    same = [space.index(f"|none~0|+|{op}~0|none~1|+|none~0|none~1|skip_connect~2|") for op in OPS]
    both = pd.DataFrame({"arch_index": [*single, *same, *same], "latency_ms": 1.0})
    usual = dict(zip(OPS, (1.0, 10.0, 3.0), strict=True))
    both["train_time_s"] = [usual[op] for _ in range(3) for op in OPS]
    assert disturbed(both, space, 2) == []  # kinds differ, and that is no disturbance
    both.loc[1, "train_time_s"] = 21.0
    both.loc[5, "latency_ms"] = 2.1
    assert disturbed(both, space, 2) == sorted([single[1], same[2]])
    assert disturbed(both, space, 2.105) == []
