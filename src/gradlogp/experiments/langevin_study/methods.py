r"""Annealed Langevin dynamics taken apart: the ladder of noise levels, steps at each, step size,
and the last denoising step.

On a Gaussian every step is linear, so the variance that the chains must have is known to the last
digit: with data N(0, v) and step h at level sigma, :math:`V' = (1 - h/(v + \sigma^2))^2 V + 2h`.
Measured over many chains it must agree within the error of a variance, :math:`V\sqrt{2/n}`; and
beyond :math:`h = 2(v + \sigma^2)` the factor exceeds 1 and the chains must leave.

On pictures the same sampler follows two fields: the exact score of the noised training pictures,
where all that is wrong is the sampler, and a network's score. What counts is the Frechet distance
at equal evaluations, along geometric ladders from few levels to those of technique 2, along other
ladders, with and without the last step.

References: Song & Ermon (2019), arXiv 1907.05600, algorithm 1; Song & Ermon (2020), arXiv
2006.09011, techniques 1, 2 and 4; Jolicoeur-Martineau et al. (2021), arXiv 2009.05475 (consistent
annealing; the last step: FID 31.75 without, 10.87 with it).
"""

import abc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from gradlogp.core.fields import NoisyField
from gradlogp.core.kernel import run as walk
from gradlogp.core.noise import EDM, VarianceExploding, geometric_ratio
from gradlogp.core.random import Streams, normal_, seeded
from gradlogp.core.targets import Empirical, gaussian
from gradlogp.data import save_grid
from gradlogp.harness import figures
from gradlogp.harness.recipe import to_model, to_picture
from gradlogp.harness.evaluate import Rows
from gradlogp.harness.fit import fit, load
from gradlogp.experiments.recipes.score import ncsn
from gradlogp.harness.table import Table
from gradlogp.harness.trial import Context, Cost, Recorder, Trial, items
from gradlogp.metrics import Measure, frechet
from gradlogp.runs import write_json
from gradlogp.samplers import Annealed, AnnealedLangevin, ConsistentAnnealedLangevin, Langevin

TOP, BOTTOM = 10.0, 0.05  # noise levels on [-1, 1]
GEOMETRIC = VarianceExploding(BOTTOM, TOP)
RATIOS = (0.25, 0.5, 1.5, 1.9, 2.1, 2.4)  # step sizes over sigma^2, stable below 2


def technique_2(dim: int) -> int:
    """Levels of the geometric ladder from TOP to BOTTOM whose neighbours overlap by half: Song &
    Ermon (2020), technique 2.
    """
    return 1 + math.ceil(math.log(TOP / BOTTOM) / math.log(geometric_ratio(dim)))


def expected_variance(sampler: Annealed, data: float) -> float:
    """The variance of chains on N(0, data) after a whole run from the top level, exactly."""
    var = sampler.ladder[0] ** 2
    for taken in range(sampler.steps):
        level = sampler.level(taken)
        sigma = sampler.ladder[-1] if level is None else sampler.ladder[level]
        step_size, tau = (sigma**2, 0.0) if level is None else sampler.rule(level)
        var = (1 - step_size / (data + sigma**2)) ** 2 * var + tau**2
    return var


@final
@dataclass(frozen=True)
class GaussianLaw(Trial):
    """Chains on Gaussians against the recursion; `chains` of them for each setting."""

    chains: int = 20_000

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training():
            pass
        found = {
            f"data of variance {data:g}": [
                self._deviation(recorder, name, sampler, data)
                for name, sampler in settings(dim=784)
            ]
            for data in (0.01, 0.25, 4.0)
        }
        worst = max(abs(z) for deviations in found.values() for z in deviations)
        says = "largest of the deviations of all settings, in standard errors"
        recorder.add(Measure("largest_deviation", worst, None, self.chains, "lower", says))
        self._draw(recorder, found, {ratio: self._growth(recorder, ratio) for ratio in RATIOS})

    def _deviation(self, recorder: Recorder, name: str, sampler: Annealed, data: float) -> float:
        streams = seeded(self.seed, "gaussian", name, str(data))
        x = normal_(torch.empty(self.chains, 1, dtype=torch.float64), streams).mul_(
            sampler.ladder[0]
        )
        x = walk(sampler, gaussian([0.0], [math.sqrt(data)]), x, sampler.steps, streams)
        expected = expected_variance(sampler, data)
        found = float(x.square().mean())
        z = (found / expected - 1) / math.sqrt(2 / self.chains)
        protocol = (
            f"measured over expected variance of {self.chains} chains on N(0, {data:g}), minus 1,"
            f" in standard errors; expected {expected:.5g}, {expected / data:.4g} of the data's"
        )
        says = "expected variance over the data's, minus 1, by the recursion"
        excess = Measure("excess", expected / data - 1, None, 1, "lower", says)
        deviation = Measure("deviation", z, 1.0, self.chains, "lower", protocol)
        recorder.add(deviation, excess, name=f"{name} on {data:g}", evaluations=sampler.steps)
        return z

    def _growth(self, recorder: Recorder, ratio: float) -> float:
        """ln |1 - h / sigma^2|, by which |x| grows in a step of h = ratio sigma^2, measured over
        100 steps.
        """
        sampler = Langevin(ratio, noise_std=0.0)
        g = seeded(self.seed, "divergence")
        x = normal_(torch.empty(1000, 1, dtype=torch.float64), g)
        end = walk(sampler, gaussian([0.0], [1.0]).at(), x, 100, g)
        growth = float((end.abs().mean() / x.abs().mean()).log() / 100)
        says = (
            f"ln growth of |x| in a step of h = {ratio} sigma^2 without noise; expected ln |1 -"
            f" {ratio}| = {math.log(abs(1 - ratio)):.6f}; above 0 the chain diverges"
        )
        recorder.add(Measure("growth", growth, None, 1000, "lower", says), name=f"at step {ratio}")
        return growth

    def _draw(
        self,
        recorder: Recorder,
        found: Mapping[str, Sequence[float]],
        growth: Mapping[float, float],
    ) -> None:
        caption = (
            f"Left: variance of {self.chains:,} chains against the exact recursion, for every"
            " sampler, on three Gaussians. Right: how |x| grows in a step, measured (dots) over ln"
            " |1 - h / sigma^2|; above 0 the chains leave."
        )
        names = [name for name, _ in settings(dim=784)]
        ratios = torch.linspace(0.05, 2.6, 400)
        with figures.sheet(recorder.figure("gaussian", caption), columns=2, height=3.6) as (
            left,
            right,
        ):
            for i, (label, deviations) in enumerate(found.items()):
                left.plot(
                    deviations,
                    range(len(names)),
                    "o",
                    markersize=4,
                    label=label,
                    color=figures.COLOURS[i],
                )
            left.axvspan(-3, 3, color=figures.INK, alpha=0.06, linewidth=0)
            left.set(xlabel="measured - expected variance, standard errors", xlim=(-4, 4))
            left.set_yticks(range(len(names)), names)
            left.legend(fontsize=7)
            right.plot(ratios, (1 - ratios).abs().log(), color=figures.COLOURS[0], linewidth=1.2)
            right.plot(list(growth), list(growth.values()), "o", color=figures.COLOURS[1])
            right.axhline(0, color=figures.INK, linewidth=0.8)
            right.set(
                xlabel="step size / sigma^2", ylabel="ln growth of |x| in a step", ylim=(-3, 0.8)
            )


def settings(dim: int) -> list[tuple[str, Annealed]]:
    """The samplers under study, each with a name: geometric ladders, steps at each level, other
    ladders, consistent annealing.
    """
    full = technique_2(dim)
    ladders = [(f"L={n} T=1", AnnealedLangevin(GEOMETRIC, n)) for n in (10, 20, 40, full)]
    repeated = [(f"L={n} T={t}", AnnealedLangevin(GEOMETRIC, n, t)) for n, t in ((10, 4), (20, 5))]
    others = [
        ("linear ladder L=40", AnnealedLangevin(EDM(BOTTOM, TOP, 1.0), 40, step_ratio=0.1)),
        ("rho 7 ladder L=40", AnnealedLangevin(EDM(BOTTOM, TOP, 7.0), 40)),
    ]
    return [
        *ladders,
        *repeated,
        *others,
        ("consistent L=40", ConsistentAnnealedLangevin(GEOMETRIC, 40)),
        (f"consistent L={full}", ConsistentAnnealedLangevin(GEOMETRIC, full)),
    ]


def variants(dim: int) -> list[tuple[str, Annealed]]:
    """For pictures also the step size of technique 4 halved and doubled, and ladders with and
    without the last step.
    """
    base = AnnealedLangevin(GEOMETRIC, 40)
    coarse = replace(base, process=VarianceExploding(0.3, TOP))
    changed = [
        (f"L=40 step x {f:g}", replace(base, step_ratio=min(1.99, f * base.rho)))
        for f in (0.5, 2.0)
    ]
    ends = [
        ("L=40 T=1 not denoised", replace(base, denoise=False)),
        ("down to .3", coarse),
        ("down to .3 not denoised", replace(coarse, denoise=False)),
    ]
    return [*settings(dim), *changed, *ends]


@dataclass(frozen=True)
class _OnPictures(Trial):
    """Frechet distance of samples against the ladder. Subclasses say which field the chains follow."""

    samples: int = 500

    @abc.abstractmethod
    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        """The field that the chains follow."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        with recorder.training() as cost:
            field = self.field(context, recorder, cost)
        data, evaluator = context.data, context.evaluator
        n = min(self.samples, len(data.test))
        real = evaluator.features(data.test.scaled(slice(0, n)))
        dim, curve = math.prod(data.shape), {}
        recorder.listener.begin("sample", sum(s.steps for _, s in variants(dim)))
        for name, sampler in variants(dim):
            began = time.perf_counter()
            x = draw(field, sampler, n, data.shape, self.seed, lambda: recorder.listener.advance())
            seconds = (time.perf_counter() - began) / n
            fd = frechet.fd(real, evaluator.features(x), evaluator.name)
            recorder.add(fd, name=name, seconds=seconds, evaluations=sampler.steps)
            curve[name] = float(fd)
            if name in (
                "L=10 T=1",
                "L=40 T=1",
                "consistent L=40",
                "down to .3",
                "down to .3 not denoised",
            ):
                caption = f"{name}: {sampler.steps} evaluations, FD {float(fd):.3g}"
                save_grid(
                    recorder.figure(name.replace(" ", "-").replace("=", ""), caption),
                    x[:50],
                    columns=10,
                )
        recorder.listener.end()
        recorder.save(
            fd=torch.tensor(list(curve.values())),
            evaluations=torch.tensor([s.steps for _, s in variants(dim)]),
        )


def draw(
    field: NoisyField,
    sampler: Annealed,
    n: int,
    shape: Sequence[int],
    seed: int,
    told: Callable[[], None],
) -> Tensor:
    """n pictures in [0, 1]; sample i has the same noise in every batch."""
    parts, batch = [], 100
    for first in range(0, n, batch):
        count = min(batch, n - first)
        streams = Streams(seed, first, count)
        x = normal_(torch.empty(count, *shape), streams).mul_(sampler.ladder[0])
        parts.append(
            to_picture(
                walk(sampler, field, x, sampler.steps, streams, _tell(told) if first == 0 else None)
            )
        )
    return torch.cat(parts)


def _tell(told: Callable[[], None]) -> Callable[[int, Any, Any], None]:
    return lambda step, state, info: told()


@final
@dataclass(frozen=True)
class EmpiricalScore(_OnPictures):
    """The exact score of `examples` noised training pictures: what is wrong with its samples is the
    sampler's doing.
    """

    examples: int = 2000

    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        return Empirical(to_model(context.data.train.scaled(slice(0, self.examples))))


@final
@dataclass(frozen=True)
class LearnedScore(_OnPictures):
    """A noise-conditional network trained on `images` pictures in a run folder of its own,
    `network`.
    """

    images: int = 100_000

    def field(self, context: Context, recorder: Recorder, cost: Cost) -> NoisyField:
        recipe = ncsn(context.data.name, "quick", self.seed)
        recipe = replace(recipe, training=replace(recipe.training, images=self.images))
        path = recorder.run.path / "network"
        fit(recipe, context.data, path, recorder.listener).close()
        fitted = load(path, "cpu")
        spec = fitted.run.status()
        cost.parameters = spec["parameters"]
        cost.images = spec["images"]
        cost.evaluations = spec["evaluations"]
        field: NoisyField = fitted.model.field()  # type: ignore[operator]
        return field


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """Frechet distance against evaluations, for both fields."""
    kept = {
        name: items(paths[0]) for name, paths in runs.items() if (paths[0] / "items.npz").exists()
    }
    path = folder / "samples" / "figure-ladders.png"
    names = [name for name, _ in variants(784)]
    families: dict[str, Callable[[str], bool]] = {
        "one step a level": lambda n: n.startswith("L=") and n.endswith("T=1"),
        "several steps": lambda n: "T=4" in n or "T=5" in n,
        "other ladders": lambda n: "ladder" in n,
        "consistent": lambda n: n.startswith("consistent"),
        "other step sizes": lambda n: "step x" in n,
        "denoised from .3": lambda n: n == "down to .3",
        "not denoised": lambda n: "not denoised" in n,
    }
    with figures.sheet(path, columns=max(1, len(kept)), width=4.8) as axes:
        for axis, (method, found) in zip(axes, kept.items(), strict=False):
            series = {label: points(names, found, has) for label, has in families.items()}
            figures.lines(
                axis,
                series,
                "evaluations a sample",
                "Frechet distance",
                method,
                log="xy",
                markers=True,
            )
            for line, (xs, _) in zip(axis.lines, series.values(), strict=True):
                line.set_linestyle("-" if len(set(xs)) > 1 else "")
    write_json(
        path.with_name("figures.json"),
        {path.name: "Frechet distance against evaluations, along different ladders."},
    )
    return []


def points(
    names: Sequence[str], found: Mapping[str, Tensor], has: Callable[[str], bool]
) -> tuple[list[float], list[float]]:
    chosen = sorted(
        (int(found["evaluations"][i]), float(found["fd"][i]))
        for i, name in enumerate(names)
        if has(name)
    )
    return [float(e) for e, _ in chosen], [fd for _, fd in chosen]


def gaussian_law(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> GaussianLaw:
    """Chains on Gaussians, held against the exact recursion of their variance."""
    return GaussianLaw(
        "gaussian_law", dataset, preset, seed, 20_000 if preset == "quick" else 200_000
    )


def empirical_score(
    dataset: str = "digits", preset: str = "quick", seed: int = 0
) -> EmpiricalScore:
    """Annealed Langevin on the exact score of noised training pictures: the sampler's own error."""
    return EmpiricalScore(
        "empirical_score", dataset, preset, seed, 500 if preset == "quick" else 2000
    )


def learned_score(dataset: str = "digits", preset: str = "quick", seed: int = 0) -> LearnedScore:
    """Annealed Langevin on a network's score, along the same ladders."""
    small = dataset == "digits"
    images = {"quick": 64_000, "full": 200_000 if small else 500_000, "gpu": 4_000_000}[preset]
    return LearnedScore(
        "learned_score", dataset, preset, seed, 500 if preset == "quick" else 2000, images
    )


TRIALS: dict[str, Any] = {
    "learned_score": learned_score,
    "empirical_score": empirical_score,
    "gaussian_law": gaussian_law,
}
HEADLINE = (
    "fd L=10 T=1",
    "fd L=20 T=1",
    "fd L=40 T=1",
    "fd consistent L=40",
    "fd down to .3",
    "fd down to .3 not denoised",
    "largest_deviation",
)
TABLES = (
    Table("Fréchet distance by setting", ("fd *",), turned=True),
    *(
        Table(
            "Measured variance less that of the exact recursion, in standard errors, by setting;"
            f" {v} is that of the data",
            (f"deviation * on {v}",),
            decimals=1,
        )
        for v in ("0.01", "0.25", "4")
    ),
    Table(
        "Growth by a step on a Gaussian, by the size of the step over its variance",
        ("growth at step *",),
    ),
)
