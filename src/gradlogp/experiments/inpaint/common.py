r"""What all ways of filling share: the masks, the pictures, and how completions are measured.

A mask says what is known; the rest x_u is completed K times from the known x_k. The mean of the
completions is the estimate with the least squared error, and is what PSNR measures; a single one is
what a picture should look like, and what the Frechet distance sees. For completions from the true
:math:`p(x_u \mid x_k)` a single one is 3.01 dB worse than the mean of infinitely many.

References: Pathak et al. (2016), arXiv 1604.07379 (context encoders); Lugmayr et al. (2022),
RePaint, arXiv 2201.09865; Blau & Michaeli (2018), The Perception-Distortion Tradeoff.
"""

import abc
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from gradlogp.baselines.context_encoder import AnyOf, BlockHole, Half, Masks, Scattered
from gradlogp.core.random import seeded
from gradlogp.harness.recipe import specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import Measure, classes, frechet, image
from gradlogp.metrics.base import standard_error

SHOWN = 6  # pictures of the strips
# (y [n, *shape] in model coordinates, known bool [n, 1, *sizes], how many, generator)
#     -> completions [K, n, *shape]; one, K = 1, of a method that does not draw
Fill = Callable[[Tensor, Tensor, int, Generator], Tensor]


def masks_of(side: int) -> Mapping[str, Masks]:
    """The masks of pictures of so many pixels a side: the middle quarter, every other pixel, the
    left half.
    """
    return {"hole": BlockHole(side // 2), "scattered": Scattered(0.5), "half": Half()}


def every_mask(side: int) -> Masks:
    """One of these masks at random for each picture: what a network is trained on."""
    return AnyOf(tuple(masks_of(side).values()))


@dataclass(frozen=True)
class Inpaint(Trial):
    """What all methods share. images: training examples of the network; pictures: test pictures;
    samples: completions of each, where a method draws.
    """

    images: int = 60_000
    pictures: int = 100
    samples: int = 4

    @abc.abstractmethod
    def learn(self, context: Context, recorder: Recorder) -> Mapping[str, Fill]:
        """Ways to fill, the first of them the method's own, after whatever there is to learn."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        ways = self.learn(context, recorder)
        own = next(iter(ways))
        clean = context.data.test.scaled(slice(0, self.pictures))
        for name, mask in masks_of(min(clean.shape[2:])).items():
            known = mask(clean, seeded(self.seed, "mask", name))
            measured = ways if name == "hole" else {own: ways[own]}
            for way, fill in measured.items():
                done = self._completed(fill, clean, known, context, name)
                if way == own:
                    recorder.add(*measures(clean, known, done, context), axes={"mask": name})
                    recorder.add(one_sample(clean, known, done), axes=ONE | {"mask": name})
                    keep(recorder, name, clean, known, done)
                if len(ways) > 1 and name == "hole":
                    recorder.add(*measures(clean, known, done, context), axes={"way": way})

    def _completed(
        self, fill: Fill, clean: Tensor, known: Tensor, context: Context, name: str
    ) -> Tensor:
        """Completions [K, n, *shape] in [0, 1], what is known as it was."""
        kind = specify(context.data).coordinates
        drawn = fill(kind.to_model(clean), known, self.samples, seeded(self.seed, "fill", name))
        pictures = kind.from_model(drawn.flatten(0, 1)).reshape(drawn.shape).clamp(0, 1)
        return torch.where(known, clean, pictures)


ONE = {"of": "one sample"}


def measures(clean: Tensor, known: Tensor, done: Tensor, context: Context) -> list[Measure]:
    """PSNR in the unknown part and SSIM of the mean completion; of the first completions the
    Frechet distance and the class; and how far completions differ.
    """
    evaluator = context.evaluator
    assert evaluator is not None, "completions are measured"
    mean, first = done.mean(0), done[0]
    real = evaluator.features(context.data.test.scaled(slice(len(clean), 2 * len(clean))))
    truth = context.data.test.labels
    found = [
        hole_psnr(clean, known, mean, f"the mean of {len(done)} completions"),
        image.ssim(clean, mean),
        frechet.fd(real, evaluator.features(first), evaluator.name),
        diversity(known, done),
    ]
    if truth is None:
        return found
    seen = evaluator.labels(first)
    return [*found, classes.agreement(seen, truth[: len(clean)], evaluator.accuracy)]


def one_sample(clean: Tensor, known: Tensor, done: Tensor) -> Measure:
    return hole_psnr(clean, known, done[0], "one completion")


def hole_psnr(clean: Tensor, known: Tensor, filled: Tensor, says: str) -> Measure:
    """-10 log10 of the mean squared error of the unknown entries of all pictures [n, *shape]; inf
    where there is none.
    """
    unknown = ~known.expand_as(clean)
    squared = torch.where(unknown, (clean - filled).double().square(), 0).flatten(1).sum(1)
    each = squared / unknown.flatten(1).sum(1)
    mean = float(each.mean())
    stderr = standard_error(each)
    error = 10 / math.log(10) * stderr / mean if stderr is not None and mean > 0 else None
    protocol = f"dB, of the unknown part alone, data range 1, {says}, standard error over pictures"
    value = -10 * math.log10(mean) if mean > 0 else math.inf
    return Measure("hole_psnr", value, error, len(each), "higher", protocol, unit="dB")


def diversity(known: Tensor, done: Tensor) -> Measure:
    """The standard deviation of the completions [K, n, *shape] of one picture, in the unknown part."""
    unknown = ~known.expand_as(done[0])
    if len(done) == 1:
        variance = torch.zeros(done.shape[1], dtype=torch.float64)
    else:
        variances = torch.where(unknown, done.double().var(0), 0).flatten(1).sum(1)
        variance = variances / unknown.flatten(1).sum(1)
    each = variance.sqrt()
    says = (
        f"root mean variance over {len(done)} completions of a picture, of its unknown part, mean"
        " over pictures"
    )
    return Measure("diversity", float(each.mean()), standard_error(each), len(each), "none", says)


def keep(recorder: Recorder, name: str, clean: Tensor, known: Tensor, done: Tensor) -> None:
    """What the strips of the report show: what was seen, the truth, one completion and the mean."""
    seen = torch.where(known, clean, 0.5)
    shown = {"clean": clean, "seen": seen, "one": done[0], "mean": done.mean(0)}
    recorder.save({"mask": name}, **{key: x[:SHOWN] for key, x in shown.items()})
