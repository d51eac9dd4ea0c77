"""From raw files to clips: what is wrong is told per file, nothing is lost, nothing is silent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.skeletons import preparing, writing
from nas_skeleton.skeletons.load import load_dataset_card
from nas_skeleton.skeletons.preparing import prepare_clip
from nas_skeleton.skeletons.readers import RawClip
from nas_skeleton.skeletons.store import BadFiles, load_dataset, prepare, read_raw

CHECKOUT = Path(__file__).resolve().parents[2]
CARD = load_dataset_card("utdmhad")
TWO = CARD.model_copy(update={"bodies": 2})


def clip(coordinates: Any = None, **fields: Any) -> RawClip:
    """A sound clip of UTD-MHAD, but for what the test says."""
    if coordinates is None:
        coordinates = np.random.default_rng(0).normal(size=(3, 6, 20, 1))
    return RawClip(
        **{"id": "a", "label": 0, "subject": 1, "digest": "d", **fields}, coordinates=coordinates
    )


def normal(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape)


def with_nan() -> Any:
    coordinates = normal(3, 6, 20, 1)
    coordinates[1, 2:4, 5] = np.nan
    return coordinates


# ------------------------------------------------------------------------------ against the card


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (clip(label=27), "label 27, but those of utdmhad are 0 to 26"),
        (clip(label=-1), "label -1, but"),
        (clip(subject=9), "subject 9 is not among those of utdmhad"),
        (clip(normal(3, 6, 25, 1)), "25 joints, but layout 'utdmhad' of the card has 20"),
        (clip(axes=("x", "y", "score")), "its axes are x, y, score; the card's are x, y, z"),
        (clip(normal(2, 6, 20, 1)), "its axes are x, y, z; the card's"),
        (clip(normal(3, 6, 20)), r"shape \(3, 6, 20\), not \(C, T, V, M\)"),
        (clip(normal(3, 0, 20, 1)), "no frame"),
        (clip(normal(3, 6, 20, 0)), "nobody is in it"),
        (clip(np.zeros((3, 6, 20, 1))), "nobody is in it"),
        (clip(normal(3, 6, 20, 2)), "2 bodies, but the card says 1; the cleaning steps 'denoise'"),
        (clip(with_nan()), "NaN coordinates in 2 of 6 frames, first in frame 2; .*'fill-gaps'"),
        (clip(np.full((3, 6, 20, 1), np.inf)), "infinite coordinates in 6 of 6 frames"),
        (clip(np.full((3, 6, 20, 1), 1e300)), "too large for float32"),
        (clip(frames_per_second=25.0), "25 frames per second, but the card says 30; .*'same-rate'"),
        (clip(joints=("nose", *CARD.skeleton.joints[1:])), "joint 0 is 'nose', but 'head' in"),
    ],
)
def test_a_clip_that_is_not_what_the_card_says_is_refused(wrong: RawClip, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare_clip(wrong, CARD)


def test_a_body_that_is_not_there_is_all_zero() -> None:
    prepared = prepare_clip(clip(), TWO)
    assert prepared.shape == (3, 6, 20, 2)
    np.testing.assert_array_equal(prepared[..., 0], clip().coordinates[..., 0].astype("f4"))
    assert not prepared[..., 1].any()


def test_cleaning_steps_run_in_the_cards_order(tiny: Any) -> None:
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()

    def prepared(steps: str) -> Any:
        tiny.write_card(text.replace("steps = []", f"steps = [{steps}]"))
        coordinates = with_nan() + 5
        coordinates[:, 0] = 0
        return prepare_clip(clip(coordinates), load_dataset_card("tiny"))

    filled, drop = '{ name = "fill-gaps" }', '{ name = "drop-empty-frames" }'
    centred = prepared(f'{filled}, {drop}, {{ name = "centre", joint = "head" }}')
    assert centred.shape == (3, 5, 20, 1)
    assert not centred[:, 0, 0].any()
    with pytest.raises(InputError, match="NaN"):
        prepared(drop)


# ------------------------------------------------------------------------------------ bad files


def three_bad(tiny: Any) -> None:
    tiny.files["a1_s1_t1_skeleton.mat"] = b""
    tiny.files["a2_s2_t2_skeleton.mat"] = tiny.files["a2_s2_t2_skeleton.mat"][:200]
    tiny.files["b\u00fccher_skeleton.mat"] = tiny.files["a1_s1_t2_skeleton.mat"]
    tiny.zip()


def test_every_bad_file_is_told_and_the_others_are_read(tiny: Any) -> None:
    three_bad(tiny)
    with pytest.raises(
        BadFiles, match=r"Skeleton.zip: Skeleton/a1_s1_t1.*\(and 2 more\).*--skip-bad"
    ) as error:
        prepare("tiny")
    names = [fault.source for fault in error.value.faults]
    assert [Path(name).name[:8] for name in names] == ["a1_s1_t1", "a2_s2_t2", "b\u00fccher_s"]
    assert all(fault.reason for fault in error.value.faults)
    reads = list(read_raw("tiny"))
    assert sum(len(read.clips) for read in reads) == 9
    assert [fault for read in reads for fault in read.faults] == error.value.faults


def test_bad_files_are_left_out_on_the_users_word_and_remembered(tiny: Any) -> None:
    three_bad(tiny)
    with pytest.raises(BadFiles):
        prepare("tiny")
    said: list[str] = []
    prepare("tiny", skip_bad=True, announce=said.append)
    assert "12 of 12 sources are read" in said[0]  # nothing is read again
    dataset = load_dataset("tiny")
    dataset.verify()
    assert len(dataset) == 9
    assert len(dataset.header.left_out) == 3
    assert "a1_s1_t1" not in dataset.ids


def test_a_mended_file_is_read_again(tiny: Any) -> None:
    sound = tiny.files["a1_s1_t1_skeleton.mat"]
    tiny.files["a1_s1_t1_skeleton.mat"] = b""
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton")
    with pytest.raises(BadFiles):
        prepare("tiny")
    (folder / "a1_s1_t1_skeleton.mat").write_bytes(sound)
    prepare("tiny")
    assert len(load_dataset("tiny")) == 11
    assert load_dataset("tiny").header.left_out == []


def test_raw_files_may_lie_where_the_store_is_made(tiny: Any) -> None:
    tiny.files["a1_s1_t1_skeleton.mat"] = b""
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny")
    for _ in range(2):  # what is made there meanwhile is no raw file
        with pytest.raises(BadFiles):
            prepare("tiny", folder)
        (folder / "encoded").mkdir(exist_ok=True)
        (folder / "encoded" / "x.f32").write_bytes(os.urandom(8))
    said: list[str] = []
    prepare("tiny", folder, skip_bad=True, announce=said.append)
    assert "11 of 11 sources are read" in said[0]
    assert len(load_dataset("tiny")) == 10


def test_what_changes_after_preparing_is_noticed(tiny: Any) -> None:
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton")
    first = load_dataset("tiny")
    (folder / "notes.txt").write_text("no source")
    said: list[str] = []
    load_dataset("tiny", announce=said.append)
    assert said == []
    changed, removed = (folder / f"a1_s1_t{trial}_skeleton.mat" for trial in (1, 2))
    changed.write_bytes(tiny.files["a2_s1_t1_skeleton.mat"])
    assert load_dataset("tiny", announce=said.append).fingerprint != first.fingerprint
    removed.unlink()
    assert len(load_dataset("tiny", announce=said.append)) == 10
    assert len(said) == 2
    assert all("its raw files in" in line and "changed since" in line for line in said)
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    lost = tiny.cwd / "datasets" / "lost.txt"
    lost.write_text("a2_s2_t2\n")
    tiny.write_card(text.replace("steps = []", 'steps = []\nleave_out = "lost.txt"'))
    assert len(load_dataset("tiny")) == 9
    lost.write_text("")
    assert len(load_dataset("tiny")) == 10
    folder.rename(tiny.cwd / "elsewhere")  # without its raw files a store is as good as before
    assert len(load_dataset("tiny")) == 10


def test_files_that_change_while_they_are_read_are_read_again(tiny: Any) -> None:
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton")

    def change(done: int, _total: int) -> None:
        if done == 5:
            (folder / "a1_s1_t1_skeleton.mat").write_bytes(tiny.files["a2_s1_t1_skeleton.mat"])

    with pytest.raises(InputError, match="changed while it was read; run the same command again"):
        prepare("tiny", progress=change)
    prepare("tiny")
    dataset = load_dataset("tiny")
    np.testing.assert_array_equal(dataset.clip(0), dataset.clip(dataset.ids.index("a2_s1_t1")))


def test_clips_to_leave_out_are_told_by_id_in_files_of_many(tiny: Any) -> None:
    lost = write_many(tiny)
    lost.write_text("x\n")  # the file's name, and no clip's
    assert len(load_dataset("many")) == 6
    lost.write_text("x_0\nx_1\n")
    assert load_dataset("many").ids == ("x_2", "x_3", "x_4", "x_5")


def test_a_refused_preparation_does_not_go_on_with_other_clips_to_leave_out(tiny: Any) -> None:
    lost = write_many(tiny)
    (tiny.cwd / "datasets" / "many" / "clips" / "y.npz").write_bytes(b"")
    with pytest.raises(BadFiles):
        prepare("many")
    lost.write_text("x_0\n")
    prepare("many", skip_bad=True)
    assert "x_0" not in load_dataset("many").ids


def write_many(tiny: Any) -> Path:
    """Six clips in one file; gives the file with clips to leave out."""
    folder = tiny.cwd / "datasets" / "many" / "clips"
    folder.mkdir(parents=True)
    np.savez(folder / "x.npz", coordinates=normal(6, 4, 2, 3), labels=[0] * 6, subjects=[1] * 6)
    card = tiny.cwd / "datasets" / "many.toml"
    card.write_text(MANY.replace("default_p", 'leave_out = "lost.txt"\ndefault_p'))
    lost: Path = tiny.cwd / "datasets" / "lost.txt"
    lost.write_text("")
    return lost


def test_a_raw_folder_without_a_readable_name_can_be_used(tiny: Any) -> None:
    folder = Path(os.fsdecode(os.fsencode(tiny.cwd) + b"/raw\xff"))
    tiny.folder(folder)
    prepare("tiny", folder)
    assert len(load_dataset("tiny")) == 11


def test_a_dangling_link_among_raw_files_is_no_obstacle(tiny: Any) -> None:
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton")
    (folder / "notes.txt").symlink_to("nowhere")
    prepare("tiny")
    assert len(load_dataset("tiny")) == 11


def test_nothing_is_prepared_where_all_files_are_bad(tiny: Any) -> None:
    tiny.files = {"a1_s1_t1_skeleton.mat": b"", "a1_s1_t2_skeleton.mat": b""}
    tiny.zip()
    with pytest.raises(BadFiles):
        prepare("tiny", skip_bad=True)


def test_a_clip_that_is_there_twice_is_told(tiny: Any) -> None:
    folder = tiny.folder(tiny.cwd / "datasets" / "tiny" / "Skeleton")
    (folder / "copy").mkdir()
    name = "a1_s2_t1_skeleton.mat"
    (folder / "copy" / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(BadFiles, match=f"clip a1_s2_t1 is also in .*{name}; remove one of them"):
        prepare("tiny")


def test_clips_that_the_card_leaves_out_are_not_even_read(tiny: Any) -> None:
    three_bad(tiny)
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    tiny.write_card(text.replace("steps = []", 'steps = []\nleave_out = "lost.txt"'))
    with pytest.raises(InputError, match=r"tiny\.toml: leave_out: there is no file 'lost\.txt'"):
        prepare("tiny")
    lost = tiny.cwd / "datasets" / "lost.txt"
    lost.write_text(
        "# damaged\na1_s1_t1_skeleton\na2_s2_t2_skeleton\nb\u00fccher_skeleton\n", "utf-8"
    )
    prepare("tiny")
    assert len(load_dataset("tiny")) == 9
    lost.write_text(
        "# damaged\na1_s1_t1_skeleton\na2_s2_t2_skeleton\nb\u00fccher_skeleton\na1_s1_t2\n", "utf-8"
    )
    prepare("tiny")
    assert "a1_s1_t2" not in load_dataset("tiny").ids
    tiny.write_card(text.replace("steps = []", 'steps = []\nleave_out = "../lost.txt"'))
    with pytest.raises(InputError, match="the name of a file beside the card"):
        prepare("tiny")


# ------------------------------------------------------------------------- several processes


def test_processes_give_the_same_store_as_one(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "WORTH_PROCESSES", 1)
    tiny.zip()
    one = load_dataset("tiny").header
    prepare("tiny", workers=2)
    assert load_dataset("tiny").header == one
    three_bad(tiny)
    alone = [read.faults for read in read_raw("tiny", workers=1)]
    assert [read.faults for read in read_raw("tiny", workers=2)] == alone


def test_a_killed_reading_process_is_one_line(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.zip()
    monkeypatch.setattr(preparing, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(preparing, "_read_batch", _die)
    with pytest.raises(InputError, match="was killed, perhaps for want of memory"):
        prepare("tiny", workers=2)


def _die(_sources: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


INTERRUPTED = """
import os, signal, time
from nas_skeleton.skeletons import writing
from nas_skeleton.skeletons.store import prepare
writing.SYNC_EVERY_S = {sync}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it otherwise
def progress(done, total):
    if done == {at}:
        os.kill(os.getpid(), signal.{how})
        time.sleep(60)
prepare("tiny", progress=progress)
"""


@pytest.mark.parametrize(("how", "sync"), [("SIGKILL", 0), ("SIGKILL", 60), ("SIGINT", 60)])
def test_a_killed_preparation_goes_on_and_ends_as_an_undisturbed_one(
    tiny: Any, how: str, sync: int
) -> None:
    tiny.zip()
    undisturbed = load_dataset("tiny").header
    for at in (3, 7):
        program = INTERRUPTED.format(at=at, how=how, sync=sync)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            check=False,
            capture_output=True,
        )
        assert done.returncode != 0
    prepare("tiny")
    dataset = load_dataset("tiny")
    dataset.verify()
    assert dataset.header == undisturbed


def test_a_torn_journal_or_array_is_cut_back_to_what_is_whole(tiny: Any) -> None:
    tiny.files["a2_s3_t1_skeleton.mat"] = b"junk"
    tiny.zip()
    with pytest.raises(BadFiles):
        prepare("tiny")
    folder = tiny.cwd / "datasets" / "tiny" / ".preparing"
    sound = {name: (folder / name).read_bytes() for name in ("clips.f32", "journal.jsonl")}
    prepare("tiny", skip_bad=True)
    whole = load_dataset("tiny").header
    lines = sound["journal.jsonl"].splitlines(keepends=True)
    for name, torn in (
        ("journal.jsonl", b"".join(lines[:4]) + lines[4][:20]),
        ("journal.jsonl", b"".join(lines[:4]) + b"{}\n" + b"".join(lines[5:])),
        ("journal.jsonl", b"".join(lines[:4] + lines[5:])),
        ("clips.f32", sound["clips.f32"][:-10]),
        ("clips.f32", b""),
        ("plan.json", b"{}"),
    ):
        with pytest.raises(BadFiles):
            prepare("tiny")
        (folder / name).write_bytes(torn)
        prepare("tiny", skip_bad=True)
        load_dataset("tiny").verify()
        assert load_dataset("tiny").header == whole


def test_who_comes_second_waits_and_keeps_the_store_of_the_first(tiny: Any) -> None:
    tiny.zip()
    slow = (
        "import time; from nas_skeleton.skeletons.store import prepare\n"
        "def progress(done, total):\n"
        "    if done == 2: print('begun', flush=True); time.sleep(1)\n"
        "prepare('tiny', progress=progress)"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, env=environment
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"begun\n"
        said: list[str] = []
        prepare("tiny", renew=False, announce=said.append)
    assert [line[:27] for line in said] == ["waiting for another process"]
    assert first.returncode == 0
    assert not (tiny.cwd / "datasets" / "tiny" / ".preparing").exists()


def test_without_locks_preparing_still_works(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: object, **__: object) -> None:
        raise NotImplementedError

    tiny.zip()
    monkeypatch.setattr(writing.FileLock, "acquire", cannot)
    prepare("tiny")
    assert len(load_dataset("tiny")) == 11
    tiny.files["a1_s2_t1_skeleton.mat"] = b""
    tiny.zip()
    with pytest.raises(BadFiles):
        prepare("tiny")
    left = {path.name for path in (tiny.cwd / "datasets" / "tiny").iterdir()}
    assert left <= {"prepared", "Skeleton.zip", ".lock"}


@pytest.mark.slow
def test_three_bad_files_among_fifty_thousand(tiny: Any) -> None:
    folder = tiny.cwd / "datasets" / "many" / "clips"
    folder.mkdir(parents=True)
    np.savez(folder / "c00000.npz", coordinates=normal(4, 2, 3), label=0, subject=1)
    for number in range(1, 50_000):
        os.link(folder / "c00000.npz", folder / f"c{number:05}.npz")
    bad = [f"c{number:05}.npz" for number in (7, 30_000, 49_999)]
    for name in bad:
        (folder / name).unlink()
        (folder / name).write_bytes(b"PK junk")
    (tiny.cwd / "datasets" / "many.toml").write_text(MANY)
    with pytest.raises(BadFiles) as error:
        prepare("many")
    assert [fault.source for fault in error.value.faults] == bad
    prepare("many", skip_bad=True)
    dataset = load_dataset("many")
    assert len(dataset) == 49_997
    assert [fault.source for fault in dataset.header.left_out] == bad
    assert dataset.ids[7] == "c00008"


MANY = """
name = "many"
title = "Many"
description = "made up"
licence = "none"
citation = "none"
reader = "arrays"
units = "metres"
frames_per_second = 30
classes = ["wave", "clap"]
default_protocol = "all"
[layout]
joints = ["hip", "head"]
bones = [["head", "hip"]]
centre = "hip"
centring_joint = "hip"
[raw]
files = ["clips"]
get = "nowhere"
[protocols.all]
train_subjects = [1]
test_subjects = [2]
"""


@pytest.mark.parametrize(
    ("reader", "options"), [("openpose", '{ name_pattern = "(?P<action>a)" }'), ("utdmhad", "{}")]
)
def test_a_graph_of_other_joints_is_refused_though_their_number_fits(
    tiny: Any, reader: str, options: str
) -> None:
    text = (tiny.cwd / "datasets" / "tiny.toml").read_text()
    layout = "ntu" if reader == "openpose" else "nwucla"  # 25 joints like BODY_25, 20 like UTD's
    text = text.replace('layout = "utdmhad"', f'layout = "{layout}"\nreader_options = {options}')
    tiny.write_card(text.replace('reader = "utdmhad"', f'reader = "{reader}"'))
    with pytest.raises(InputError, match=f"layout '{layout}' does not fit reader '{reader}'"):
        load_dataset_card("tiny")


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "times"), [(1.0, 1), (1.5, 2), (3.0, 2)])
def test_ctrl_c_ends_all_processes_quietly(tiny: Any, delay: float, times: int) -> None:
    folder = tiny.cwd / "datasets" / "many" / "clips"
    folder.mkdir(parents=True)
    np.savez(folder / "c0.npz", coordinates=normal(40, 2, 3), label=0, subject=1)
    for number in range(1, 20_000):
        os.link(folder / "c0.npz", folder / f"c{number}.npz")
    (tiny.cwd / "datasets" / "many.toml").write_text(MANY)
    command = subprocess.Popen(
        [sys.executable, "-m", "nas_skeleton.data", "prepare", "many", "--workers", "2"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with command:
        time.sleep(delay)
        for _ in range(times):
            os.killpg(command.pid, signal.SIGINT)
            time.sleep(0.1)
        _, error = command.communicate(timeout=30)
    assert command.returncode == 75
    assert "Traceback" not in error
    for _ in range(50):
        try:
            os.killpg(command.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process is left over")
