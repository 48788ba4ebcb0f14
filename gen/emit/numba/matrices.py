"""Functions of matrices as numba prints them: one matrix at a time, in room that is given.

In: straight-line functions of matrices.  Out: finished lines.  Every matrix that is computed lies
in a part of the array ``work``; sizes are those of the dimensions, whose names the function knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import ALONG, joined
from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Epsilon,
    Identity,
    MatrixCall,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Size,
    Stack,
    Transpose,
)
from hamilforge.gen.emit.numba.arrays import EntryPrinter, FunctionView, scalar_lines
from hamilforge.gen.emit.printer import loop_head
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.inline import inlined
from hamilforge.gen.program.ir import Expr, Function, Line, Reduce, Repeat, names

#: What a function of matrices needs beside its operands: so many square matrices of its shorter
#: side, and so many columns.
_ROOM = {
    "polar": 5,
    "qr": 2,
    "quintic": 2,
    "riccati": 9,
    "rotation": 22,
    "cayley": 22,
    "solve": 1,
    "expm": 3,
    "det": 1,
    "cholesky": 0,
}
#: The module of the runtime that has a kernel, where it is not matrix_kernels.
_HOMES = {
    **dict.fromkeys(("cholesky", "det", "polar", "qr", "solve"), "matrix_decompositions"),
    **dict.fromkeys(("expm", "quintic"), "matrix_functions"),
    **dict.fromkeys(("cayley", "rotation"), "matrix_rotations"),
    "riccati": "matrix_equations",
}
_KERNELS = {
    (False, False): "times",
    (True, False): "transposed_times",
    (False, True): "times_transposed",
    (True, True): "transposed_times_transposed",
}


class MatrixWriter:
    """Functions of matrices, and the elementwise loops that they call.

    Args:
        need: notes what the texts use.
    """

    def __init__(self, need: Requirements) -> None:
        self._need = need
        #: What the names of loops begin with after ``set_`` and ``sum_``.
        self.mark = ""
        self.loops: dict[str, FunctionView] = {}
        #: How many numbers a matrix needs, as an expression in the dimensions.
        self.room: list[str] = []

    def function(
        self, name: str, doc: str, function: Function, owned: Sequence[str]
    ) -> FunctionView:
        """A function that changes some of its arguments.

        Args:
            name: of the function.
            doc: its docstring.
            function: what is written; its results are what arguments become.
            owned: the arguments that change, each set from its result.

        Returns:
            The view; its arguments are the inputs and ``work``.
        """
        known = {array.name: array for array in function.inputs}
        lines = [f"{size_name(axis)} = {text}" for axis, text in _sizes(function.inputs)]
        body: list[str] = []
        self.room = []
        for line in inlined(function):
            known[line.name] = line.target
            room, text = self._line(line, known)
            body += [*room, *text]
        for home in owned:
            array = dict(function.results).get(home)
            if array is not None and array.name != home:
                body.append(f"{self._kernel('copied')}({array.name}, {home})")
        arguments = (*(array.name for array in function.inputs), "work")
        return FunctionView(name, arguments, doc, (*lines, "at = 0", *body))

    def _kernel(self, name: str) -> str:
        return self._need(f"{_HOMES.get(name, 'matrix_kernels')}.{name}")

    def _taken(self, name: str, shape: Shape) -> list[str]:
        """A matrix in the room."""
        rows, columns = map(size_name, shape)
        self.room.append(f"{rows} * {columns}")
        return [
            f"{name} = work[at : at + {rows} * {columns}].reshape(({rows}, {columns}))",
            f"at += {rows} * {columns}",
        ]

    def _line(self, line: Line, known: Mapping[str, Array]) -> tuple[list[str], list[str]]:
        """The room that a line takes, and what fills it."""
        out, target = line.name, line.target
        room = [] if target.is_scalar else self._taken(out, target.shape)
        match line.value:
            case Product(left, right, left_transposed, right_transposed):
                kernel = self._kernel(_KERNELS[left_transposed, right_transposed])
                return room, [f"{kernel}({left}, {right}, {out})"]
            case Transpose(of):
                return room, [f"{self._kernel('turned')}({of}, {out})"]
            case Identity(column=column):
                place = -1 if column is None else column
                return room, [f"{self._kernel('identity')}({place}, {out})"]
            case Size(of):
                return room, [f"{out} = float({size_name(of)})"]
            case Epsilon(of):
                return room, [f"{out} = np.finfo({of}.dtype).eps"]
            case MatrixCall(function, of):
                return self._called(function, of, known, line, room)
            case Repeat():
                return self._repeated(line.value, out, known, room)
            case Reduce(arg=arg, how="sum", over="entries"):
                return room, [self._summed(line, arg, [known[name] for name in names(arg)])]
            case Reduce() | Outer() | Shift() | OtherProducts() | Entry() | Stack():
                raise NotImplementedError(f"numba: {line.value} of matrices")
            case value:
                return room, self._elementwise(line, value, [known[n] for n in names(value)])

    def _repeated(
        self, loop: Repeat, out: str, known: Mapping[str, Array], room: list[str]
    ) -> tuple[list[str], list[str]]:
        """A loop; what it repeats is in the place of its result from the beginning."""
        loop = loop.within(out)
        inside = {**known, out: replace(known[loop.start], name=out)}
        body: list[str] = []
        for line in loop.lines:
            inside[line.name] = line.target
            more, text = self._line(line, inside)
            room += more
            body += text
        copied = self._kernel("copied")
        return room, [
            f"{copied}({loop.start}, {out})",
            loop_head(loop),
            *(f"    {line}" for line in (*body, f"{copied}({loop.end}, {out})")),
        ]

    def _called(
        self,
        function: str,
        of: Sequence[str],
        known: Mapping[str, Array],
        line: Line,
        room: list[str],
    ) -> tuple[list[str], list[str]]:
        """A function of whole matrices; one that gives a number returns it."""
        kernel = self._kernel(function)
        arguments = [*of]
        if _ROOM.get(function, 0):
            rows, columns = map(size_name, known[of[0]].shape)
            size = f"min({rows}, {columns})" if rows != columns else columns
            own = f"{_ROOM[function]} * {size} * ({size} + 1)"
            name = f"room_of_{line.name}"
            self.room.append(own)
            room = [*room, f"{name} = work[at : at + {own}]", f"at += {own}"]
            arguments.append(name)
        if line.target.is_scalar:
            return room, [f"{line.name} = {kernel}({', '.join(arguments)})"]
        return room, [f"{kernel}({', '.join((*arguments, line.name))})"]

    def _elementwise(self, line: Line, value: Expr, read: Sequence[Array]) -> list[str]:
        if line.target.is_scalar:
            return scalar_lines(line.name, value, self._need)
        name = f"set_{self.mark}{line.name}"
        lines = self._loop(value, read, line.target.shape, "out")
        doc = f"{line.name}, entry by entry."
        arguments = (*(array.name for array in read), "out")
        self.loops[name] = FunctionView(name, arguments, doc, lines)
        return [f"{name}({', '.join((*arguments[:-1], line.name))})"]

    def _summed(self, line: Line, value: Expr, read: Sequence[Array]) -> str:
        """A sum over all entries."""
        name = f"sum_{self.mark}{line.name}"
        whole = next(array for array in read if not array.is_scalar)
        shape: Shape = ()
        for array in read:
            shape = joined(shape, array.shape) or shape  # shapes that fit, or there were no line
        lines = self._loop(value, read, shape, "", whole.name)
        arguments = tuple(array.name for array in read)
        doc = f"{line.name}: the sum of all entries."
        self.loops[name] = FunctionView(name, arguments, doc, lines, "**SUMMING")
        return f"{line.name} = {name}({', '.join(arguments)})"

    def _loop(
        self, value: Expr, read: Sequence[Array], shape: Shape, out: str, like: str = ""
    ) -> tuple[str, ...]:
        """Loops over the entries that set an array, or add them up."""
        printer = EntryPrinter({array.name: f"{array.name}_n" for array in read}, self._need)
        text = printer(value)
        typed = out or like
        lines = [f"{name} = {typed}.dtype.type({v})" for name, v in printer.numbers.items()]
        inner = []
        sizes: dict[str, str] = {}
        for array in read:
            own = array.name
            if array.is_scalar:
                lines.append(f"{own}_n = {typed}.dtype.type({own})")
                continue
            index = [
                "0" if axis == ALONG else letter
                for axis, letter in zip(array.shape, "ij", strict=True)
            ]
            inner.append(f"        {own}_n = {own}[{', '.join(index)}]")
            for place, axis in enumerate(array.shape):
                sizes.setdefault(axis, f"{own}.shape[{place}]")
        rows, columns = (
            [f"{out}.shape[0]", f"{out}.shape[1]"]
            if out
            else [sizes.get(axis, "1") for axis in shape]
        )
        lines += [] if out else ["total = 0.0"]
        lines += [f"for i in range({rows}):", f"    for j in range({columns}):", *inner]
        lines.append(f"        {out}[i, j] = {text}" if out else f"        total += {text}")
        return (*lines, *([] if out else ["return total"]))


def size_name(axis: str) -> str:
    """What the size of a dimension is called; a number is itself."""
    return axis if axis.isdigit() else f"size_{axis}"


def _sizes(arrays: Iterable[Array]) -> Iterable[tuple[str, str]]:
    """Each dimension with a name, and where its size is found."""
    known: dict[str, str] = {}
    for array in arrays:
        for place, axis in enumerate(array.shape):
            if axis != ALONG:
                known.setdefault(axis, f"{array.name}.shape[{place}]")
    return known.items()
