from dataclasses import fields, replace

from nas_skeleton.training.job import Job

JOB = Job("nb201", 6111, "utdmhad", "f" * 64, "thesis", "quick", "a" * 12, 777)


def test_every_field_but_how_far_to_train_now_is_part_of_the_key():
    assert replace(JOB, until=3).key == JOB.key
    for field in (field for field in fields(Job) if field.name != "until"):
        value = getattr(JOB, field.name)
        other = replace(JOB, **{field.name: value + 1 if isinstance(value, int) else value + "x"})
        assert other.key != JOB.key, field.name


def test_key_is_stable_across_versions():
    assert JOB.key == replace(JOB).key
    assert JOB.key == "855495e0bbea3a544ae2740f70f48ec7"
