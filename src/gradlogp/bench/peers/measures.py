"""Precision, recall, density, coverage and the Frechet distance of 10,000 features each."""

import contextlib
import io
from collections.abc import Iterator

import torch

from gradlogp.bench.peers.case import OURS, Case, Work
from gradlogp.core.random import seeded
from gradlogp.metrics import prdc as ours_prdc
from gradlogp.metrics.frechet import frechet_distance

K = 5
WIDTHS = (64, 512)  # of the features


def cases(n: int = 10_000) -> Iterator[Case]:
    yield prdc(n, WIDTHS[0])
    for width in WIDTHS:
        yield frechet(n, width)


def features(n: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    real, fake = (torch.randn(n, width, generator=seeded(name)) for name in ("real", "fake"))
    return real, 1.05 * fake


def prdc(n: int, width: int) -> Case:
    real, fake = features(n, width)

    def ours() -> Work:
        return lambda: [*ours_prdc.values(real, fake, K).values()]

    def theirs() -> Work:
        from prdc import compute_prdc

        def work() -> list[float]:
            with contextlib.redirect_stdout(io.StringIO()):
                return [*map(float, compute_prdc(real.numpy(), fake.numpy(), K).values())]

        return work

    name = f"{n:,} by {n:,}, {width} features"
    return Case(
        "Precision, recall, density, coverage",
        name,
        "call",
        1,
        "value",
        {OURS: ours, "prdc": theirs},
    )


def frechet(n: int, width: int) -> Case:
    real, fake = features(n, width)

    def ours() -> Work:
        return lambda: frechet_distance(real, fake)

    def torchmetrics() -> Work:
        from torchmetrics.image.fid import FrechetInceptionDistance

        class Given(torch.nn.Identity):
            num_features = width

        metric = FrechetInceptionDistance(feature=Given())

        def work() -> float:
            metric.reset()
            metric.update(real, real=True)
            metric.update(fake, real=False)
            return float(metric.compute())

        return work

    def scipy() -> Work:
        """The formula of the published FID, which clean-fid and pytorch-fid follow."""
        import numpy as np
        from scipy.linalg import sqrtm

        def work() -> float:
            a, b = (x.double().numpy() for x in (real, fake))
            mean, (s, t) = a.mean(0) - b.mean(0), (np.cov(x, rowvar=False) for x in (a, b))
            return float(mean @ mean + np.trace(s + t - 2 * sqrtm(s @ t).real))

        return work

    makers = {OURS: ours, "torchmetrics": torchmetrics, "scipy, as clean-fid": scipy}
    return Case(
        "Frechet distance", f"{n:,} and {n:,}, {width} features", "call", 1, "value", makers
    )
