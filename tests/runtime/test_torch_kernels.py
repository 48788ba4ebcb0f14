"""Torch modules on the compiled kernels: the same as by torch's operations, or refused."""

from __future__ import annotations

import contextlib
import copy
import pickle
import threading
from typing import Any

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import hamilforge as hf
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.networks.torch_network import Network

from .networks import near

pytestmark = pytest.mark.usefixtures("kernels")
#: With one state, two, a running cost, parameters, fixed arrays, time, stages that are solved for.
NETWORKS = {
    "resnet": ("resnet", "rk4", {"d": 2}),
    "larger": ("resnet", "heun2", {"d": 5}),
    "stages": ("resnet", "implicit_midpoint", {"d": 3}),
    "pair": ("two_layer_hamiltonian", "stormer_verlet_pair", {"d": 2, "m": 3}),
    "costed": ("steered", "rk4", {"d": 2}),
    "fixed": ("universal5", "rk4", {"d": 2}),
    "controlled": ("controlled", "rk4", {"d": 2}),
}
MEMORIES = ("all", "states", "checkpoint")


def made(name: str = "resnet", layers: int = 4, **options: Any) -> Any:
    field, method, sizes = NETWORKS[name]
    torch.manual_seed(0)
    options = {"h": 0.1, "steps": "learned", "dtype": torch.float64, **options}
    network = hf.network(field, method, layers, sizes, **options)
    with torch.no_grad():
        for control in network.parameters():
            control.add_(0.1 * torch.rand_like(control))
    return network


def drawn(network: Any, rows: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    widths = [network.sizes[shape[0]] for shape in network.STATES.values() if shape]
    kind = network.t0.dtype
    return [0.4 * torch.randn(rows, width, generator=generator).to(kind) for width in widths]


def total(found: Any) -> torch.Tensor:
    """A number that every result enters."""
    ends, cost = found if isinstance(found, tuple) and found[-1].dim() == 1 else (found, None)
    ends = ends if isinstance(ends, tuple) else (ends,)
    value = sum(torch.sin(end).sum() + (end**3).sum() for end in ends)
    return value if cost is None else value + (cost**2).sum()


def slopes(network: Any, states: list[torch.Tensor], fused: bool | None) -> dict[str, Any]:
    network.fused = fused
    network.zero_grad()
    inputs = [state.clone().requires_grad_() for state in states]
    network.t0 = network.t0.detach().requires_grad_()
    found = total(network(*inputs))
    found.backward()
    named = {name: one.grad for name, one in network.named_parameters()}
    named |= {f"state {k}": one.grad for k, one in enumerate(inputs)}
    return named | {"t0": network.t0.grad, "value": found.detach()}


# --- the same -----------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_find_what_operations_find(name: str, memory: str) -> None:
    network = made(name, memory=memory)
    states = drawn(network)
    near(slopes(network, states, True), slopes(network, states, False), 1e-12)


def test_a_last_state_kept_alone_is_gone_back_from() -> None:
    network = made("stages", memory="reversible")
    states = drawn(network)
    near(slopes(network, states, True), slopes(network, states, False), 1e-12)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 1501])
def test_any_number_of_samples_is_cut_into_blocks(rows: int, threads: int) -> None:
    network = made("larger", layers=2)
    states = drawn(network, rows)
    wanted = slopes(network, states, False)
    torch.set_num_threads(threads)
    first = slopes(network, states, True)
    near(first, wanted, 1e-12)
    again = slopes(network, states, True)  # in the same arrays
    assert all(torch.equal(again[name], value) for name, value in first.items())


def test_single_precision_is_as_exact_as_by_operations() -> None:
    network = made(dtype=torch.float32)
    states = drawn(network)
    exact = made()
    exact.load_state_dict({name: one.double() for name, one in network.state_dict().items()})
    wanted = slopes(exact, [state.double() for state in states], False)
    found = slopes(network, states, True)
    assert found["state 0"].dtype == torch.float32
    near(found, wanted, 2e-6)


def test_states_of_any_strides_and_costates_that_are_expanded_are_read_right() -> None:
    network = made()
    (rows,) = drawn(network, 8)
    side = rows.repeat(1, 2)[:, 1:3]
    for given in (rows.T.contiguous().T, side, rows.flip(0)[::2], rows[:1].expand(8, 2)):
        network.fused = True
        point = given.detach().requires_grad_()
        end = network(point)
        assert end.is_contiguous()
        (found,) = torch.autograd.grad(end.sum(), point)
        network.fused = False
        (wanted,) = torch.autograd.grad(network(point).sum(), point)
        assert torch.allclose(found, wanted, rtol=1e-12)


def test_only_what_requires_a_gradient_has_one() -> None:
    network = made(steps="fixed", fused=True)
    network.control("K").requires_grad_(False)
    (state,) = drawn(network)
    network(state).sum().backward()
    assert network.control("K").grad is None
    assert network.control("b").grad is not None
    network.requires_grad_(False)
    assert not network(state).requires_grad
    with torch.no_grad():
        assert torch.equal(network(state.requires_grad_()), network(state.detach()))


# --- torch's own ways ---------------------------------------------------------------------------


@pytest.mark.parametrize("memory", MEMORIES)
def test_graphs_that_live_at_once_have_arrays_of_their_own(memory: str) -> None:
    network = made(memory=memory, fused=True)
    points = [torch.randn(5, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    wanted = [torch.autograd.grad(total(network(point)), point)[0] for point in points]
    values = [total(network(point)) for point in points]
    for value, point, slope in [*zip(values, points, wanted, strict=True)][::-1]:
        (once,) = torch.autograd.grad(value, point, retain_graph=True)
        total(network(points[0]))  # what is held by no graph is written to
        assert torch.equal(once, slope)
        assert torch.equal(torch.autograd.grad(value, point)[0], slope)


def test_arrays_of_a_graph_that_is_gone_serve_the_next_call() -> None:
    network = made(fused=True)
    (state,) = drawn(network)
    values = [total(network(state)) for _ in range(3)]
    free = network._kernels._kept._free
    assert not free
    values.pop().backward()
    (own,) = free
    values.append(total(network(state)))
    assert not free
    values.pop()
    assert free == [own]


@pytest.mark.parametrize("memory", MEMORIES)
def test_saved_tensors_may_be_moved_or_computed_again(memory: str) -> None:
    network = made(memory=memory, fused=True)
    (state,) = drawn(network)
    wanted = slopes(network, [state], True)
    moved = torch.autograd.graph.saved_tensors_hooks(torch.clone, lambda tensor: tensor)
    for context in (moved, contextlib.nullcontext()):
        network.zero_grad()
        point = state.clone().requires_grad_()
        with context:
            again = isinstance(context, contextlib.nullcontext)
            end = checkpoint(network, point, use_reentrant=False) if again else network(point)
            value = total(end)
        total(network(state * 2))  # writes to arrays that are free
        value.backward()
        assert torch.equal(point.grad, wanted["state 0"])
        assert torch.equal(network.control("K").grad, wanted["control_K"])


def test_what_was_changed_in_between_is_an_error() -> None:
    network = made(fused=True)
    (state,) = drawn(network)
    value = total(network(state))
    with torch.no_grad():
        network.control("K").mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_a_second_derivative_is_refused_and_forward_mode_too() -> None:
    network = made(fused=True)
    (state,) = drawn(network)
    point = state.requires_grad_()
    with pytest.raises(RuntimeError, match='with memory="autograd"'):
        torch.autograd.grad(total(network(point)), point, create_graph=True)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(state.detach(), torch.ones_like(state))
        for fused in (True, False):
            network.fused = fused
            with pytest.raises(RuntimeError, match="forward mode AD"):
                network(dual)


def test_many_directions_at_once_are_each_of_them() -> None:
    network = made("costed")
    states = [state.requires_grad_() for state in drawn(network, 3)]

    def rows(fused: bool) -> Any:
        network.fused = fused
        value = network(*states)
        end = value[0] if network.RUNNING else value
        inputs = [*states, *network.parameters()]
        return torch.autograd.grad(
            end, inputs, torch.eye(end.numel(), dtype=end.dtype).reshape(-1, *end.shape),
            is_grads_batched=True, allow_unused=True,
        )  # fmt: skip

    for found, wanted in zip(rows(True), rows(False), strict=True):
        assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_copies_have_arrays_of_their_own_and_another_type_other_kernels() -> None:
    network = made(fused=True)
    (state,) = drawn(network)
    wanted = network(state)
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert copied._kernels is None
        assert torch.equal(copied(state), wanted)
    network.float()
    assert torch.allclose(network(state.float()).double(), wanted, rtol=1e-5)
    assert torch.allclose(network.double()(state), wanted, rtol=1e-5)


def test_many_threads_may_call_one_module() -> None:
    network = made(fused=True, memory="checkpoint")
    points = [torch.randn(9, 2, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    wanted = [torch.autograd.grad(total(network(point)), point)[0] for point in points]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(10):
            (found,) = torch.autograd.grad(total(network(points[k])), points[k])
            wrong.extend([k] * (not torch.equal(found, wanted[k])))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# --- where the kernels do not apply -------------------------------------------------------------


class Marked(torch.Tensor):
    """A class of tensors of somebody else."""


def vmapped(network: Any, state: torch.Tensor) -> torch.Tensor:
    return torch.func.vmap(lambda row: network(row[None])[0])(state)


def traced(network: Any, state: torch.Tensor) -> torch.Tensor:
    doubled = torch.jit.trace(network, (state,), check_trace=False)
    assert torch.allclose(doubled(2 * state), network(2 * state), rtol=1e-12)  # not a constant
    return doubled(state)


def counted(network: Any, state: torch.Tensor) -> torch.Tensor:
    with FlopCounterMode(display=False) as counter:
        found = network(state)
    assert counter.get_total_flops()
    return found


ELSEWHERE = {
    "a transform of torch.func": vmapped,
    "operations are recorded": traced,
    "torch.compile, torch.jit.trace or a dispatch mode": counted,
    "of the class Marked": lambda network, state: network(state.as_subclass(Marked)),
    "a negated view": lambda network, state: network(torch._neg_view(-state)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reason", ELSEWHERE)
def test_operations_take_over_elsewhere_unless_the_kernels_are_insisted_on(reason: str) -> None:
    network = made(fused=False)
    (state,) = drawn(network)
    wanted = network(state)
    network.fused = None
    found = ELSEWHERE[reason](network, state)
    assert torch.allclose(torch.as_tensor(found).as_subclass(torch.Tensor), wanted, rtol=1e-12)
    network.fused = True
    with pytest.raises(RuntimeError, match=f"fused=True is not possible here: .*{reason}"):
        ELSEWHERE[reason](network, state)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": torch.bfloat16}, "float32 or float64"),
        ({"memory": "autograd"}, "torch differentiates the layers"),
    ],
)
def test_other_types_and_autograd_go_through_operations(
    options: dict[str, Any], reason: str
) -> None:
    network = made(**options)
    (state,) = drawn(network)
    total(network(state)).backward()
    assert torch.isfinite(network.control("K").grad).all()
    network.fused = True
    with pytest.raises(RuntimeError, match=reason):
        network(state)


def test_a_class_without_kernels_goes_through_operations() -> None:
    network = made()
    (state,) = drawn(network)
    wanted = network(state)
    network.layers_of = None
    assert torch.allclose(network(state), wanted, rtol=1e-12)
    network.fused = True
    with pytest.raises(RuntimeError, match="there are no compiled kernels of this class"):
        network(state)


def test_autocast_leaves_the_type_of_the_module() -> None:
    network = made(dtype=torch.float32, fused=True)
    (state,) = drawn(network)
    wanted = network(state.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(state.bfloat16())
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("value", ["yes", 1, 0])
def test_the_choice_is_checked(value: Any) -> None:
    with pytest.raises(ValueError, match=f"fused = {value!r}: True, False or None"):
        made(fused=value)


def test_kernels_are_those_of_the_sizes_and_of_the_class_a_user_derives() -> None:
    small = made()
    assert isinstance(small.layers_of, Loaded)
    assert small.layers_of.module("numba").SIZES == {"d": 2}

    class Own(type(small)):  # type: ignore[misc]
        """A module of a user."""

    own = Own(2, {"d": 2}, fused=True)
    assert isinstance(own, Network)
    assert own(torch.zeros(3, 2)).shape == (3, 2)
