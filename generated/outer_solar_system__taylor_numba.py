"""The sun and the outer planets with their centre of mass at rest, in astronomical units, days and
masses of the sun, by Taylor's method, its order and its steps after the tolerance.

    power = 1 / m_sun
    power_2 = 1 / m_jupiter
    power_3 = 1 / m_saturn
    power_4 = 1 / m_uranus
    power_5 = 1 / m_neptune
    power_6 = 1 / m_pluto
    minus_xs = -xs
    sum = minus_xs + xj
    minus_sum = -sum
    minus_ys = -ys
    sum_2 = minus_ys + yj
    minus_sum_2 = -sum_2
    minus_zs = -zs
    sum_3 = minus_zs + zj
    minus_sum_3 = -sum_3
    product = gravity * m_sun
    product_2 = product * m_jupiter / sqrt(minus_sum_2 * minus_sum_2 + minus_sum_3 * minus_sum_3 + minus_sum * minus_sum)**3
    sum_4 = minus_xs + xn
    minus_sum_4 = -sum_4
    sum_5 = minus_ys + yn
    minus_sum_5 = -sum_5
    sum_6 = minus_zs + zn
    minus_sum_6 = -sum_6
    product_3 = product * m_neptune / sqrt(minus_sum_4 * minus_sum_4 + minus_sum_5 * minus_sum_5 + minus_sum_6 * minus_sum_6)**3
    sum_7 = minus_xs + xp
    minus_sum_7 = -sum_7
    sum_8 = minus_ys + yp
    minus_sum_8 = -sum_8
    sum_9 = minus_zs + zp
    minus_sum_9 = -sum_9
    product_4 = product * m_pluto / sqrt(minus_sum_7 * minus_sum_7 + minus_sum_8 * minus_sum_8 + minus_sum_9 * minus_sum_9)**3
    sum_10 = minus_xs + xa
    minus_sum_10 = -sum_10
    sum_11 = minus_ys + ya
    minus_sum_11 = -sum_11
    sum_12 = minus_zs + za
    minus_sum_12 = -sum_12
    product_5 = product * m_saturn / sqrt(minus_sum_10 * minus_sum_10 + minus_sum_11 * minus_sum_11 + minus_sum_12 * minus_sum_12)**3
    minus_xu = -xu
    sum_13 = minus_xu + xs
    minus_yu = -yu
    sum_14 = minus_yu + ys
    minus_zu = -zu
    sum_15 = minus_zu + zs
    product_6 = product * m_uranus / sqrt(sum_13 * sum_13 + sum_14 * sum_14 + sum_15 * sum_15)**3
    minus_xn = -xn
    sum_16 = minus_xn + xj
    minus_yn = -yn
    sum_17 = minus_yn + yj
    minus_zn = -zn
    sum_18 = minus_zn + zj
    product_7 = gravity * m_jupiter
    product_8 = product_7 * m_neptune / sqrt(sum_16 * sum_16 + sum_17 * sum_17 + sum_18 * sum_18)**3
    minus_xp = -xp
    sum_19 = minus_xp + xj
    minus_yp = -yp
    sum_20 = minus_yp + yj
    minus_zp = -zp
    sum_21 = minus_zp + zj
    product_9 = product_7 * m_pluto / sqrt(sum_19 * sum_19 + sum_20 * sum_20 + sum_21 * sum_21)**3
    sum_22 = xa - xj
    minus_sum_22 = -sum_22
    sum_23 = ya - yj
    minus_sum_23 = -sum_23
    sum_24 = za - zj
    minus_sum_24 = -sum_24
    product_10 = product_7 * m_saturn / sqrt(minus_sum_22 * minus_sum_22 + minus_sum_23 * minus_sum_23 + minus_sum_24 * minus_sum_24)**3
    sum_25 = minus_xu + xj
    sum_26 = minus_yu + yj
    sum_27 = minus_zu + zj
    product_11 = product_7 * m_uranus / sqrt(sum_25 * sum_25 + sum_26 * sum_26 + sum_27 * sum_27)**3
    sum_28 = minus_xn + xa
    sum_29 = minus_yn + ya
    sum_30 = minus_zn + za
    product_12 = gravity * m_saturn
    product_13 = product_12 * m_neptune / sqrt(sum_28 * sum_28 + sum_29 * sum_29 + sum_30 * sum_30)**3
    sum_31 = minus_xp + xa
    sum_32 = minus_yp + ya
    sum_33 = minus_zp + za
    product_14 = product_12 * m_pluto / sqrt(sum_31 * sum_31 + sum_32 * sum_32 + sum_33 * sum_33)**3
    sum_34 = minus_xu + xa
    sum_35 = minus_yu + ya
    sum_36 = minus_zu + za
    product_15 = product_12 * m_uranus / sqrt(sum_34 * sum_34 + sum_35 * sum_35 + sum_36 * sum_36)**3
    sum_37 = minus_xu + xn
    minus_sum_37 = -sum_37
    sum_38 = minus_yu + yn
    minus_sum_38 = -sum_38
    sum_39 = minus_zu + zn
    minus_sum_39 = -sum_39
    product_16 = gravity * m_uranus
    product_17 = product_16 * m_neptune / sqrt(minus_sum_37 * minus_sum_37 + minus_sum_38 * minus_sum_38 + minus_sum_39 * minus_sum_39)**3
    sum_40 = minus_xu + xp
    minus_sum_40 = -sum_40
    sum_41 = minus_yu + yp
    minus_sum_41 = -sum_41
    sum_42 = minus_zu + zp
    minus_sum_42 = -sum_42
    product_18 = product_16 * m_pluto / sqrt(minus_sum_40 * minus_sum_40 + minus_sum_41 * minus_sum_41 + minus_sum_42 * minus_sum_42)**3
    sum_43 = minus_xp + xn
    sum_44 = minus_yp + yn
    sum_45 = minus_zp + zn
    product_19 = gravity * m_neptune * m_pluto / sqrt(sum_44 * sum_44 + sum_45 * sum_45 + sum_43 * sum_43)**3
    d_xs = power * pxs
    d_ys = power * pys
    d_zs = power * pzs
    d_xj = power_2 * pxj
    d_yj = power_2 * pyj
    d_zj = power_2 * pzj
    d_xa = power_3 * pxa
    d_ya = power_3 * pya
    d_za = power_3 * pza
    d_xu = power_4 * pxu
    d_yu = power_4 * pyu
    d_zu = power_4 * pzu
    d_xn = power_5 * pxn
    d_yn = power_5 * pyn
    d_zn = power_5 * pzn
    d_xp = power_6 * pxp
    d_yp = power_6 * pyp
    d_zp = power_6 * pzp
    d_pxs = product_2 * sum + sum_4 * product_3 + sum_7 * product_4 + sum_10 * product_5 - sum_13 * product_6
    d_pys = sum_2 * product_2 + sum_5 * product_3 + sum_8 * product_4 + sum_11 * product_5 - sum_14 * product_6
    d_pzs = sum_3 * product_2 + sum_6 * product_3 + sum_9 * product_4 + sum_12 * product_5 - sum_15 * product_6
    d_pxj = product_2 * minus_sum + sum_22 * product_10 - sum_16 * product_8 - sum_19 * product_9 - sum_25 * product_11
    d_pyj = minus_sum_2 * product_2 + sum_23 * product_10 - sum_17 * product_8 - sum_20 * product_9 - sum_26 * product_11
    d_pzj = minus_sum_3 * product_2 + sum_24 * product_10 - sum_18 * product_8 - sum_21 * product_9 - sum_27 * product_11
    d_pxa = minus_sum_10 * product_5 + minus_sum_22 * product_10 - sum_28 * product_13 - sum_31 * product_14 - sum_34 * product_15
    d_pya = minus_sum_11 * product_5 + minus_sum_23 * product_10 - sum_29 * product_13 - sum_32 * product_14 - sum_35 * product_15
    d_pza = minus_sum_12 * product_5 + minus_sum_24 * product_10 - sum_30 * product_13 - sum_33 * product_14 - sum_36 * product_15
    d_pxu = sum_13 * product_6 + sum_25 * product_11 + sum_34 * product_15 + sum_37 * product_17 + sum_40 * product_18
    d_pyu = sum_14 * product_6 + sum_26 * product_11 + sum_35 * product_15 + sum_38 * product_17 + sum_41 * product_18
    d_pzu = sum_15 * product_6 + sum_27 * product_11 + sum_36 * product_15 + sum_39 * product_17 + sum_42 * product_18
    d_pxn = minus_sum_4 * product_3 + sum_16 * product_8 + sum_28 * product_13 + minus_sum_37 * product_17 - product_19 * sum_43
    d_pyn = minus_sum_5 * product_3 + sum_17 * product_8 + sum_29 * product_13 + minus_sum_38 * product_17 - sum_44 * product_19
    d_pzn = minus_sum_6 * product_3 + sum_18 * product_8 + sum_30 * product_13 + minus_sum_39 * product_17 - sum_45 * product_19
    d_pxp = product_19 * sum_43 + minus_sum_7 * product_4 + sum_19 * product_9 + sum_31 * product_14 + minus_sum_40 * product_18
    d_pyp = sum_44 * product_19 + minus_sum_8 * product_4 + sum_20 * product_9 + sum_32 * product_14 + minus_sum_41 * product_18
    d_pzp = sum_45 * product_19 + minus_sum_9 * product_4 + sum_21 * product_9 + sum_33 * product_14 + minus_sum_42 * product_18

    minus_xn = -xn
    minus_yn = -yn
    minus_zn = -zn
    product = gravity * m_jupiter
    minus_xp = -xp
    minus_yp = -yp
    minus_zp = -zp
    minus_xs = -xs
    minus_ys = -ys
    minus_zs = -zs
    minus_xu = -xu
    minus_yu = -yu
    minus_zu = -zu
    product_2 = gravity * m_neptune
    product_3 = gravity * m_pluto
    product_4 = gravity * m_saturn
    energy = (pxu * pxu + pyu * pyu + pzu * pzu) / (2 * m_uranus) + (pxs * pxs + pys * pys + pzs * pzs) / (2 * m_sun) + (pxa * pxa + pya * pya + pza * pza) / (2 * m_saturn) + (pxp * pxp + pyp * pyp + pzp * pzp) / (2 * m_pluto) + (pxn * pxn + pyn * pyn + pzn * pzn) / (2 * m_neptune) + (pxj * pxj + pyj * pyj + pzj * pzj) / (2 * m_jupiter) - gravity * m_sun * m_uranus / sqrt((minus_xu + xs)**2 + (minus_yu + ys)**2 + (minus_zu + zs)**2) - product * m_neptune / sqrt((minus_xn + xj)**2 + (minus_yn + yj)**2 + (minus_zn + zj)**2) - product_2 * m_pluto / sqrt((minus_xp + xn)**2 + (minus_yp + yn)**2 + (minus_zp + zn)**2) - product * m_pluto / sqrt((minus_xp + xj)**2 + (minus_yp + yj)**2 + (minus_zp + zj)**2) - product_2 * m_saturn / sqrt((minus_xn + xa)**2 + (minus_yn + ya)**2 + (minus_zn + za)**2) - product_3 * m_saturn / sqrt((minus_xp + xa)**2 + (minus_yp + ya)**2 + (minus_zp + za)**2) - product * m_saturn / sqrt((xj - xa)**2 + (yj - ya)**2 + (zj - za)**2) - product_2 * m_sun / sqrt((minus_xs + xn)**2 + (minus_ys + yn)**2 + (minus_zs + zn)**2) - product_3 * m_sun / sqrt((minus_xs + xp)**2 + (minus_ys + yp)**2 + (minus_zs + zp)**2) - product_4 * m_sun / sqrt((minus_xs + xa)**2 + (minus_ys + ya)**2 + (minus_zs + za)**2) - product * m_sun / sqrt((minus_xs + xj)**2 + (minus_ys + yj)**2 + (minus_zs + zj)**2) - product_2 * m_uranus / sqrt((minus_xu + xn)**2 + (minus_yu + yn)**2 + (minus_zu + zn)**2) - product_3 * m_uranus / sqrt((minus_xu + xp)**2 + (minus_yu + yp)**2 + (minus_zu + zp)**2) - product_4 * m_uranus / sqrt((minus_xu + xa)**2 + (minus_yu + ya)**2 + (minus_zu + za)**2) - product * m_uranus / sqrt((minus_xu + xj)**2 + (minus_yu + yj)**2 + (minus_zu + zj)**2)

Proved: order 12, by Taylor coefficients that are the solution's; loops take like operations of
these lines together.

Reference: E. Hairer, C. Lubich and G. Wanner, Geometric Numerical Integration, section I.2.4,
doi:10.1007/3-540-30666-8

Reference: A. Jorba and M. Zou, A software package for the numerical integration of ODEs by
means of high-order Taylor methods, Experiment. Math. 14 (2005) 99-117,
doi:10.1080/10586458.2005.10128904
"""
# Generated by hamilforge; edit the declarations, not this file.
# Source: outer_solar_system.toml and taylor.toml
# Template: gen/emit/numba/integrators/integrator.py.jinja
# Digest of the declarations: 16052f493ddd0f34
# Command: hamilforge generate outer_solar_system --method taylor

import numpy as np
from numba import njit

from hamilforge.runtime.core import compensation  # content 5aeafa1f0d1346a1
from hamilforge.runtime.core import kernel_parts  # content 534c2e8539142d09
from hamilforge.runtime.core import lanes  # content 247de34a0c1bce12
from hamilforge.runtime.integrators import series_kernels  # content 4c25a532a25cf06e
from hamilforge.runtime.integrators import step_lengths  # content 6b4a7bcf822d0a4c

NAME = "outer_solar_system__taylor"
COMPONENTS = (
    "xs",
    "ys",
    "zs",
    "xj",
    "yj",
    "zj",
    "xa",
    "ya",
    "za",
    "xu",
    "yu",
    "zu",
    "xn",
    "yn",
    "zn",
    "xp",
    "yp",
    "zp",
    "pxs",
    "pys",
    "pzs",
    "pxj",
    "pyj",
    "pzj",
    "pxa",
    "pya",
    "pza",
    "pxu",
    "pyu",
    "pzu",
    "pxn",
    "pyn",
    "pzn",
    "pxp",
    "pyp",
    "pzp",
)
PARAMETERS = {
    "gravity": (0.000295912208286, "positive", "the constant of gravitation"),
    "m_sun": (1.00000597682, "positive", "mass of sun"),
    "m_jupiter": (0.000954786104043, "positive", "mass of jupiter"),
    "m_saturn": (0.000285583733151, "positive", "mass of saturn"),
    "m_uranus": (4.37273164546e-05, "positive", "mass of uranus"),
    "m_neptune": (5.17759138449e-05, "positive", "mass of neptune"),
    "m_pluto": (7.692307692307693e-09, "positive", "mass of pluto"),
}
START_TIME = 0.0
START = (
    0.0,
    0.0,
    0.0,
    -3.5023653,
    -3.8169847,
    -1.5507963,
    9.0755314,
    -3.0458353,
    -1.6483708,
    8.310142,
    -16.2901086,
    -7.2521278,
    11.4707666,
    -25.7294829,
    -10.8169456,
    -15.5387357,
    -25.2225594,
    -3.1902382,
    -6.183816317477499e-06,
    2.4382931595169407e-06,
    1.225481789337085e-06,
    5.398637520229294e-06,
    -3.938397200566971e-06,
    -1.8197172878345132e-06,
    4.806888279651002e-07,
    1.3808687457183727e-06,
    5.496401644970776e-07,
    1.5487253487257318e-07,
    5.995102540558569e-08,
    2.4062704971801834e-08,
    1.4959614787206956e-07,
    5.9297400849148624e-08,
    2.0543129336240974e-08,
    2.128653846153846e-11,
    -1.3130923076923077e-11,
    -1.0500307692307693e-11,
)
CONSERVATIVE = True
FIELDS = ("field",)
#: Why steps cannot be chosen by an error estimate; empty if they can.
FIXED_STEP = ""
#: Kernels own no arrays: nothing to count.
ENTRY = {"error_model": "numpy", "cache": True, "no_cfunc_wrapper": True, "_nrt": False}
#: What may run long lets other threads of Python go on.
UNLOCKED = {**ENTRY, "nogil": True}
#: What only kernels call has no entry from Python, and is compiled as a part of them.
INNER = {**ENTRY, "no_cpython_wrapper": True, "pipeline_class": kernel_parts.KernelPart}
SIZE, ROWS, UNKNOWNS = 36, 27, 0
#: How many trajectories of an ensemble go side by side, in vector registers; 0 if they go one by one.
LANES = 0
#: How many lines of numbers stand beside their states where each has steps of its own; 0 likewise.
CLOCK_LINES = 0


@njit(**ENTRY)
def field(t, state, parameters, factor, out):
    """The right-hand sides xs', ys', zs', xj', yj', zj', xa', ya', za', xu', yu', zu', xn', yn', zn', xp', yp', zp', pxs', pys', pzs', pxj', pyj', pzj', pxa', pya', pza', pxu', pyu', pzu', pxn', pyn', pzn', pxp', pyp', pzp', times a factor."""
    xs = state[0]
    ys = state[1]
    zs = state[2]
    xj = state[3]
    yj = state[4]
    zj = state[5]
    xa = state[6]
    ya = state[7]
    za = state[8]
    xu = state[9]
    yu = state[10]
    zu = state[11]
    xn = state[12]
    yn = state[13]
    zn = state[14]
    xp = state[15]
    yp = state[16]
    zp = state[17]
    pxs = state[18]
    pys = state[19]
    pzs = state[20]
    pxj = state[21]
    pyj = state[22]
    pzj = state[23]
    pxa = state[24]
    pya = state[25]
    pza = state[26]
    pxu = state[27]
    pyu = state[28]
    pzu = state[29]
    pxn = state[30]
    pyn = state[31]
    pzn = state[32]
    pxp = state[33]
    pyp = state[34]
    pzp = state[35]
    gravity = parameters[0]
    m_sun = parameters[1]
    m_jupiter = parameters[2]
    m_saturn = parameters[3]
    m_uranus = parameters[4]
    m_neptune = parameters[5]
    m_pluto = parameters[6]
    power = 1 / m_sun
    power_2 = 1 / m_jupiter
    power_3 = 1 / m_saturn
    power_4 = 1 / m_uranus
    power_5 = 1 / m_neptune
    power_6 = 1 / m_pluto
    minus_xs = -xs
    sum = minus_xs + xj
    minus_sum = -sum
    minus_ys = -ys
    sum_2 = minus_ys + yj
    minus_sum_2 = -sum_2
    minus_zs = -zs
    sum_3 = minus_zs + zj
    minus_sum_3 = -sum_3
    product = gravity * m_sun
    product_2 = (
        product
        * m_jupiter
        / np.sqrt(minus_sum_2 * minus_sum_2 + minus_sum_3 * minus_sum_3 + minus_sum * minus_sum)
        ** 3
    )
    sum_4 = minus_xs + xn
    minus_sum_4 = -sum_4
    sum_5 = minus_ys + yn
    minus_sum_5 = -sum_5
    sum_6 = minus_zs + zn
    minus_sum_6 = -sum_6
    product_3 = (
        product
        * m_neptune
        / np.sqrt(minus_sum_4 * minus_sum_4 + minus_sum_5 * minus_sum_5 + minus_sum_6 * minus_sum_6)
        ** 3
    )
    sum_7 = minus_xs + xp
    minus_sum_7 = -sum_7
    sum_8 = minus_ys + yp
    minus_sum_8 = -sum_8
    sum_9 = minus_zs + zp
    minus_sum_9 = -sum_9
    product_4 = (
        product
        * m_pluto
        / np.sqrt(minus_sum_7 * minus_sum_7 + minus_sum_8 * minus_sum_8 + minus_sum_9 * minus_sum_9)
        ** 3
    )
    sum_10 = minus_xs + xa
    minus_sum_10 = -sum_10
    sum_11 = minus_ys + ya
    minus_sum_11 = -sum_11
    sum_12 = minus_zs + za
    minus_sum_12 = -sum_12
    product_5 = (
        product
        * m_saturn
        / np.sqrt(
            minus_sum_10 * minus_sum_10 + minus_sum_11 * minus_sum_11 + minus_sum_12 * minus_sum_12
        )
        ** 3
    )
    minus_xu = -xu
    sum_13 = minus_xu + xs
    minus_yu = -yu
    sum_14 = minus_yu + ys
    minus_zu = -zu
    sum_15 = minus_zu + zs
    product_6 = (
        product * m_uranus / np.sqrt(sum_13 * sum_13 + sum_14 * sum_14 + sum_15 * sum_15) ** 3
    )
    minus_xn = -xn
    sum_16 = minus_xn + xj
    minus_yn = -yn
    sum_17 = minus_yn + yj
    minus_zn = -zn
    sum_18 = minus_zn + zj
    product_7 = gravity * m_jupiter
    product_8 = (
        product_7 * m_neptune / np.sqrt(sum_16 * sum_16 + sum_17 * sum_17 + sum_18 * sum_18) ** 3
    )
    minus_xp = -xp
    sum_19 = minus_xp + xj
    minus_yp = -yp
    sum_20 = minus_yp + yj
    minus_zp = -zp
    sum_21 = minus_zp + zj
    product_9 = (
        product_7 * m_pluto / np.sqrt(sum_19 * sum_19 + sum_20 * sum_20 + sum_21 * sum_21) ** 3
    )
    sum_22 = xa - xj
    minus_sum_22 = -sum_22
    sum_23 = ya - yj
    minus_sum_23 = -sum_23
    sum_24 = za - zj
    minus_sum_24 = -sum_24
    product_10 = (
        product_7
        * m_saturn
        / np.sqrt(
            minus_sum_22 * minus_sum_22 + minus_sum_23 * minus_sum_23 + minus_sum_24 * minus_sum_24
        )
        ** 3
    )
    sum_25 = minus_xu + xj
    sum_26 = minus_yu + yj
    sum_27 = minus_zu + zj
    product_11 = (
        product_7 * m_uranus / np.sqrt(sum_25 * sum_25 + sum_26 * sum_26 + sum_27 * sum_27) ** 3
    )
    sum_28 = minus_xn + xa
    sum_29 = minus_yn + ya
    sum_30 = minus_zn + za
    product_12 = gravity * m_saturn
    product_13 = (
        product_12 * m_neptune / np.sqrt(sum_28 * sum_28 + sum_29 * sum_29 + sum_30 * sum_30) ** 3
    )
    sum_31 = minus_xp + xa
    sum_32 = minus_yp + ya
    sum_33 = minus_zp + za
    product_14 = (
        product_12 * m_pluto / np.sqrt(sum_31 * sum_31 + sum_32 * sum_32 + sum_33 * sum_33) ** 3
    )
    sum_34 = minus_xu + xa
    sum_35 = minus_yu + ya
    sum_36 = minus_zu + za
    product_15 = (
        product_12 * m_uranus / np.sqrt(sum_34 * sum_34 + sum_35 * sum_35 + sum_36 * sum_36) ** 3
    )
    sum_37 = minus_xu + xn
    minus_sum_37 = -sum_37
    sum_38 = minus_yu + yn
    minus_sum_38 = -sum_38
    sum_39 = minus_zu + zn
    minus_sum_39 = -sum_39
    product_16 = gravity * m_uranus
    product_17 = (
        product_16
        * m_neptune
        / np.sqrt(
            minus_sum_37 * minus_sum_37 + minus_sum_38 * minus_sum_38 + minus_sum_39 * minus_sum_39
        )
        ** 3
    )
    sum_40 = minus_xu + xp
    minus_sum_40 = -sum_40
    sum_41 = minus_yu + yp
    minus_sum_41 = -sum_41
    sum_42 = minus_zu + zp
    minus_sum_42 = -sum_42
    product_18 = (
        product_16
        * m_pluto
        / np.sqrt(
            minus_sum_40 * minus_sum_40 + minus_sum_41 * minus_sum_41 + minus_sum_42 * minus_sum_42
        )
        ** 3
    )
    sum_43 = minus_xp + xn
    sum_44 = minus_yp + yn
    sum_45 = minus_zp + zn
    product_19 = (
        gravity
        * m_neptune
        * m_pluto
        / np.sqrt(sum_44 * sum_44 + sum_45 * sum_45 + sum_43 * sum_43) ** 3
    )
    out[0] = factor * (power * pxs)
    out[1] = factor * (power * pys)
    out[2] = factor * (power * pzs)
    out[3] = factor * (power_2 * pxj)
    out[4] = factor * (power_2 * pyj)
    out[5] = factor * (power_2 * pzj)
    out[6] = factor * (power_3 * pxa)
    out[7] = factor * (power_3 * pya)
    out[8] = factor * (power_3 * pza)
    out[9] = factor * (power_4 * pxu)
    out[10] = factor * (power_4 * pyu)
    out[11] = factor * (power_4 * pzu)
    out[12] = factor * (power_5 * pxn)
    out[13] = factor * (power_5 * pyn)
    out[14] = factor * (power_5 * pzn)
    out[15] = factor * (power_6 * pxp)
    out[16] = factor * (power_6 * pyp)
    out[17] = factor * (power_6 * pzp)
    out[18] = factor * (
        product_2 * sum
        + sum_4 * product_3
        + sum_7 * product_4
        + sum_10 * product_5
        - sum_13 * product_6
    )
    out[19] = factor * (
        sum_2 * product_2
        + sum_5 * product_3
        + sum_8 * product_4
        + sum_11 * product_5
        - sum_14 * product_6
    )
    out[20] = factor * (
        sum_3 * product_2
        + sum_6 * product_3
        + sum_9 * product_4
        + sum_12 * product_5
        - sum_15 * product_6
    )
    out[21] = factor * (
        product_2 * minus_sum
        + sum_22 * product_10
        - sum_16 * product_8
        - sum_19 * product_9
        - sum_25 * product_11
    )
    out[22] = factor * (
        minus_sum_2 * product_2
        + sum_23 * product_10
        - sum_17 * product_8
        - sum_20 * product_9
        - sum_26 * product_11
    )
    out[23] = factor * (
        minus_sum_3 * product_2
        + sum_24 * product_10
        - sum_18 * product_8
        - sum_21 * product_9
        - sum_27 * product_11
    )
    out[24] = factor * (
        minus_sum_10 * product_5
        + minus_sum_22 * product_10
        - sum_28 * product_13
        - sum_31 * product_14
        - sum_34 * product_15
    )
    out[25] = factor * (
        minus_sum_11 * product_5
        + minus_sum_23 * product_10
        - sum_29 * product_13
        - sum_32 * product_14
        - sum_35 * product_15
    )
    out[26] = factor * (
        minus_sum_12 * product_5
        + minus_sum_24 * product_10
        - sum_30 * product_13
        - sum_33 * product_14
        - sum_36 * product_15
    )
    out[27] = factor * (
        sum_13 * product_6
        + sum_25 * product_11
        + sum_34 * product_15
        + sum_37 * product_17
        + sum_40 * product_18
    )
    out[28] = factor * (
        sum_14 * product_6
        + sum_26 * product_11
        + sum_35 * product_15
        + sum_38 * product_17
        + sum_41 * product_18
    )
    out[29] = factor * (
        sum_15 * product_6
        + sum_27 * product_11
        + sum_36 * product_15
        + sum_39 * product_17
        + sum_42 * product_18
    )
    out[30] = factor * (
        minus_sum_4 * product_3
        + sum_16 * product_8
        + sum_28 * product_13
        + minus_sum_37 * product_17
        - product_19 * sum_43
    )
    out[31] = factor * (
        minus_sum_5 * product_3
        + sum_17 * product_8
        + sum_29 * product_13
        + minus_sum_38 * product_17
        - sum_44 * product_19
    )
    out[32] = factor * (
        minus_sum_6 * product_3
        + sum_18 * product_8
        + sum_30 * product_13
        + minus_sum_39 * product_17
        - sum_45 * product_19
    )
    out[33] = factor * (
        product_19 * sum_43
        + minus_sum_7 * product_4
        + sum_19 * product_9
        + sum_31 * product_14
        + minus_sum_40 * product_18
    )
    out[34] = factor * (
        sum_44 * product_19
        + minus_sum_8 * product_4
        + sum_20 * product_9
        + sum_32 * product_14
        + minus_sum_41 * product_18
    )
    out[35] = factor * (
        sum_45 * product_19
        + minus_sum_9 * product_4
        + sum_21 * product_9
        + sum_33 * product_14
        + minus_sum_42 * product_18
    )


def energy(t, state, parameters):
    """H."""
    xs = state[0]
    ys = state[1]
    zs = state[2]
    xj = state[3]
    yj = state[4]
    zj = state[5]
    xa = state[6]
    ya = state[7]
    za = state[8]
    xu = state[9]
    yu = state[10]
    zu = state[11]
    xn = state[12]
    yn = state[13]
    zn = state[14]
    xp = state[15]
    yp = state[16]
    zp = state[17]
    pxs = state[18]
    pys = state[19]
    pzs = state[20]
    pxj = state[21]
    pyj = state[22]
    pzj = state[23]
    pxa = state[24]
    pya = state[25]
    pza = state[26]
    pxu = state[27]
    pyu = state[28]
    pzu = state[29]
    pxn = state[30]
    pyn = state[31]
    pzn = state[32]
    pxp = state[33]
    pyp = state[34]
    pzp = state[35]
    gravity = parameters[0]
    m_sun = parameters[1]
    m_jupiter = parameters[2]
    m_saturn = parameters[3]
    m_uranus = parameters[4]
    m_neptune = parameters[5]
    m_pluto = parameters[6]
    minus_xn = -xn
    minus_yn = -yn
    minus_zn = -zn
    product = gravity * m_jupiter
    minus_xp = -xp
    minus_yp = -yp
    minus_zp = -zp
    minus_xs = -xs
    minus_ys = -ys
    minus_zs = -zs
    minus_xu = -xu
    minus_yu = -yu
    minus_zu = -zu
    product_2 = gravity * m_neptune
    product_3 = gravity * m_pluto
    product_4 = gravity * m_saturn
    return (
        (pxu * pxu + pyu * pyu + pzu * pzu) / (2 * m_uranus)
        + (pxs * pxs + pys * pys + pzs * pzs) / (2 * m_sun)
        + (pxa * pxa + pya * pya + pza * pza) / (2 * m_saturn)
        + (pxp * pxp + pyp * pyp + pzp * pzp) / (2 * m_pluto)
        + (pxn * pxn + pyn * pyn + pzn * pzn) / (2 * m_neptune)
        + (pxj * pxj + pyj * pyj + pzj * pzj) / (2 * m_jupiter)
        - gravity
        * m_sun
        * m_uranus
        / np.sqrt((minus_xu + xs) ** 2 + (minus_yu + ys) ** 2 + (minus_zu + zs) ** 2)
        - product
        * m_neptune
        / np.sqrt((minus_xn + xj) ** 2 + (minus_yn + yj) ** 2 + (minus_zn + zj) ** 2)
        - product_2
        * m_pluto
        / np.sqrt((minus_xp + xn) ** 2 + (minus_yp + yn) ** 2 + (minus_zp + zn) ** 2)
        - product
        * m_pluto
        / np.sqrt((minus_xp + xj) ** 2 + (minus_yp + yj) ** 2 + (minus_zp + zj) ** 2)
        - product_2
        * m_saturn
        / np.sqrt((minus_xn + xa) ** 2 + (minus_yn + ya) ** 2 + (minus_zn + za) ** 2)
        - product_3
        * m_saturn
        / np.sqrt((minus_xp + xa) ** 2 + (minus_yp + ya) ** 2 + (minus_zp + za) ** 2)
        - product * m_saturn / np.sqrt((xj - xa) ** 2 + (yj - ya) ** 2 + (zj - za) ** 2)
        - product_2
        * m_sun
        / np.sqrt((minus_xs + xn) ** 2 + (minus_ys + yn) ** 2 + (minus_zs + zn) ** 2)
        - product_3
        * m_sun
        / np.sqrt((minus_xs + xp) ** 2 + (minus_ys + yp) ** 2 + (minus_zs + zp) ** 2)
        - product_4
        * m_sun
        / np.sqrt((minus_xs + xa) ** 2 + (minus_ys + ya) ** 2 + (minus_zs + za) ** 2)
        - product
        * m_sun
        / np.sqrt((minus_xs + xj) ** 2 + (minus_ys + yj) ** 2 + (minus_zs + zj) ** 2)
        - product_2
        * m_uranus
        / np.sqrt((minus_xu + xn) ** 2 + (minus_yu + yn) ** 2 + (minus_zu + zn) ** 2)
        - product_3
        * m_uranus
        / np.sqrt((minus_xu + xp) ** 2 + (minus_yu + yp) ** 2 + (minus_zu + zp) ** 2)
        - product_4
        * m_uranus
        / np.sqrt((minus_xu + xa) ** 2 + (minus_yu + ya) ** 2 + (minus_zu + za) ** 2)
        - product
        * m_uranus
        / np.sqrt((minus_xu + xj) ** 2 + (minus_yu + yj) ** 2 + (minus_zu + zj) ** 2)
    )


def energy_size(t, state, parameters):
    """The sum of the sizes of H's terms."""
    xs = state[0]
    ys = state[1]
    zs = state[2]
    xj = state[3]
    yj = state[4]
    zj = state[5]
    xa = state[6]
    ya = state[7]
    za = state[8]
    xu = state[9]
    yu = state[10]
    zu = state[11]
    xn = state[12]
    yn = state[13]
    zn = state[14]
    xp = state[15]
    yp = state[16]
    zp = state[17]
    pxs = state[18]
    pys = state[19]
    pzs = state[20]
    pxj = state[21]
    pyj = state[22]
    pzj = state[23]
    pxa = state[24]
    pya = state[25]
    pza = state[26]
    pxu = state[27]
    pyu = state[28]
    pzu = state[29]
    pxn = state[30]
    pyn = state[31]
    pzn = state[32]
    pxp = state[33]
    pyp = state[34]
    pzp = state[35]
    gravity = parameters[0]
    m_sun = parameters[1]
    m_jupiter = parameters[2]
    m_saturn = parameters[3]
    m_uranus = parameters[4]
    m_neptune = parameters[5]
    m_pluto = parameters[6]
    minus_xn = -xn
    minus_yn = -yn
    minus_zn = -zn
    product = gravity * m_jupiter
    minus_xp = -xp
    minus_yp = -yp
    minus_zp = -zp
    minus_xs = -xs
    minus_ys = -ys
    minus_zs = -zs
    minus_xu = -xu
    minus_yu = -yu
    minus_zu = -zu
    product_2 = gravity * m_neptune
    product_3 = gravity * m_pluto
    product_4 = gravity * m_saturn
    return (
        gravity
        * m_sun
        * m_uranus
        / np.sqrt((minus_xu + xs) ** 2 + (minus_yu + ys) ** 2 + (minus_zu + zs) ** 2)
        + product
        * m_neptune
        / np.sqrt((minus_xn + xj) ** 2 + (minus_yn + yj) ** 2 + (minus_zn + zj) ** 2)
        + product_2
        * m_pluto
        / np.sqrt((minus_xp + xn) ** 2 + (minus_yp + yn) ** 2 + (minus_zp + zn) ** 2)
        + product
        * m_pluto
        / np.sqrt((minus_xp + xj) ** 2 + (minus_yp + yj) ** 2 + (minus_zp + zj) ** 2)
        + product_2
        * m_saturn
        / np.sqrt((minus_xn + xa) ** 2 + (minus_yn + ya) ** 2 + (minus_zn + za) ** 2)
        + product_3
        * m_saturn
        / np.sqrt((minus_xp + xa) ** 2 + (minus_yp + ya) ** 2 + (minus_zp + za) ** 2)
        + product * m_saturn / np.sqrt((xa - xj) ** 2 + (ya - yj) ** 2 + (za - zj) ** 2)
        + product_2
        * m_sun
        / np.sqrt((minus_xs + xn) ** 2 + (minus_ys + yn) ** 2 + (minus_zs + zn) ** 2)
        + product_3
        * m_sun
        / np.sqrt((minus_xs + xp) ** 2 + (minus_ys + yp) ** 2 + (minus_zs + zp) ** 2)
        + product_4
        * m_sun
        / np.sqrt((minus_xs + xa) ** 2 + (minus_ys + ya) ** 2 + (minus_zs + za) ** 2)
        + product
        * m_sun
        / np.sqrt((minus_xs + xj) ** 2 + (minus_ys + yj) ** 2 + (minus_zs + zj) ** 2)
        + product_2
        * m_uranus
        / np.sqrt((minus_xu + xn) ** 2 + (minus_yu + yn) ** 2 + (minus_zu + zn) ** 2)
        + product_3
        * m_uranus
        / np.sqrt((minus_xu + xp) ** 2 + (minus_yu + yp) ** 2 + (minus_zu + zp) ** 2)
        + product_4
        * m_uranus
        / np.sqrt((minus_xu + xa) ** 2 + (minus_yu + ya) ** 2 + (minus_zu + za) ** 2)
        + product
        * m_uranus
        / np.sqrt((minus_xu + xj) ** 2 + (minus_yu + yj) ** 2 + (minus_zu + zj) ** 2)
        + (pxu * pxu + pyu * pyu + pzu * pzu) / (2 * m_uranus)
        + (pxs * pxs + pys * pys + pzs * pzs) / (2 * m_sun)
        + (pxa * pxa + pya * pya + pza * pza) / (2 * m_saturn)
        + (pxp * pxp + pyp * pyp + pzp * pzp) / (2 * m_pluto)
        + (pxn * pxn + pyn * pyn + pzn * pzn) / (2 * m_neptune)
        + (pxj * pxj + pyj * pyj + pzj * pzj) / (2 * m_jupiter)
    )


@njit(**ENTRY)
def hamiltonian(t, state, parameters):
    """H, for kernels."""
    xs = state[0]
    ys = state[1]
    zs = state[2]
    xj = state[3]
    yj = state[4]
    zj = state[5]
    xa = state[6]
    ya = state[7]
    za = state[8]
    xu = state[9]
    yu = state[10]
    zu = state[11]
    xn = state[12]
    yn = state[13]
    zn = state[14]
    xp = state[15]
    yp = state[16]
    zp = state[17]
    pxs = state[18]
    pys = state[19]
    pzs = state[20]
    pxj = state[21]
    pyj = state[22]
    pzj = state[23]
    pxa = state[24]
    pya = state[25]
    pza = state[26]
    pxu = state[27]
    pyu = state[28]
    pzu = state[29]
    pxn = state[30]
    pyn = state[31]
    pzn = state[32]
    pxp = state[33]
    pyp = state[34]
    pzp = state[35]
    gravity = parameters[0]
    m_sun = parameters[1]
    m_jupiter = parameters[2]
    m_saturn = parameters[3]
    m_uranus = parameters[4]
    m_neptune = parameters[5]
    m_pluto = parameters[6]
    minus_xn = -xn
    minus_yn = -yn
    minus_zn = -zn
    product = gravity * m_jupiter
    minus_xp = -xp
    minus_yp = -yp
    minus_zp = -zp
    minus_xs = -xs
    minus_ys = -ys
    minus_zs = -zs
    minus_xu = -xu
    minus_yu = -yu
    minus_zu = -zu
    product_2 = gravity * m_neptune
    product_3 = gravity * m_pluto
    product_4 = gravity * m_saturn
    return (
        (pxu * pxu + pyu * pyu + pzu * pzu) / (2 * m_uranus)
        + (pxs * pxs + pys * pys + pzs * pzs) / (2 * m_sun)
        + (pxa * pxa + pya * pya + pza * pza) / (2 * m_saturn)
        + (pxp * pxp + pyp * pyp + pzp * pzp) / (2 * m_pluto)
        + (pxn * pxn + pyn * pyn + pzn * pzn) / (2 * m_neptune)
        + (pxj * pxj + pyj * pyj + pzj * pzj) / (2 * m_jupiter)
        - gravity
        * m_sun
        * m_uranus
        / np.sqrt((minus_xu + xs) ** 2 + (minus_yu + ys) ** 2 + (minus_zu + zs) ** 2)
        - product
        * m_neptune
        / np.sqrt((minus_xn + xj) ** 2 + (minus_yn + yj) ** 2 + (minus_zn + zj) ** 2)
        - product_2
        * m_pluto
        / np.sqrt((minus_xp + xn) ** 2 + (minus_yp + yn) ** 2 + (minus_zp + zn) ** 2)
        - product
        * m_pluto
        / np.sqrt((minus_xp + xj) ** 2 + (minus_yp + yj) ** 2 + (minus_zp + zj) ** 2)
        - product_2
        * m_saturn
        / np.sqrt((minus_xn + xa) ** 2 + (minus_yn + ya) ** 2 + (minus_zn + za) ** 2)
        - product_3
        * m_saturn
        / np.sqrt((minus_xp + xa) ** 2 + (minus_yp + ya) ** 2 + (minus_zp + za) ** 2)
        - product * m_saturn / np.sqrt((xj - xa) ** 2 + (yj - ya) ** 2 + (zj - za) ** 2)
        - product_2
        * m_sun
        / np.sqrt((minus_xs + xn) ** 2 + (minus_ys + yn) ** 2 + (minus_zs + zn) ** 2)
        - product_3
        * m_sun
        / np.sqrt((minus_xs + xp) ** 2 + (minus_ys + yp) ** 2 + (minus_zs + zp) ** 2)
        - product_4
        * m_sun
        / np.sqrt((minus_xs + xa) ** 2 + (minus_ys + ya) ** 2 + (minus_zs + za) ** 2)
        - product
        * m_sun
        / np.sqrt((minus_xs + xj) ** 2 + (minus_ys + yj) ** 2 + (minus_zs + zj) ** 2)
        - product_2
        * m_uranus
        / np.sqrt((minus_xu + xn) ** 2 + (minus_yu + yn) ** 2 + (minus_zu + zn) ** 2)
        - product_3
        * m_uranus
        / np.sqrt((minus_xu + xp) ** 2 + (minus_yu + yp) ** 2 + (minus_zu + zp) ** 2)
        - product_4
        * m_uranus
        / np.sqrt((minus_xu + xa) ** 2 + (minus_yu + ya) ** 2 + (minus_zu + za) ** 2)
        - product
        * m_uranus
        / np.sqrt((minus_xu + xj) ** 2 + (minus_yu + yj) ** 2 + (minus_zu + zj) ** 2)
    )


ORDER = 12
#: How many series have their coefficients in a row; the components come first.
COLUMNS = 290
#: Sums of coefficients may be taken in any order. All is one function: short steps took up to twice
#: as long in some of several compilations of one text, as the addresses of what they call came out.
RECURRENCES = {**INNER, "forceinline": True, "fastmath": {"contract", "nsz", "reassoc"}}
#: Products may be added without rounding them first.
SUMS = {**INNER, "fastmath": {"contract"}}


@njit(**RECURRENCES)
def coefficients(t, state, parameters, rows):
    """The Taylor coefficients at a state: the solution at ``t + s`` is the sum of ``rows[k] * s**k``."""
    gravity = parameters[0]
    m_sun = parameters[1]
    m_jupiter = parameters[2]
    m_saturn = parameters[3]
    m_uranus = parameters[4]
    m_neptune = parameters[5]
    m_pluto = parameters[6]
    for i in range(36):
        rows[0, i] = state[i]
    for k in range(ORDER):
        row, above = rows[k], rows[k + 1]
        row[42] = -row[0] + row[3]
        row[40] = -row[1] + row[4]
        row[41] = -row[2] + row[5]
        row[43] = -row[0] + row[12]
        row[44] = -row[1] + row[13]
        row[45] = -row[2] + row[14]
        row[46] = -row[0] + row[15]
        row[47] = -row[1] + row[16]
        row[48] = -row[2] + row[17]
        row[49] = -row[0] + row[6]
        row[50] = -row[1] + row[7]
        row[51] = -row[2] + row[8]
        row[52] = -row[9] + row[0]
        row[53] = -row[10] + row[1]
        row[54] = -row[11] + row[2]
        row[55] = -row[12] + row[3]
        row[56] = -row[13] + row[4]
        row[57] = -row[14] + row[5]
        row[58] = -row[15] + row[3]
        row[59] = -row[16] + row[4]
        row[60] = -row[17] + row[5]
        row[61] = -row[3] + row[6]
        row[62] = -row[4] + row[7]
        row[63] = -row[5] + row[8]
        row[64] = -row[9] + row[3]
        row[65] = -row[10] + row[4]
        row[66] = -row[11] + row[5]
        row[67] = -row[12] + row[6]
        row[68] = -row[13] + row[7]
        row[69] = -row[14] + row[8]
        row[70] = -row[15] + row[6]
        row[71] = -row[16] + row[7]
        row[72] = -row[17] + row[8]
        row[73] = -row[9] + row[6]
        row[74] = -row[10] + row[7]
        row[75] = -row[11] + row[8]
        row[76] = -row[9] + row[12]
        row[77] = -row[10] + row[13]
        row[78] = -row[11] + row[14]
        row[79] = -row[9] + row[15]
        row[80] = -row[10] + row[16]
        row[81] = -row[11] + row[17]
        row[84] = -row[15] + row[12]
        row[82] = -row[16] + row[13]
        row[83] = -row[17] + row[14]
        series_kernels.square(rows, k, 40, 88, 48)
        row[136] = row[88] + row[89] + row[90]
        row[137] = row[91] + row[92] + row[93]
        row[138] = row[94] + row[95] + row[96]
        row[139] = row[97] + row[98] + row[99]
        row[140] = row[100] + row[101] + row[102]
        row[142] = row[103] + row[104] + row[105]
        row[143] = row[106] + row[107] + row[108]
        row[141] = row[109] + row[110] + row[111]
        row[144] = row[112] + row[113] + row[114]
        row[145] = row[115] + row[116] + row[117]
        row[146] = row[118] + row[119] + row[120]
        row[147] = row[121] + row[122] + row[123]
        row[148] = row[124] + row[125] + row[126]
        row[149] = row[127] + row[128] + row[129]
        row[150] = row[130] + row[131] + row[132]
        if k == 0:
            for i in range(15):
                first = row[136 + i]
                row[152 + i] = 1 / (first * np.sqrt(first))
        else:
            series_kernels.power(rows, k, -3 / 2, 136, 152, 16)
        row[168] = row[152]
        row[169] = row[152]
        for i in range(2):
            row[170 + i] = row[152 + i]
        row[172] = row[153]
        for i in range(2):
            row[173 + i] = row[153 + i]
        row[175] = row[154]
        for i in range(2):
            row[176 + i] = row[154 + i]
        row[178] = row[155]
        for i in range(2):
            row[179 + i] = row[155 + i]
        row[181] = row[156]
        row[182] = row[156]
        row[183] = row[158]
        row[184] = row[158]
        for i in range(2):
            row[185 + i] = row[158 + i]
        row[187] = row[159]
        row[188] = row[159]
        row[189] = row[157]
        row[190] = row[157]
        row[191] = row[157]
        row[192] = row[160]
        row[193] = row[160]
        for i in range(2):
            row[194 + i] = row[160 + i]
        row[196] = row[161]
        for i in range(2):
            row[197 + i] = row[161 + i]
        row[199] = row[162]
        for i in range(2):
            row[200 + i] = row[162 + i]
        row[202] = row[163]
        for i in range(2):
            row[203 + i] = row[163 + i]
        row[205] = row[164]
        for i in range(2):
            row[206 + i] = row[164 + i]
        row[208] = row[165]
        for i in range(2):
            row[209 + i] = row[165 + i]
        row[211] = row[166]
        row[212] = row[166]
        series_kernels.product(rows, k, 40, 168, 216, 48)
        row[264] = (
            -gravity * m_sun * m_uranus * row[228]
            + gravity * m_sun * m_jupiter * row[218]
            + gravity * m_sun * m_neptune * row[219]
            + gravity * m_sun * m_pluto * row[222]
            + gravity * m_sun * m_saturn * row[225]
        )
        row[265] = (
            -gravity * m_sun * m_uranus * row[229]
            + gravity * m_sun * m_jupiter * row[216]
            + gravity * m_sun * m_neptune * row[220]
            + gravity * m_sun * m_pluto * row[223]
            + gravity * m_sun * m_saturn * row[226]
        )
        row[266] = (
            -gravity * m_sun * m_uranus * row[230]
            + gravity * m_sun * m_jupiter * row[217]
            + gravity * m_sun * m_neptune * row[221]
            + gravity * m_sun * m_pluto * row[224]
            + gravity * m_sun * m_saturn * row[227]
        )
        row[267] = (
            -gravity * m_jupiter * m_neptune * row[231]
            - gravity * m_jupiter * m_pluto * row[234]
            - gravity * m_jupiter * m_uranus * row[240]
            - gravity * m_sun * m_jupiter * row[218]
            + gravity * m_jupiter * m_saturn * row[237]
        )
        row[268] = (
            -gravity * m_jupiter * m_neptune * row[232]
            - gravity * m_jupiter * m_pluto * row[235]
            - gravity * m_jupiter * m_uranus * row[241]
            - gravity * m_sun * m_jupiter * row[216]
            + gravity * m_jupiter * m_saturn * row[238]
        )
        row[269] = (
            -gravity * m_jupiter * m_neptune * row[233]
            - gravity * m_jupiter * m_pluto * row[236]
            - gravity * m_jupiter * m_uranus * row[242]
            - gravity * m_sun * m_jupiter * row[217]
            + gravity * m_jupiter * m_saturn * row[239]
        )
        row[270] = (
            -gravity * m_jupiter * m_saturn * row[237]
            - gravity * m_saturn * m_neptune * row[243]
            - gravity * m_saturn * m_pluto * row[246]
            - gravity * m_saturn * m_uranus * row[249]
            - gravity * m_sun * m_saturn * row[225]
        )
        row[271] = (
            -gravity * m_jupiter * m_saturn * row[238]
            - gravity * m_saturn * m_neptune * row[244]
            - gravity * m_saturn * m_pluto * row[247]
            - gravity * m_saturn * m_uranus * row[250]
            - gravity * m_sun * m_saturn * row[226]
        )
        row[272] = (
            -gravity * m_jupiter * m_saturn * row[239]
            - gravity * m_saturn * m_neptune * row[245]
            - gravity * m_saturn * m_pluto * row[248]
            - gravity * m_saturn * m_uranus * row[251]
            - gravity * m_sun * m_saturn * row[227]
        )
        row[273] = (
            gravity * m_jupiter * m_uranus * row[240]
            + gravity * m_saturn * m_uranus * row[249]
            + gravity * m_sun * m_uranus * row[228]
            + gravity * m_uranus * m_neptune * row[252]
            + gravity * m_uranus * m_pluto * row[255]
        )
        row[274] = (
            gravity * m_jupiter * m_uranus * row[241]
            + gravity * m_saturn * m_uranus * row[250]
            + gravity * m_sun * m_uranus * row[229]
            + gravity * m_uranus * m_neptune * row[253]
            + gravity * m_uranus * m_pluto * row[256]
        )
        row[275] = (
            gravity * m_jupiter * m_uranus * row[242]
            + gravity * m_saturn * m_uranus * row[251]
            + gravity * m_sun * m_uranus * row[230]
            + gravity * m_uranus * m_neptune * row[254]
            + gravity * m_uranus * m_pluto * row[257]
        )
        row[276] = (
            -gravity * m_neptune * m_pluto * row[260]
            - gravity * m_sun * m_neptune * row[219]
            - gravity * m_uranus * m_neptune * row[252]
            + gravity * m_jupiter * m_neptune * row[231]
            + gravity * m_saturn * m_neptune * row[243]
        )
        row[277] = (
            -gravity * m_neptune * m_pluto * row[258]
            - gravity * m_sun * m_neptune * row[220]
            - gravity * m_uranus * m_neptune * row[253]
            + gravity * m_jupiter * m_neptune * row[232]
            + gravity * m_saturn * m_neptune * row[244]
        )
        row[278] = (
            -gravity * m_neptune * m_pluto * row[259]
            - gravity * m_sun * m_neptune * row[221]
            - gravity * m_uranus * m_neptune * row[254]
            + gravity * m_jupiter * m_neptune * row[233]
            + gravity * m_saturn * m_neptune * row[245]
        )
        row[279] = (
            -gravity * m_sun * m_pluto * row[222]
            - gravity * m_uranus * m_pluto * row[255]
            + gravity * m_jupiter * m_pluto * row[234]
            + gravity * m_neptune * m_pluto * row[260]
            + gravity * m_saturn * m_pluto * row[246]
        )
        row[280] = (
            -gravity * m_sun * m_pluto * row[223]
            - gravity * m_uranus * m_pluto * row[256]
            + gravity * m_jupiter * m_pluto * row[235]
            + gravity * m_neptune * m_pluto * row[258]
            + gravity * m_saturn * m_pluto * row[247]
        )
        row[281] = (
            -gravity * m_sun * m_pluto * row[224]
            - gravity * m_uranus * m_pluto * row[257]
            + gravity * m_jupiter * m_pluto * row[236]
            + gravity * m_neptune * m_pluto * row[259]
            + gravity * m_saturn * m_pluto * row[248]
        )
        above[0] = 1 / m_sun * row[18]
        above[1] = 1 / m_sun * row[19]
        above[2] = 1 / m_sun * row[20]
        above[3] = 1 / m_jupiter * row[21]
        above[4] = 1 / m_jupiter * row[22]
        above[5] = 1 / m_jupiter * row[23]
        above[6] = 1 / m_saturn * row[24]
        above[7] = 1 / m_saturn * row[25]
        above[8] = 1 / m_saturn * row[26]
        above[9] = 1 / m_uranus * row[27]
        above[10] = 1 / m_uranus * row[28]
        above[11] = 1 / m_uranus * row[29]
        above[12] = 1 / m_neptune * row[30]
        above[13] = 1 / m_neptune * row[31]
        above[14] = 1 / m_neptune * row[32]
        above[15] = 1 / m_pluto * row[33]
        above[16] = 1 / m_pluto * row[34]
        above[17] = 1 / m_pluto * row[35]
        above[18] = row[264]
        above[19] = row[265]
        above[20] = row[266]
        above[21] = row[267]
        above[22] = row[268]
        above[23] = row[269]
        above[24] = row[270]
        above[25] = row[271]
        above[26] = row[272]
        above[27] = row[273]
        above[28] = row[274]
        above[29] = row[275]
        above[30] = row[276]
        above[31] = row[277]
        above[32] = row[278]
        above[33] = row[279]
        above[34] = row[280]
        above[35] = row[281]
        for i in range(36):
            above[i] /= k + 1


@njit(**SUMS, forceinline=True)
def advance(h, y, low, rows):
    """The state after a step, from its coefficients, which are all read before it is written."""
    change_0 = rows[ORDER, 0] * h
    change_1 = rows[ORDER, 1] * h
    change_2 = rows[ORDER, 2] * h
    change_3 = rows[ORDER, 3] * h
    change_4 = rows[ORDER, 4] * h
    change_5 = rows[ORDER, 5] * h
    change_6 = rows[ORDER, 6] * h
    change_7 = rows[ORDER, 7] * h
    change_8 = rows[ORDER, 8] * h
    change_9 = rows[ORDER, 9] * h
    change_10 = rows[ORDER, 10] * h
    change_11 = rows[ORDER, 11] * h
    change_12 = rows[ORDER, 12] * h
    change_13 = rows[ORDER, 13] * h
    change_14 = rows[ORDER, 14] * h
    change_15 = rows[ORDER, 15] * h
    change_16 = rows[ORDER, 16] * h
    change_17 = rows[ORDER, 17] * h
    change_18 = rows[ORDER, 18] * h
    change_19 = rows[ORDER, 19] * h
    change_20 = rows[ORDER, 20] * h
    change_21 = rows[ORDER, 21] * h
    change_22 = rows[ORDER, 22] * h
    change_23 = rows[ORDER, 23] * h
    change_24 = rows[ORDER, 24] * h
    change_25 = rows[ORDER, 25] * h
    change_26 = rows[ORDER, 26] * h
    change_27 = rows[ORDER, 27] * h
    change_28 = rows[ORDER, 28] * h
    change_29 = rows[ORDER, 29] * h
    change_30 = rows[ORDER, 30] * h
    change_31 = rows[ORDER, 31] * h
    change_32 = rows[ORDER, 32] * h
    change_33 = rows[ORDER, 33] * h
    change_34 = rows[ORDER, 34] * h
    change_35 = rows[ORDER, 35] * h
    for k in range(ORDER - 1, 0, -1):
        change_0 = (change_0 + rows[k, 0]) * h
        change_1 = (change_1 + rows[k, 1]) * h
        change_2 = (change_2 + rows[k, 2]) * h
        change_3 = (change_3 + rows[k, 3]) * h
        change_4 = (change_4 + rows[k, 4]) * h
        change_5 = (change_5 + rows[k, 5]) * h
        change_6 = (change_6 + rows[k, 6]) * h
        change_7 = (change_7 + rows[k, 7]) * h
        change_8 = (change_8 + rows[k, 8]) * h
        change_9 = (change_9 + rows[k, 9]) * h
        change_10 = (change_10 + rows[k, 10]) * h
        change_11 = (change_11 + rows[k, 11]) * h
        change_12 = (change_12 + rows[k, 12]) * h
        change_13 = (change_13 + rows[k, 13]) * h
        change_14 = (change_14 + rows[k, 14]) * h
        change_15 = (change_15 + rows[k, 15]) * h
        change_16 = (change_16 + rows[k, 16]) * h
        change_17 = (change_17 + rows[k, 17]) * h
        change_18 = (change_18 + rows[k, 18]) * h
        change_19 = (change_19 + rows[k, 19]) * h
        change_20 = (change_20 + rows[k, 20]) * h
        change_21 = (change_21 + rows[k, 21]) * h
        change_22 = (change_22 + rows[k, 22]) * h
        change_23 = (change_23 + rows[k, 23]) * h
        change_24 = (change_24 + rows[k, 24]) * h
        change_25 = (change_25 + rows[k, 25]) * h
        change_26 = (change_26 + rows[k, 26]) * h
        change_27 = (change_27 + rows[k, 27]) * h
        change_28 = (change_28 + rows[k, 28]) * h
        change_29 = (change_29 + rows[k, 29]) * h
        change_30 = (change_30 + rows[k, 30]) * h
        change_31 = (change_31 + rows[k, 31]) * h
        change_32 = (change_32 + rows[k, 32]) * h
        change_33 = (change_33 + rows[k, 33]) * h
        change_34 = (change_34 + rows[k, 34]) * h
        change_35 = (change_35 + rows[k, 35]) * h
    y_0, low_0 = compensation.added(y[0], low[0], change_0)
    y_1, low_1 = compensation.added(y[1], low[1], change_1)
    y_2, low_2 = compensation.added(y[2], low[2], change_2)
    y_3, low_3 = compensation.added(y[3], low[3], change_3)
    y_4, low_4 = compensation.added(y[4], low[4], change_4)
    y_5, low_5 = compensation.added(y[5], low[5], change_5)
    y_6, low_6 = compensation.added(y[6], low[6], change_6)
    y_7, low_7 = compensation.added(y[7], low[7], change_7)
    y_8, low_8 = compensation.added(y[8], low[8], change_8)
    y_9, low_9 = compensation.added(y[9], low[9], change_9)
    y_10, low_10 = compensation.added(y[10], low[10], change_10)
    y_11, low_11 = compensation.added(y[11], low[11], change_11)
    y_12, low_12 = compensation.added(y[12], low[12], change_12)
    y_13, low_13 = compensation.added(y[13], low[13], change_13)
    y_14, low_14 = compensation.added(y[14], low[14], change_14)
    y_15, low_15 = compensation.added(y[15], low[15], change_15)
    y_16, low_16 = compensation.added(y[16], low[16], change_16)
    y_17, low_17 = compensation.added(y[17], low[17], change_17)
    y_18, low_18 = compensation.added(y[18], low[18], change_18)
    y_19, low_19 = compensation.added(y[19], low[19], change_19)
    y_20, low_20 = compensation.added(y[20], low[20], change_20)
    y_21, low_21 = compensation.added(y[21], low[21], change_21)
    y_22, low_22 = compensation.added(y[22], low[22], change_22)
    y_23, low_23 = compensation.added(y[23], low[23], change_23)
    y_24, low_24 = compensation.added(y[24], low[24], change_24)
    y_25, low_25 = compensation.added(y[25], low[25], change_25)
    y_26, low_26 = compensation.added(y[26], low[26], change_26)
    y_27, low_27 = compensation.added(y[27], low[27], change_27)
    y_28, low_28 = compensation.added(y[28], low[28], change_28)
    y_29, low_29 = compensation.added(y[29], low[29], change_29)
    y_30, low_30 = compensation.added(y[30], low[30], change_30)
    y_31, low_31 = compensation.added(y[31], low[31], change_31)
    y_32, low_32 = compensation.added(y[32], low[32], change_32)
    y_33, low_33 = compensation.added(y[33], low[33], change_33)
    y_34, low_34 = compensation.added(y[34], low[34], change_34)
    y_35, low_35 = compensation.added(y[35], low[35], change_35)
    y[0], low[0] = y_0, low_0
    y[1], low[1] = y_1, low_1
    y[2], low[2] = y_2, low_2
    y[3], low[3] = y_3, low_3
    y[4], low[4] = y_4, low_4
    y[5], low[5] = y_5, low_5
    y[6], low[6] = y_6, low_6
    y[7], low[7] = y_7, low_7
    y[8], low[8] = y_8, low_8
    y[9], low[9] = y_9, low_9
    y[10], low[10] = y_10, low_10
    y[11], low[11] = y_11, low_11
    y[12], low[12] = y_12, low_12
    y[13], low[13] = y_13, low_13
    y[14], low[14] = y_14, low_14
    y[15], low[15] = y_15, low_15
    y[16], low[16] = y_16, low_16
    y[17], low[17] = y_17, low_17
    y[18], low[18] = y_18, low_18
    y[19], low[19] = y_19, low_19
    y[20], low[20] = y_20, low_20
    y[21], low[21] = y_21, low_21
    y[22], low[22] = y_22, low_22
    y[23], low[23] = y_23, low_23
    y[24], low[24] = y_24, low_24
    y[25], low[25] = y_25, low_25
    y[26], low[26] = y_26, low_26
    y[27], low[27] = y_27, low_27
    y[28], low[28] = y_28, low_28
    y[29], low[29] = y_29, low_29
    y[30], low[30] = y_30, low_30
    y[31], low[31] = y_31, low_31
    y[32], low[32] = y_32, low_32
    y[33], low[33] = y_33, low_33
    y[34], low[34] = y_34, low_34
    y[35], low[35] = y_35, low_35


@njit(**UNLOCKED)
def trajectory(start, h, first, count, every, y, low, parameters, rows, square, slopes, flags, out):
    """Steps ``first`` to ``first + count``, every ``every``-th state written; how far it came."""
    written = 0
    for n in range(first, first + count):
        t = start + n * h
        coefficients(t, y, parameters, rows)
        advance(h, y, low, rows)
        extent = 0.0
        for i in range(0, 36):
            extent += abs(y[i])
        if not extent < np.inf:
            return n, 0.0, written
        if (n + 1) % every == 0:
            for i in range(0, 36):
                out[written, i] = y[i]
            written += 1
    return first + count, 0.0, written


@njit(**UNLOCKED)
def ensemble(
    begin,
    end,
    start,
    h,
    first,
    count,
    every,
    y,
    low,
    parameters,
    rows,
    square,
    slopes,
    flags,
    out,
    done,
    residuals,
):
    """Some of the trajectories, each with its own state, parameters and workspace."""
    for m in range(begin, end):
        done[m], residuals[m], _ = trajectory(
            start,
            h,
            first,
            count,
            every,
            y[m],
            low[m],
            parameters[m],
            rows[m],
            square[m],
            slopes[m],
            flags[m],
            out[m],
        )


def along_energy(times, states, parameters, out):
    """The same at each of several states, `(states, components)`."""
    out[:] = energy(times, states.T, parameters)


@njit(**RECURRENCES)
def size_of_step(y, relative, absolute, tolerance, margin, rows):
    """The length of a step: 2 to the ``margin`` of the radius of convergence that coefficients show.

    The radius is the h with ``|c_k| h^k = |y|``, in the largest component, for the last two powers k,
    the smaller one. Where powers of the upper half show less than half of it, the last two vanish
    by chance, and the smallest counts. There are no branches, which would be mispredicted.
    """
    size = 0.0
    for i in range(SIZE):
        size = max(size, abs(y[i]))
    first, second, total = 0.0, 0.0, 0.0
    scale = rows[2 * ORDER + 2]
    for i in range(SIZE):
        scale[i] = tolerance / (relative[i] * size + absolute[i])
        first = max(first, abs(rows[ORDER - 1, i]) * scale[i])
        second = max(second, abs(rows[ORDER, i]) * scale[i])
        total += abs(rows[1, i]) + abs(rows[ORDER, i])
    if not lanes.any_less(total, np.inf):
        return total * np.nan
    last = max(
        step_lengths.log2(first) * (1 / (ORDER - 1)), step_lengths.log2(second) * (1 / ORDER)
    )
    before = last
    for k in range((ORDER + 1) // 2, ORDER - 1):
        largest = 0.0
        for i in range(SIZE):
            largest = max(largest, abs(rows[k, i]) * scale[i])
        before = max(before, step_lengths.log2(largest) * (1 / k))
    radius = lanes.where_less(last + 1.0, before, before, last)
    return lanes.where_less(total, np.inf, step_lengths.power2(margin - radius), np.nan)


@njit(**SUMS)
def between(s, rows, out):
    """The state at ``t + s``: the polynomial of the step."""
    for i in range(SIZE):
        total = rows[ORDER, i]
        for k in range(ORDER - 1, -1, -1):
            total = total * s + rows[k, i]
        out[i] = total


@njit(**SUMS, forceinline=True)
def states_until(end, t, behind, direction, place, times, rows, moments, out):
    """Write the states at times up to ``end``, by the step from ``t``; how many are written then."""
    while place < times.size and (times[place] - end) * direction <= 0.0:
        between((times[place] - t) - behind, rows, out[place])
        moments[place] = times[place]
        place += 1
    return place


@njit(**INNER)
def margin_of(relative):
    """The last term e^-5 of the tolerance, and the step at most e^-0.5 of the radius, as powers of 2."""
    tolerance = relative[0]
    for i in range(1, SIZE):
        tolerance = min(tolerance, relative[i])
    return tolerance, min((np.log(tolerance) - 5.0) / ORDER, -0.5) / np.log(2.0)


@njit(**ENTRY)
def holds(t, h, parameters, relative, absolute, rows):
    """Whether the polynomial of a step has the slope at its end that the equations ask for."""
    ahead = rows[ORDER + 1 : 2 * ORDER + 2]
    end = rows[2 * ORDER + 2]
    between(h, rows, end)
    coefficients(t + h, end, parameters, ahead)
    size = 0.0
    for i in range(SIZE):
        size = max(size, abs(end[i]), abs(h * ahead[1, i]))
    for i in range(SIZE):
        slope = 0.0
        for k in range(ORDER, 0, -1):
            slope = slope * h + k * rows[k, i]
        defect = abs(h * (slope - ahead[1, i]))
        if not defect <= 100.0 * (max(relative[i], 1e-14) * size + absolute[i]):
            return False
    return True


#: The degree of the polynomial of a step, and the highest power of rows that hold one.
DEGREE, POWERS = 12, 12


@njit(**ENTRY)
def curve(t, h, y, parameters, rows, square, slopes, flags, out):
    """Row k of ``out``: the coefficients of ``theta**k`` in the state at ``t + theta h`` of the last step, which ended in y.

    The result is 0, or the residual of a solve that failed.
    """
    power = 1.0
    for k in range(DEGREE + 1):
        for i in range(SIZE):
            out[k, i] = rows[k, i] * power
        power *= h
    return 0.0


#: Rows of series hold those of the state.
SERIES = (POWERS + 1, SIZE)


@njit(**UNLOCKED)
def adaptive(
    t,
    stop,
    control,
    y,
    low,
    parameters,
    relative,
    absolute,
    times,
    moments,
    out,
    rows,
    square,
    slopes,
    flags,
    series,
):
    """Steps chosen by the coefficients, to ``stop``, until ``out`` is full or for as many as are allowed.

    A step that is the first, or much longer than the one before, is looked at from its other end
    too. ``control`` holds the last step, at 2 and 4 the numbers of steps and of states written, at 6
    the number of steps at which to return, and what is missing in t; at 8 the longest step; at 9, 10
    and 11 start and length of the last step, and what was missing in its start.
    With ``times`` states are written there, else after every step. The result is t and 0, or infinity
    where the series has no radius of convergence, or the energy is no number at the start.
    """
    if control[2] == 0.0 and not abs(hamiltonian(t, y, parameters)) < np.inf:
        return t, np.inf
    direction = 1.0 if stop >= t else -1.0
    place, behind = int(control[4]), control[7]
    tolerance, margin = margin_of(relative)
    while (stop - t) * direction > 0.0 and place < out.shape[0] and control[2] < control[6]:
        coefficients(t, y, parameters, rows)
        h = size_of_step(y, relative, absolute, tolerance, margin, rows)
        left = ((stop - t) - behind) * direction
        if not h > max(16 * 2.3e-16 * abs(t), 1e-290) and h < left or h != h:
            control[0], control[4], control[7] = h, place, behind
            return t, np.inf
        h = min(h, control[8])
        last = h >= left
        if last:
            h = left
        h *= direction
        if abs(h) > 4.0 * abs(control[0]):
            for _ in range(60):
                if holds(t + behind, h, parameters, relative, absolute, rows):
                    break
                h *= 0.5
                last = False
        end = stop if last else t + (h + behind)
        place = states_until(end, t, behind, direction, place, times, rows, moments, out)
        if times.size == 0:
            between((end - t) - behind, rows, out[place])
            moments[place] = end
            place += 1
        advance(h, y, low, rows)
        control[0] = h
        control[2] += 1
        control[9], control[10], control[11] = t, h, behind
        behind = 0.0 if last else (t - end) + (h + behind)
        t = end
    control[4], control[7] = place, behind
    return t, 0.0


@njit(**UNLOCKED)
def adaptive_ensemble(
    begin,
    end,
    t,
    stop,
    control,
    y,
    low,
    parameters,
    relative,
    absolute,
    times,
    moments,
    out,
    rows,
    square,
    slopes,
    flags,
    residuals,
):
    """Some of the trajectories, each with steps of its own, from ``t``, which becomes how far each came."""
    for m in range(begin, end):
        t[m], residuals[m] = adaptive(
            t[m],
            stop,
            control[m],
            y[m],
            low[m],
            parameters[m],
            relative,
            absolute,
            times,
            moments[m],
            out[m],
            rows[m],
            square[m],
            slopes[m],
            flags[m],
            None,
        )
