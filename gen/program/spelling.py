"""Declared names as generated code spells them.

In: the names of a declaration.  Out: for each, a name that no language and no generated function
has taken: itself, or itself with an underscore behind, which no declared name has.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

#: Names that generated functions and their modules use for themselves.
_TAKEN = frozenset(
    "h t w p k rate states shared prepare finish layer layer_adjoint slope value gradient seed np "
    "numba njit number slot first last times steps stride unknowns fresh with_steps with_ends "
    "solved solved_linear step out scratch n i j block math torch systems pivots rights done "
    "stages slopes dots offsets size before change iteration column refinement layer_kernels "
    "vector_math stage_systems linear by_step by_time by_scalar numbers evaluate forward backward "
    "running_cost total flat costate velocity momentum reach range max min abs float int "
    "draws sizes len inverse plus root cost costs regulariser regularise".split()
)
#: Names that those of stages, ends, sums and loops could be.
_PATTERN = re.compile(
    r".*_(\d+|end|start|new|dot|slope|offset|bar|rate|all|total|partial|gradient|now|row|flat|n)"
    r"|(p|w|k|set|weight|term|factor|flat|number|rate|states|shared|slope|costate|velocity"
    r"|momentum|time)_.*|hidden\d*|terms\d*|value\d+|matrix\d*|vector\d*|scalar\d*|readout\d*|loss\d*"
    r"|factors\d*|product\d*|.*_(plus|minus)_\d+|.*_others|seed\d*"
)
#: Names that are taken once they are followed by the number of a stage.
_NUMBERED = re.compile(r"[QP]?[AB]|C\d?|weighted")


def spelled(name: str) -> str:
    """A declared name in generated code."""
    taken = keyword.iskeyword(name) or name in _TAKEN or _PATTERN.fullmatch(name)
    return f"{name}_" if taken else name


def spelling(names: Iterable[str], by_stage: bool = False) -> dict[str, str]:
    """All declared names in generated code, which numbers some of them by stage."""
    return {
        name: f"{name}_" if by_stage and _NUMBERED.fullmatch(name) else spelled(name)
        for name in names
    }
