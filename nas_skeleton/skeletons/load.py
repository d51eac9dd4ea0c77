"""Cards of data sets by name: cards that are `like` another, and data sets that are classes of one.

What a card may say is defined in `card`. Nothing here opens data.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas_skeleton.cards import check_card, read_card
from nas_skeleton.errors import InputError
from nas_skeleton.skeletons.card import PARTS, DatasetCard, Expected, Protocol, SubsetCard

SEPARATOR, PLUS = ":", "+"


def load_dataset_card(name: str) -> DatasetCard:
    """Read `datasets/NAME.toml`.

    A card may be `like` another: what it does not say is as there. `NAME:CLASS+CLASS` stands for
    those classes of data set NAME, as a card with `subset_of` does.

    Raises:
        InputError: no such card, or one that does not hold together (see `cards.check_card`).
    """
    plain, given, wanted = name.partition(SEPARATOR)
    content, path = _content(plain)
    if "subset_of" in content:
        subset = check_card(content, path, SubsetCard)
        try:
            whole = load_dataset_card(subset.subset_of)
        except InputError as error:
            raise InputError(f"{path}: subset_of: {error}") from None
        if whole.subset_of:
            raise InputError(f"{path}: subset_of: {whole.name!r} is itself a subset")
        card = _restricted(whole, subset.classes, f"{path}: classes").model_copy(
            update={
                "name": subset.name,
                "title": subset.title,
                "description": subset.description,
                "expected": subset.expected,
                "protocols": _counted(whole, subset, f"{path}: counts"),
            }
        )
    else:
        card = check_card(content, path, DatasetCard)
        if card.subset_of:
            raise InputError(f"{path}: subset_of: goes with classes alone")
    if card.name != plain:
        raise InputError(f"datasets/{plain}.toml: name: must be {plain!r} like the file")
    if not given:
        return card
    if card.subset_of:
        raise InputError(f"data set {name!r}: {plain!r} is itself a subset of {card.subset_of!r}")
    return _restricted(card, tuple(wanted.split(PLUS)), f"data set {name!r}")


def _content(name: str, seen: tuple[str, ...] = ()) -> tuple[dict[str, Any], Path]:
    """What a card says, with the keys of the card that it is `like` where it does not say them."""
    content, path = read_card("datasets", name)
    if "like" not in content:
        return content, path
    other = content.pop("like")
    if not isinstance(other, str) or other in (*seen, name):
        raise InputError(f"{path}: like: must be the name of another card, and not go in a circle")
    try:
        return {**_content(other, (*seen, name))[0], **content}, path
    except InputError as error:
        raise InputError(f"{path}: like: {error}") from None


def whole_card(card: DatasetCard) -> DatasetCard:
    """The card whose prepared store a data set uses: its own, or that of which it is a subset."""
    return load_dataset_card(card.subset_of) if card.subset_of else card


def _restricted(card: DatasetCard, wanted: tuple[str, ...], where: str) -> DatasetCard:
    """The card with only the wanted classes, in the order of the whole card."""
    chosen = {_class_index(card, name, where) for name in wanted}
    if len(chosen) != len(wanted) or len(chosen) < 2:
        raise InputError(f"{where}: name at least two different classes")
    classes = tuple(card.classes[index] for index in sorted(chosen))
    return card.model_copy(
        update={
            "name": card.name + SEPARATOR + PLUS.join(_short_name(card, name) for name in classes),
            "title": f"{card.title}, {len(classes)} of {len(card.classes)} classes",
            "subset_of": card.name,
            "classes": classes,
            "expected": Expected(),
            "protocols": {name: _uncounted(p) for name, p in card.protocols.items()},
        }
    )


def _class_index(card: DatasetCard, wanted: str, where: str) -> int:
    found = [
        index
        for index, name in enumerate(card.classes)
        if wanted in (name, _short_name(card, name))
    ]
    if len(found) != 1:
        raise InputError(
            f"{where}: no class {wanted!r} in {card.name!r}; classes are {_some(card)}"
        )
    return found[0]


def _short_name(card: DatasetCard, name: str) -> str:
    """A class's first word where no other begins with it, else its name without spaces."""
    words = [other.split()[0] for other in card.classes]
    first = name.split()[0]
    return first if words.count(first) == 1 else "_".join(name.split())


def _some(card: DatasetCard) -> str:
    names = [_short_name(card, name) for name in card.classes]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _uncounted(protocol: Protocol) -> Protocol:
    return protocol.model_copy(update={f"{part}_clips": None for part in PARTS})


def _counted(whole: DatasetCard, subset: SubsetCard, where: str) -> dict[str, Protocol]:
    unknown = sorted(set(subset.counts) - set(whole.protocols))
    if unknown:
        raise InputError(f"{where}: {whole.name!r} has no protocol {unknown[0]!r}")
    return {
        name: _uncounted(protocol).model_copy(
            update={str(key): count for key, count in subset.counts.get(name, {}).items()}
        )
        for name, protocol in whole.protocols.items()
    }
