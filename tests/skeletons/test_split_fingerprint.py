from nas_skeleton.skeletons.store import load_dataset


def test_another_split_of_the_same_clips_has_another_fingerprint(workdir):
    data = load_dataset("synthetic")
    assert data.split_fingerprint("thesis") == data.split_fingerprint()
    assert data.split_fingerprint("thesis") != data.split_fingerprint("odd-even")
