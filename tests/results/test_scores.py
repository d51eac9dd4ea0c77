"""Files of class scores: whole or not there, and nothing in them is trusted."""

import io
import os
import pickle

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.results.scores import read_scores, write_scores

SHAPES = {"valid": (3, 2), "test": (4, 2)}


def scores():
    rng = np.random.default_rng(0)
    return {
        split: np.log(rng.dirichlet((1, 1), size=clips)).astype(np.float16)
        for split, (clips, _) in SHAPES.items()
    }


def test_scores_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "scores" / "key.npz"
    write_scores(path, scores())
    found = read_scores(path, SHAPES)
    assert found.keys() == SHAPES.keys()
    for split, values in scores().items():
        assert (found[split] == values).all()
    assert [file.name for file in path.parent.iterdir()] == ["key.npz"]


def test_a_split_without_clips_has_no_scores(tmp_path):
    write_scores(tmp_path / "key.npz", {"test": scores()["test"]})
    assert list(read_scores(tmp_path / "key.npz", {**SHAPES, "valid": (0, 2)})) == ["test"]


def test_a_file_that_cannot_be_finished_is_not_there(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_scores(tmp_path / "key.npz", scores())
    assert list(tmp_path.iterdir()) == []


def test_no_damage_to_a_file_gives_other_scores_or_anything_but_one_line(tmp_path):
    path = tmp_path / "key.npz"
    written = scores()
    write_scores(path, written)
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        said, found = f"{path}: ", written
        try:
            found = read_scores(path, SHAPES)
        except InputError as error:
            said = str(error)
        assert said.startswith(f"{path}: ")
        assert said.isprintable()
        # read at all only where the byte says nothing, such as one of a date
        assert all((found[split] == values).all() for split, values in written.items())


def test_a_file_that_unpacks_to_more_than_the_scores_of_the_run_is_refused(tmp_path):
    path = tmp_path / "key.npz"
    np.savez_compressed(path, valid=np.zeros((3, 2)), test=np.zeros(10**6))
    assert path.stat().st_size < 10**4
    with pytest.raises(InputError, match="more than the"):
        read_scores(path, SHAPES)


def array_of(values):
    """One array where an archive should be."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


class Code:
    def __reduce__(self):
        return (os.mkdir, ("owned",))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:300]),
        lambda path: path.write_bytes(pickle.dumps(Code())),
        lambda path: np.savez(path, valid=np.array([Code()], dtype=object)),
        lambda path: path.write_bytes(array_of(np.zeros((4, 2)))),
        lambda path: np.savez(path, valid=np.zeros((3, 2)), test=np.zeros((5, 2))),
        lambda path: np.savez(path, test=np.zeros((4, 2))),
        lambda path: np.savez(path, valid=np.zeros((3, 2)), test=np.full((4, 2), "0.5")),
        lambda path: np.savez(path, valid=np.zeros((3, 2)), test=np.full((4, 2), np.nan)),
        lambda path: path.unlink(),
    ],
)
def test_whatever_is_wrong_with_a_file_is_one_line_and_runs_nothing(tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "key.npz"
    write_scores(path, scores())
    damage(path)
    with pytest.raises(InputError, match=r"key\.npz: ") as caught:
        read_scores(path, SHAPES)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()
