"""Trajectories of two degrees of freedom as people write them for one problem and one method.

The arithmetic is that of the kernels, with the same compensated additions.  Forces are named after
their problems, loops after their methods: the numbers `(x, y, u, v)` at the start, the step and how
many steps; velocities are the momenta.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from hamilforge.runtime.core.compensation import added
from hamilforge.runtime.core.inner_functions import inner_function, summing_function

_OPTIONS: dict[str, Any] = {"error_model": "numpy"}


@inner_function
def kepler(x: float, y: float) -> tuple[float, float]:
    """The force of Kepler's problem."""
    root = np.sqrt(x * x + y * y)
    factor = -1.0 / (root * root * root)
    return factor * x, factor * y


@inner_function
def henon_heiles(x: float, y: float) -> tuple[float, float]:
    """The force of the model of Henon and Heiles."""
    return -x - 2.0 * x * y, y * y - x * x - y


def rk4(force: Any) -> Any:
    """Steps of this method."""

    def run(x: float, y: float, u: float, v: float, h: float, count: int) -> Any:
        lx = ly = lu = lv = 0.0
        for _ in range(count):
            ax, ay = h * u, h * v
            au, av = force(x, y)
            au, av = h * au, h * av
            bx, by = h * (u + au / 2), h * (v + av / 2)
            bu, bv = force(x + ax / 2, y + ay / 2)
            bu, bv = h * bu, h * bv
            cx, cy = h * (u + bu / 2), h * (v + bv / 2)
            cu, cv = force(x + bx / 2, y + by / 2)
            cu, cv = h * cu, h * cv
            dx, dy = h * (u + cu), h * (v + cv)
            du, dv = force(x + cx, y + cy)
            du, dv = h * du, h * dv
            x, lx = added(x, lx, ax / 6 + bx / 3 + cx / 3 + dx / 6)
            y, ly = added(y, ly, ay / 6 + by / 3 + cy / 3 + dy / 6)
            u, lu = added(u, lu, au / 6 + bu / 3 + cu / 3 + du / 6)
            v, lv = added(v, lv, av / 6 + bv / 3 + cv / 3 + dv / 6)
        return x, y, u, v

    return njit(**_OPTIONS)(run)


def yoshida6(force: Any) -> Any:
    """Steps of this method."""
    w3, w2, w1 = 0.784513610477560, 0.235573213359357, -1.17767998417887
    w0 = 1.0 - 2.0 * (w1 + w2 + w3)
    kicks = (w3, w2, w1, w0, w1, w2, w3)

    def run(x: float, y: float, u: float, v: float, h: float, count: int) -> Any:
        lx = ly = lu = lv = 0.0
        for _ in range(count):
            before = 0.0
            for weight in kicks:
                half = 0.5 * h * (before + weight)
                x, lx = added(x, lx, half * u)
                y, ly = added(y, ly, half * v)
                a, b = force(x, y)
                u, lu = added(u, lu, weight * h * a)
                v, lv = added(v, lv, weight * h * b)
                before = weight
            x, lx = added(x, lx, 0.5 * h * before * u)
            y, ly = added(y, ly, 0.5 * h * before * v)
        return x, y, u, v

    return njit(**_OPTIONS)(run)


def gauss2(force: Any) -> Any:
    """Steps of this method."""
    root = np.sqrt(3.0) / 6.0
    near, far = 0.25 - root, 0.25 + root

    def run(x: float, y: float, u: float, v: float, h: float, count: int) -> Any:
        lx = ly = lu = lv = 0.0
        ax, ay, bx, by = h * u, h * v, h * u, h * v
        au, av = force(x, y)
        au, av = h * au, h * av
        bu, bv = au, av
        for step in range(count):
            if step > 0:  # the line through the last increments, continued
                along = 3.0 * root * 2.0
                ax, bx = bx + (along - 1.0) * (bx - ax), bx + along * (bx - ax)
                ay, by = by + (along - 1.0) * (by - ay), by + along * (by - ay)
                au, bu = bu + (along - 1.0) * (bu - au), bu + along * (bu - au)
                av, bv = bv + (along - 1.0) * (bv - av), bv + along * (bv - av)
            before = np.inf
            for _ in range(100):
                px, py = x + 0.25 * ax + near * bx, y + 0.25 * ay + near * by
                pu, pv = u + 0.25 * au + near * bu, v + 0.25 * av + near * bv
                qx, qy = x + far * ax + 0.25 * bx, y + far * ay + 0.25 * by
                qu, qv = u + far * au + 0.25 * bu, v + far * av + 0.25 * bv
                fu, fv = force(px, py)
                gu, gv = force(qx, qy)
                fx, fy, gx, gy = h * pu, h * pv, h * qu, h * qv
                fu, fv, gu, gv = h * fu, h * fv, h * gu, h * gv
                change = abs(ax - fx) + abs(ay - fy) + abs(au - fu) + abs(av - fv)
                change += abs(bx - gx) + abs(by - gy) + abs(bu - gu) + abs(bv - gv)
                scale = abs(px) + abs(py) + abs(pu) + abs(pv) + abs(fx) + abs(fy) + abs(fu)
                scale += abs(fv) + abs(qx) + abs(qy) + abs(qu) + abs(qv) + abs(gx) + abs(gy)
                scale += abs(gu) + abs(gv)
                if change == 0.0 or (change <= 2.3e-13 * scale and change >= before):
                    break
                ax, ay, au, av, bx, by, bu, bv = fx, fy, fu, fv, gx, gy, gu, gv
                before = change
            x, lx = added(x, lx, 0.5 * ax + 0.5 * bx)
            y, ly = added(y, ly, 0.5 * ay + 0.5 * by)
            u, lu = added(u, lu, 0.5 * au + 0.5 * bu)
            v, lv = added(v, lv, 0.5 * av + 0.5 * bv)
        return x, y, u, v

    return njit(**_OPTIONS)(run)


@summing_function
def _product(a: Any, b: Any) -> Any:
    """The last coefficient of a product."""
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[len(a) - 1 - i]
    return total


@summing_function
def _henon_heiles_power(x: Any, y: Any, u: Any, v: Any, kept: Any) -> Any:
    """One more coefficient of the solution, whose coefficients are tuples."""
    k = len(x)
    a = -x[k - 1] - 2.0 * _product(x, y)
    b = _product(y, y) - _product(x, x) - y[k - 1]
    return (*x, u[k - 1] / k), (*y, v[k - 1] / k), (*u, a / k), (*v, b / k), kept


@summing_function
def _kepler_first(x: Any, y: Any, u: Any, v: Any) -> Any:
    """The first two coefficients, with what further ones need: ``r**2`` and ``r**-3``."""
    square = x * x + y * y
    cube = 1.0 / (square * np.sqrt(square))
    return (x, u), (y, v), (u, -x * cube), (v, -y * cube), ((square,), (cube,))


@summing_function
def _kepler_power(x: Any, y: Any, u: Any, v: Any, kept: Any) -> Any:
    """One more coefficient of the solution, whose coefficients are tuples."""
    square, cube = kept
    k = len(square)
    square = (*square, _product(x, x) + _product(y, y))
    total = 0.0
    for i in range(1, k + 1):
        total += (-1.5 * i - (k - i)) * square[i] * cube[k - i]
    cube = (*cube, total / (k * square[0]))
    a, b = -_product(x, cube), -_product(y, cube)
    k += 1
    return (*x, u[k - 1] / k), (*y, v[k - 1] / k), (*u, a / k), (*v, b / k), (square, cube)


@summing_function
def _henon_heiles_first(x: Any, y: Any, u: Any, v: Any) -> Any:
    """The first two coefficients."""
    return _henon_heiles_power((x,), (y,), (u,), (v,), ())


@summing_function
def _at(coefficients: Any, h: float) -> Any:
    """The change over a step."""
    total = 0.0
    for k in range(len(coefficients) - 1, 0, -1):
        total = (total + coefficients[k]) * h
    return total


def taylor(force: Any) -> Any:
    """Steps of this method, of order 8."""
    first, power = {
        kepler: (_kepler_first, _kepler_power),
        henon_heiles: (_henon_heiles_first, _henon_heiles_power),
    }[force]

    def run(x: float, y: float, u: float, v: float, h: float, count: int) -> Any:
        lx = ly = lu = lv = 0.0
        for _ in range(count):
            s1 = first(x, y, u, v)
            s2 = power(*s1)
            s3 = power(*s2)
            s4 = power(*s3)
            s5 = power(*s4)
            s6 = power(*s5)
            s7 = power(*s6)
            s8 = power(*s7)
            x, lx = added(x, lx, _at(s8[0], h))
            y, ly = added(y, ly, _at(s8[1], h))
            u, lu = added(u, lu, _at(s8[2], h))
            v, lv = added(v, lv, _at(s8[3], h))
        return x, y, u, v

    return njit(**_OPTIONS)(run)
