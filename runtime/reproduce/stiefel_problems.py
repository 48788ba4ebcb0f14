"""What is learned on manifolds: problems whose answers are known, or known by another way.

In: sizes and a seed.  Out: a point to begin with, a loss of it, its distance to what is known, and
what others reach.  All numbers are float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

Tensor = torch.Tensor
#: The mean of log cosh of a normal variable of variance 1, by Gauss-Hermite quadrature.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
NORMAL = float(np.log(np.cosh(_NODES)) @ _WEIGHTS / _WEIGHTS.sum())
#: The rate and the momentum by which what lies on no manifold is trained.
RATE, MOMENTUM = 0.05, 0.9


@dataclass(frozen=True, slots=True)
class Problem:
    """A function on a manifold.

    Attributes:
        start: the point to begin with.
        loss: of the point.
        distance: how far the point is from what is known.
        others: what is trained beside the point, and lies on no manifold.
        peers: how far what others compute is from what is known, by their names; computed when
            called with a number of steps.
        shown: arrays for pictures, of a point; none if there is nothing to show.
    """

    start: Tensor
    loss: Callable[[Tensor], Tensor]
    distance: Callable[[Tensor], float]
    others: Sequence[Tensor] = ()
    peers: Mapping[str, Callable[[int], float]] = field(default_factory=dict)
    shown: Callable[[Tensor], Mapping[str, Any]] | None = None


def eigenvectors(seed: int, n: int, p: int) -> Problem:
    """The eigenvectors of the p smallest eigenvalues: ``min tr(X'A X N)``, N = diag(p, ..., 1).

    With eigenvalues in increasing order the least value is ``sum(N[i]*eigenvalue[i])``, at their
    eigenvectors up to signs (R. W. Brockett, Linear Algebra Appl. 146 (1991) 79-91).

    Args:
        seed: of the matrix and of the point to begin with.
        n: of the matrix `(n, n)`.
        p: how many.

    Returns:
        The problem.
    """
    generator = _generator(seed)
    basis = _orthonormal(generator, n, n)
    values = torch.linspace(0, 3, n, dtype=torch.float64)
    matrix = basis @ torch.diag(values) @ basis.T
    weights = torch.arange(p, 0, -1, dtype=torch.float64)
    known = torch.linalg.eigh(matrix)[1][:, :p]

    def distance(point: Tensor) -> float:
        signs = torch.where((known * point).sum(0) < 0, -1.0, 1.0)
        return float((point * signs - known).norm())

    return Problem(
        _orthonormal(generator, n, p),
        lambda point: (point * (matrix @ point) * weights).sum(),
        distance,
    )


def procrustes(seed: int, n: int, points: int) -> Problem:
    """The rotation nearest to leading points to others: ``min |X A - B|^2/points``.

    With B A' = U S V' it is U D V', D = diag(1, ..., 1, det(U V')) (P. H. Schonemann, Psychometrika
    31 (1966) 1-10; W. Kabsch, Acta Cryst. A 32 (1976) 922-923).

    Args:
        seed: of the points, of the noise on them and of the rotation to begin with.
        n: of the space.
        points: how many.

    Returns:
        The problem.
    """
    generator = _generator(seed)
    before = _normal(generator, n, points)
    after = _rotation(generator, n) @ before + 0.1 * _normal(generator, n, points)
    left, _, right = torch.linalg.svd(after @ before.T)
    ones = torch.ones(n, dtype=torch.float64)
    ones[-1] = torch.linalg.det(left @ right)
    known = left @ torch.diag(ones) @ right
    # a turn about a right angle away, so that neither a sign nor luck decides
    axis = _normal(generator, n, n)
    axis = axis - axis.T
    start = torch.linalg.matrix_exp(axis * (torch.pi / 2 / torch.linalg.matrix_norm(axis, 2)))
    return Problem(
        start @ known,
        lambda point: ((point @ before - after) ** 2).sum() / points,
        lambda point: float((point - known).norm()),
    )


def sources(seed: int, side: int) -> Problem:
    """Three signals from three mixtures: independent components, by their means of log cosh.

    The signals are squares of two photographs, row by row, of mean 0 and variance 1; mixtures are
    made uncorrelated and of variance 1, so what is left is orthogonal.  ``min -sum((mean(log
    cosh(x'z)) - c)^2)``, c that of a normal variable (A. Hyvarinen, IEEE Trans. Neural Netw. 10
    (1999) 626-634).

    Args:
        seed: of the mixture, and of the matrix to begin with.
        side: of the squares, in pixels.

    Returns:
        The problem.
    """
    generator = _generator(seed)
    signals = torch.from_numpy(photographs(side))
    mixing = _normal(generator, 3, 3)
    mixed = mixing @ signals
    values, vectors = torch.linalg.eigh(mixed @ mixed.T / mixed.shape[1])
    whitening = torch.diag(values**-0.5) @ vectors.T
    white = whitening @ mixed

    def loss(point: Tensor) -> Tensor:
        sizes = (point.T @ white).abs()  # log cosh without overflow
        means = (sizes + torch.log1p(torch.exp(-2 * sizes)) - np.log(2)).mean(1)
        return -((means - NORMAL) ** 2).sum()

    def peer(steps: int) -> float:
        from sklearn.decomposition import FastICA

        model = FastICA(whiten=False, random_state=seed, max_iter=steps, tol=1e-8)
        model.fit(white.T.numpy())
        return amari(torch.from_numpy(model.components_) @ whitening @ mixing)

    def shown(point: Tensor) -> dict[str, Any]:
        back = point.T @ white
        products = back @ signals.T
        order = products.abs().argmax(0)
        signs = torch.sign(products[order, torch.arange(3)])
        pictures = {
            "signals": signals,
            "mixtures": mixed,
            "separated": back[order] * signs[:, None],
        }
        return {name: own.reshape(3, side, side).numpy() for name, own in pictures.items()}

    return Problem(
        _rotation(generator, 3),
        loss,
        lambda point: amari(point.T @ whitening @ mixing),
        peers={"FastICA of scikit-learn": peer},
        shown=shown,
    )


def digits(seed: int, hidden: int, training: int) -> Problem:
    """A classifier whose first layer has orthonormal rows, on scikit-learn's 1,797 digits.

    ``softmax(W tanh(2 X'x + b) + c)``; X has orthonormal columns, the rows of the layer.

    Args:
        seed: of the layers to begin with.
        hidden: how many rows.
        training: how many images are trained on; the others are those that errors are counted of.

    Returns:
        The problem.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    images = torch.from_numpy(data.data[order] / 16.0)
    classes = torch.from_numpy(data.target[order].astype(np.int64))
    images = images - images[:training].mean(0)

    def begin() -> tuple[Tensor, list[torch.nn.Parameter]]:
        generator = _generator(seed)
        start = _orthonormal(generator, images.shape[1], hidden)
        weight = _normal(generator, 10, hidden) / hidden**0.5
        zeros = (torch.zeros(size, dtype=torch.float64) for size in (hidden, 10))
        return start, [torch.nn.Parameter(own) for own in (weight, *zeros)]

    def scores(point: Tensor, others: Sequence[Tensor], images: Tensor) -> Tensor:
        weight, shift, bias = others
        return torch.tanh(2 * images @ point + shift) @ weight.T + bias

    def loss_of(point: Tensor, others: Sequence[Tensor]) -> Tensor:
        made = scores(point, others, images[:training])
        return torch.nn.functional.cross_entropy(made, classes[:training])

    def error_of(point: Tensor, others: Sequence[Tensor]) -> float:
        with torch.no_grad():
            wrong = scores(point, others, images[training:]).argmax(1) != classes[training:]
        return 100 * float(wrong.double().mean())

    start, others = begin()
    return Problem(
        start,
        lambda point: loss_of(point, others),
        lambda point: error_of(point, others),
        others,
        {
            "torch's parametrization": lambda steps: _parametrised(
                *begin(), loss_of, error_of, steps
            ),
            "SGD, any first layer": lambda steps: _unconstrained(
                *begin(), loss_of, error_of, steps
            ),
        },
    )


def completion(seed: int, rows: int, columns: int, rank: int) -> Problem:
    """A matrix of low rank from some of its entries: ``min over X of min over W |P(X W - M)|^2``.

    The inner minimum is a least-squares problem for each column; by its normal equations only the
    space of X matters.  Two fifths of the entries are known.

    Args:
        seed: of the matrix, of what is known of it, and of the space to begin with.
        rows: of the matrix.
        columns: of the matrix.
        rank: of the matrix.

    Returns:
        The problem.
    """
    generator = _generator(seed)
    whole = _normal(generator, rows, rank) @ _normal(generator, rank, columns)
    known = torch.rand(rows, columns, generator=generator, dtype=torch.float64) < 0.4

    def fitted(point: Tensor) -> Tensor:
        masked = known.T[:, :, None] * point
        right = masked.mT @ (known * whole).T[:, :, None]
        small = 1e-12 * torch.eye(rank, dtype=torch.float64)
        weights = torch.linalg.solve(masked.mT @ masked + small, right)
        return (point @ weights)[:, :, 0].T

    def loss(point: Tensor) -> Tensor:
        return (known * (fitted(point) - whole) ** 2).sum() / known.sum()

    def distance(point: Tensor) -> float:
        with torch.no_grad():
            apart = (fitted(point) - whole)[~known].norm() / whole[~known].norm()
        return float(apart)

    return Problem(_orthonormal(generator, rows, rank), loss, distance)


def amari(product: Tensor) -> float:
    """How far a matrix is from a scaled permutation: 0 if it is one, at most 1.

    Args:
        product: `(n, n)`, the separation times the mixture.

    Returns:
        The index of S. Amari, A. Cichocki and H. H. Yang (NIPS 1995), divided by 2 n (n - 1).
    """
    sizes = product.abs()
    n = len(sizes)
    across = (sizes.sum(1) / sizes.max(1).values - 1).sum()
    down = (sizes.sum(0) / sizes.max(0).values - 1).sum()
    return float((across + down) / (2 * n * (n - 1)))


def photographs(side: int) -> Any:
    """Three squares of scikit-learn's two photographs, of mean 0 and variance 1.

    Args:
        side: in pixels.

    Returns:
        `(3, side*side)`.

    Raises:
        ValueError: they are not so large.
    """
    from sklearn.datasets import load_sample_image

    first, second = (load_sample_image(name).mean(2) for name in ("china.jpg", "flower.jpg"))
    if not 8 <= side <= 256:
        raise ValueError(f"side = {side}: squares of 8 to 256 pixels were expected")
    squares = (first[-side:, :side], first[-side:, -side:], second[-side:, :side])
    signals = np.stack([np.asarray(square, np.float64).ravel() for square in squares])
    signals = signals - signals.mean(1, keepdims=True)
    return signals / signals.std(1, keepdims=True)


def _parametrised(
    start: Tensor, others: list[torch.nn.Parameter], loss_of: Any, error_of: Any, steps: int
) -> float:
    """The same classifier with ``parametrizations.orthogonal`` and torch's SGD."""
    rows, columns = start.shape
    layer = torch.nn.Linear(rows, columns, bias=False, dtype=torch.float64)
    torch.nn.utils.parametrizations.orthogonal(layer)
    with torch.no_grad():
        layer.weight = start.T
    parameters = [*layer.parameters(), *others]
    return _trained(parameters, lambda: layer.weight.T, others, loss_of, error_of, steps)


def _unconstrained(
    start: Tensor, others: list[torch.nn.Parameter], loss_of: Any, error_of: Any, steps: int
) -> float:
    """The same classifier without a constraint, with torch's SGD."""
    weight = torch.nn.Parameter(start.clone())
    return _trained([weight, *others], lambda: weight, others, loss_of, error_of, steps)


def _trained(
    parameters: Sequence[Tensor],
    point: Callable[[], Tensor],
    others: Sequence[Tensor],
    loss_of: Any,
    error_of: Any,
    steps: int,
) -> float:
    optimizer = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(point(), others).backward()
        optimizer.step()
    return float(error_of(point().detach(), others))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _orthonormal(generator: torch.Generator, n: int, p: int) -> Tensor:
    return torch.linalg.qr(_normal(generator, n, p))[0].contiguous()


def _rotation(generator: torch.Generator, n: int) -> Tensor:
    drawn = _orthonormal(generator, n, n)
    drawn[:, 0] *= torch.sign(torch.linalg.det(drawn))
    return drawn


#: By the names of the line-up.
PROBLEMS: Mapping[str, Callable[..., Problem]] = {
    "completion": completion,
    "digits": digits,
    "eigenvectors": eigenvectors,
    "procrustes": procrustes,
    "sources": sources,
}
