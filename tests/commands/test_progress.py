import pytest

from nas_skeleton.commands.progress import Progress, between_lines, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (370, "6 min 10 s"),
        (11_100, "3 h 05 min"),
        (190_000, "2 d 4 h"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_log_gets_plain_lines_and_always_the_last(capsys):
    progress = Progress("trainings", 3, expected=30.0)
    for _ in range(3):
        progress.advance(10.0, "a note")
    progress.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("3/3 trainings")
    assert "about 0 s left; a note" in lines[-1]
    assert all("\r" not in line for line in lines)


@pytest.mark.parametrize(
    ("elapsed", "seconds"), [(0, 10), (600, 10), (3600, 60), (86_400, 600), (864_000, 600)]
)
def test_the_longer_it_takes_the_fewer_lines_there_are(elapsed, seconds):
    assert between_lines(elapsed) == seconds


def test_time_left_goes_by_the_work_that_is_expected(capsys, monkeypatch):
    now = iter([0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    progress = Progress("trainings", 2, expected=400.0)
    progress.advance(100.0)  # a quarter of the work took 100 s
    assert "1 min 40 s gone, about 5 min 00 s left" in capsys.readouterr().err


def test_work_under_way_counts_too(capsys, monkeypatch):
    now = iter([0.0, 100.0, 100.0, 100.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    progress = Progress("trainings", 4, expected=400.0, under_way=100.0)
    progress.advance(100.0)  # one is finished and two are half done: half of the work
    assert "1 min 40 s gone, about 1 min 40 s left" in capsys.readouterr().err
