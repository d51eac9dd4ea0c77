"""Facts about the real UTD-MHAD, where it is there."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from nas_skeleton.skeletons.check import check_dataset
from nas_skeleton.skeletons.inputs import encode, image_channel_statistics
from nas_skeleton.skeletons.layouts import UTDMHAD
from nas_skeleton.skeletons.readers.utdmhad import read_mat
from nas_skeleton.skeletons.store import Dataset, load_dataset, prepare


@pytest.fixture(scope="module")
def archive(shared_data: Path) -> Path:
    return shared_data / "utdmhad" / "Skeleton.zip"


@pytest.fixture(scope="module")
def dataset(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("utdmhad"))
        prepare("utdmhad", archive)
        return load_dataset("utdmhad", prepare_missing=False)


def test_it_holds_861_clips_of_41_to_125_frames(dataset: Dataset) -> None:
    assert len(dataset) == 861
    assert (dataset.lengths.min(), dataset.lengths.max()) == (41, 125)
    assert dataset.lengths.mean() == pytest.approx(67.7, abs=0.05)
    assert len(set(dataset.labels.tolist())) == 27
    complete = {
        f"a{action}_s{subject}_t{trial}"
        for action in range(1, 28)
        for subject in range(1, 9)
        for trial in range(1, 5)
    }
    assert complete - set(dataset.ids) == {"a8_s1_t4", "a23_s6_t4", "a27_s8_t4"}


def test_the_protocols_have_the_published_counts(dataset: Dataset) -> None:
    def counts(protocol: str | None = None) -> list[int]:
        return [len(clips) for clips in dataset.split(protocol).values()]

    assert counts() == counts("thesis") == [323, 108, 430]
    assert counts("odd-even") == [431, 0, 430]


def test_leaving_one_subject_out_tests_every_clip_once(dataset: Dataset) -> None:
    folds = [dataset.split(f"loso-{subject}") for subject in range(1, 9)]
    for part in ("valid", "test"):
        assert sorted(np.concatenate([fold[part] for fold in folds])) == list(range(861))
    for subject, fold in enumerate(folds, 1):
        assert set(dataset.subjects[fold["test"]]) == {subject}
        assert set(dataset.subjects[fold["valid"]]) == {subject % 8 + 1}
        assert sum(len(clips) for clips in fold.values()) == 861


def test_every_check_passes(dataset: Dataset) -> None:
    findings = list(check_dataset(dataset))
    assert len(findings) == 18
    assert [finding for finding in findings if not finding.ok] == []


def test_its_files_are_read_as_scipy_reads_them_and_float32_loses_nothing(
    dataset: Dataset, archive: Path
) -> None:
    with zipfile.ZipFile(archive) as opened:
        for index in range(0, len(dataset), 20):
            content = opened.read(dataset.header.clips[index].source)
            wanted = loadmat(io.BytesIO(content))["d_skel"]
            np.testing.assert_array_equal(read_mat(content), wanted)
            clip = dataset.clip(index)[..., 0].astype(np.float64)
            np.testing.assert_array_equal(clip.transpose(2, 0, 1), wanted)


def test_the_layout_fits_the_people(dataset: Dataset) -> None:
    """Bones keep their length and the head is above the feet: joints are not mixed up."""
    clips = [dataset.clip(index)[..., 0] for index in range(0, len(dataset), 9)]
    frames = np.concatenate([clip.transpose(1, 2, 0) for clip in clips])
    children, parents = np.array(UTDMHAD.edges).T
    bones = np.linalg.norm(frames[:, children] - frames[:, parents], axis=2)
    assert (np.median(bones, axis=0) < 0.5).all()
    middle = np.median(frames, axis=0)
    heights = {name: middle[joint, 1] for joint, name in enumerate(UTDMHAD.joints)}
    assert heights["head"] > heights["shoulder centre"] > heights["spine"] > heights["left knee"]
    assert heights["left knee"] > heights["left foot"]


def test_image_statistics_are_those_of_the_thesis(dataset: Dataset) -> None:
    # Printed with all digits in cbrozmann/NASThesis, own_get_dataset_with_transform.py.
    mean, deviation = image_channel_statistics(dataset, 68)
    assert mean.tolist() == pytest.approx(
        [60.345893612665485, 48.04306844547564, 241.82972737819026], abs=1e-9
    )
    assert deviation.tolist() == pytest.approx(
        [8.877062809530207, 28.94719770153745, 11.07850571439358], abs=1e-9
    )
    for protocol in ("thesis", "odd-even"):  # the same 431 clips
        assert (image_channel_statistics(dataset, 68, protocol)[0] == mean).all()


def test_image_inputs_are_standardised_over_the_431_clips(dataset: Dataset) -> None:
    inputs = encode(dataset, "image", 68)
    assert inputs.shape == (861, 3, 68, 20, 1)
    seen = inputs[dataset.subjects % 2 == 1].astype(np.float64)
    np.testing.assert_allclose(seen.mean(axis=(0, 2, 3, 4)), 0, atol=1e-6)
    np.testing.assert_allclose(seen.std(axis=(0, 2, 3, 4)), 1, atol=1e-6)
