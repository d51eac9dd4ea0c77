"""The report in a real browser, and what is in the file."""

import json
import re

import numpy as np
import pytest

from nas_skeleton.errors import InputError
from nas_skeleton.report.animations import Animations, animations_of
from nas_skeleton.report.page import best_of, leaderboard, report_page
from nas_skeleton.report.study import find_study
from nas_skeleton.results import schema
from nas_skeleton.results.run import Arguments, Clips, DataFacts, Run
from nas_skeleton.results.store import ResultWriter
from nas_skeleton.spaces import load_space

SPACE = load_space("nb201")
EPOCHS = (10, 20, 30)
COUNTS = {"train": 30, "valid": 20, "test": 40}
HOSTILE = '</script><script>document.title = "alien"</script><img src=x onerror=alert(1)>&quot;'
SCROLLER = "document.querySelector('#scroller')"
SEEDS = [777, 888, 999]
CELLS = [members[0] for members in SPACE.functional_classes().values()][5:65]
LOST = (CELLS[3], 888)  # diverged


def made_study(
    name, *, cells=CELLS, seeds=SEEDS, classes=("wave", "clap", "jump"), valid=20, ids=""
):
    """A run of one cell of each class that nobody trained, in the working folder, and its study."""
    counts = COUNTS | {"valid": valid}
    labels = {split: [n % len(classes) for n in range(count)] for split, count in counts.items()}
    clips = {
        split: Clips([f"{split}{n}{ids}" for n in range(len(own))], own)
        for split, own in labels.items()
    }
    card = SPACE.card
    arguments = Arguments(
        *(
            "nb201",
            "nowhere",
            "thesis",
            "quick",
            "exhaustive",
            seeds,
            "f",
            card.recipe_hash("quick"),
        ),
        one_per_class=True,
    )
    from pathlib import Path

    run = Run(Path("runs") / name, arguments, DataFacts(list(classes), 20, 1, clips))
    run.write()
    writer = ResultWriter(run.results_folder, "made-up")
    for arch in cells:
        for seed in seeds:
            rng = np.random.default_rng([arch, seed])
            right = {split: rng.random(count) < 0.6 for split, count in counts.items()}
            shares = {
                f"{split}_top1": float(own.mean()) for split, own in right.items() if own.size
            }
            cost = SPACE.cost(arch, card.recipe("quick"), classes=3, joints=20)
            row = {
                "key": f"{arch} {seed}",
                "arch_index": arch,
                "arch_str": HOSTILE,
                "nb201_key": SPACE.nb201_key(arch),
                "functional_key": SPACE.functional_key(arch),
                "recipe": "quick",
                "seed": seed,
                "fingerprint": "f",
                "recipe_hash": card.recipe_hash("quick"),
                "status": schema.DIVERGED if (arch, seed) == LOST else schema.DONE,
                "epochs": 30,
                "params": cost.params,
                "macs": cost.macs,
                "train_time_s": 2.0,
                "latency_ms": float(rng.uniform(1, 2)),
                "finished_at": "2026-01-01T00:00:00+00:00",
            }
            if row["status"] == schema.DIVERGED:
                writer.append_all([(row, "[]", {})])
                continue
            row |= {f"final_{name}": share for name, share in shares.items()}
            curve = [
                {"epoch": epoch, "train_loss": 1 / epoch}
                | {name: share * epoch / EPOCHS[-1] for name, share in shares.items()}
                for epoch in EPOCHS
            ]
            predicted = {
                split: np.where(
                    right[split], labels[split], (np.array(labels[split]) + 1) % len(classes)
                ).astype(np.int16)
                for split in schema.HELD_OUT
            }
            writer.append_all([(row, json.dumps(curve), predicted)])
    writer.close()
    return find_study(name)


def write(study, path, animations=None):
    board = leaderboard(study)
    path.write_text(report_page(study, board, animations or Animations()), "utf-8")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study, its leaderboard and its page."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = made_study("one")
    return study, leaderboard(study), write(study, folder / "report.html")


def first_rows(page, count=5):
    return page.texts("#grid td.arch")[:count]


def test_the_page_loads_whole_and_asks_for_nothing(made, open_page):
    _, _, path = made
    page = open_page(path)
    page.wait_for("document.querySelector('.clipwise table') !== null")
    assert page.complaints() == []
    assert page.requests() == []
    text = path.read_text("utf-8")
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|<link|<img|src=\"|@import|url\(", text
    )
    assert "default-src 'none'" in text
    assert "unsafe" not in text


def test_rows_are_ranked_by_validation_as_runs_show_ranks_them(made, open_page):
    _, board, path = made
    page = open_page(path)
    expected = [f"#{arch}" for arch in board.table["arch_index"].head(5)]
    assert first_rows(page) == expected
    best = board.table.iloc[0]
    shown = page.texts("#grid tr:nth-child(2) td")
    assert shown[0] == "1"
    assert shown[3] == f"{100 * best['valid']:.1f} ± {100 * best['valid_sd']:.1f}"
    assert shown[4] == f"{100 * best['test']:.1f} ± {100 * best['test_sd']:.1f}"
    assert "s.d. over seeds" in page.text("#count")
    assert page.text("aside h2").startswith(f"A #{best['arch_index']}")


def test_a_click_on_a_head_sorts_and_test_accuracy_comes_with_a_warning(made, open_page):
    _, board, path = made
    page = open_page(path)
    page.click("#grid th.macs button")
    macs = board.table.sort_values(["macs", "rank"], ascending=[False, True])
    assert first_rows(page) == [f"#{arch}" for arch in macs["arch_index"].head(5)]
    page.click("#grid th.macs button")
    macs = board.table.sort_values(["macs", "rank"])
    assert first_rows(page) == [f"#{arch}" for arch in macs["arch_index"].head(5)]
    assert page.run("document.querySelector('th.macs').getAttribute('aria-sort')") == "ascending"
    assert "to look at only" not in page.text("#count")
    page.click("#grid th.test button")
    assert "to look at only" in page.text("#count")
    assert page.complaints() == []


def test_filters_by_index_string_and_edge(made, open_page):
    _, _, path = made
    page = open_page(path)
    page.set("#text", str(CELLS[7]))
    assert f"#{CELLS[7]}" in first_rows(page)
    assert all(row.startswith(f"#{CELLS[7]}") for row in first_rows(page))
    page.set("#text", "nor_conv_3x3~2|")
    with_conv = [arch for arch in CELLS if SPACE.arch_string(arch).endswith("nor_conv_3x3~2|")]
    assert page.text("#count").startswith(f"{len(with_conv)} of {len(CELLS)} ")
    page.set("#text", "")
    page.set("#edges label:nth-child(4) select", "1")
    skips = [arch for arch in CELLS if SPACE.cell(arch).operations[3] == 1]
    assert page.text("#count").startswith(f"{len(skips)} of {len(CELLS)} ")
    page.click("#reset")
    assert page.text("#count").startswith(f"{len(CELLS)} of {len(CELLS)} ")


def test_copies_are_marked_hidden_at_first_and_have_no_rank_of_their_own(made, open_page):
    study, board, path = made
    page = open_page(path)
    everything = study.rows["arch_index"].nunique()
    assert f"{everything - len(CELLS):,} copies hidden" in page.text("#count")
    page.click("#copies")
    assert page.text("#count").startswith(f"{everything:,} of {everything:,} ")
    copy = study.rows[study.rows["source_index"].notna()].iloc[0]
    page.set("#text", f"#{copy['arch_index']}")
    page.click("#grid tbody tr:nth-child(2) td.rank")
    rank = board.table.set_index("arch_index")["rank"][copy["source_index"]]
    assert page.texts("#grid tr:nth-child(2) td.rank") == [f"= {rank}"]
    assert page.texts("#grid tr:nth-child(2) td.same") == [f"of #{copy['source_index']}"]
    assert "no independent result" in page.text("aside .copied")
    assert page.texts("aside tbody .copied") == ["copied"] * len(SEEDS)


def test_rows_exist_only_where_they_are_seen(made, open_page):
    study, _, path = made
    page = open_page(path)
    page.click("#copies")
    page.click("#grid th.arch button")
    archs = sorted(study.rows["arch_index"].unique())
    for share in (0.5, 1, 0.1):
        page.run(f"(e => e.scrollTop = {share} * e.scrollHeight)({SCROLLER})")
        page.wait_for(
            "(e => Math.abs(document.querySelector('#grid tbody tr').offsetHeight"
            f" - e.scrollTop) < 12 * 30)({SCROLLER})"
        )
        rows = page.texts("#grid td.arch")
        assert len(rows) < 60
        first = archs.index(int(rows[0][1:]))
        assert rows == [f"#{arch}" for arch in archs[first : first + len(rows)]]
        assert first > 0
    page.run(f"{SCROLLER}.scrollTop = 1e9")
    page.wait_for(f"document.querySelector('#grid tbody').innerText.includes('#{archs[-1]}')")


def test_brushing_filters_the_table_and_escape_ends_it(made, open_page):
    _, board, path = made
    page = open_page(path)
    box = page.run(
        "(b => [b.left, b.top, b.right, b.bottom])"
        "(document.querySelector('#overlay').getBoundingClientRect())"
    )
    page.drag((box[0] + 60, box[1] + 12), ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))
    count = int(page.text("#count").split()[0])
    assert 0 < count < len(CELLS)
    bounds = [
        float(page.run(f"document.querySelector('#{at}').value")) for at in ("x0", "x1", "y0", "y1")
    ]
    table = board.table
    inside = table["macs"].between(*bounds[:2]) & (100 * table["valid"]).between(*bounds[2:])
    assert count == inside.sum()
    assert first_rows(page) == [f"#{arch}" for arch in table["arch_index"][inside].head(5)]
    page.press("Escape")
    assert page.text("#count").startswith(f"{len(CELLS)} of ")
    page.set("#y0", "70.1")
    assert page.text("#count").startswith(f"{(table['valid'] >= 0.701).sum()} of ")
    assert page.complaints() == []


def test_a_click_in_the_plot_shows_that_cell(made, open_page):
    _, _, path = made
    page = open_page(path)
    x, y = page.run(
        "(b => [b.left, b.top])(document.querySelector('#overlay').getBoundingClientRect())"
    )
    page.set("#across", "latency")
    place = [0, 0]
    for dx in range(60, 700, 12):  # a pointer that looks for a point
        for dy in range(20, 200, 12):
            place = [x + dx, y + dy]
            page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
            if not page.run("document.querySelector('#tip').hidden"):
                break
        else:
            continue
        break
    tip = page.text("#tip").split()[0]
    page.drag(place)
    page.wait_for(f"document.querySelector('aside h2').innerText.includes('{tip}')")


def test_keys_walk_choose_and_compare(made, open_page):
    _, board, path = made
    page = open_page(path)
    ranked = board.table["arch_index"].tolist()
    page.run("document.querySelector('#grid').focus()")
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.press(key)
    page.wait_for(f"document.querySelector('aside h2').innerText.includes('#{ranked[2]}')")
    assert (
        page.run("document.querySelector('[aria-selected=true]').getAttribute('aria-rowindex')")
        == "4"
    )
    page.press("End")
    assert first_rows(page, 99)[-1] == f"#{ranked[-1]}"
    active = page.run(
        "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).innerText"
    )
    assert f"#{ranked[-1]}" in active
    page.press("c")
    page.wait_for("document.querySelectorAll('aside article').length === 2")
    assert f"#{ranked[-1]}" in page.text("aside article.b h2")


def test_two_cells_are_compared_clip_by_clip(made, open_page):
    study, _, path = made
    one, other = CELLS[10], CELLS[11]
    page = open_page(path, fragment=f"#{one},{other}")
    page.wait_for("document.querySelector('.clipwise .clips tbody tr') !== null")
    at = {arch: (study.predicted == [arch, 777]).all(axis=1).argmax() for arch in (one, other)}
    labels = np.array(study.clips["valid"].labels)
    right = {arch: study.predictions["valid"][row] == labels for arch, row in at.items()}
    first, second = right[one], right[other]
    expected = [(first & second), (first & ~second), (~first & second), (~first & ~second)]
    from scipy.stats import binomtest

    shown = page.texts(".clipwise table tbody tr:first-child td")
    assert [int(text) for text in shown[:4]] == [int(own.sum()) for own in expected]
    p = binomtest(int(expected[1].sum()), int(expected[1].sum() + expected[2].sum())).pvalue
    assert float(shown[4].split()[-1]) == pytest.approx(p, abs=0.006)
    names = page.texts(".clips tbody td:first-child")
    clips = [f"valid{n}" for own in expected[1:3] for n in np.flatnonzero(own)]
    assert names == clips


def test_what_files_say_never_becomes_markup(tmp_path, monkeypatch, open_page):
    monkeypatch.chdir(tmp_path)
    study = made_study(
        "two", cells=CELLS[:4], seeds=[777], classes=[HOSTILE, "b", f"c{HOSTILE}"], ids=HOSTILE
    )
    path = write(study, tmp_path / "report.html", Animations(missing=HOSTILE, licence=HOSTILE))
    page = open_page(path)
    page.wait_for("document.querySelector('.clips tbody tr') !== null")
    assert HOSTILE in page.text(".clips")
    assert page.run("document.title") == "two: run"
    assert page.run("document.images.length + document.scripts.length") == 3
    assert page.complaints() == []
    assert path.read_text("utf-8").count("</script>") == 6


def test_without_validation_clips_nothing_is_ranked(tmp_path, monkeypatch, open_page):
    monkeypatch.chdir(tmp_path)
    study = made_study("three", cells=CELLS[:4], seeds=[777], valid=0)
    board = leaderboard(study)
    assert best_of(board) is None
    page = open_page(write(study, tmp_path / "report.html"))
    assert page.texts("#grid td.rank") == ["\N{EN DASH}"] * 4
    assert first_rows(page) == [f"#{arch}" for arch in sorted(CELLS[:4])]
    assert page.complaints() == []


def test_means_are_over_seeds_that_all_architectures_have(tmp_path, monkeypatch, open_page):
    monkeypatch.chdir(tmp_path)
    made_study("four", cells=CELLS[10:14], seeds=[777])
    more = made_study("four", cells=CELLS[10:12], seeds=[777, 888])
    assert (more.seeds, more.whole_seeds) == ([777, 888], [777])
    page = open_page(write(more, tmp_path / "report.html"))
    board = leaderboard(more)
    assert first_rows(page) == [f"#{arch}" for arch in board.table["arch_index"]]
    assert "binomial s.e." in page.text("#count")
    page.set("#seeds", "1")
    assert "s.d. over seeds" in page.text("#count")
    assert sorted(page.texts("#grid td.seeds")) == ["1", "1", "2", "2"]


@pytest.mark.parametrize("wide", [1440, 400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_its_window(made, open_page, wide, dark):
    _, _, path = made
    page = open_page(path, wide=wide, dark=dark)
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") != dark
    assert page.complaints() == []


def test_who_has_the_data_sees_what_the_best_cell_gets_wrong(
    searched, monkeypatch, tmp_path, open_page
):
    monkeypatch.chdir(searched[0].parent)
    study = find_study(next(searched[0].glob("*/run.json")).parent.name)
    best = best_of(leaderboard(study))
    animations = animations_of(study, best, 2)
    row = (study.predicted["arch_index"] == best).to_numpy()
    labels = study.clips["valid"].labels
    wrong = np.flatnonzero((study.predictions["valid"][row] != labels)[0])
    ids = study.clips["valid"].ids
    assert list(animations.clips)[: len(wrong)] == [ids[at] for at in wrong[:2]]
    assert animations.wrong >= len(animations.clips) > 0
    page = open_page(write(study, tmp_path / "report.html", animations))
    page.wait_for("document.querySelector('.play') !== null")
    page.click(".play")
    page.wait_for("/frame [1-9]/.test(document.querySelector('#part-time').textContent)")
    assert page.text("#cliptitle").startswith("synthetic")
    page.click("#close")
    assert page.run("document.querySelector('dialog').open") is False
    assert page.complaints() == []


def test_without_the_data_the_page_says_so(made, monkeypatch, tmp_path):
    study, board, _ = made
    monkeypatch.chdir(tmp_path)
    animations = animations_of(study, best_of(board), 5)
    assert animations.clips == {}
    assert "nowhere" in animations.missing


def test_the_command_writes_a_file_and_names_what_is_missing(searched, monkeypatch, tmp_path):
    from click.testing import CliRunner

    from nas_skeleton.report.__main__ import main

    monkeypatch.chdir(searched[0].parent)
    name = next(searched[0].glob("*/run.json")).parent.name
    done = CliRunner().invoke(main, [name, "-o", str(tmp_path / "deep" / "r.html"), "--clips", "1"])
    assert done.exit_code == 0, done.output
    assert "6 architectures of run" in done.output
    assert "1 clips are in it (licence:" in done.output
    assert (tmp_path / "deep" / "r.html").stat().st_size > 50_000
    with pytest.raises(InputError, match=r"no run 'nothing': there are .*; and no published table"):
        find_study("nothing")
