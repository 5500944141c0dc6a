"""Values of a config that are not of the type that its field says.

Settings come from JSON files and from KEY=VALUE on the command line, where `lora_vision=False` is
the word "False", which counts as true; and a number in quotes is found out hours later.
"""

from __future__ import annotations

import math
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from eliq.errors import ConfigError

__all__ = ["check_types"]

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    NoneType: "null",
}


def check_types(config: Any, section: str = "") -> None:
    """Compares the fields of a dataclass with their annotations.

    Fields of bool, int, float and str, of these or None, and of tuples of one of these are checked;
    any other is its config's own business. A whole number passes for a float, a bool for no number,
    and no number may be infinite or NaN.

    Raises:
        ConfigError: the first value of another type, as "section.field".
    """
    for name, hint in get_type_hints(type(config)).items():
        value, field = getattr(config, name), f"{section}.{name}" if section else name
        if get_origin(hint) is tuple:
            (kind, *rest) = get_args(hint)
            if rest != [...] or kind not in _WORDS:
                continue
            if not isinstance(value, (tuple, list)) or not all(_is(one, kind) for one in value):
                raise ConfigError(f"{field}: expected a list, each {_WORDS[kind]}, found {value!r}")
            continue
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        if set(kinds) <= set(_WORDS) and not any(_is(value, kind) for kind in kinds):
            expected = " or ".join(_WORDS[kind] for kind in kinds)
            raise ConfigError(f"{field}: expected {expected}, found {value!r}")


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
