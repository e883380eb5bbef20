"""What one visitor has on the page, and what each action makes of it. Legend: N slots, M blocks, K codes a block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .scene import Codes, EditableScene, codes_from_json
from .studio import COMPLETIONS, OBJECT, SAMPLES, Pixels, Studio, View
from .texts import Refused, say, word

TEMPERATURES = (0.1, 2.0)
MOST_PROPOSALS = 2 * SAMPLES


@dataclass(frozen=True)
class Said:
    """A line to the visitor, not yet in a language; `values` that are `Name`s are put into it then."""

    key: str
    values: dict[str, Any]
    is_error: bool = False

    def line(self, language: str) -> str:
        filled = {name: v.text(language) if isinstance(v, Name) else v for name, v in self.values.items()}
        return say(language, self.key, **filled)


@dataclass(frozen=True)
class Name:
    """What a slot or a block is called: a text's `key` with its `number`, or a property of the data."""

    key: str
    number: int = 0
    factor: str | None = None

    def text(self, language: str) -> str:
        if self.factor is None:
            return say(language, self.key, number=self.number)
        name = word(language, self.factor)
        return name if self.number == 1 else f"{name} {self.number}"


@dataclass(frozen=True, eq=False)  # two are the same only if they are one: so Gradio can hash it
class Session:
    """One visitor's page.

    Attributes:
        scene: None before there is any.
        picture: what was read; None where codes were loaded or written.
        selected: slot and block of the chosen cell.
        kept: slots that the prior is to keep.
        proposals: scenes to choose from.
        said: the last line to the visitor.
    """

    scene: EditableScene | None = None
    picture: Pixels | None = None
    selected: tuple[int, int] | None = None
    kept: frozenset[int] = frozenset()
    proposals: tuple[Codes, ...] = ()
    said: Said | None = None

    # ------------------------------------------------------------------ where scenes come from

    def at_random(self, studio: Studio, seed: int) -> Session:
        """A scene of the data, or one that the prior writes."""
        picture = studio.random_picture(seed)
        if picture is None:
            return self._begin(studio, studio.sample(1, 1.0, None, seed)[0], "did_draw_random")
        return self._begin(studio, studio.read(picture), "did_random", picture)

    def from_picture(self, studio: Studio, data: bytes) -> Session:
        """A picture file. Raises Refused for what is none."""
        picture = studio.open_picture(data)
        return self._begin(studio, studio.read(picture), "did_read", picture, slots=studio.model.num_slots)

    def from_codes(self, studio: Studio, data: bytes) -> Session:
        """A file of codes. Raises Refused for what is none, or codes of another model."""
        model = studio.model
        codes = codes_from_json(data, model.num_slots, model.num_codebooks, model.codebook_size)
        return self._begin(studio, codes, "did_load")

    def _begin(self, studio: Studio, codes: Codes, key: str, picture: Pixels | None = None, **values: Any) -> Session:
        scene = EditableScene(codes, studio.model.codebook_size)
        return replace(
            self, scene=scene, picture=picture, selected=_first_cell(studio, codes), kept=frozenset(),
            said=Said(key, values),
        )  # fmt: skip

    # ------------------------------------------------------------------ edits

    def act(self, studio: Studio, action: Any, seed: int = 0) -> Session:
        """One action of the page, as a list: ["select", slot, block], ["code", slot, block, code],
        ["swap", block, slot, slot], ["remove", slot], ["add"], ["keep", slot], ["undo"] or ["take", proposal].

        Raises:
            Refused: it is none of these, or cannot be done.
        """
        name, *numbers = action if isinstance(action, list) and action else (None,)
        known = {"select": 2, "code": 3, "swap": 3, "remove": 1, "add": 0, "keep": 1, "undo": 0, "take": 1}
        fits = isinstance(name, str) and known.get(name) == len(numbers)
        if not fits or not all(type(number) is int for number in numbers):
            raise Refused("bad_action")
        if name == "take":
            return self._take(studio, *numbers)
        if self.scene is None:
            raise Refused("no_scene")
        if name == "add":
            return self._add(studio, seed)
        return getattr(self, f"_{name}")(studio, self.scene, *numbers)

    def _select(self, studio: Studio, scene: EditableScene, slot: int, block: int) -> Session:
        scene.check(slot, block)
        return replace(self, selected=(slot, block), said=None)

    def _code(self, studio: Studio, scene: EditableScene, slot: int, block: int, code: int) -> Session:
        after = scene.with_code(slot, block, code)
        values = {"name": self._slot(studio, slot), "block": block_name(studio, block), "code": code}
        return replace(self, scene=after, selected=(slot, block), said=Said("did_code", values))

    def _swap(self, studio: Studio, scene: EditableScene, block: int, first: int, second: int) -> Session:
        after = scene.swapped(block, first, second)
        names = {"first": self._slot(studio, first), "second": self._slot(studio, second)}
        return replace(self, scene=after, said=Said("did_swap", {**names, "block": block_name(studio, block)}))

    def _remove(self, studio: Studio, scene: EditableScene, slot: int) -> Session:
        after = studio.removed(scene, slot)
        said = Said("did_remove", {"name": self._slot(studio, slot)})
        return replace(self, scene=after, kept=self.kept - {slot}, said=said)

    def _add(self, studio: Studio, seed: int) -> Session:
        assert self.scene is not None
        after, slot = studio.added(self.scene, seed)
        block = self.selected[1] if self.selected else 0
        changed = replace(self, scene=after, selected=(slot, block))
        return replace(changed, said=Said("did_add", {"name": changed._slot(studio, slot)}))

    def _keep(self, studio: Studio, scene: EditableScene, slot: int) -> Session:
        scene.check(slot)
        return replace(self, kept=self.kept ^ {slot}, said=None)

    def _undo(self, studio: Studio, scene: EditableScene) -> Session:
        return replace(self, scene=scene.undone(), said=Said("did_undo", {}))

    def _take(self, studio: Studio, number: int) -> Session:
        if not 0 <= number < len(self.proposals):
            raise Refused("bad_action")
        codes = self.proposals[number]
        said = Said("did_take", {"number": number + 1})
        if self.scene is None:
            begun = self._begin(studio, codes, "did_take", number=number + 1)
            return replace(begun, said=said)
        selected = _first_cell(studio, codes)
        return replace(self, scene=self.scene.with_codes(codes), selected=selected, kept=frozenset(), said=said)

    # ------------------------------------------------------------------ the prior

    def propose(self, studio: Studio, complete: bool, temperature: Any, top_k: Any, seed: int) -> Session:
        """Scenes to choose from: new ones, or with `complete` ones that keep the slots in `kept`.

        Raises:
            Refused: numbers out of range, nothing to keep, no prior.
        """
        low, high = TEMPERATURES
        if not isinstance(temperature, (int, float)) or not low <= temperature <= high:
            raise Refused("bad_number", name="temperature", low=low, high=high)
        size = studio.model.codebook_size
        if not isinstance(top_k, (int, float)) or not 0 <= top_k <= size or int(top_k) != top_k:
            raise Refused("bad_number", name="top-k", low=0, high=size)
        among = int(top_k) or None
        if complete:
            if self.scene is None:
                raise Refused("no_scene")
            kept = [self.scene.codes[slot] for slot in sorted(self.kept)]
            found = studio.complete(kept, COMPLETIONS, float(temperature), among, seed)
        else:
            found = studio.sample(SAMPLES, float(temperature), among, seed)
        return replace(self, proposals=tuple(found), said=Said("did_propose", {"count": len(found)}))

    def refused(self, error: Refused) -> Session:
        """The same page, which says why something was not done."""
        return replace(self, said=Said(error.key, error.values, is_error=True))

    def _slot(self, studio: Studio, slot: int) -> Name:
        assert self.scene is not None
        (view,) = studio.look([self.scene.codes])
        return slot_names(view)[slot]


def slot_names(view: View) -> list[Name]:
    """What the slots of a scene are called: objects are counted."""
    names, objects = [], 0
    for role in view.roles:
        objects += role == OBJECT
        names.append(Name("object", objects) if role == OBJECT else Name(role))
    return names


def block_name(studio: Studio, block: int) -> Name:
    """The property that a block says most about, or its number from 1."""
    meaning = studio.meanings[block]
    return Name("block", block + 1) if meaning.factor is None else Name("block", meaning.nth, meaning.factor)


def _first_cell(studio: Studio, codes: Codes) -> tuple[int, int]:
    """The first block of the first object."""
    roles: Sequence[str] = studio.look([codes])[0].roles
    return (roles.index(OBJECT) if OBJECT in roles else 0), 0
