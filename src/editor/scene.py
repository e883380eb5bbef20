"""A scene that is edited: its codes, and those it had before. No model, no pictures, no page.

Legend: N slots, M blocks, K codes a block.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from .texts import Refused

Slot = tuple[int, ...]  # M codes
Codes = tuple[Slot, ...]  # N slots

MOST_UNDOS = 50
MOST_BYTES = 2**20  # of a file of codes


@dataclass(frozen=True)
class EditableScene:
    """Codes (N, M) in [0, K), and how they came about. Every edit returns a new scene; the old one stays as it is.

    Attributes:
        codes: N slots of M codes.
        codebook_size: K.
        past: the codes before each edit, the oldest first.
    """

    codes: Codes
    codebook_size: int
    past: tuple[Codes, ...] = ()

    @property
    def before(self) -> Codes:
        """The codes before the last edit; where there was none, these."""
        return self.past[-1] if self.past else self.codes

    def with_codes(self, codes: Codes) -> EditableScene:
        """The scene after an edit that leaves `codes`; the same one where they are the same.

        Raises:
            Refused: sizes or codes that do not fit.
        """
        check_codes(codes, len(self.codes), len(self.codes[0]), self.codebook_size)
        if codes == self.codes:
            return self
        return replace(self, codes=codes, past=(*self.past, self.codes)[-MOST_UNDOS:])

    def with_code(self, slot: int, block: int, code: int) -> EditableScene:
        """One code of one slot changed. Raises Refused where there is no such slot, block or code."""
        self.check(slot, block)
        if type(code) is not int or not 0 <= code < self.codebook_size:
            raise Refused("bad_code", code=code, last=self.codebook_size - 1)
        old = self.codes[slot]
        return self.with_slot(slot, (*old[:block], code, *old[block + 1 :]))

    def with_slot(self, slot: int, codes: Slot) -> EditableScene:
        """All codes of one slot changed: another object in its place."""
        self.check(slot)
        return self.with_codes((*self.codes[:slot], codes, *self.codes[slot + 1 :]))

    def swapped(self, block: int, first: int, second: int) -> EditableScene:
        """One property of two objects exchanged."""
        self.check(first, block)
        self.check(second, block)
        changed = self.with_code(first, block, self.codes[second][block]).codes
        return self.with_codes(replace(self, codes=changed).with_code(second, block, self.codes[first][block]).codes)

    def undone(self) -> EditableScene:
        """The scene before the last edit. Raises Refused where there was none."""
        if not self.past:
            raise Refused("nothing_to_undo")
        return replace(self, codes=self.past[-1], past=self.past[:-1])

    def check(self, slot: int, block: int = 0) -> None:
        """Raises Refused unless there are such a slot and block, counted from 0."""
        if type(slot) is not int or not 0 <= slot < len(self.codes):
            raise Refused("bad_slot", slot=slot, slots=len(self.codes))
        if type(block) is not int or not 0 <= block < len(self.codes[0]):
            raise Refused("bad_block", block=block, blocks=len(self.codes[0]))


def check_codes(codes: Any, slots: int, blocks: int, codebook_size: int) -> None:
    """Raises Refused unless `codes`, lists or tuples, are N slots of M integers in [0, K)."""
    rows = codes if isinstance(codes, (list, tuple)) else ()
    widths = {len(row) if isinstance(row, (list, tuple)) else 0 for row in rows}
    if len(rows) != slots or widths != {blocks}:
        width = "?" if len(widths) != 1 else widths.pop()
        raise Refused("wrong_shape", found=f"{len(rows)} × {width}", slots=slots, blocks=blocks)
    for code in (code for row in rows for code in row):
        if type(code) is not int or not 0 <= code < codebook_size:  # True is an int, too
            shown = repr(code)
            shown = shown if len(shown) <= 20 else f"{shown[:20]}…"
            raise Refused("bad_code", code=shown, last=codebook_size - 1)


def codes_to_json(codes: Codes) -> str:
    """A file of one scene, which `codes_from_json` and `python -m src.generate given=...` read."""
    return json.dumps({"shape": [1, len(codes), len(codes[0])], "codes": [codes]}) + "\n"


def codes_from_json(data: bytes, slots: int, blocks: int, codebook_size: int) -> Codes:
    """The first scene in a file of codes: {"codes": [scene, ...]}, as written here or by `python -m src.generate`.

    Raises:
        Refused: too large, no such file, or codes of another model.
    """
    if len(data) > MOST_BYTES:
        raise Refused("too_large", limit=f"{MOST_BYTES // 2**20} MB")
    try:
        scenes = json.loads(data.decode("utf-8"))["codes"]
        scene = scenes[0]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise Refused("not_codes", slots=slots, blocks=blocks) from None
    if not isinstance(scenes, list):
        raise Refused("not_codes", slots=slots, blocks=blocks)
    check_codes(scene, slots, blocks, codebook_size)
    return tuple(tuple(row) for row in scene)
