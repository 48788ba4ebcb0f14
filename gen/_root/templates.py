"""The command ``new``: commented declarations to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hamilforge.gen.declare.errors import DeclarationError, did_you_mean
from hamilforge.gen.declare.reader import NAME

_HAMILTONIAN = """kind = "hamiltonian"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
kinetic = "dot(p, p)/(2*m)"    # K(p); functions: sqrt exp log tanh cosh abs ..., dot norm sum
potential = "J(q)"             # the loss
friction = "gamma"             # a constant, or a function of t such as "3/t" with [start] t = 1.0

[parameters]
m = {{ default = 1, domain = "positive", doc = "mass" }}
gamma = {{ default = 1, domain = "nonnegative", doc = "friction, per unit of time" }}
"""

_LATTICE = """kind = "hamiltonian"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
# Every coordinate has a value at each of N sites, in a ring; shift(x, k) is x at the site i + k.
coordinates = {{ q = ["x[N]"], p = ["p[N]"] }}
energy = "sum(p**2)/2 + sum((x - shift(x, 1))**2)/2 + beta/4*sum((x - shift(x, 1))**4)"

[sites]
N = 32                         # or --size N=1000; proofs are for any N

[parameters]
beta = {{ default = 1, domain = "nonnegative", doc = "stiffness" }}

[invariants]                   # claims: proved for any N
momentum = "sum(p)"

[start]                        # in the number i = 0, 1, ... of a site
x = "sin(2*pi*i/N)/2"
p = 0
"""

_SPLITTING = """kind = "splitting"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
# Exact flows in the order they are applied: A drift, B kick, D friction, BD kick with friction.
steps = [["D", "1/2"], ["A", "1/2"], ["B", 1], ["A", "1/2"], ["D", "1/2"]]
# or: compose = {{ block = "conformal_leapfrog", weights = ["w1", "w0", "w1"] }} and [constants]

[claims]                       # checked, never trusted
order = 2
symplectic_form = "conformal"
"""

_UPDATE = """kind = "update"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
# In order; names other than q and p are local. decay(s) is the exact friction factor over s;
# h is the step, t the time, n the number of the step.
assign = [
    "y = q + h*velocity(decay(h)*p)",
    "p = decay(h)*p - h*grad(y)",
    "q = q + h*velocity(p)",
]

[claims]
order = 1
"""

_OPTIMIZER = """kind = "optimizer"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
system = "classical"           # a hamiltonian, by name or by a path relative to this file
method = "conformal_leapfrog"  # a splitting or an update

[hyperparameters]              # what the user sets
lr = {{ default = 1e-3, domain = "nonnegative", doc = "learning rate" }}
momentum = {{ default = 0.9, domain = "unit-interval", doc = "what is left of p after a step" }}

[set]                          # what that means for the step h and the parameters of the system
h = "sqrt(2*m*lr)"
gamma = "-log(momentum)/h"

[state]                        # what the buffer holds, a multiple of p
v = "h*p/(2*m)"

[claims]                       # checked, never trusted
order = 2
conformal_factor = "momentum"
"""

_RUNGE_KUTTA = """kind = "runge-kutta"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
# coefficients = "decimal"     # if they are published digits; else they are exact
# Rows may leave out trailing zeros. Entries: numbers, fractions, sqrt(...), names from [constants].
A = [[], ["1/2"], [-1, 2]]
b = ["1/6", "2/3", "1/6"]
# b_hat = [...]                # embedded weights
# Instead of A and b: [collocation] nodes = "legendre(3)", conditions = "C" (or "D");
# or [compose] block = "implicit_midpoint", weights = ["w1", "w0", "w1"] with [constants].

# [constants]
# gamma = "1 - sqrt(2)/2"
# zeta = {{ root = "x**3 - 3*x**2 + 3*x/2 - 1/6", near = "0.4359" }}

[claims]                       # checked, never trusted
order = 3
"""

_PARTITIONED = """kind = "partitioned"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
q = "lobatto_iiia3"            # a method, by name, by path, or inline as a table [q] with A and b
p = "lobatto_iiib3"            # or "adjoint": Hager's adjoint of q

[claims]                       # checked, never trusted
order = 4
symplectic = true
"""

_SYSTEM = """kind = "system"
name = "{name}"
title = "What it is"
reference = "Where it comes from"

[equations]                    # the time derivative of each component; t is the time
x = "v"
v = "mu*(1 - x**2)*v - x"

[parameters]
mu = {{ default = 1, domain = "positive", doc = "the strength of the damping" }}

# [poisson]                    # if the equations are S grad H with a skew-symmetric S(y)
# energy = "..."
# matrix = [["0", "..."], ["-(...)", "0"]]

[start]                        # where trajectories begin by default
x = 2
v = 0

[claims]                       # checked, never trusted
autonomous = true
"""

_MECHANICS = """kind = "hamiltonian"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
coordinates = {{ q = ["x", "y"], p = ["px", "py"] }}
energy = "(px**2 + py**2)/2 - 1/sqrt(x**2 + y**2)"    # any H(q, p, t)
friction = "gamma"             # p' = -dH/dq - gamma p: a constant, or a function of t such as "3/t"

[parameters]
gamma = {{ default = 0, domain = "nonnegative", doc = "friction, per unit of time" }}

# [invariants]                 # what is constant along solutions; each is a claim
# angular_momentum = "x*py - y*px"

[start]                        # where trajectories begin by default; t = 1 for a friction "3/t"
x = 0.4
y = 0
px = 0
py = 2

[claims]                       # checked, never trusted
separable = true
"""

_DISCRETE_GRADIENT = """kind = "discrete-gradient"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
quadrature = "gauss2"          # nodes and weights of the mean of grad H; what it misses is added
# or: increments = "forward"   # of H, coordinate by coordinate; or "symmetric"

[claims]                       # checked, never trusted
order = 2
symmetric = true
"""

_FIELD = """kind = "field"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
# y' = f(t, y, U): states are vectors, controls scalars [], vectors ["d"] or matrices ["m", "d"].
state = {{ y = ["d"] }}
controls = {{ K = ["m", "d"], b = ["m"] }}
f = "-transpose(K) @ sigma(K @ y + b) - gamma*y"   # several states: a table [f] with one line each
activation = "tanh(x)"         # what sigma(x) is
# running = "alpha/2*sum(K**2)"                    # a running cost, a scalar, for each sample
# regulariser = "alpha/2*sum(rate(K)**2)"          # a cost of the controls and how fast they change

[parameters]
gamma = {{ default = 0.1, domain = "nonnegative", doc = "decay" }}

[claims]                       # checked, never trusted
autonomous = true
"""

_OBJECTIVE = """kind = "objective"
name = "{name}"
title = "What it is"
reference = "Where it comes from"
state = {{ y = ["d"] }}          # the last state of a network
weights = {{ W = ["c", "d"], mu = ["c"] }}
data = {{ target = ["c"] }}      # given with each sample
prediction = "logistic(W @ y + mu)"
loss = "sum((prediction - target)**2)/2"
"""

TEMPLATES: Mapping[str, str] = {
    "hamiltonian": _HAMILTONIAN,
    "mechanics": _MECHANICS,
    "lattice": _LATTICE,
    "splitting": _SPLITTING,
    "update": _UPDATE,
    "optimizer": _OPTIMIZER,
    "runge-kutta": _RUNGE_KUTTA,
    "partitioned": _PARTITIONED,
    "discrete-gradient": _DISCRETE_GRADIENT,
    "system": _SYSTEM,
    "field": _FIELD,
    "objective": _OBJECTIVE,
}


def write(kind: str, name: str) -> Path:
    """Write ``<name>.toml`` into the current folder.

    Raises:
        DeclarationError: an unknown kind, a bad name, or the file exists.
    """
    if kind not in TEMPLATES:
        raise DeclarationError.single(
            "",
            f"unknown kind '{kind}'; expected one of {', '.join(TEMPLATES)}"
            + did_you_mean(kind, TEMPLATES),
        )
    if not NAME.fullmatch(name):
        raise DeclarationError.single(
            "", f"'{name}' is no name: lower-case letters, digits and single underscores"
        )
    path = Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATES[kind].format(name=name))
    except FileExistsError:
        raise DeclarationError.single("", f"'{path}' exists and is left as it is") from None
    return path
