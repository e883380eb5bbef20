"""Objects asked for in plain English: "two red circles and a blue square at the top left"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
FILLERS = ("the", "at", "in", "on", "to", "of", "side", "corner")  # say nothing
NOUNS = ("object", "objects", "thing", "things")  # of any shape
SPELLINGS = {"grey": "gray", "gray": "grey"}

Names = Mapping[str, Sequence[str]]  # property → the words for its values


def parse(text: str, names: Names, most_objects: int) -> list[dict[str, int]]:
    """The objects that `text` asks for: of each, which value (an index of `names`) some of its properties must have.

    Kinds of object are joined by commas or "and"; each may have a number before it, and words for its properties in
    any order. Plurals are understood. What is not said does not matter.

    Raises:
        ValueError: a word that is not known, a property said twice, nothing or more than `most_objects` asked for; one
            line.
    """
    words = _forms(names)
    longest = max(map(len, words), default=1)
    kinds: list[tuple[int, dict[str, int]]] = []
    for phrase in re.split(r",|\band\b", text.lower()):
        tokens = re.findall(r"[^\s]+", phrase)
        if not tokens:
            continue
        number, description, asks = 1, {}, False
        while tokens:
            first = tokens[0]
            length = next((n for n in range(longest, 0, -1) if tuple(tokens[:n]) in words), 0)
            if length:
                name, value = words[tuple(tokens[:length])]
                if description.get(name, value) != value:
                    both = f"{names[name][description[name]]} and {names[name][value]}"
                    raise ValueError(f"{phrase.strip()!r} asks for one object of {name} {both}; ask for two objects")
                description[name], asks = value, True
                tokens = tokens[length:]
                continue
            if first in NUMBERS:
                number = NUMBERS.index(first) + 1
            elif first in ("a", "an"):
                number = 1
            elif first.isdecimal() and int(first) > 0:
                number = int(first)
            elif first in NOUNS:
                asks = True
            elif first not in FILLERS:
                raise ValueError(f"{first!r} is not known here; {known(names)}")
            tokens = tokens[1:]
        if not asks:
            raise ValueError(f"{phrase.strip()!r} names no object; {known(names)}")
        kinds.append((number, description))
    if not kinds:
        raise ValueError(f"no object is asked for; {known(names)}")
    total = sum(number for number, _ in kinds)
    if total > most_objects:
        raise ValueError(
            f"conditions={text!r} asks for {total} objects, but scenes of this data have {most_objects} at most; ask "
            "for fewer"
        )
    return [description for number, description in kinds for _ in range(number)]


def known(names: Names) -> str:
    """What can be said, in one line."""
    values = "; ".join(f"{name}: {', '.join(of_name)}" for name, of_name in names.items())
    return f"known are numbers (a, two, 3), {values}; joined by commas or 'and'"


def in_words(description: Mapping[str, int], names: Names) -> str:
    """A description as `parse` reads it: "red circle"."""
    places = [names[name][description[name]] for name in ("down", "across") if name in description]
    others = [name for name in description if name not in ("shape", "down", "across")]
    said = [names[name][description[name]] for name in (*others, *({"shape"} & set(description)))]
    thing = " ".join(said if "shape" in description else [*said, "object"])
    return f"{thing} at the {' '.join(places)}" if places else thing


def _forms(names: Names) -> dict[tuple[str, ...], tuple[str, int]]:
    """All that each value is called, in single words → its property and index."""
    forms: dict[tuple[str, ...], tuple[str, int]] = {}
    for name, values in names.items():
        for index, value in enumerate(values):
            *before, last = value.lower().replace("_", " ").split()
            for one in {last, SPELLINGS.get(last, last)}:
                for form in (one, f"{one}s", f"{one}es"):
                    forms.setdefault((*before, form), (name, index))
    return forms
