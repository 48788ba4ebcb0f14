"""The benchmark of what ships and torch does not fuse: the kernel of a rule beside its other forms.

In: the table ``rules`` of the line-up.  Out: rows.  A rule's kernel is compared with its form in
place over all tensors, of which the bytes of both are counted, and with the functional form as
``torch.compile`` fuses it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from types import ModuleType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hamilforge.generated
from hamilforge.runtime.bench.timing import Contestant, Times, interleaved
from hamilforge.runtime.core.loader import load
from hamilforge.runtime.optimizers.clock import latch, tick

Entry = Mapping[str, Any]
Tensors = list[torch.Tensor]
Step = Callable[[], object]
COMPILED = "torch.compile"
#: Operations that write their first argument without reading it.
_WRITE_ONLY = ("aten::copy_", "aten::_foreach_copy_", "aten::zero_", "aten::_foreach_zero_")


def names(left_out: Mapping[str, str]) -> Iterator[str]:
    """The rules that ship, but for those of matrices and those that draw noise.

    Args:
        left_out: names of further rules, with the reasons why they are none of these.

    Returns:
        Their names.
    """
    for module in pkgutil.iter_modules(hamilforge.generated.__path__):
        name = module.name.removesuffix("_torch")
        if name == module.name or name in left_out:
            continue
        product = load(name).module("torch")
        elementwise = hasattr(product, "HYPERPARAMETERS") and not hasattr(product, "SHAPE")
        if elementwise and not product.NOISE:
            yield name


def forms(name: str, entry: Entry, rounds: int | None) -> tuple[dict[str, Times], tuple[int, int]]:
    """The times of a rule's forms, interleaved, and what bytes two of them move.

    Args:
        name: of the rule.
        entry: the number of tensors and their entries, and the rounds.
        rounds: other than those of the entry; None for these.

    Returns:
        The times of ``kernel``, ``in place`` and ``torch.compile``; the bytes that the first and
        the second move in a step.
    """
    torch.compiler.reset()  # else the next rule's stages are taken for one function's new versions
    size = (entry["tensors"], entry["entries"])
    gradients = [*(1e-3 * torch.randn(size, generator=torch.Generator().manual_seed(0)))]
    rules = {
        form: _Rule(name, gradients, option)
        for form, option in (("kernel", "fused"), ("in place", "foreach"), (COMPILED, "foreach"))
    }
    steps: dict[str, Step] = {form: rule.step for form, rule in rules.items()}
    steps[COMPILED] = _compiled(rules[COMPILED])
    contestants = {form: Contestant(rules[form].prepare, step) for form, step in steps.items()}
    for contestant in contestants.values():
        for _ in range(4):
            contestant.prepare()
            contestant.work()
    with Traffic() as traffic:
        rules["in place"].step()
    kernel = kernel_bytes(rules["kernel"].product.__name__, size[0] * size[1], 4)
    return interleaved(contestants, rounds or entry["rounds"]), (kernel, traffic.bytes)


class _Rule:
    """A rule on tensors of its own."""

    def __init__(self, name: str, gradients: Tensors, form: str) -> None:
        self.params = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        self._gradients = gradients
        self.optimizer = load(name).torch_class()(self.params, **{form: True})
        self.product: ModuleType = self.optimizer.product
        self.prepare()
        self.step()

    def prepare(self) -> None:
        """Give each parameter a new gradient."""
        for param, gradient in zip(self.params, self._gradients, strict=True):
            param.grad = gradient.clone()

    def step(self) -> None:
        """All stages of a step, with the same gradient; the last calls for what closes a loop."""
        for _ in range(len(self.optimizer.STAGES) - self.product.CLOSES):
            self.optimizer.step()


def _compiled(rule: _Rule) -> Step:
    """A step by the functional stages of a rule, each compiled with its results written back."""
    product, own = rule.product, rule.optimizer.state
    points = [param.detach() for param in rule.params]
    states = [[own[param][name] for param in rule.params] for name in product.STATES]
    hyper = {name: value for name, (value, _) in product.HYPERPARAMETERS.items()}
    clock = rule.optimizer.param_groups[0]["clock"]

    def written_back(stage: Callable[..., Any]) -> Callable[..., None]:
        def run(points: Tensors, states: list[Tensors], gradients: Tensors, row: Any) -> None:
            held = [*chain(points, *states)]
            results = chain(*stage(points, *states, gradients, *row))
            others = [(old, new) for old, new in zip(held, results, strict=True) if new is not old]
            # what is handed on, as a point that is kept, is written over before it is read
            news = [new.clone() if any(new is own for own in held) else new for _, new in others]
            for (old, _), new in zip(others, news, strict=True):
                old.copy_(new)

        return torch.compile(run)

    stages = [written_back(stage) for stage in rule.optimizer.STAGES]

    def step() -> None:
        nonlocal clock
        clock = latch(product, clock, hyper)
        gradients = [param.grad for param in rule.params]
        with torch.no_grad():
            for number, row in enumerate(clock.rows):
                stages[number](points, states, gradients, tuple(map(float, row)))
                clock = tick(clock)

    return step


class Traffic(TorchDispatchMode):
    """Counts torch's operations, of which a view is none, and the bytes they read and write.

    Attributes:
        operations: how many.
        bytes: of the tensors of an operation, each once read or written.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if function.is_view:
            return result
        self.operations += 1
        given = {**dict(enumerate(args)), **(kwargs or {})}
        writes = False
        schema = function._schema  # noqa: SLF001
        for number, argument in enumerate(schema.arguments):
            value = given.get(number, given.get(argument.name))
            written = argument.alias_info is not None and argument.alias_info.is_write
            only = written and schema.name in _WRITE_ONLY
            self.bytes += _bytes(value) * (1 + written - only)
            writes |= written
        self.bytes += 0 if writes else _bytes(result)
        return result


def _bytes(value: Any) -> int:
    """Those of a tensor, or of a list of tensors; 0 for anything else."""
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size() * (value.ndim > 0)
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def kernel_bytes(product: str, entries: int, itemsize: int) -> int:
    """The bytes that a kernel reads and writes in a step, as its code says.

    A pass over all chunks reads once each array of which it uses entries, and writes once each of
    which it sets any; a chunk stays in the core's cache for all that a pass does with it.

    Args:
        product: the full name of the torch module.
        entries: of all tensors.
        itemsize: bytes of an entry.

    Returns:
        Bytes.
    """
    module = importlib.import_module(product.removesuffix("_torch") + "_numba")
    tree = ast.parse(inspect.getsource(module))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    total = 0
    for stage in module.STAGES:
        for loop in ast.walk(functions[stage.__name__]):
            if isinstance(loop, ast.For) and getattr(loop.iter, "func", None):
                total += _of_pass(loop, functions)
    return total * entries * itemsize


def _of_pass(loop: ast.For, functions: Mapping[str, ast.FunctionDef]) -> int:
    """How many arrays a pass over all chunks reads and writes."""
    read: set[str] = set()
    written: set[str] = set()
    for call in ast.walk(loop):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            function = functions.get(call.func.id)
            for node in ast.walk(function) if function else ():
                if isinstance(node, ast.Subscript) and _is_entry(node):
                    name = node.value.id  # type: ignore[attr-defined]
                    (written if isinstance(node.ctx, ast.Store) else read).add(name)
    return len(read) + len(written)


def _is_entry(node: ast.Subscript) -> bool:
    """Whether it is an array's entry in a loop over entries."""
    index = node.slice
    return isinstance(node.value, ast.Name) and isinstance(index, ast.Name) and index.id == "i"
