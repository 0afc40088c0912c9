#!/usr/bin/env python3
"""Writes lib/kernel/math/coefficients.h: the polynomials of the vector math, computed with mpmath.

Each row interpolates a function at Chebyshev nodes (near-minimax: within a small factor of the best
error) in high precision, rounds the coefficients to double, and prints the error it then has. Run it
after changing a row; the file is committed so that building needs no Python.
"""
import pathlib
import sys

import mpmath as mp

mp.mp.dps = 60


def fit(f, lo, hi, degree):
    """Coefficients c[0..degree] of the interpolant of f on [lo, hi], and its largest absolute error."""
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    n = degree + 1
    nodes = [(lo + hi) / 2 + (hi - lo) / 2 * mp.cos((2 * k + 1) * mp.pi / (2 * n)) for k in range(n)]
    a = mp.matrix(n, n)
    for i, x in enumerate(nodes):
        for j in range(n):
            a[i, j] = x**j
    c = [mp.mpf(float(v)) for v in mp.lu_solve(a, mp.matrix([f(x) for x in nodes]))]
    points = [lo + (hi - lo) * mp.mpf(k) / 200 for k in range(201)]
    error = max(abs(mp.polyval(c[::-1], x) - f(x)) for x in points)
    return c, error


def avoiding_zero(f, limit):
    """f with its removable singularity at 0 filled in."""
    return lambda x: mp.mpf(limit) if abs(x) < mp.mpf(10) ** -25 else f(x)


def root(f):
    """f(sqrt(z)) for even f given in x."""
    return lambda z: f(mp.sqrt(z))


LN2 = mp.log(2)
H = LN2 / 2 * mp.mpf("1.01")
SQ = mp.sqrt(mp.mpf(1) / 2)
F_LO, F_HI = SQ - 1 - mp.mpf("1e-4"), mp.sqrt(2) - 1 + mp.mpf("1e-4")
S_MAX = (F_HI / (2 + F_HI)) ** 2 * mp.mpf("1.01")
PIO4 = (mp.pi / 4 * mp.mpf("1.01")) ** 2
T_MAX = (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.01")
PSI_ROOT = mp.findroot(mp.digamma, 1.46)

exp_q = avoiding_zero(lambda r: (mp.expm1(r) - r) / r**2, 0.5)
exp2_q = avoiding_zero(lambda r: (mp.expm1(r * LN2)) / r, LN2)
log_p = avoiding_zero(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, mp.mpf(1) / 3)
log_s = avoiding_zero(root(lambda s: (2 * mp.atanh(s) / s - 2) / s**2), mp.mpf(2) / 3)
pow_s = avoiding_zero(root(lambda s: (2 * mp.atanh(s) / s - 2 - 2 * s**2 / 3) / s**4), mp.mpf(2) / 5)
sin_p = avoiding_zero(root(lambda r: (mp.sin(r) - r) / r**3), -mp.mpf(1) / 6)
cos_p = avoiding_zero(root(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4), mp.mpf(1) / 24)
atan_p = avoiding_zero(root(lambda t: (mp.atan(t) - t) / t**3), -mp.mpf(1) / 3)
asin_p = avoiding_zero(root(lambda x: (mp.asin(x) / x - 1) / x**2), mp.mpf(1) / 6)
erf_p = avoiding_zero(root(lambda x: mp.erf(x) / x), 2 / mp.sqrt(mp.pi))


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


ERFCX_K = 4


def erfcx_t(t):
    """(1 + 2x) erfcx(x) with t = (x - k) / (x + k); the limit at t = 1 is 2 / sqrt(pi)."""
    if t >= 1:
        return 2 / mp.sqrt(mp.pi)
    x = ERFCX_K * (1 + t) / (1 - t)
    if x > 1000:  # asymptotic
        z = 1 / (2 * x * x)
        e = (1 - z + 3 * z**2 - 15 * z**3 + 105 * z**4 - 945 * z**5) / (x * mp.sqrt(mp.pi))
        return (1 + 2 * x) * e
    return (1 + 2 * x) * erfcx(x)


def inverse_by_w(w):
    """erfinv(x) / x where w = -log(1 - x^2)."""
    if w == 0:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    return mp.erfinv(x) / x


lgamma_p = avoiding_zero(lambda d: mp.loggamma(2 + d) / d, 1 - mp.euler)
psi_p = lambda t: mp.digamma(t + 1.5) / (t + 1.5 - PSI_ROOT)

ROWS = [
    ("kExpF32", "(e^r - 1 - r) / r^2, |r| <= ln2/2", exp_q, -H, H, 4),
    ("kExpF64", "the same", exp_q, -H, H, 9),
    ("kExpm1F32", "the same, |r| <= 1/2", exp_q, -0.5, 0.5, 5),
    ("kExpm1F64", "the same", exp_q, -0.5, 0.5, 10),
    ("kExp2F32", "(2^r - 1) / r, |r| <= 1/2", exp2_q, -0.5, 0.5, 6),
    ("kExp2F64", "the same", exp2_q, -0.5, 0.5, 11),
    ("kLogF32", "(log(1+f) - f + f^2/2) / f^3, 1+f in [sqrt(1/2), sqrt(2)]", log_p, F_LO, F_HI, 8),
    ("kLogPowF32", "the same, for pow", log_p, F_LO, F_HI, 12),
    ("kExpPowF32", "(e^r - 1 - r) / r^2, |r| <= ln2/2, for pow", exp_q, -H, H, 5),
    ("kLogF64", "(2 atanh(s)/s - 2) / s^2 in z = s^2, s = f/(2+f), 1+f as above", log_s, 0, S_MAX, 6),
    ("kPowF64", "(2 atanh(s)/s - 2 - 2/3 s^2) / s^4 in z = s^2", pow_s, 0, S_MAX, 7),
    ("kSinF32", "(sin r - r) / r^3 in z = r^2, |r| <= pi/4", sin_p, 0, PIO4, 2),
    ("kSinF64", "the same", sin_p, 0, PIO4, 5),
    ("kCosF32", "(cos r - 1 + r^2/2) / r^4 in z = r^2", cos_p, 0, PIO4, 2),
    ("kCosF64", "the same", cos_p, 0, PIO4, 5),
    ("kAtanF32", "(atan t - t) / t^3 in z = t^2, |t| <= tan(pi/8)", atan_p, 0, T_MAX, 4),
    ("kAtanF64", "the same", atan_p, 0, T_MAX, 11),
    ("kAsinF32", "(asin x / x - 1) / x^2 in z = x^2, |x| <= 1/2", asin_p, 0, 0.25, 5),
    ("kAsinF64", "the same", asin_p, 0, 0.25, 13),
    ("kErfF32", "erf x / x in z = x^2, |x| <= 1", erf_p, 0, 1, 6),
    ("kErfF64", "the same", erf_p, 0, 1, 12),
    ("kErfTailF32", "log(erfc(x)), 1 <= x <= 4, in x - 2.5", lambda u: mp.log(mp.erfc(u + 2.5)), -1.51, 1.5, 9),
    ("kErfcxF64", f"(1 + 2x) erfcx(x) in t = (x - {ERFCX_K}) / (x + {ERFCX_K}), x >= 0", erfcx_t, -1, 1, 23),
    ("kErfinvCentre", "erfinv(x)/x in w - 2.5, w = -log(1 - x^2) <= 5", lambda u: inverse_by_w(u + 2.5), -2.5, 2.5, 10),
    ("kErfinvTail", "the same in sqrt(w) - 4, 5 <= w <= 37", lambda u: inverse_by_w((u + 4) ** 2), -1.77, 2.09, 12),
    ("kLgammaF64", "lgamma(2 + d) / d, |d| <= 1/2", lgamma_p, -0.5, 0.5, 19),
    ("kDigammaF64", "digamma(z) / (z - root) in z - 1.5, 1 <= z <= 2", psi_p, -0.5, 0.5, 21),
]


def main():
    path = pathlib.Path(__file__).resolve().parent.parent / "lib/kernel/math/coefficients.h"
    out = [
        "#pragma once",
        "// Written by scripts/math_coefficients.py: do not edit. Lowest power first; `error` is the",
        "// largest absolute error of the polynomial with these rounded coefficients.",
        "",
        "namespace gcomp::kernel::math {",
        "",
    ]
    for name, doc, f, lo, hi, degree in ROWS:
        c, error = fit(f, lo, hi, degree)
        print(name, mp.nstr(error, 3), file=sys.stderr)
        out.append(f"// {doc}; error {mp.nstr(error, 2)}")
        out.append("// clang-format off")
        out.append(f"inline constexpr double {name}[] = {{")
        out += [f"    {float(v)!r}," for v in c]
        out += ["};", "// clang-format on", ""]
    hi = float(PSI_ROOT)
    out.append("// The positive zero of digamma, in two parts.")
    out.append(f"inline constexpr double kDigammaRoot[] = {{{hi!r}, {float(PSI_ROOT - mp.mpf(hi))!r}}};")
    out += ["", "}  // namespace gcomp::kernel::math", ""]
    path.write_text("\n".join(out))


if __name__ == "__main__":
    main()
