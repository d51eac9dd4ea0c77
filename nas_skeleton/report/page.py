"""The file itself: template, style and scripts of `browser/`, and what they show, in one page.

Whatever a study says (names of clips and classes, say) reaches the page as JSON, which browsers do
not take for markup, and scripts put it there as text. A policy lets browsers run the page's own
scripts and load nothing.
"""

from __future__ import annotations

import html
import re
from importlib import resources
from typing import Any

import nas_skeleton
from nas_skeleton.report.animations import Animations
from nas_skeleton.report.payload import curve_arrays, packed, prediction_arrays, table_arrays
from nas_skeleton.report.study import Study
from nas_skeleton.results import schema
from nas_skeleton.results.leaderboard import Leaderboard, build_leaderboard, footnotes
from nas_skeleton.skeletons.animation import PLAYER, script_json, source_hash
from nas_skeleton.skeletons.readers.files import printable
from nas_skeleton.spaces import Space

# In this order: each may use those before it.
SCRIPTS = ("data.js", "cells.js", "grid.js", "scatter.js", "details.js", "compare.js", "main.js")


def leaderboard(study: Study) -> Leaderboard:
    """What `runs show` would say of the study, over the seeds that all architectures have."""
    rows = study.rows
    return build_leaderboard(
        rows[rows["seed"].isin(study.whole_seeds)],
        valid_clips=len(study.clips["valid"].ids),
        test_clips=len(study.clips["test"].ids),
    )


def best_of(board: Leaderboard) -> int | None:
    """The architecture that is best by validation; None where nothing may choose."""
    return int(board.table["arch_index"].iloc[0]) if board.ranked_by else None


def report_page(study: Study, board: Leaderboard, animations: Animations) -> str:
    """The whole page."""
    epochs, curves = curve_arrays(study)
    parts = {
        "table": packed(table_arrays(study)),
        "curves": packed(curves),
        "predictions": packed(prediction_arrays(study)),
    }
    facts = _facts(study, board, animations) | {
        "epochs": epochs,
        "sections": {name: part.sections for name, part in parts.items()},
    }
    style = _file("report.css")
    # Modules, so that nothing of ours is a global name.
    script = "\n".join((PLAYER, *map(_file, SCRIPTS)))
    policy = (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    filled = {
        "POLICY": policy,
        "TITLE": html.escape(printable(f"{study.name}: {study.kind}")),
        "STYLE": style,
        "SCRIPT": script,
        "FACTS": script_json(facts),
        "ANIMATIONS": script_json(animations.clips),
        **{name.upper(): part.text for name, part in parts.items()},
    }
    # In one go: what is put in may hold such marks itself.
    return re.sub("%([A-Z]+)%", lambda mark: filled[mark[1]], _file("page.html"))


def _file(name: str) -> str:
    return (resources.files("nas_skeleton.report") / "browser" / name).read_text("utf-8")


def _facts(study: Study, board: Leaderboard, animations: Animations) -> dict[str, Any]:
    status, copied = study.rows["status"], study.rows["source_index"].notna()
    lost = status == schema.DIVERGED
    first = study.rows.drop_duplicates("arch_index")
    return {
        "name": study.name,
        "kind": study.kind,
        "space": study.space.name,
        "asked": dict(study.asked),
        "size": len(study.space),
        "version": nas_skeleton.__version__,
        "seeds": study.seeds,
        "wholeSeeds": study.whole_seeds,
        "trained": int((status == schema.DONE).sum()),
        "diverged": int((lost & ~copied).sum()),
        "classes": list(study.classes),
        "clips": {
            split: {"ids": clips.ids, "labels": clips.labels}
            for split, clips in study.clips.items()
            if split in schema.HELD_OUT
        },
        "counts": {split: len(clips.ids) for split, clips in study.clips.items()},
        # Cells have theirs from their operations.
        "names": None if isinstance(study.space, Space) else first["arch_str"].tolist(),
        "best": best_of(board),
        "near": board.near_best(),
        "notes": footnotes(board),
        "wrong": animations.wrong,
        "licence": animations.licence,
        "notAnimated": animations.missing,
    }
