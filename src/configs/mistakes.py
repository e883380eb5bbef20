"""What is mistyped on the command line, said in one line: the value, what was expected, and the nearest that is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

NO_SETTING = (
    "settings are given as key=value, with quotes around a value that has spaces, such as "
    "'conditions=\"two red circles\"'"
)

# Hydra's words on a file of settings that is not there: the file that asks for it, group, name, what there is
UNKNOWN = re.compile(r"(?:In '([^']*)': )?Could not find '([^']*)/([^'/]*)' Available options in '.*?': (.*)")


def nearest(name: object, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """The one of `known` that is spelt most like `name`, in whatever case; None if none is."""
    by_spelling = {each.lower(): each for each in known}
    found = difflib.get_close_matches(str(name).lower(), by_spelling, n=1, cutoff=cutoff)
    return by_spelling[found[0]] if found else None


def choose(name: object, known: Iterable[str]) -> str:
    """What to choose from, and what might have been meant."""
    known = list(known)
    close = nearest(name, known)
    return f"choose one of: {', '.join(known)}" + (f"; did you mean {close}?" if close else "")


def unreadable(word: str) -> str:
    """Of a word of the command line that Hydra's grammar does not allow."""
    key, equals, value = word.partition("=")
    if not equals or not key.strip():
        return f"{word!r} names no setting; {NO_SETTING}"
    found = f"{word} cannot be read"
    if value.count("[") != value.count("]") or value.count("{") != value.count("}"):
        return f"{found}: a bracket lacks its other half; a list is given as '{key}=[a,b]', in quotes"
    if value.startswith("[") and re.search(r"[\[,]\s*,|,\s*\]", value):
        return f"{found}: a place in its list is empty; give '{key}=[a,b]', with nothing after the last"
    if value.rstrip().endswith(","):
        return f"{found}: it ends with a comma; leave it out, or give a list as '{key}=[a,b]'"
    plain = value.replace("'", "").replace('"', "")
    return f"{found}: some of its signs have a meaning of their own; quote the value twice, as '{key}=\"{plain}\"'"


def several(word: str) -> str:
    """Of a word with commas, outside a multirun."""
    key, _, value = word.partition("=")
    return (
        f"{word} has several values; give one of them, a list as '{key}=[{value}]', a text with commas as "
        f"'{key}=\"{value}\"', or begin with -m for a run of each"
    )


def explain_hydra(message: str, primaries: Iterable[str]) -> str | None:
    """One line for what Hydra says of files of settings and of commas; None for all else.

    Args:
        message: without line breaks.
        primaries: what --config-name may give.
    """
    if ambiguous := re.match(r"Ambiguous value for argument '(.*?)' 1\. To use it", message):
        return several(ambiguous[1])
    if unknown := UNKNOWN.search(message):
        where = f"in {unknown[1]}: " if unknown[1] and "/" in unknown[1] else ""
        wrong = "is unknown" if unknown[3] else "names no file"
        return f"{where}{unknown[2]}={unknown[3]} {wrong}; {choose(unknown[3], unknown[4].split())}"
    if primary := re.match(r"Cannot find primary config '(.*?)'", message):
        close = nearest(primary[1], primaries) or nearest(f"experiment/{primary[1]}", primaries, cutoff=0.9)
        return primary[0] + (f"; did you mean {close}?" if close else "; give such as experiment/my_experiment")
    if fixed := re.match(r"Could not override '(.*?)'", message):
        return f"{fixed[1]} chooses no file of settings in this command; give single ones as key=value"
    if twice := re.match(r"Multiple values for (\S+)\.", message):
        return f"{twice[1]} is chosen already; give {twice[1]}=... once, and without +"
    if shared := re.match(r"(\S+) appears more than once in the final defaults list", message):
        return f"several of the chosen files of settings choose {shared[1]}; choose one of them"
    return None


def explain_list(key: str, reason: str, value: object) -> str | None:
    """One line for a list where there should be none, or the other way round; None for all else."""
    if reason.endswith("is not a ListConfig, list or tuple."):
        return f"{key}={value} is no list; give '{key}=[{value}]'"
    if reason.startswith("Cannot convert 'list' to string"):
        shown = ",".join(map(str, value)) if isinstance(value, Iterable) else str(value)
        return f"{key}=[{shown}] is a list; give one value, without brackets"
    if reason.startswith("Cannot merge DictConfig with ListConfig"):
        return f"{key} is given a list or settings in braces where the other is wanted; a list is '{key}=[a,b]'"
    if reason.endswith("does not support deletion"):
        return f"{key} cannot be left out; give it a value"
    return None
