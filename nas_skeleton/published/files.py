"""The folder of a published table: which files it has, and the manifest that vouches for them.

MANIFEST.json          what was trained how, and size and SHA-256 of every other file
DATASHEET.md           what a user should know, after Gebru et al.
croissant.json         the same for machines (Croissant, JSON-LD)
space.toml             the card of the space: stem, macro skeleton, recipes
clips.csv              ids, labels and class names of all clips, in the order of predictions
summary.csv            one row per architecture
table.parquet          one row per architecture and seed, the columns of `results.schema`
curves.parquet         one row per training and evaluated epoch
predictions.parquet    per training the class predicted for every validation and test clip

Curves and predictions are those of trainings. Rows of the table with status "copied" have none of
their own: `source_index` is the architecture whose they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from nas_skeleton.errors import InputError
from nas_skeleton.published.bounds import check_stated, printable
from nas_skeleton.results import schema

SCHEMA = 1
MANIFEST = "MANIFEST.json"
DATASHEET = "DATASHEET.md"
CROISSANT = "croissant.json"
CARD = "space.toml"
CLIPS = "clips.csv"
SUMMARY = "summary.csv"
TABLE = "table.parquet"
CURVES = "curves.parquet"
PREDICTIONS = "predictions.parquet"
DATA = (CARD, CLIPS, SUMMARY, TABLE, CURVES, PREDICTIONS)
PART = 2048  # rows of predictions that are read at a time
LARGEST = 2**20  # bytes of what is read as a whole before anything in it is looked at
_TEXTS = (MANIFEST, CROISSANT, CARD)  # these are
_REMEDY = "fetch the folder again"
_SEPARATOR = re.compile(r"[/\\]")


@dataclass(frozen=True)
class File:
    """What a file must be."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Hardware:
    """What some of the trainings ran on; `host` is a number in order of appearance."""

    device: str
    engine: str
    precision: str
    host: str
    trainings: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a published table is.

    A field that is added later has a default, and older tables are read with that: it does not
    raise `SCHEMA`.

    Attributes:
        schema: of the folder, see `SCHEMA`.
        results_schema: of the columns, `results.schema.SCHEMA`.
        name: of the table and of its folder.
        content: 12 hex digits that name what is in it, for citations: `content_of` its files.
        published_with: version of nas_skeleton.
        trained_with: versions of nas_skeleton that trained.
        trained_until: when the last training ended, ISO 8601.
        space: name of the card, which lies beside.
        dataset: name of the data set.
        fingerprint: of its prepared clips and of who is in which part, as in `training.job`.
        protocol: name of the split.
        recipe: name of the recipe.
        recipe_hash: over everything that decides what is trained, but for which and the seed.
        recipe_values: the recipe in full.
        modality: what networks saw of a clip.
        classes: names of the data set's classes.
        joints, bodies, channels: V, M and C of its clips as networks saw them.
        clips: number of clips per split.
        seeds: all there are, ascending.
        sample: architectures that were drawn in proportion from all, where only some have further
            seeds: statistics over seeds are over these. Empty where all have all seeds.
        epochs: after which some training was evaluated, ascending; the last is the end.
        architectures: how many have a row.
        functions: how many functional classes have one.
        trained: rows that are trainings that finished.
        copied: rows taken over from an architecture that is the same function.
        diverged: trainings whose loss became infinite.
        hardware: what trained them.
        hardware_note: the same in the publisher's words.
        files: name -> what it must be; all but the manifest itself.
    """

    schema: int
    results_schema: int
    name: str
    content: str
    published_with: str
    trained_with: list[str]
    trained_until: str
    space: str
    dataset: str
    fingerprint: str
    protocol: str
    recipe: str
    recipe_hash: str
    recipe_values: dict[str, Any]
    modality: str
    classes: list[str]
    joints: int
    bodies: int
    channels: int
    clips: dict[str, int]
    seeds: list[int]
    sample: list[int] = field(default_factory=list)
    epochs: list[int]
    architectures: int
    functions: int
    trained: int
    copied: int
    diverged: int
    hardware: list[Hardware]
    hardware_note: str = ""
    files: dict[str, File]


def published_folders() -> list[Path]:
    """Where published tables are looked for: `runs/published/` here, then that of the checkout."""
    checkout = Path(__file__).resolve().parent.parent.parent
    return [Path.cwd() / "runs" / "published", checkout / "runs" / "published"]


def published_names() -> list[str]:
    """Names of all published tables that can be loaded by name, sorted."""
    return sorted(
        {
            path.parent.name
            for folder in published_folders()
            for path in folder.glob(f"*/{MANIFEST}")
            if not path.parent.name.startswith(".")  # half published
        }
    )


def find_published(name: str | Path) -> Path:
    """The folder of the table called `name`, or at that path.

    Raises:
        InputError: there is none; the message lists those there are.
    """
    text = str(name)
    if not _SEPARATOR.search(text):
        for folder in published_folders():
            if (folder / text / MANIFEST).is_file():
                return folder / text
    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    known = ", ".join(published_names()) or "none"
    raise InputError(
        f"no published table {text!r}: there are {known} (looked for in "
        f"{' and '.join(map(str, dict.fromkeys(published_folders())))}); or give the path of a "
        f"folder with a {MANIFEST}, which `python -m nas_skeleton.runs publish` makes"
    )


def read_manifest(folder: Path) -> Manifest:
    """What the table in `folder` is.

    Raises:
        InputError: damaged, too large, no regular file, of a schema or with columns that this
            version does not read, or with values that no sound table has.
    """
    path = folder / MANIFEST
    try:
        _size(path)
        text = path.read_bytes()
        content = json.loads(text)
        for what, reads in (("schema", SCHEMA), ("results_schema", schema.SCHEMA)):
            if content[what] != reads:
                maker = content.get("published_with", "unknown")
                raise InputError(
                    f"{path}: {what} {content[what]!r:.20}, this version of nas_skeleton reads "
                    f"{reads}: use the version that made it, {maker!r:.20}, or a newer one"
                )
        manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
        check_stated(path, manifest)
    except ValidationError as error:
        fault = error.errors()[0]
        where = printable(".".join(map(str, fault["loc"])))
        raise InputError(f"{path}: {where}: {fault['msg']}; {_REMEDY}") from None
    except (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: no manifest of a published table ({type(error).__name__}: "
            f"{printable(str(error))}); {_REMEDY}"
        ) from None
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write down what the table in `folder` is; its other files must be there."""
    text = json.dumps(asdict(manifest), indent=1)
    (folder / MANIFEST).write_text(f"{text}\n", encoding="utf-8")


def describe_file(path: Path) -> File:
    """Size and SHA-256 of a file."""
    with path.open("rb") as file:
        return File(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _size(path: Path) -> int:
    """Bytes of a file of a table, before it is opened.

    Raises:
        InputError: a link, pipe or device, which may have no end; or more than is read at once.
        OSError: it is missing, or may not be looked at.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: a link, pipe, device or folder, and no file; {_REMEDY}")
    if path.name in _TEXTS and found.st_size > LARGEST:
        raise InputError(
            f"{path}: {found.st_size:,} bytes, where at most {LARGEST:,} can be; {_REMEDY}"
        )
    return found.st_size


def content_of(described: Mapping[str, File]) -> str:
    """What names the content of a table: from the SHA-256 of each of its files of `DATA`.

    Twelve hex digits of the SHA-256 over those, sorted, one per line. The datasheet and the
    metadata, which mention it, are not among them.
    """
    lines = sorted(described[name].sha256 for name in DATA)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def checked_file(folder: Path, manifest: Manifest, name: str) -> Path:
    """The file `name` of the table in `folder`, if it is what the manifest says.

    Raises:
        InputError: it is missing, cut short, changed, too large or no regular file.
    """
    path, wanted = folder / name, manifest.files.get(name)
    if wanted is None:
        raise InputError(f"{folder / MANIFEST}: does not list {name}; {_REMEDY}")
    try:
        size = _size(path)
        if size != wanted.bytes:
            raise InputError(
                f"{path}: {size:,} bytes, the manifest says {wanted.bytes:,}; {_REMEDY}"
            )
        found = describe_file(path)
    except FileNotFoundError:
        raise InputError(f"{path}: missing, the manifest lists it; {_REMEDY}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}; {_REMEDY}") from None
    if found.sha256 != wanted.sha256:
        raise InputError(
            f"{path}: changed since it was published: SHA-256 {found.sha256[:12]}…, the manifest "
            f"says {wanted.sha256[:12]}…; {_REMEDY}"
        )
    return path
