"""Pickles are read without running them: the same data as `pickle` gives, and nothing else."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.readers import unpickling
from nas_skeleton.skeletons.readers.unpickling import open_pickle, unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "half": RNG.normal(size=(2, 5, 25, 3)).astype(np.float16),
    "fortran": np.asfortranarray(RNG.normal(size=(4, 3))),
    "other byte order": RNG.normal(size=7).astype(">f4"),
    "strided": RNG.normal(size=(6, 4))[::2, 1:],
    "integers": np.arange(5, dtype=np.uint8),
    "flags": np.array([True, False]),
    "text": np.array(["kick", "Grüße"]),
    "none": np.zeros((0, 25, 3)),
    "one": np.array(3.5),
    "large": RNG.normal(size=(70, 1000)),
}
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner),
        st.tuples(inner, inner, inner, inner),
        st.sets(st.text()),
    ),
    max_leaves=20,
)


class Call:
    """Pickled as a call of any function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


class Odd:
    """A class of somebody's own."""


def result_of(content: bytes) -> Any:
    try:
        return unpickle(content)
    except InputError as error:
        return error


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_out_as_they_went_in(name: str, protocol: int) -> None:
    array = ARRAYS[name]
    found: Any = unpickle(pickle.dumps({"first": array, "again": [array]}, protocol))
    copies: list[Any] = [found["first"], *found["again"]]
    for copy in copies:
        assert copy.dtype == array.dtype
        assert copy.shape == array.shape
        np.testing.assert_array_equal(copy, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_1_and_2_name_their_core_differently(protocol: int) -> None:
    content = pickle.dumps(ARRAYS["fortran"], protocol)
    assert b"numpy._core" in content
    if protocol < 4:  # names of another length need no further change there
        content = content.replace(b"numpy._core", b"numpy.core")
    np.testing.assert_array_equal(unpickle(content), ARRAYS["fortran"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=40, deadline=None)
@given(value=PLAIN)
def test_plain_values_come_out_as_they_went_in(value: object, protocol: int) -> None:
    assert unpickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_small_things_around_plain_values(protocol: int) -> None:
    shared = [1, 2]
    value = {
        "shared": [shared, shared],
        "ordered": collections.OrderedDict(b=1, a=2),
        "number": np.int64(-7),
        "share": np.float32(0.5),
        ("a", 1): float("inf"),
        "large": 2**200,
        "frozen": frozenset({1, 2}),
    }
    found: Any = unpickle(pickle.dumps(value, protocol))
    assert found == value
    assert list(found["ordered"]) == ["b", "a"]
    assert found["shared"][0] is found["shared"][1]
    assert type(found["number"]) is int


def test_optimised_pickles_are_read_too() -> None:
    value = {"a": [1, (2, 3)], "array": np.arange(3)}
    found: Any = unpickle(pickletools.optimize(pickle.dumps(value, 5)))
    assert found["a"] == value["a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (Call(os.system, "touch ran"), "system"),
        (Call(eval, "open('ran', 'w')"), "eval"),
        (Call(print, "hello"), "print"),
        (Call(getattr, "a", "b"), "getattr"),
        (Call(np.load, "x.npy"), "load"),
        (Call(np.zeros, (10**12,)), "zeros"),
        (Odd(), "_reconstructor|Odd"),
        (Odd, "Odd"),
        (np.ma.masked_array([1.0]), "MaskedArray|_mareconstruct"),
        (Path("x"), "Path"),
    ],
)
def test_whatever_could_run_is_named_and_not_run(
    thing: object, named: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=named) as error:
        unpickle(pickle.dumps({"annotations": [thing]}, protocol))
    assert "could run a program" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"{'a': 1}", "not a pickle"),
        (b"PK\x03\x04 a zip file", "kept outside|not a pickle"),
        (pickle.dumps([1, 2])[:-1], "not a pickle, or a damaged one"),
        (pickle.dumps(ARRAYS["large"])[:1000], "it ends too early"),
        (pickle.dumps(np.array([{}, []], dtype=object), 4), "array of objects"),
        (pickle.dumps(np.zeros(3, "i4,f8"), 4), "array of records"),
        (pickle.dumps(np.array(["2020"], "M8[Y]"), 4), "neither numbers nor text"),
        (pickle.dumps(np.zeros(3, np.complex128), 4), "neither numbers nor text"),
        (b"cnumpy\ndtype\n.", "no data"),
        (b"0.", "damaged"),
        (b"a.", "damaged"),
        (b"I" + b"9" * 5000 + b"\n.", "damaged"),
        (pickle.dumps(10**5000, 4), "out of all proportion"),
        (b"]" * 10**5 + b"a" * (10**5 - 1) + b"\x8c\x01x\x93.", "a function has no name"),
        (b"(K\x01d.", "damaged"),
        (b"Pwhere\n.", "kept outside the file"),
        (b"\x97.", "kept outside the file"),
        (b"(" * 100, "damaged"),
        (b"cos\nsystem\xff\n.", "damaged"),
        (b"cos\nsys\x1btem\n.", r"x1b"),
    ],
)
def test_what_is_no_sound_pickle_is_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as error:
        unpickle(content)
    assert str(error.value).isprintable()


def array_pickle(shape: bytes, numbers: bytes) -> bytes:
    """A pickled half-precision array with a shape and numbers of one's choice."""
    state = b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    kind = b"cnumpy\ndtype\n(X\x02\x00\x00\x00f2tR" + state
    empty = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
    return empty + b"(K\x01" + shape + kind + b"\x89" + numbers + b"tb."


def test_the_pickle_made_by_hand_is_sound_without_the_tricks() -> None:
    found = unpickle(array_pickle(b"(K\x02t", b"C\x04\x00\x3c\x00\x40"))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [1, 2]


@pytest.mark.parametrize(
    "content",
    [
        array_pickle(b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft", b"C\x00"),
        array_pickle(b"(J\xff\xff\xff\xfft", b"C\x00"),
        array_pickle(b"(K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7ft", b"C\x00"),
        array_pickle(b"(K\x02t", b"C\x02\x00\x3c"),
        b"\x8e" + (2**62).to_bytes(8, "little") + b".",
        b"\x96" + (2**40).to_bytes(8, "little") + b".",
        b"\x8d" + (2**63).to_bytes(8, "little") + b".",
        b"\x8b" + (2**31 - 1).to_bytes(4, "little") + b".",
        b"\x95" + (2**60).to_bytes(8, "little") + b".",
    ],
)
def test_what_a_file_promises_takes_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="damaged"):
            unpickle(content)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


N = 50_000
TEXT = b"X" + (N).to_bytes(4, "little") + b"a" * N + b"q\x01"
INTEGERS = b"(" + b"".join(b"J" + i.to_bytes(4, "little") for i in range(N // 5)) + b"lq\x01"


@pytest.mark.parametrize(
    "content",
    [
        b"]" * N,
        b"}" * N,
        b"\x8f" * N,
        b"N" + b"\x94" * N,
        b"N" + b"\x85" * 2 * N,
        b"C\x00" * N,
        b"M\xff\xff" * 4 * N,
        b"U\x01\xff" * N,
        b"}K\x01Ns" * N,
        b"(\x91" * N,
        b"c__builtin__\nset\nq\x00" + b"h\x00)R" * N,
        b"cnumpy._core.multiarray\n_reconstruct\nq\x00" + b"h\x00)R" * N,
        # one thing, of which many copies are asked for
        b"c_codecs\nencode\nq\x00" + TEXT + b"h\x00h\x01X\x06\x00\x00\x00latin1\x86R" * 500,
        b"c__builtin__\nset\nq\x00" + INTEGERS + b"h\x00h\x01\x85R" * 100,
        b"B" + TEXT[1:] + b"}h\x01Ns" * 500,
        b"cnumpy\ndtype\nq\x00" + TEXT + b"h\x00h\x01\x85R" * 500,
    ],
    ids=lambda content: repr(content[:12]),
)
def test_objects_take_no_more_memory_than_a_file_of_its_size_may(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpickling, "ROOM", 2**20)
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            unpickle(content + b".")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 1.3 * (2**20 + 8 * len(content))


def test_lists_without_end_are_refused_for_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickling, "ROOM", 2**20)
    with pytest.raises(InputError, match="makes more objects than a file of its size should"):
        unpickle(b"]" * N + b".")


def test_annotations_of_real_proportions_are_far_from_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = [
        {
            "frame_dir": f"video{clip}",
            "label": np.int64(clip),
            "total_frames": 300,
            "img_shape": (240, 320),
            "valid": {0.5: 3, 0.6: 2},
            "frame_inds": np.arange(300 + clip),
            "box_score": np.ones(300 + clip, np.float16),
        }
        for clip in range(300)
    ]
    monkeypatch.setattr(unpickling, "ROOM", 0)
    for protocol in PROTOCOLS[2:]:
        unpickle(pickle.dumps({"annotations": clips}, protocol))


def test_a_place_in_memory_far_away_takes_no_memory() -> None:
    assert unpickle(b"Nr\xff\xff\xff\xff.") is None


def test_deep_nesting_is_no_problem_and_no_key() -> None:
    assert isinstance(unpickle(b"]" * 10**5 + b"a" * (10**5 - 1) + b"."), list)
    deep = b")" + b"\x85" * 10**5
    assert isinstance(result_of(deep + b"."), tuple)
    assert isinstance(result_of(b"}" + deep + b"Ns."), InputError)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_plain_data_or_one_line(content: bytes) -> None:
    assert "\n" not in str(result_of(content)) or not isinstance(result_of(content), InputError)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_to_a_pickle_gives_plain_data_or_one_line(data: st.DataObject) -> None:
    protocol = data.draw(st.sampled_from(PROTOCOLS))
    sound = pickle.dumps({"a": [np.arange(4.0), "x"], "b": (1, {2.5, 3})}, protocol)
    content = bytearray(sound)
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    result_of(bytes(content))


def test_arrays_of_a_file_stay_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.pkl"
    array = RNG.normal(size=(4, 1000, 250))
    path.write_bytes(pickle.dumps([array, array[::-1].copy()], 4))
    tracemalloc.start()
    try:
        found: Any = open_pickle(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found[1], array[::-1])
    assert not found[0].flags.writeable


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(InputError, match="empty file"):
        open_pickle(tmp_path / "empty.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        open_pickle(tmp_path / "none.pkl")
