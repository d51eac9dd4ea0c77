"""Tables with fewer rows than architectures, and curves that are not theirs."""

import numpy as np
import pandas as pd
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results import schema
from nas_skeleton.results.table import load_table
from nas_skeleton.spaces import load_space

SPACE = load_space("nb201")
CLASSES = list(SPACE.functional_classes().values())
EPOCHS = (10, 20)


@pytest.fixture
def written(tmp_path):
    """`written(architectures)` is a collected table with a row for each of them."""

    def write(architectures, diverged=(), curves_of=None):
        rows = pd.DataFrame(None, index=range(len(architectures)), columns=list(schema.COLUMNS))
        rows = rows.assign(
            space="nb201",
            dataset="synthetic",
            fingerprint="f",
            protocol="thesis",
            recipe="quick",
            recipe_hash="h",
            modality="joint",
            seed=7,
            key=[f"{arch}-7" for arch in architectures],
            arch_index=architectures,
            status=[schema.DIVERGED if a in diverged else schema.DONE for a in architectures],
            epochs=EPOCHS[-1],
            macs=1000,
            latency_ms=1.0,
            train_time_s=[float(arch) for arch in architectures],
            final_valid_top1=[None if a in diverged else a / 20_000 for a in architectures],
            final_test_top1=[None if a in diverged else a / 20_000 for a in architectures],
        )
        rows.to_parquet(tmp_path / "table.parquet")
        known = [a for a in architectures if a not in diverged] if curves_of is None else curves_of
        pd.DataFrame(
            [
                {"key": f"{arch}-7", "epoch": epoch, "valid_top1": arch / 20_000 * epoch / 20}
                for arch in known
                for epoch in EPOCHS
            ],
            columns=["key", "epoch", "valid_top1"],
        ).to_parquet(tmp_path / "curves.parquet")
        return str(tmp_path)

    return write


def test_one_of_a_functional_class_stands_for_all_of_it(written):
    of_class = next(members for members in CLASSES if len(members) > 2)
    lost = CLASSES[0][0]
    table = load_table(written([members[0] for members in CLASSES], diverged={lost}))
    assert len(table) == len(SPACE)
    for member in of_class[1:]:
        assert np.array_equal(table.valid[member], table.valid[of_class[0]])
        assert table.seconds[member] == table.seconds[of_class[0]]
    assert (table.valid[list(CLASSES[0])] == 0).all()
    missing = len(SPACE) - len(CLASSES)
    assert any(f"{missing:,} architectures have no row" in remark for remark in table.remarks)


def test_a_class_without_any_row_is_refused(written):
    with pytest.raises(InputError, match="are not trained with all 1 seeds"):
        load_table(written([members[0] for members in CLASSES[1:]]))


def test_curves_of_other_trainings_are_refused_and_no_accuracies_of_zero(written):
    architectures = [members[0] for members in CLASSES]
    with pytest.raises(InputError, match="accuracy after epoch 20, their last: are the curves"):
        load_table(written(architectures, curves_of=architectures[:-1]))
