"""The regulariser of a field's controls, with its derivatives.

In: a declared cost r(U, U') of the controls of a layer and of their rates of change.  Out: a
:class:`Regulariser`.  The cost of a network is a sum over its layers,

    R = sum_l h_l r(U_l, V_l),   V_l = (U_(l+1) - U_l) / h_l,   V = 0 in the last layer.
"""

from __future__ import annotations

from collections.abc import Mapping

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import RATE, Name, Operation, walk
from hamilforge.gen.derive.adjoint import derivable, gradient
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.derive.lines import Lines
from hamilforge.gen.program.cut import MOMENTS, Cut
from hamilforge.gen.program.networks.network import Regulariser


def build_regulariser(field: kinds.Field, names: Mapping[str, str]) -> Regulariser | None:
    """The regulariser of a field; None where it declares none.

    Args:
        field: with its controls.
        names: how declared names are spelled.

    Raises:
        DeclarationError: the cost has no derivative, or depends on no control.
    """
    if field.regulariser is None:
        return None
    nodes = [*walk(field.regulariser.tree)]
    called = [node.args[0] for node in nodes if isinstance(node, Operation) and node.op == RATE]
    rated = {node.name for node in called if isinstance(node, Name)}
    controls = {name: Array(names[name], shape, False) for name, shape in field.controls}
    rates = {
        name: Array(f"{array.name}_rate", array.shape, False)
        for name, array in controls.items()
        if name in rated
    }
    own = [Array(names[parameter.name], (), False) for parameter in field.parameters]
    lines = Lines((*controls.values(), *rates.values(), *own), field.activation)
    lines.names |= names
    lines.names |= {f"{RATE}({name})": array.name for name, array in rates.items()}
    with derivable(field):
        cost = lines.named(lines.read(field.regulariser), "cost")
        wanted = tuple(array.name for array in (*controls.values(), *rates.values()))
        bars = gradient(lines, cost, wanted)
    cut = Cut(lines)
    value = cut.function("value", {"cost": cost}, free=MOMENTS)
    if not {*value.inputs} & {*controls.values(), *rates.values()}:
        raise DeclarationError.single(
            field.head.source.where, "the regulariser depends on no control", "regulariser"
        )
    return Regulariser(
        rates={names[name]: array for name, array in rates.items()},
        value=value,
        gradient=cut.function("gradient", {"cost": cost, **bars}, free=MOMENTS),
    )
