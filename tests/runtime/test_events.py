"""Events: every zero once, in order, on the far side, and what others have missed."""

import functools
import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hamilforge as hf
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators import event_roots
from tests.samples import diagonal, sampled

METHODS = ("taylor", "dormand_prince54")
#: One tolerance of a planet's motion, so that there is one order of Taylor's method.
FINE = {"rtol": 1e-9, "atol": 1e-9}
#: A curve of these is one through shorter steps.
OTHERS = ("dormand_prince87", "kvaerno43")
HEAD = 'name = "{name}"\ntitle = "-"\nreference = "-"\n'
#: Functions of a planet's motion, as a declaration and Python write them.
LOOKED_FOR = {
    "axis": ("y", lambda t, y: y[1]),
    "turning": ("x*px + y*py", lambda t, y: y[0] * y[2] + y[1] * y[3]),
    "ring": ("sqrt(x**2 + y**2) - 1", lambda t, y: math.hypot(y[0], y[1]) - 1),
    "clock": ("sin(3*t)", lambda t, y: math.sin(3 * t)),
    "slow": ("px*py", lambda t, y: y[2] * y[3]),
    "curved": ("exp(x) - y**2 - 1", lambda t, y: math.exp(y[0]) - y[1] ** 2 - 1),
    "ray": ("atan(y) - x/2", lambda t, y: math.atan(y[1]) - y[0] / 2),
    "fast": ("px**2 + py**2 - 1", lambda t, y: y[2] ** 2 + y[3] ** 2 - 1),
    "once": ("t - 5/2", lambda t, y: t - 2.5),
    "share": ("x/(2 + y) + 1/4", lambda t, y: y[0] / (2 + y[1]) + 0.25),
}


def _scipy_side(t, y):
    r = math.hypot(y[0], y[1]) ** 3
    return [y[2], y[3], -y[0] / r, -y[1] / r]


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "planet.toml"
    events = "".join(f'{name} = "{text}"\n' for name, (text, _) in LOOKED_FOR.items())
    path.write_text(
        'kind = "hamiltonian"\n'
        + HEAD.format(name="planet")
        + 'coordinates = { q = ["x", "y"], p = ["px", "py"] }\n'
        'energy = "(px**2 + py**2)/2 - 1/sqrt(x**2 + y**2)"\n'
        f"[start]\nx = 0.4\ny = 0\npx = 0\npy = 2\n[events]\n{events}"
    )
    return path


@pytest.fixture(scope="module")
def cubic(tmp_path_factory):
    """y = (t + 6)(t + 2)(t - 2) from y(-8) = -120."""
    path = tmp_path_factory.mktemp("events") / "cubic.toml"
    path.write_text(
        'kind = "system"\n'
        + HEAD.format(name="cubic")
        + '[equations]\ny = "3*t**2 + 12*t - 4"\n[start]\nt = -8\ny = -120\n'
        '[events]\nzero = "y"\nrising = { value = "y", direction = 1 }\n'
        'second = { value = "y", terminal = 2 }\nlate = { value = "t - 1", terminal = true }\n'
        'touch = "(y + 27)**2/100"\n'
    )
    return path


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "ball.toml"
    path.write_text(
        'kind = "hamiltonian"\n'
        + HEAD.format(name="ball")
        + 'coordinates = { q = ["z"], p = ["p"] }\nenergy = "p**2/2 + z"\nfriction = "gamma"\n'
        '[parameters]\ngamma = { default = 0, domain = "nonnegative", doc = "friction" }\n'
        '[start]\nz = 0\np = 1\n[events]\ntop = "z - 1/2"\n'
        'ground = { value = "z", direction = -1, terminal = true }\nany = "z"\n'
    )
    return path


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """x = t, and more events than a number of double precision has bits."""
    path = tmp_path_factory.mktemp("events") / "line.toml"
    many = "".join(f'at_{k} = "x - {k}/10 - 1"\n' for k in range(60))
    path.write_text(
        'kind = "system"\n'
        + HEAD.format(name="line")
        + '[equations]\nx = "1"\n[start]\nx = 0\n[events]\n'
        'touch = "(x - 1)**2"\nrising = { value = "(x - 1)**2", direction = 1 }\n'
        'cross = { value = "x - 2", terminal = true }\npole = "tan(t)"\nroot = "sqrt(x) - 1"\n'
        + many
    )
    return path


# --- all of them, once, in order ------------------------------------------------------------


@pytest.mark.parametrize(("method", "kind"), diagonal(METHODS, ["declared", "function"]))
def test_three_zeros_in_one_step(cubic, method, kind):
    events = "zero" if kind == "declared" else lambda t, y: y[0]
    solution = hf.integrate(cubic, method, t_span=(-8, 10), events=events)
    if method == "taylor":
        assert solution.steps == 1
    (times,) = solution.t_events
    assert times == pytest.approx([-6, -2, 2], abs=1e-12)
    assert abs(solution.y_events[0]).max() < 1e-11


@pytest.mark.parametrize(("method", "kind"), diagonal(METHODS[::-1], ["declared", "functions"]))
def test_what_scipy_finds(planet, method, kind):
    functions = [function for _, function in LOOKED_FOR.values()]
    events = tuple(LOOKED_FOR) if kind == "declared" else functions
    own = hf.integrate(planet, method, t_span=(0, 20), events=events, **FINE)
    reference = solve_ivp(
        _scipy_side, (0, 20), [0.4, 0, 0, 2], "DOP853", events=functions, max_step=0.05,
        rtol=1e-12, atol=1e-12,
    )  # fmt: skip
    for name, times, states, expected in zip(
        LOOKED_FOR, own.t_events, own.y_events, reference.t_events, strict=True
    ):
        expected = expected[expected > 1e-9]  # zero at the start is no event
        assert len(times) == len(expected) > 0, name
        assert times == pytest.approx(expected, abs=1e-5)
        assert states.shape == (len(times), 4)


@pytest.mark.parametrize("method", sampled(OTHERS, every=2))
def test_methods_whose_stages_allow_no_curve(planet, method):
    curved = hf.integrate(planet, "taylor", t_span=(0, 7), events=("ring", "ray"), **FINE)
    other = hf.integrate(planet, method, t_span=(0, 7), events=("ring", "ray"), **FINE)
    for one, two in zip(curved.t_events, other.t_events, strict=True):
        assert one == pytest.approx(two, abs=1e-5)


def test_directions_and_backward_in_time(planet):
    rising, falling = (lambda t, y: y[1]), (lambda t, y: y[1])
    rising.direction, falling.direction = 1, -0.5
    events = ("axis", rising, falling)
    there = hf.integrate(planet, "taylor", t_span=(0, 20), **FINE, events=events)
    both, up, down = there.t_events
    assert sorted([*up, *down]) == pytest.approx(both.tolist(), abs=1e-10)
    assert all(np.diff(both) > 1)
    for times, sign in ((up, 1), (down, -1)):
        velocities = there.y_events[1 if sign == 1 else 2][:, 3]
        assert (velocities * sign > 0).all()
        assert len(times) >= 3
    back = hf.integrate(planet, "taylor", there.y[-1], t_span=(20, 0.1), **FINE, events=events)
    assert back.t_events[0][::-1] == pytest.approx(both.tolist(), abs=1e-5)
    assert back.t_events[1][::-1] == pytest.approx(down.tolist(), abs=1e-5)  # in that direction


@pytest.mark.full
@pytest.mark.parametrize("method", METHODS)
def test_a_hundred_thousand_events(method):
    solution = hf.integrate(
        "harmonic_oscillator", method, [0.0, 1.0], (0, 1e5 * math.pi + 1), rtol=1e-9, atol=1e-9,
        events=lambda t, y: y[0], max_steps=10**8,
    )  # fmt: skip
    (times,) = solution.t_events
    assert len(times) == 10**5
    assert (np.diff(times) > 3.1).all()


def test_many_events_are_found_once_each():
    solution = hf.integrate(
        "harmonic_oscillator", "dormand_prince54", [0.0, 1.0], (0, 100 * math.pi + 1),
        rtol=1e-10, atol=1e-10, events=lambda t, y: y[0],
    )  # fmt: skip
    (times,) = solution.t_events
    assert times == pytest.approx(math.pi * np.arange(1, 101), abs=1e-6)


#: Functions along a circle, x = sin t and v = cos t: steep, flat to rounding, with poles beside it.
ROUND = {
    "waves": ("sin(20*x) - 3/10", lambda t, x, v: np.sin(20 * x) - 0.3),
    "powers": ("x**7 - v**5 + 1/10", lambda t, x, v: x**7 - v**5 + 0.1),
    "steep": ("exp(3*v)*cos(9*x) - 1", lambda t, x, v: np.exp(3 * v) * np.cos(9 * x) - 1),
    "poles": ("1/(1 + 900*x**2) - 1/2", lambda t, x, v: 1 / (1 + 900 * x**2) - 0.5),
    "flat": ("tanh(50*v)", lambda t, x, v: np.tanh(50 * v)),
    "beats": (
        "x*cos(t/3) - v*sin(5*t)/2",
        lambda t, x, v: x * np.cos(t / 3) - v * np.sin(5 * t) / 2,
    ),
}


@pytest.fixture(scope="module")
def circle(tmp_path_factory):
    path = tmp_path_factory.mktemp("events") / "circle.toml"
    events = "".join(f'{name} = "{text}"\n' for name, (text, _) in ROUND.items())
    path.write_text(
        'kind = "system"\n'
        + HEAD.format(name="circle")
        + f'[equations]\nx = "v"\nv = "-x"\n[start]\nx = 0\nv = 1\n[events]\n{events}'
    )
    return path


@pytest.mark.parametrize(("method", "kind"), diagonal(METHODS, ["declared", "functions"]))
def test_zeros_along_a_circle(circle, method, kind):
    times = np.linspace(0, 60, 600_001)
    functions = [lambda t, y, own=function: own(t, y[0], y[1]) for _, function in ROUND.values()]
    events = tuple(ROUND) if kind == "declared" else functions
    solution = hf.integrate(circle, method, t_span=(0, 60), events=events)
    for (name, (_, function)), zeros in zip(ROUND.items(), solution.t_events, strict=True):
        values = np.sign(function(times, np.sin(times), np.cos(times)))
        expected = times[np.flatnonzero(values[1:] * values[:-1] < 0)]
        assert len(zeros) == len(expected) > 10, name
        assert abs(zeros - expected).max() < 3e-4, name


# --- touches, starts and ends ----------------------------------------------------------------


@pytest.mark.parametrize(("method", "kind"), diagonal(METHODS[::-1], ["declared", "function"]))
def test_a_touch_is_one_zero_of_no_direction(ball, method, kind):
    def top(t, y):
        return y[0] - 0.5

    def rising(t, y):
        return y[0] - 0.5

    rising.direction = 1
    events = ("top" if kind == "declared" else top, rising)
    solution = hf.integrate(ball, method, t_span=(0, 3), events=events)
    assert solution.t_events[0] == pytest.approx([1], abs=1e-3)
    assert len(solution.t_events[1]) <= 1  # the computed top may lie above by the tolerance


def _resting(t, y):
    return 1 / 3 - t if t < 1 / 3 else 0.0


_resting.terminal = True


@pytest.mark.parametrize("method", METHODS)
def test_kinks_at_zero_and_functions_that_stay_zero(circle, method):
    """What has a kink, a jump or a plateau at zero is found where it comes there."""
    solution = hf.integrate(
        circle, method, t_span=(0.1, 12), **FINE,
        events=[
            lambda t, y: abs(y[0]),
            lambda t, y: -math.sqrt(y[0] ** 2),
            lambda t, y: abs(y[0]) + 1e-3,
            lambda t, y: max(0.0, y[0]),
            lambda t, y: np.heaviside(y[0], 1),
            lambda t, y: min(0.0, y[0]),
        ],
    )  # fmt: skip
    zeros = hf.integrate(circle, method, t_span=(0.1, 12), **FINE, events=lambda t, y: y[0])
    (every,) = zeros.t_events
    assert len(every) == 3
    kinks, roots, away, falling, jumps, rising = solution.t_events
    assert kinks == pytest.approx(every, abs=1e-7)
    assert roots == pytest.approx(every, abs=1e-7)
    assert away.size == 0
    assert falling == pytest.approx(every[::2], abs=1e-9)
    assert jumps == pytest.approx(every[::2], abs=1e-9)
    assert rising == pytest.approx(every[1::2], abs=1e-9)
    rests = hf.integrate(circle, method, t_span=(0, 12), events=_resting)
    assert rests.status == 1
    assert rests.t[-1] == pytest.approx(1 / 3, abs=1e-12)


def test_touches_among_crossings(cubic):
    solution = hf.integrate(cubic, "taylor", t_span=(-8, 10), events="touch")
    exact = np.roots([1, 6, -4, -24 + 27])
    exact = np.sort(exact[abs(exact.imag) < 1e-9].real)
    assert solution.t_events[0] == pytest.approx(exact.tolist(), abs=1e-6)


def test_zero_at_the_start_is_no_event_and_a_flight_of_any_height_ends(ball):
    for speed in (1.0, 1e-3, 1e-7, 1e-12):
        for event in ("ground", "any"):
            solution = hf.integrate(ball, "taylor", [0.0, speed], (0, 100), events=event)
            (times,) = solution.t_events
            assert times[0] == pytest.approx(2 * speed, rel=1e-9)
            assert len(times) == 1


def test_a_restart_does_not_find_the_event_again(planet):
    state, time, times = None, 0.0, []

    def ring(t, y):
        return math.hypot(y[0], y[1]) - 1

    ring.terminal = True
    for _ in range(6):
        solution = hf.integrate(planet, "taylor", state, (time, 20), **FINE, events=ring)
        assert solution.status == 1
        assert solution.t[-1] == solution.t_events[0][-1]
        assert (solution.y[-1] == solution.y_events[0][-1]).all()
        time, state = solution.t[-1], solution.y[-1]
        times.append(time)
    whole = hf.integrate(planet, "taylor", t_span=(0, 20), **FINE, events="ring")
    assert times == pytest.approx(whole.t_events[0][:6].tolist(), abs=1e-6)


@pytest.mark.parametrize("kind", ["declared", "functions"])
def test_states_are_on_the_far_side(planet, kind):
    names = ["axis", "turning", "ring", "fast", "share"]
    functions = [LOOKED_FOR[name][1] for name in names]
    events = names if kind == "declared" else functions
    for method in METHODS:
        solution = hf.integrate(planet, method, t_span=(0, 12), events=events, **FINE)
        for function, times, states in zip(
            functions, solution.t_events, solution.y_events, strict=True
        ):
            for time, state in zip(times, states, strict=True):
                index = np.searchsorted(solution.t, time)
                after = function(solution.t[index], solution.y[index])
                room = 1e-15 if kind == "declared" else 0  # NumPy's root is not always math's
                assert function(time, state) * np.sign(after) >= -room


@pytest.mark.parametrize("longest", [None, 0.3, 0.5, 1.0])
def test_zeros_at_the_end_of_a_step(line, longest):
    """Steps end at 1, where one function touches zero, and at 2, where another crosses it."""
    solution = hf.integrate(
        line, "taylor", t_span=(0, 3), max_step=longest,
        events=("touch", lambda t, y: (y[0] - 1) ** 2, "rising", "cross"),
    )  # fmt: skip
    touch, function, rising, cross = solution.t_events
    assert touch == pytest.approx([1], abs=1e-6)
    assert function == pytest.approx([1], abs=1e-4)  # of samples: the root of their rounding
    assert rising.size == 0
    assert cross == pytest.approx([2], abs=1e-15)


@pytest.mark.parametrize("longest", [None, 0.3, 1.0])
def test_a_touch_that_stays_where_it_is_for_a_while_is_one(line, longest):
    """Neighbouring places have the same value at the bottom, as rounding makes it too."""
    solution = hf.integrate(
        line, "taylor", t_span=(0, 3), max_step=longest,
        events=lambda t, y: max(abs(y[0] - 1) - 0.2, 0) + 1e-9,
    )  # fmt: skip
    (times,) = solution.t_events
    assert times == pytest.approx([1], abs=0.2)


@pytest.mark.parametrize("longest", [None, 0.3, 0.37, 0.5, 0.71, 1.0])
@pytest.mark.parametrize("method", ["taylor", "dormand_prince54"])
def test_a_plateau_from_which_a_function_goes_on_is_no_touch(line, method, longest):
    """Rounding makes it rise there, which is no turn."""

    def falls_on(t, y):
        return 1e-9 + max(1 - y[0], 0) - max(y[0] - 1.5, 0)

    def falls_less(t, y):
        return 1e-9 + max(1 - y[0], 0) - min(max(y[0] - 1.5, 0), 5e-10)

    solution = hf.integrate(
        line, method, t_span=(0, 3), max_step=longest, events=(falls_on, falls_less)
    )
    assert solution.t_events[0] == pytest.approx([1.5], abs=1e-8)
    assert solution.t_events[1].size == 0


def test_zeros_at_the_end_of_a_run(cubic):
    for stop in (-6.0, -2.0, 2.0):
        until = hf.integrate(cubic, "taylor", t_span=(-8, stop), events="zero")
        assert until.t_events[0][-1] == pytest.approx(stop, abs=1e-12)
        assert until.t_events[0][-1] <= stop


@pytest.mark.parametrize("method", METHODS)
def test_zeros_shortly_behind_the_end_of_a_step_are_no_touches_there(circle, method):
    ends = hf.integrate(circle, method, t_span=(0, 6)).t[1:-1]
    for end in ends[:: max(1, len(ends) // 8)]:
        for place in (end + 5e-8, end + 1e-12):

            def there(t, y, place=place):
                return y[0] - math.sin(place)

            solution = hf.integrate(circle, method, t_span=(0, 6), events=there)
            for time, state in zip(solution.t_events[0], solution.y_events[0], strict=True):
                assert there(time, state) * np.sign(state[1]) >= 0


def test_however_many_are_declared(line):
    solution = hf.integrate(line, "taylor", t_span=(0, 9), events=[f"at_{k}" for k in range(60)])
    for k, times in enumerate(solution.t_events):
        assert times == pytest.approx([1 + k / 10], abs=1e-12)


def test_a_loose_tolerance_of_one_component_loosens_no_event(circle):
    def never(t, y):
        return y[0] + 1.02

    def often(t, y):
        return y[0] + 0.99

    solution = hf.integrate(
        circle, "taylor", t_span=(0, 20), rtol=[1e-9, 0.1], atol=1e-9, events=(never, often)
    )
    assert [len(times) for times in solution.t_events] == [0, 6]


@pytest.mark.parametrize("event", ["pole", lambda t, y: math.tan(t)])
def test_a_pole_is_no_zero(line, event):
    solution = hf.integrate(line, "taylor", t_span=(0.1, 10), events=event)
    assert solution.t_events[0] == pytest.approx([math.pi, 2 * math.pi, 3 * math.pi], abs=1e-9)


def test_a_series_that_does_not_begin(line):
    """A root has none at zero."""
    solution = hf.integrate(line, "taylor", t_span=(0, 3), events="root")
    assert solution.t_events[0] == pytest.approx([1], abs=1e-12)


# --- events that end a run -------------------------------------------------------------------


def test_the_first_of_two_events_in_a_step_ends_the_run(cubic):
    solution = hf.integrate(cubic, "taylor", t_span=(-8, 10), events=("late", "second", "zero"))
    assert solution.steps == 1
    assert solution.status == 1
    assert [len(times) for times in solution.t_events] == [0, 2, 2]
    assert solution.t[-1] == pytest.approx(-2, abs=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_times_that_were_asked_for_keep_the_point_at_which_it_ends(ball, method):
    times = np.linspace(0, 5, 12)
    solution = hf.integrate(ball, method, t_span=(0, 5), t_eval=times, events="ground")
    assert solution.t == pytest.approx([*times[times < 2 - 1e-9], 2], abs=1e-6)
    assert solution.y[-1] == pytest.approx([0, -1], abs=1e-6)
    assert solution.t[-1] == solution.t_events[0][0]


def test_ensembles_end_one_by_one(ball):
    solution = hf.integrate(
        ball, "taylor", [[0.0, 1.0], [0.0, 3.0], [1.0, 0.0]], (0, 4), t_eval=[0, 1, 2.5, 4],
        events=("ground", "top"),
    )  # fmt: skip
    assert solution.status.tolist() == [1, 0, 1]
    assert np.isnan(solution.y[:, :, 0]).tolist() == [
        [False, False, True, True], [False] * 4, [False, False, True, True],
    ]  # fmt: skip
    assert [len(times) for times in solution.t_events[1]] == [0, 1]
    assert solution.t_events[2][1] == pytest.approx([1], abs=1e-9)
    alone = hf.integrate(ball, "taylor", [[0.0, 1.0]], (0, 4), t_eval=[0, 1, 4], events="ground")
    assert alone.t.tolist() == [0, 1, 4]
    assert alone.status.tolist() == [1]
    assert np.isnan(alone.y[0, :, 0]).tolist() == [False, False, True]


def test_a_time_that_is_asked_for_and_ends_a_run_is_kept(line):
    solution = hf.integrate(
        line, "taylor", [[0.0], [1.0]], (0, 3), t_eval=[0, 1, 2, 3], events="cross"
    )
    assert np.isnan(solution.y[:, :, 0]).tolist() == [
        [False, False, False, True], [False, False, True, True],
    ]  # fmt: skip


def test_a_run_that_fails_keeps_its_events(line):
    def event(t, y):
        return math.nan if y[0] > 2 else y[0] - 1

    with pytest.raises(IntegrationError, match=r"the event event is nan") as caught:
        hf.integrate(line, "taylor", t_span=(0, 5), events=event, max_step=0.4)
    assert caught.value.solution.events == ("event",)
    assert caught.value.solution.t_events[0] == pytest.approx([1], abs=1e-9)
    with pytest.raises(IntegrationError, match=r"\(trajectory 1 of 2\)"):
        hf.integrate(
            line, "taylor", [[0.0], [1.5]], (0, 1.2), t_eval=[1.2], events=event, max_step=0.1
        )


def test_solutions_with_events_are_saved_and_read(ball, tmp_path):
    for starts in ([0.0, 1.0], [[0.0, 1.0], [0.0, 2.0]]):
        solution = hf.integrate(
            ball, "taylor", starts, (0, 5), t_eval=[0, 1, 5], events=("ground", "top")
        )
        again = hf.Solution.read(solution.save(tmp_path / "ball"))
        assert again.events == solution.events
        assert np.array_equal(again.status, solution.status)
        several = np.ndim(starts) == 2
        for before, after in (
            (solution.t_events, again.t_events), (solution.y_events, again.y_events),
        ):  # fmt: skip
            runs = zip(before, after, strict=True) if several else [(before, after)]
            for run, other in runs:
                assert all(map(np.array_equal, run, other))


# --- steps and mistakes -----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_no_step_is_longer_than_asked(method):
    free = hf.integrate("kepler", method, t_span=(0, 5))
    bound = hf.integrate("kepler", method, t_span=(5, 0), y0=free.y[-1], max_step=0.05)
    assert abs(np.diff(bound.t)).max() <= 0.05 * (1 + 1e-12)
    assert abs(np.diff(free.t)).max() > 0.05
    assert bound.y[-1] == pytest.approx(free.y[0], abs=1e-4)
    for left in (0.005, 0.5, 0.995):  # of the last step
        again = hf.integrate("kepler", method, t_span=(0, 0.01 * (30 + left)), max_step=0.01)
        assert np.diff(again.t).max() <= 0.01 * (1 + 1e-12)


def _never(t, y):
    return math.nan


def _directed(t, y):
    return y[0]


_directed.direction = "up"


def _undirected(t, y):
    return y[0]


_undirected.direction = math.nan


def _counted(t, y):
    return y[0]


_counted.terminal = 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"events": "nothing"}, "no event 'nothing'; those that kepler declares are: peri"),
        ({"events": ["axis", "periapse"]}, "no event 'periapse'.*did you mean 'periapsis'"),
        ({"events": 3}, "a name of a declared event, a function of"),
        ({"events": [None]}, "neither a name nor a function"),
        ({"events": _directed}, "direction of the event _directed"),
        ({"events": _undirected}, "direction of the event _undirected = nan"),
        ({"events": _counted}, "terminal of the event _counted"),
        ({"events": "axis", "h": 0.1}, "leave h out"),
        ({"max_step": 0.1, "h": 0.1}, "leave h out"),
        ({"max_step": 0}, "max_step = 0"),
        ({"max_step": math.nan}, "max_step = nan"),
        ({"max_step": 1e-11, "t_span": (1e6, 2e6)}, "lost in the rounding of the times"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        hf.integrate("kepler", "dormand_prince54", **options)


def test_what_cannot_be_looked_for_says_so():
    with pytest.raises(ValueError, match="declares no events"):
        hf.integrate("henon_heiles", "taylor", events=True)
    with pytest.raises(IntegrationError, match=r"the event _never is nan at t = 0"):
        hf.integrate("kepler", "taylor", t_span=(0, 1), events=_never)
    with pytest.raises(IntegrationError, match="a finite number was expected"):
        hf.integrate("kepler", "taylor", t_span=(0, 1), events=lambda t, y: y)
    with pytest.raises(IntegrationError, match=r"is True at t = 0: a finite number .* its sign"):
        hf.integrate("kepler", "taylor", t_span=(0, 1), events=lambda t, y: y[0] > 0)
    with pytest.raises(IntegrationError, match=r"with steps of max_step = 0\.001; give a larger"):
        hf.integrate("kepler", "taylor", t_span=(0, 1), max_step=1e-3, max_steps=10)
    with pytest.raises(IntegrationError, match="the budget is small"):
        hf.integrate("kepler", "taylor", t_span=(0, 100), max_steps=3)
    with pytest.raises(ValueError, match="needs a fixed step"):
        hf.integrate("kepler", "yoshida6", events="axis")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ('bad = "abs(x)"', "'abs' has a kink"),
        ('bad = "max(x, 0)"', "'max' has a kink"),
        ('bad = "2"', r"\[events\].bad: it is 2 whatever the components"),
        ('bad = "0*x"', r"\[events\].bad: it is 0 whatever the components"),
        ('bad = { value = "x", direction = 2 }', "direction is 1 for zeros"),
        ('bad = { value = "x", terminal = -1 }', "terminal is true"),
        ('bad = { value = "x", stop = true }', "unknown key 'stop'"),
        ('bad = { value = "x", terminal = 0 }', "terminal is true"),
        ('bad = { valu = "x" }', "unknown key 'valu'.*did you mean 'value'"),
        ("bad = { direction = 1 }", "a value is missing"),
        ('bad = "x + q"', "q"),
        ('"not a name" = "x"', "cannot be the name"),
        ('bad = "1/(x - x)"', "divides by zero"),
        ('bad = "sqrt(x**2) - 1"', "declare what changes sign"),
    ],
)
def test_declarations_that_do_not_fit(tmp_path, events, message):
    path = tmp_path / "line.toml"
    path.write_text(
        'kind = "system"\n' + HEAD.format(name="line") + '[equations]\nx = "1"\n'
        f"[start]\nx = 0\n[events]\n{events}\n"
    )
    with pytest.raises(DeclarationError, match=message):
        hf.integrate(path, "taylor", events="bad")


# --- the polynomials --------------------------------------------------------------------------


def test_turning_points_of_polynomials_with_known_ones():
    rng = np.random.default_rng(0)
    for trial in range(400):
        count = rng.integers(1, 9)
        places = rng.uniform(-0.5, 1.5, count)
        if trial % 2:
            places = np.round(places * 8) / 8  # several at one place, or where intervals end
        polynomial = np.poly1d(places, True).integ(k=rng.normal())
        turns = event_roots.turns(np.ascontiguousarray(polynomial.coeffs[::-1]))
        inside = places[(places > 1e-9) & (places < 1 - 1e-9)]
        for place in np.unique(inside):
            near = abs(inside - place) < 1e-2
            if near.sum() == 1:
                assert abs(turns - place).min() < 1e-6
        assert len(turns) <= len(np.unique(inside)) + 2
        assert (np.diff(turns) > 0).all()


def test_no_step_with_a_zero_is_passed_over(planet):
    """Kernels leave out steps by a bound: with every step looked at, the same is found."""
    solution = functools.partial(hf.integrate, planet, "taylor", t_span=(0, 60), **FINE)
    alone = solution(events=tuple(LOOKED_FOR))
    beside = solution(events=(*LOOKED_FOR, lambda t, y: 1.0))  # looked at on every step
    for one, other in zip(alone.t_events, beside.t_events, strict=False):
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("method", "form"),
    diagonal(["taylor", "dormand_prince54", "kvaerno43"], ["the time", "a multiple", "the state"]),
)
def test_a_python_function_that_is_zero_at_the_end_of_the_run_ends_it(method, form):
    """Whatever the time, and however it is written; its value there is no interpolation's."""
    for time in np.arange(1, 30) / 7:
        end = hf.integrate("pendulum", method, [1.0, 0.0], (0, time), rtol=1e-9).y[-1]
        event = {
            "the time": lambda t, _, time=time: t - time,
            "a multiple": lambda t, _, time=time: 3 * (t - time) + (t - time) ** 3,
            "the state": lambda _, y, end=end: y[0] - end[0],
        }[form]
        event.terminal = 1 if form != "the state" else 9
        run = hf.integrate("pendulum", method, [1.0, 0.0], (0, time), rtol=1e-9, events=event)
        assert run.t_events[0][-1] == pytest.approx(time, abs=1e-12)
        assert run.status == int(form != "the state")


def test_a_run_that_goes_on_at_each_of_its_events_finds_them_all_once():
    random = np.random.default_rng(1)
    for _ in range(12):
        a, b, shift, level = 2 * random.standard_normal(4)

        def wave(t, y, a=a, b=b, shift=shift, level=level):
            return math.sin(a * y[0] + b * y[1] + shift) + math.tanh(level)

        whole = hf.integrate("pendulum", "taylor", [1.0, 0.0], (0, 10), rtol=1e-9,
                             events=wave)  # fmt: skip
        wave.terminal = True
        time, state, zeros = 0.0, [1.0, 0.0], []
        while time < 10 and len(zeros) < 200:
            run = hf.integrate("pendulum", "taylor", state, (time, 10), rtol=1e-9,
                               events=wave)  # fmt: skip
            time, state = run.t[-1], run.y[-1]
            zeros += [time] * run.status
        assert zeros == pytest.approx(whole.t_events[0], abs=1e-6)
