"""Write dirichlet.json: distances of Dirichlet distributions by shooting, with mpmath.

The geodesic equation in log a is integrated by extrapolation of the midpoint rule, with 30 digits,
and Newton's method with divided differences finds the velocity that reaches the other point. The
digits that are kept agree between two step sizes. infogeo gives the first guess of the velocity and
nothing else. Run it from the root of the repository (a quarter of an hour):

    python tests/oracles/dirichlet.py
"""

import json
from pathlib import Path

import mpmath as mp

from infogeo.manifolds.dirichlet import SPACE, Dirichlet

mp.mp.dps = 30
PAIRS = [
    ([3, 4], [30000, 40000]),
    (["0.01", 1, 50], [50, 1, "0.01"]),
    ([1, 2, 3], [3, 1, 2]),
]


def numbers(values):
    return [mp.mpf(float(v)) for v in values]  # the doubles that the library is given


def acceleration(y, w):
    """Return the second derivatives of log a along a geodesic."""
    a = [mp.exp(v) for v in y]
    total = mp.fsum(a)
    psi = [mp.psi(1, x) for x in (*a, total)]
    slope = [mp.psi(2, x) for x in (*a, total)]
    v = [x * z for x, z in zip(a, w, strict=True)]
    v.append(mp.fsum(v))
    terms = [s * z * z / (2 * p) for s, z, p in zip(slope, v, psi, strict=True)]
    inverse = [1 / p for p in psi]
    multiplier = (mp.fsum(terms[:-1]) - terms[-1]) / (mp.fsum(inverse[:-1]) - inverse[-1])
    return [
        (multiplier - s * z * z / 2) / p / x - u * u
        for s, z, p, x, u in zip(slope, v, psi, a, w, strict=False)
    ]


def midpoint(y, w, step, count):
    """Return the state after a step in so many parts, by Gragg's rule."""
    k, h = len(y), step / count
    state = [*y, *w]

    def slope(s):
        return [*s[k:], *acceleration(s[:k], s[k:])]

    before, here = state, [s + h * d for s, d in zip(state, slope(state), strict=True)]
    for _ in range(count - 1):
        after = [s + 2 * h * d for s, d in zip(before, slope(here), strict=True)]
        before, here = here, after
    return [(s + t + h * d) / 2 for s, t, d in zip(before, here, slope(here), strict=True)]


def extrapolated(y, w, step, levels=8):
    counts, rows = [2 * (i + 1) for i in range(levels)], []
    for i, count in enumerate(counts):
        row = [midpoint(y, w, step, count)]
        for j in range(1, i + 1):
            factor = (mp.mpf(counts[i]) / counts[i - j]) ** 2 - 1
            row.append(
                [p + (p - q) / factor for p, q in zip(row[-1], rows[-1][j - 1], strict=True)]
            )
        rows.append(row)
    return rows[-1][-1]


def reached(a, w, num_steps):
    y = [mp.log(x) for x in a]
    for _ in range(num_steps):
        state = extrapolated(y, w, mp.mpf(1) / num_steps)
        y, w = state[: len(a)], state[len(a) :]
    return y


def distance(a, b, num_steps, w):
    goal = [mp.log(x) for x in b]
    k = len(a)
    scale = mp.mpf(10) ** -14 * max(abs(x) for x in w)
    for i in range(3):
        end = reached(a, w, num_steps)
        miss = mp.matrix([g - e for g, e in zip(goal, end, strict=True)])
        if i == 2:
            print("   left:", mp.nstr(mp.norm(miss), 3), flush=True)
            break
        if i == 0:
            jacobian = mp.matrix(k, k)
            for j in range(k):
                shifted = [x + scale * (j == n) for n, x in enumerate(w)]
                other = reached(a, shifted, num_steps)
                for n in range(k):
                    jacobian[n, j] = (other[n] - end[n]) / scale
        w = [x + z for x, z in zip(w, mp.lu_solve(jacobian, miss), strict=True)]
    v = [x * z for x, z in zip(a, w, strict=True)]
    squares = mp.fsum(mp.psi(1, x) * z * z for x, z in zip(a, v, strict=True))
    return mp.sqrt(squares - mp.psi(1, mp.fsum(a)) * mp.fsum(v) ** 2), w


def main():
    found = []
    for first, second in PAIRS:
        a, b = numbers(first), numbers(second)
        point, other = (Dirichlet([float(x) for x in p]) for p in (a, b))
        link = SPACE.connect(point, other)
        w = [
            mp.mpf(float(v)) / x
            for v, x in zip(link.initial_velocity.concentration, a, strict=True)
        ]
        count = max(4, int(3 * float(link.distance)))
        coarse, w = distance(a, b, count, w)
        fine, _ = distance(a, b, count + count // 2, w)
        error = abs(fine - coarse) / fine
        print(first, second, mp.nstr(fine, 22), mp.nstr(error, 3), flush=True)
        assert error < mp.mpf(10) ** -17
        found.append(
            {"a": [float(x) for x in a], "b": [float(x) for x in b], "distance": mp.nstr(fine, 20)}
        )
    path = Path(__file__).with_suffix(".json")
    kept = json.loads(path.read_text())["published"]  # numbers of another program, 25 digits
    text = json.dumps({"dirichlet": found, "published": kept}, indent=1)
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
