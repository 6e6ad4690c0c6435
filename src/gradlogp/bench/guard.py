r"""Does a training that goes wrong say so? Divergences are forced in every way we know, over every
kind of generative model, and each ending is compared with what its samples are truly worth.

A run may end *well*; *stopped*, by the guard's diagnosis or a refused setting; or *marked*:
trained, with a verdict that its samples are useless. Whatever else happens is a fault of the guard:
samples that are useless and not marked (*missed*), samples that are fine and marked (*false
alarm*), a traceback (*raised*), and a command that, given again, ends otherwise (*changed*).

What samples are worth is asked of a classifier that the guard never sees: they are useless where
they are not finite, or where their Frechet distance to test pictures is more than half of what the
mean picture, or uniform noise, has.

References: Nijkamp et al. (2020), On the Anatomy of MCMC-based Maximum Likelihood Learning, arXiv
1903.12370 (how energies diverge); Heusel et al. (2017), arXiv 1706.08500, eq. 6 (the Frechet
distance).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gradlogp import data as shelf
from gradlogp.bench.page import one_thread, table
from gradlogp.core.errors import UserError
from gradlogp.core.kernel import NotFinite
from gradlogp.core.random import seeded
from gradlogp.data import Dataset, Split
from gradlogp.experiments import RECIPES
from gradlogp.harness import Evaluator, Target, evaluator_of, fit, load, override
from gradlogp.metrics import frechet
from gradlogp.training import unhealthy

SAMPLES = 200
HEALTHY_SEEDS = 9
FINE, USELESS = (
    1 / 3,
    2 / 3,
)  # of the way to what takes no learning; between them both verdicts are right
GOOD = ("well", "stopped", "marked")
ENDINGS = (*GOOD, "missed", "false alarm", "raised", "changed")

SMALL = ("training.batch=32",)
CHAINS = ("training.batch=16", "generate_steps=40")
KINDS: dict[str, tuple[int, tuple[str, ...]]] = {  # updates, and what makes them quick
    "ebm": (120, CHAINS),
    "ebm_no_buffer": (120, CHAINS),
    "ncsn": (120, SMALL),
    "vae": (300, ()),
    "gan": (300, SMALL),
    "wgan_gp": (300, ("training.learning_rate=3e-3",)),
}
ENERGIES = ("ebm", "ebm_no_buffer")
ADVERSARIES = ("gan", "wgan_gp")


class Fault(NamedTuple):
    """A way to go wrong: settings that are changed, in which kinds, and what befalls the pictures.

    rate: by how much the learning rate is multiplied. updates: how many are made; None leaves them.
    """

    name: str
    changes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = tuple(KINDS)
    rate: float = 1.0
    updates: int | None = None
    pictures: str = ""


NO_LIMITS = ("guard.max_energy=1e30", "guard.max_gap=1e30", "guard.max_growth=1e30")

FAULTS = (
    Fault("learning rate x 10", rate=10),
    Fault("learning rate x 100", rate=100),
    Fault("learning rate x 1e3", rate=1e3),
    Fault("learning rate x 1e4", rate=1e4),
    Fault("learning rate x 1e6", rate=1e6),
    Fault("learning rate x 1e12", rate=1e12),
    Fault("learning rate x 1e20", rate=1e20),
    Fault("learning rate x 1e38", rate=1e38),
    Fault("one update, learning rate x 1e3", rate=1e3, updates=1),
    Fault("one update, learning rate 1e37", ("training.learning_rate=1e37",), updates=1),
    Fault("one update, learning rate 1e200", ("training.learning_rate=1e200",), updates=1),
    Fault(
        "no warm-up, no decay, learning rate x 30",
        ("training.warmup=0", "training.final_lr=1.0"),
        rate=30,
    ),
    Fault("no clip, learning rate x 100", ("training.grad_clip=none",), rate=100),
    Fault("batch of one", ("training.batch=1",)),
    Fault("batch of one, learning rate x 100", ("training.batch=1",), rate=100),
    Fault("beta1 .99, learning rate x 30", ("training.beta1=0.99",), rate=30),
    Fault("ema .99999", ("training.ema=0.99999",)),
    Fault("no averaging, learning rate x 100", ("training.ema=0.0",), rate=100),
    Fault("guard without limits, learning rate x 1e3", NO_LIMITS, rate=1e3),
    Fault("learning rate / 1e4", rate=1e-4),
    Fault("pictures of 0 to 255", pictures="bytes"),
    Fault("pictures of 1e6", pictures="huge"),
    Fault("a tenth of the pictures NaN", pictures="holes"),
    Fault("step of 1e-3", ("chain.step_size=1e-3",), ENERGIES),
    Fault("step of 1e3", ("chain.step_size=1e3",), ENERGIES),
    Fault("step of 1e30, no clamp", ("chain.step_size=1e30", "chain.clamp=none"), ENERGIES),
    Fault(
        "no clip of the score, step of 1e3",
        ("chain.grad_clip=none", "chain.step_size=1e3"),
        ENERGIES,
    ),
    Fault("no clamp, step of 1e3", ("chain.clamp=none", "chain.step_size=1e3"), ENERGIES),
    Fault("clamp of .01", ("chain.clamp=-0.01,0.01",), ENERGIES),
    Fault("noise of 1 in each step", ("chain.noise_std=1.0",), ENERGIES),
    Fault("not regularised, learning rate x 10", ("energy_l2=0.0",), ENERGIES, rate=10),
    Fault("regularised by 1e6", ("energy_l2=1e6",), ENERGIES),
    Fault("noise of 10 on the data", ("data_noise=10.0",), ENERGIES),
    Fault("no roll-back, learning rate x 100", ("guard.max_rollbacks=0",), ENERGIES, rate=100),
    Fault("noise levels about 5e-5", ("levels.mean=-10.0",), ("ncsn",)),
    Fault("noise levels about 2e4", ("levels.mean=10.0",), ("ncsn",)),
    Fault("uncertainty, learning rate x 100", ("uncertainty=true",), ("ncsn",), rate=100),
    Fault("gradient penalty of 1e6", ("penalty=1e6",), ADVERSARIES),
    Fault("no gradient penalty, learning rate x 10", ("penalty=0.0",), ("wgan_gp",), rate=10),
    Fault("the generator never moves", ("every=100000",), ADVERSARIES),
    Fault("a code of one entry", ("latent=1",), ("vae", *ADVERSARIES)),
)


@dataclass(frozen=True)
class Case:
    """One run: a kind of model, what goes wrong with it (None: nothing), and a seed."""

    kind: str
    fault: Fault | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}: {self.fault.name if self.fault else f'seed {self.seed}'}"

    def recipe(self) -> Any:
        updates, quick = KINDS[self.kind]
        fault = self.fault or Fault("")
        recipe = override(
            RECIPES[self.kind](Target.of(shelf.load("digits")), "quick", self.seed), quick
        )
        rate = recipe.training.learning_rate * fault.rate
        changes = (f"training.learning_rate={rate!r}", "training.checkpoint_every=100")
        recipe = override(recipe, [*changes, *fault.changes])
        images = (fault.updates or updates) * recipe.training.batch
        return override(recipe, [f"training.images={images}"])

    def data(self) -> Dataset:
        return spoiled(shelf.load("digits"), self.fault.pictures if self.fault else "")


def forced() -> list[Case]:
    """Every fault in every kind of model that it concerns."""
    return [Case(kind, fault) for fault in FAULTS for kind in fault.kinds]


def healthy(seeds: int = HEALTHY_SEEDS) -> list[Case]:
    return [Case(kind, None, seed) for seed in range(seeds) for kind in KINDS]


def spoiled(data: Dataset, how: str) -> Dataset:
    """The data as a reader with a fault would give them: in bytes, huge, or with holes."""
    if not how:
        return data
    damaged = [
        Split(DAMAGE[how](part.scaled()), part.labels, max_value=1)
        for part in (data.train, data.validation, data.test)
    ]
    return replace(data, train=damaged[0], validation=damaged[1], test=damaged[2])


def _holes(x: Tensor) -> Tensor:
    x[::10, 0, 0, 0] = math.nan
    return x


DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "bytes": lambda x: 255 * x,
    "huge": lambda x: 1e6 * x,
    "holes": _holes,
}


def rows(seeds: int = HEALTHY_SEEDS) -> list[dict[str, Any]]:
    """How every forced divergence ends, and `seeds` healthy runs of each kind."""
    with one_thread(), TemporaryDirectory() as folder:
        evaluator = evaluator_of(shelf.load("digits"), Path(folder) / "evaluator")
        return [
            attempt(case, evaluator, Path(folder) / f"run-{i}")
            for i, case in enumerate([*forced(), *healthy(seeds)])
        ]


def attempt(case: Case, evaluator: Evaluator, path: Path) -> dict[str, Any]:
    """Run the case's command twice in the folder `path`, and say how it ended."""
    ending, said = command(case, path)
    again, _ = command(case, path)
    found = {"case": case.name, "kind": case.kind, "forced": case.fault is not None, "said": said}
    if again != ending:
        return {**found, "ending": "changed"}
    if ending not in ("well", "marked"):
        return {**found, "ending": ending}
    worth = closeness(case, evaluator, path)
    return {**found, "ending": weighed(ending, worth), "worth": worth}


def weighed(ending: str, worth: float) -> str:
    """The ending, where it agrees with what the samples are truly worth."""
    if ending == "well" and worth > USELESS:
        return "missed"
    if ending == "marked" and worth < FINE:
        return "false alarm"
    return ending


def command(case: Case, path: Path) -> tuple[str, str]:
    """How `gradlogp train` ends, and what it says."""
    try:
        run = fit(case.recipe(), case.data(), path, device="cpu")
    except UserError as error:
        return "stopped", str(error)
    except Exception as error:  # what a person would see as a traceback
        return "raised", f"{type(error).__name__}: {error}"
    said = unhealthy(run.status())
    return "marked" if said else "well", said


def closeness(case: Case, evaluator: Evaluator, path: Path) -> float:
    """How far the samples of a run are from test pictures, 1 = as far as what takes no learning; of
    an energy after many steps or as many as in training, whichever is nearer. Samples stand in the
    range of the data that were given.
    """
    digits, scale = shelf.load("digits"), float(case.data().train.scaled().nan_to_num().max())
    fitted = load(path, "cpu")
    real = evaluator.features(digits.test.scaled(slice(0, SAMPLES)))
    mean = digits.train.scaled().mean(0, keepdim=True).expand(SAMPLES, *digits.shape)
    noise = torch.rand(mean.shape, generator=seeded("noise"))

    def distance(x: Tensor) -> float:
        return float(frechet.fd(real, evaluator.features(x), evaluator.name))

    def drawn(steps: int | None) -> float:
        try:
            x, _ = fitted.draw(SAMPLES, case.seed + 7, steps=steps)
            return distance(x / scale)
        except NotFinite:
            return math.inf

    lengths = {None, getattr(fitted.recipe, "chain_steps", None)}
    nearest = min(drawn(steps) for steps in lengths)
    return nearest / min(distance(mean), distance(noise))


PAGE = """# How trainings end that go wrong

{forced} divergences are forced, {faults} faults in {kinds} kinds of model on the 8x8 digits with {least} to {most}
updates each: learning rates up to overflow, steps, clamps, regularisers and noise out of bounds, batches
of one, no clipping, pictures in the wrong range or with holes. Each command is given twice and must end
twice in the same way. A run may end **well**; **stopped**, with a diagnosis and exit code 3 (or 2, where a
setting is refused before it begins); or **marked**: trained, and its samples are said to be useless in the
last line, in `status.json`, in the report, and by exit code 3. Whatever else happens is a fault of the guard.

{endings}

What samples are truly worth is asked of a classifier that the guard never sees: of {samples} of them the
Frechet distance to test pictures, as a share of what the mean picture or uniform noise has. Above {useless:.2f}
they are useless, and *missed* where they are not marked; below {fine:.2f} they are fine, and a *false alarm*
where they are; between the two either verdict is right ({between} of the {evaluated} runs, forced or healthy,
that left samples are there).

The same of {healthy} healthy runs, {seeds} seeds of each kind. The budgets are short, and {poor} of them draw poorly by
the classifier too ({fine:.2f} of the way or more):

{alarms}

What each fault does to each kind of model:

{each}

`gradlogp/training/health.py` says what the test of the samples is, `gradlogp/training/guard.py` what is
looked at in each update, and `gradlogp/bench/guard.py` holds all faults.
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """The page of the docs, in Markdown, from `rows()`."""
    ill = [row for row in rows if row["forced"]]
    well = [row for row in rows if not row["forced"]]
    updates = [updates for updates, _ in KINDS.values()]
    return PAGE.format(
        forced=len(ill),
        faults=len(FAULTS),
        kinds=len(KINDS),
        least=min(updates),
        most=max(updates),
        endings=endings(ill),
        alarms=endings(well),
        each=each_fault(ill),
        healthy=len(well),
        seeds=len(well) // len(KINDS),
        **distances(rows),
    )


def distances(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Where the line between fine and useless samples is, and how many runs are on which side."""
    found = [row["worth"] for row in rows if "worth" in row]
    return {
        "samples": SAMPLES,
        "useless": USELESS,
        "fine": FINE,
        "poor": sum(row.get("worth", 0) >= FINE for row in rows if not row["forced"]),
        "between": sum(FINE <= worth <= USELESS for worth in found),
        "evaluated": len(found),
    }


def endings(rows: Sequence[dict[str, Any]]) -> str:
    """Kinds of model against endings, counted."""
    lines = [(kind, [row["ending"] for row in rows if row["kind"] == kind]) for kind in KINDS]
    lines.append(("all", [row["ending"] for row in rows]))
    cells = [[kind, len(found), *(found.count(e) for e in ENDINGS)] for kind, found in lines]
    return table(["kind", "runs", *ENDINGS], cells)


def each_fault(rows: Sequence[dict[str, Any]]) -> str:
    """Faults against kinds of model, by ending."""
    found = {row["case"]: row["ending"] for row in rows}
    cells = [
        [fault.name, *(found.get(Case(kind, fault).name, "") for kind in KINDS)] for fault in FAULTS
    ]
    return table(["fault", *KINDS], cells)
