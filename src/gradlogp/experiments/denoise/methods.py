r"""Restoring noisy pictures, :math:`y = x_0 + \sigma\varepsilon` on [0, 1]: energies, scores,
autoencoders, and their floors.

All see the same test pictures under the same noise, and all but the plain autoencoders are told
sigma. The estimate with the least squared error is the posterior mean; a score network gives it in
one evaluation (Tweedie), a noise-conditional energy in one gradient,

.. math:: E[x_0 \mid y] = y + \sigma^2 s(y, \sigma) = y - \sigma^2 \nabla_y E(y, \sigma),

a denoising autoencoder directly: it minimises the same loss up to a weight of the levels. An energy
without levels, trained by contrastive divergence, gives posterior samples by Langevin dynamics,
whose mean estimates it; a Gaussian of the pixels beside it supplies the large scales that short
chains leave unlearned (see `posterior`).

**The 3 dB law.** A posterior sample x is as far from its mean as the truth is, and independent of
it given y, so

.. math:: E\|x - x_0\|^2 = 2\, E\|E[x_0 \mid y] - x_0\|^2 ,

3.01 dB worse, and the mean of K samples :math:`1 + 1/K` times, .51 dB at K = 8. A score network
draws its sample by reverse diffusion from y downwards, since y *is* a draw of the noised law at
sigma; each step's variance counts in the posterior's own, measured on validation pictures, or 40
steps would fall .3 dB short. A model whose sample loses less is too sure of itself. Where the mean
of its samples is a better estimate than the network's in one step, a sample must be held against
that mean.

References: Efron (2011), Tweedie's Formula; Vincent (2011), A Connection Between Score Matching and
Denoising Autoencoders; Li, Chen & Sommer (2019), arXiv 1910.07762 (energies by denoising score
matching at many levels); Kadkhodaie & Simoncelli (2021), arXiv 2007.13640 (samples from a
denoiser).
"""

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from gradlogp import tasks
from gradlogp.baselines.autoencoder import DenoisingError, Reconstruction, autoencoder, reconstruct
from gradlogp.core.fields import Field, Level, NoisyField, Scaled
from gradlogp.core.kernel import run as walk
from gradlogp.core.random import Streams, seeded
from gradlogp.core.targets import Empirical
from gradlogp.data import Dataset
from gradlogp.harness import figures
from gradlogp.harness.recipe import Evaluation, DataSpec, Recipe, Restoration, measure, to_model
from gradlogp.experiments.recipes.energy import RANGE, ebm
from gradlogp.harness.evaluate import Rows, denoising, row
from gradlogp.harness.fit import fit, load
from gradlogp.samplers.posterior import GaussianPosterior, PosteriorLangevin
from gradlogp.harness.table import Table
from gradlogp.harness.trial import Context, Recorder, Trial, items
from gradlogp.baselines.wiener import PixelGaussian, noised
from gradlogp.metrics import Measure, image
from gradlogp.metrics.base import standard_error
from gradlogp.models import conv_noisy_energy, unet_noisy_energy, unet_score
from gradlogp.objectives import DenoisingScoreMatching, LogNormal, Objective
from gradlogp.runs import Run, write_json
from gradlogp.samplers import Ancestral
from gradlogp.training import GuardSettings, Training

SHOWN = 8
SHOWN_AT = (0.3, 0.5, 1.0)  # pictures of the film strips, and their noise
SAMPLES, SAMPLED = (
    4,
    75,
)  # posterior samples of so many pictures, whose own mean is the other yardstick of one sample
Restore = Callable[[Tensor], Tensor]  # noisy pictures -> estimates, not yet clamped to [0, 1]


@dataclass(frozen=True)
class Method:
    """How to restore at one level: the estimate, how it comes about, evaluations a picture, and a
    posterior sample or none.
    """

    mean: Restore
    says: str
    evaluations: int = 1
    sample: Restore | None = None
    sample_says: str = ""
    fresh: bool = False  # whether every call of `sample` draws anew


@dataclass(frozen=True)
class Restoring(Trial):
    """What all share: restore `pictures` test pictures at every sigma, and keep the error of each."""

    pictures: int = 300
    sigmas: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)

    @abc.abstractmethod
    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Method]:
        """sigma -> how to restore there, after whatever there is to learn."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        method = self.learn(context, recorder)
        methods = {sigma: method(sigma) for sigma in self.sigmas}
        clean = context.data.test.scaled(slice(0, self.pictures))
        found: dict[float, Tensor] = {}

        def restorer(sigma: float) -> Restoration:
            def restore(noisy: Tensor) -> Tensor:
                found[sigma] = methods[sigma].mean(noisy)
                return found[sigma].clamp(0, 1)

            return Restoration(
                restore, methods[sigma].says + ", clamped to [0, 1]", methods[sigma].evaluations
            )

        evaluation = Evaluation(denoise=len(clean), sigmas=self.sigmas)
        rows = denoising(
            restorer,
            context.data,
            evaluation,
            self.seed + 2,
            recorder.run.picture,
            recorder.listener,
        )
        recorder.rows += [{**r, "seed": self.seed} for r in rows]
        kept = {"clean": clean[:SHOWN]}
        for sigma, mean in found.items():
            kept |= self._sampled(recorder, methods[sigma], sigma, mean, clean)
        recorder.save(**kept)

    def _sampled(
        self, recorder: Recorder, method: Method, sigma: float, mean: Tensor, clean: Tensor
    ) -> dict[str, Tensor]:
        """What is kept of one level; where posterior samples can be drawn, rows of one of them and
        of what it loses.
        """
        kept = {f"mse {sigma:g}": mse(mean.clamp(0, 1), clean)}
        kept |= {f"shown {sigma:g}": mean[:SHOWN].clamp(0, 1)} if sigma in SHOWN_AT else {}
        if method.sample is None:
            return kept
        sample = method.sample(noised(clean, sigma, self.seed + 2))
        recorder.add(
            image.psnr(clean, sample.clamp(0, 1)), name=f"single sample at noise {sigma:g}"
        )
        recorder.add(
            loss_of_a_sample(mse(mean, clean), mse(sample, clean), method.sample_says),
            name=f"at noise {sigma:g}",
        )
        kept |= {
            f"sample mse {sigma:g}": mse(sample, clean),
            f"mean mse {sigma:g}": mse(mean, clean),
        }
        if method.fresh:
            noisy = noised(clean, sigma, self.seed + 2)[:SAMPLED]
            bias, spread = skill_and_spread(
                torch.stack([method.sample(noisy) for _ in range(SAMPLES)]), clean[:SAMPLED]
            )
            recorder.add(
                loss_of_a_sample(
                    bias,
                    bias + spread,
                    f"{method.sample_says}, {SAMPLES} of them for their own mean,",
                ),
                name=f"to their own mean at noise {sigma:g}",
            )
            kept |= {f"own bias {sigma:g}": bias, f"own spread {sigma:g}": spread}
        return kept | (
            {f"sample {sigma:g}": sample[:SHOWN].clamp(0, 1)} if sigma in SHOWN_AT else {}
        )


def mse(x: Tensor, clean: Tensor) -> Tensor:
    """The mean squared error of each picture, [n]."""
    return (x - clean).square().flatten(1).mean(1)


def decibels(better: Tensor, worse: Tensor) -> tuple[float, float]:
    """10 log10 of the ratio of two paired mean errors, and its standard error (delta method)."""
    ratio = float(worse.mean() / better.mean())
    error = standard_error(worse / worse.mean() - better / better.mean()) or 0.0
    return 10 * math.log10(ratio), 10 / math.log(10) * error


def skill_and_spread(samples: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
    """Of samples [K, n, *shape], both [n], unbiased: the squared error of the mean of infinitely
    many, their variance about it.
    """
    variance = samples.var(0).flatten(1).mean(1)
    return mse(samples.mean(0), clean) - variance / len(samples), variance


def loss_of_a_sample(mean: Tensor, sample: Tensor, says: str) -> Measure:
    """What one posterior sample loses to the mean, in dB; 3.01 where the model's posterior is
    right.
    """
    value, spread = decibels(mean, sample)
    protocol = (
        f"dB, the ratio of mean squared errors, not clamped, of {says} to the estimate; 3.01 for"
        " the true posterior and its mean, paired standard error"
    )
    return Measure(
        "sample_loss", value, spread, len(mean), "higher", protocol, reference=10 * math.log10(2)
    )


# --- networks ---

Net = Literal["unet", "unet_energy", "conv_energy", "narrow"]
Loss = Literal["score matching", "squared error", "weighted error", "plain", "contractive"]


@final
@dataclass(frozen=True)
class RestorerRecipe(Recipe):
    """A network that is trained once and restores at every level. Noise levels here are on [-1, 1],
    twice those on [0, 1].
    """

    experiment: str
    dataset: str
    preset: str
    training: Training
    seed: int = 0
    conditional: bool = False
    net: Net = "unet"
    loss: Loss = "score matching"
    channels: tuple[int, ...] = (24, 48)
    law: LogNormal = field(default_factory=lambda: LogNormal(-0.4, 1.0))
    latent: int = 64
    contractive: float = 1.0
    guard: GuardSettings = field(default_factory=GuardSettings)

    @property
    def evaluations_per_example(self) -> int:
        return 1

    def model(self, spec: DataSpec) -> nn.Module:
        if self.net == "unet":
            return unet_score(spec.shape, spec.std, self.channels, blocks=1)
        if self.net == "unet_energy":
            return unet_noisy_energy(spec.shape, spec.std, self.channels, blocks=1)
        if self.net == "conv_energy":
            return conv_noisy_energy(spec.shape, spec.std, (32, 64, 64, 128), 128)
        return autoencoder(spec.shape, self.latent, (16, 32, 64), 128)

    def objective(
        self, spec: DataSpec, generator: Generator, device: torch.device | str
    ) -> Objective:
        if self.loss == "score matching":
            return DenoisingScoreMatching(self.law, "edm", spec.std)
        if self.net == "narrow":
            return Reconstruction(
                contractive=self.contractive if self.loss == "contractive" else 0.0
            )
        return DenoisingError(self.law, spec.std if self.loss == "weighted error" else None)


@final
@dataclass(frozen=True)
class Network(Restoring):
    """A network with its loss; `levels` of reverse diffusion draw its posterior sample (0: none)."""

    training: Training = Training(48_000, batch=32, learning_rate=4e-3)  # noqa: RUF009 (frozen)
    net: Net = "unet"
    loss: Loss = "score matching"
    levels: int = 0
    lowest: float = 0.03  # noise at which reverse diffusion ends, on [-1, 1]
    calibration: int = 64  # validation pictures on which the posterior variance is measured

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Method]:
        recipe = RestorerRecipe(
            self.experiment,
            self.dataset,
            self.preset,
            self.training,
            self.seed,
            net=self.net,
            loss=self.loss,
        )
        run = fit(recipe, context.data, recorder.run.path / "network", recorder.listener)
        run.close()
        learned(recorder, run)
        model: Any = recipe.model(measure(context.data))
        model.load_state_dict(run.load("ema")[0])
        model.eval().requires_grad_(False)
        validation = to_model(context.data.validation.scaled(slice(0, self.calibration)))
        return lambda sigma: self._method(model, validation, sigma)

    def _method(self, model: Any, validation: Tensor, sigma: float) -> Method:
        if self.net == "narrow":
            return Method(
                lambda y: in_parts(lambda x: reconstruct(model, x), y.clamp(0, 1)),
                "reconstruction of the noisy picture, clamped as the clean ones that it knows",
            )
        noisy, scale = model.field(), 2 * sigma
        means = "the network's output" if self.net == "unet" else "one gradient step"
        method = Method(
            lambda y: in_parts(lambda x: tasks.tweedie(noisy, x, scale), y),
            f"posterior mean, {means} (Tweedie)",
        )
        if not self.levels:
            return method
        ladder = geometric(scale, self.lowest, self.levels)
        sampler = Ancestral(levels=tuple(ladder), variance="learned")
        field = calibrated(noisy, ladder, validation, self.seed + 5)
        generator = seeded(self.seed + 3, "sample", str(sigma))
        says = (
            f"one posterior sample by {sampler.steps} ancestral steps down from the noisy picture"
        )
        return replace(
            method,
            sample=lambda y: in_parts(
                lambda x: walk(sampler, field, x, sampler.steps, generator), y
            ),
            sample_says=says,
            fresh=True,
        )


@final
@dataclass(frozen=True)
class Calibrated(NoisyField):
    """A field with the mean posterior variance of a pixel at each level, as measured: the best
    isotropic variance of a step.

    Bao et al. (2022), Analytic-DPM, arXiv 2201.06503, theorem 1.
    """

    field: NoisyField
    variances: Mapping[float, float]

    def denoise(self, x: Tensor, sigma: Level) -> Tensor:
        return self.field.denoise(x, sigma)

    def moments(self, x: Tensor, sigma: Level) -> tuple[Tensor, Tensor]:
        return self.field.denoise(x, sigma), torch.full_like(x, self.variances[float(sigma)])


def calibrated(field: NoisyField, ladder: Sequence[float], clean: Tensor, seed: int) -> Calibrated:
    """`field` with its mean squared errors on the pictures `clean` [n, *shape] at the levels of
    `ladder`, both on [-1, 1].
    """
    eps = torch.randn(clean.shape, generator=seeded(seed, "calibrate"), dtype=clean.dtype)
    errors = {
        s: float((tasks.tweedie(field, clean + s * eps, s) - clean).square().mean()) for s in ladder
    }
    return Calibrated(field, errors)


def learned(recorder: Recorder, run: Run) -> None:
    """The cost of the inner run is that of the trial."""
    recorder.run.mark(
        "trained",
        **{
            key: run.status().get(key) for key in ("seconds", "images", "evaluations", "parameters")
        },
    )


def geometric(high: float, low: float, n: int) -> list[float]:
    return [high * (low / high) ** (i / (n - 1)) for i in range(n)]


def from_model(x: Tensor) -> Tensor:
    return (x + 1) / 2


def in_parts(restore: Restore, noisy: Tensor, size: int = 250) -> Tensor:
    """`restore` on [-1, 1], for pictures on [0, 1], a few hundred at a time."""
    with torch.no_grad():
        return from_model(torch.cat([restore(part) for part in to_model(noisy).split(size)]))


@final
@dataclass(frozen=True)
class Contrastive(Restoring):
    """An energy trained by contrastive divergence, beside the Gaussian of the pixels: the mean of
    posterior Langevin chains.

    Each estimate is the mean of the second halves of `samples` chains; the energy's weight is
    chosen by validation at each level.
    """

    images: int = 64_000
    step: float = 0.3
    steps: int = 20
    samples: int = 8
    temperature: float = 0.1
    choice: int = 32  # validation pictures
    share: float = 0.3  # of the Gaussian's energy in the prior
    weights: tuple[float, ...] = (30.0, 60.0, 125.0, 250.0, 500.0, 1000.0, 2000.0)

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Method]:
        recipe = ebm(self.dataset, self.preset, self.seed)
        recipe = replace(recipe, training=replace(recipe.training, images=self.images))
        fit(recipe, context.data, recorder.run.path / "network", recorder.listener).close()
        fitted = load(recorder.run.path / "network", "cpu")
        learned(recorder, fitted.run)
        model: Any = fitted.model
        validation = context.data.validation.scaled(slice(0, self.choice))
        pixels = PixelGaussian.fit(to_model(context.data.train.scaled()))
        energy: Field = model.field()
        return lambda sigma: self._method(energy, pixels, validation, sigma)

    def _method(
        self, energy: Field, pixels: PixelGaussian, validation: Tensor, sigma: float
    ) -> Method:
        posterior = GaussianPosterior.of(pixels, 2 * sigma, self.share)

        def chains(y: Tensor, weight: float, samples: int, seed: int) -> tuple[Tensor, Tensor]:
            centre = posterior.mean(to_model(y)).repeat_interleave(samples, 0)
            sampler = PosteriorLangevin(centre, posterior, self.step, self.temperature, RANGE)
            noise = Streams(seed, 0, len(centre), centre.device)
            ends, mean = averaged(sampler, Scaled(energy, weight), centre, self.steps, noise)
            return from_model(ends.unflatten(0, (len(y), samples))), from_model(
                mean.unflatten(0, (len(y), samples)).mean(1)
            )

        noisy = noised(validation, sigma, self.seed + 5)
        weight = tasks.choose(
            ((w, chains(noisy, w, 4, self.seed + 5)[1]) for w in self.weights), validation
        )
        how = (
            f"{self.steps} Langevin steps on {weight:g} x energy + {self.share:g} x that of the"
            f" pixels' Gaussian + |x - y|^2 / 2 sigma^2 at temperature {self.temperature:g},"
            " preconditioned by the covariance of all but the energy"
        )
        return Method(
            lambda y: chains(y, weight, self.samples, self.seed + 3)[1],
            f"mean of the second halves of {self.samples} chains of {how}; weight by {self.choice}"
            " validation pictures",
            self.steps * self.samples,
            lambda y: chains(y, weight, 1, self.seed + 4)[0][:, 0],
            f"one chain of {how}",
        )


def averaged(
    sampler: Any, field: Field, x: Tensor, steps: int, generator: Streams
) -> tuple[Tensor, Tensor]:
    """Where the chains from x end, and the mean of their states after each of the last half of the
    steps (at least one).
    """
    total, first = torch.zeros_like(x), steps // 2 + 1

    def watch(step: int, state: Any, info: Any) -> None:
        total.add_(state.x, alpha=float(step >= first))

    return walk(sampler, field, x, steps, generator, watch), total / (steps - first + 1)


# --- floors ---


@final
@dataclass(frozen=True)
class Floor(Restoring):
    """What needs no learning: the noisy picture, Wiener's filter, the training set itself."""

    by: Literal["nothing", "wiener", "memory"] = "nothing"

    def learn(self, context: Context, recorder: Recorder) -> Callable[[float], Method]:
        with recorder.training():
            fitted = FLOORS[self.by](context.data)
        return fitted


def _nothing(data: Dataset) -> Callable[[float], Method]:
    return lambda sigma: Method(lambda y: y, "the noisy picture itself", 0)


def _wiener(data: Dataset) -> Callable[[float], Method]:
    gaussian = PixelGaussian.fit(data.train.scaled())
    return lambda sigma: Method(
        lambda y: gaussian.restore(y, sigma), "Wiener filter of the pixels' mean and covariance", 0
    )


def _memory(data: Dataset) -> Callable[[float], Method]:
    law = Empirical(data.train.scaled())
    says = f"exact posterior mean if the {len(data.train)} training pictures were all there is"
    return lambda sigma: Method(
        lambda y: torch.cat([law.denoise(part, sigma) for part in y.split(250)]), says, 0
    )


FLOORS = {"nothing": _nothing, "wiener": _wiener, "memory": _memory}


# --- all together ---


def summary(folder: Path, runs: Mapping[str, Sequence[Path]]) -> Rows:
    """Paired gains over Wiener's filter, and PSNR curves and film strips of all contenders."""
    kept = {name: items(paths[0]) for name, paths in runs.items()}
    sigmas = [float(key.split()[1]) for key in kept["wiener"] if key.startswith("mse ")]
    gains = {
        name: [decibels(found[f"mse {s:g}"], kept["wiener"][f"mse {s:g}"]) for s in sigmas]
        for name, found in kept.items()
    }
    rows: Rows = []
    for name, values in gains.items():
        for s, (value, spread) in zip(sigmas, values, strict=True):
            rows += (
                []
                if name == "wiener"
                else [{"method": name, "seed": 0, **_gain("wiener", value, spread, s, kept)}]
            )
    for other in ("dae", "dae_weighted") if "dsm" in kept else ():
        for s in sigmas if other in kept else ():
            value, spread = decibels(kept["dsm"][f"mse {s:g}"], kept[other][f"mse {s:g}"])
            rows.append({"method": "dsm", "seed": 0, **_gain(other, value, spread, s, kept)})
    captions = {
        "figure-psnr.png": _curves(folder, kept, sigmas, gains),
        "figure-strips.png": _strips(folder, kept),
    }
    if any(key.startswith("sample mse") for found in kept.values() for key in found):
        captions["figure-3db.png"] = _law(folder, kept, sigmas)
    write_json(folder / "samples" / "figures.json", captions)
    return rows


def _gain(
    over: str, value: float, error: float, sigma: float, kept: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Any]:
    n = len(kept[over][f"mse {sigma:g}"])
    return row(
        Measure(
            f"gain_over_{over} at noise {sigma:g}",
            value,
            error,
            n,
            "higher",
            "dB of PSNR, the same pictures under the same noise, paired standard error",
        )
    )


def psnr(mse: Tensor) -> float:
    return -10 * math.log10(float(mse.mean()))


def _curves(
    folder: Path,
    kept: Mapping[str, Mapping[str, Tensor]],
    sigmas: Sequence[float],
    gains: Mapping[str, Sequence[tuple[float, float]]],
) -> str:
    with figures.sheet(
        folder / "samples" / "figure-psnr.png", columns=2, width=4.8, height=3.8
    ) as axes:
        series = {
            name: (sigmas, [psnr(found[f"mse {s:g}"]) for s in sigmas])
            for name, found in kept.items()
        }
        figures.lines(
            axes[0],
            series,
            "noise on [0, 1]",
            "PSNR, dB",
            "restored pictures",
            log="x",
            markers=True,
        )
        figures.lines(
            axes[1],
            {
                name: (sigmas, [v for v, _ in values])
                for name, values in gains.items()
                if name != "noisy"
            },
            "noise on [0, 1]",
            "gain, dB",
            "gain over Wiener's filter",
            log="x",
            markers=True,
        )
        for axis in axes:
            axis.set_xticks(sigmas, [f"{s:g}" for s in sigmas])
            axis.minorticks_off()
    return (
        "PSNR of restored test pictures against the noise, and the gain over the best linear"
        " filter."
    )


def _strips(folder: Path, kept: Mapping[str, Mapping[str, Tensor]]) -> str:
    levels = [s for s in SHOWN_AT if f"shown {s:g}" in kept["wiener"]]
    order = sorted(kept, key=lambda name: name != "noisy")  # what was seen comes first
    strips = [strip for name in order for strip in _of_one(name, kept[name])]
    height = 0.42 * (len(strips) + 1)
    with figures.sheet(
        folder / "samples" / "figure-strips.png", columns=len(levels), width=3.6, height=height
    ) as axes:
        for column, (axis, s) in enumerate(zip(axes, levels, strict=True)):
            rows = [
                ("clean", kept["wiener"]["clean"]),
                *((label, found[key.format(s)]) for label, found, key in strips),
            ]
            picture = torch.cat(
                [F.pad(torch.cat(list(x[:, 0]), 1), (0, 0, 0, 2), value=1.0) for _, x in rows]
            )
            axis.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1)
            side = len(picture) / len(rows)
            axis.set_yticks(
                [side * (i + 0.5) for i in range(len(rows))],
                ["" if column else name for name, _ in rows],
            )
            axis.set_xticks([])
            axis.tick_params(length=0)
            axis.grid(False)
            axis.set_title(f"noise {s:g}")
    return (
        "The same test pictures, clean, noisy and restored by each; a sample is one draw from the"
        " posterior, not its mean."
    )


def _of_one(name: str, found: Mapping[str, Tensor]) -> list[tuple[str, Mapping[str, Tensor], str]]:
    sampled = any(key.startswith("sample ") for key in found)
    return [
        (name, found, "shown {:g}"),
        *([(f"{name}, a sample", found, "sample {:g}")] if sampled else []),
    ]


def _law(folder: Path, kept: Mapping[str, Mapping[str, Tensor]], sigmas: Sequence[float]) -> str:
    def lost(found: Mapping[str, Tensor]) -> list[float]:
        return [decibels(found[f"mean mse {s:g}"], found[f"sample mse {s:g}"])[0] for s in sigmas]

    def own(found: Mapping[str, Tensor]) -> list[float]:
        return [
            decibels(
                found[f"own bias {s:g}"], found[f"own bias {s:g}"] + found[f"own spread {s:g}"]
            )[0]
            for s in sigmas
        ]

    sampled = {name: found for name, found in kept.items() if f"sample mse {sigmas[0]:g}" in found}
    with figures.sheet(folder / "samples" / "figure-3db.png", width=5.2) as axes:
        exact = 10 * math.log10(2)
        axes[0].axhline(
            exact,
            color=figures.INK,
            linewidth=4,
            alpha=0.2,
            label="3.01 dB: a draw of the true posterior",
        )
        series = {name: (sigmas, lost(found)) for name, found in sampled.items()}
        series |= {
            f"{name}, to the mean of its samples": (sigmas, own(found))
            for name, found in sampled.items()
            if f"own bias {sigmas[0]:g}" in found
        }
        figures.lines(
            axes[0],
            series,
            "noise on [0, 1]",
            "what one sample loses, dB",
            "the 3 dB law",
            log="x",
            markers=True,
        )
        axes[0].legend(fontsize=7.5)
        axes[0].set_xticks(sigmas, [f"{s:g}" for s in sigmas])
        axes[0].minorticks_off()
    return (
        "What one posterior sample loses to the model's estimate; one of the true posterior has"
        " twice its mean squared error."
    )


IMAGES = {"quick": 48_000, "full": 300_000, "gpu": 4_000_000}


def _network(
    name: str, net: Net, loss: Loss, says: str, levels: int = 0
) -> Callable[[str, str, int], Network]:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Network:
        training = Training(IMAGES[preset], batch=32, learning_rate=4e-3)
        return Network(
            name,
            dataset,
            preset,
            seed,
            PICTURES[preset],
            training=training,
            net=net,
            loss=loss,
            levels=levels,
        )

    make.__doc__ = says
    return make


def _floor(
    name: str, by: Literal["nothing", "wiener", "memory"], says: str
) -> Callable[[str, str, int], Floor]:
    def make(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Floor:
        return Floor(name, dataset, preset, seed, PICTURES[preset], by=by)

    make.__doc__ = says
    return make


def cd_ebm(dataset: str = "mnist", preset: str = "quick", seed: int = 0) -> Contrastive:
    """An energy trained by contrastive divergence, beside a Gaussian of the pixels: the mean of 8
    posterior Langevin chains.
    """
    images = {"quick": 64_000, "full": 300_000, "gpu": 4_000_000}[preset]
    return Contrastive("cd_ebm", dataset, preset, seed, PICTURES[preset], images=images)


PICTURES = {"quick": 300, "full": 1000, "gpu": 2000}
TRIALS: dict[str, Callable[[str, str, int], Trial]] = {
    "mdsm_ebm": _network(
        "mdsm_ebm",
        "unet_energy",
        "score matching",
        "A noise-conditional energy, a UNet's squared error, by denoising score matching.",
    ),
    "mdsm_conv": _network(
        "mdsm_conv",
        "conv_energy",
        "score matching",
        "The same loss on an energy from plain strided convolutions with a scalar head.",
    ),
    "cd_ebm": cd_ebm,
    "dsm": _network(
        "dsm",
        "unet",
        "score matching",
        "A noise-conditional score network, by denoising score matching.",
        40,
    ),
    "dae": _network(
        "dae",
        "unet",
        "squared error",
        "A denoising autoencoder: the score network's UNet, seed and noise, trained on the squared"
        " error.",
    ),
    "dae_weighted": _network(
        "dae_weighted",
        "unet",
        "weighted error",
        "The same autoencoder, its levels weighed as the score "
        "network's are: the same loss by another road.",
    ),
    "ae": _network("ae", "narrow", "plain", "A plain autoencoder, trained on clean pictures."),
    "contractive_ae": _network(
        "contractive_ae",
        "narrow",
        "contractive",
        "A contractive autoencoder, trained on clean pictures.",
    ),
    "wiener": _floor(
        "wiener",
        "wiener",
        "Wiener's filter, the best linear denoiser: mean and covariance of the pixels.",
    ),
    "memory": _floor(
        "memory", "memory", "The exact denoiser of the training pictures: what memory alone can do."
    ),
    "noisy": _floor("noisy", "nothing", "The noisy pictures themselves."),
}
EBM_DENOISE = ("mdsm_ebm", "cd_ebm", "dae", "mdsm_conv", "ae", "wiener", "memory", "noisy")
DSM = ("dsm", "dae_weighted", "dae", "contractive_ae", "ae", "wiener", "memory", "noisy")
HEADLINE = (
    "denoise_psnr_0.5",
    "denoise_psnr_0.1",
    "denoise_psnr_0.2",
    "denoise_psnr_0.3",
    "denoise_psnr_0.75",
    "denoise_psnr_1",
    "denoise_ssim_0.5",
    "sample_loss at noise 0.5",
    "sample_loss to their own mean at noise 0.5",
)
TABLES = (
    Table(
        "Gain over Wiener's filter in dB, on the same pictures, by noise",
        ("gain_over_wiener at noise *",),
    ),
    Table(
        "Gain over dae in dB, on the same pictures under the same noise, by noise",
        ("gain_over_dae at noise *",),
    ),
    Table("Gain over dae_weighted in dB, by noise", ("gain_over_dae_weighted at noise *",)),
    Table(
        "What one sample loses to the model's estimate, in dB, by noise",
        ("sample_loss at noise *",),
    ),
    Table(
        "What one sample loses to the mean of its own kind, in dB, by noise",
        ("sample_loss to their own mean at noise *",),
    ),
    Table("Structural similarity (SSIM), by noise", ("denoise_ssim_*",), decimals=3),
)
