"""What every objective promises: one value per example, decided by the generator, a gradient in
every weight, a memory.
"""

import pytest
import torch
from torch.nn.functional import one_hot

from gradlogp.core.batch import Batch
from gradlogp.core.fields import NoisyField, Score, column
from gradlogp.core.noise import Cosine, VarianceExploding, VariancePreserving
from gradlogp.core.random import seeded
from gradlogp.models import (
    ConvClassifier,
    ConvEnergy,
    Vocabulary,
    caption_energy,
    conv_noisy_energy,
    noisy_caption_energy,
    noisy_classifier,
    unet_score,
)
from gradlogp.objectives import (
    CLIP,
    FLIPS_AND_SHIFTS,
    JEM,
    OBJECTIVES,
    Augmented,
    CaptionJoint,
    ConditionalNoiseContrastive,
    ContrastiveDivergence,
    CrossEntropy,
    DenoisingScoreMatching,
    DiscreteDiffusion,
    DualScoreMatching,
    EnergyDiscrepancy,
    EnergyMatching,
    EquilibriumMatching,
    ExplicitScoreMatching,
    FiniteDifferenceScoreMatching,
    FlowMatching,
    FromBuffer,
    FromData,
    FromHalves,
    FromNoise,
    FromProcess,
    FromProposal,
    GaussianNoise,
    HybridBound,
    ImplicitScoreMatching,
    Ladder,
    LogNormal,
    MarginLoss,
    NoiseContrastive,
    NoisedCrossEntropy,
    NTXent,
    PseudoLikelihood,
    RatioMatching,
    RecoveryLikelihood,
    ReplayBuffer,
    SingleLevel,
    SlicedScoreMatching,
    Uncertainty,
    VariationalBound,
    ddpm_simple,
    improved_contrastive_divergence,
    persistent_contrastive_divergence,
)
from gradlogp.samplers import Langevin

SHAPE, B = (1, 8, 8), 6


def uniform(x, generator):
    return x.uniform_(-1, 1, generator=generator)


def energy():
    return ConvEnergy(SHAPE, (4, 8), 8)


def joint_energy():
    return ConvEnergy(SHAPE, (4, 8), 8, classes=3)


def buffer(classes=None):
    return FromBuffer(ReplayBuffer(32, SHAPE, uniform, seeded(0), 0.1, classes))


def captioned():
    return caption_energy(SHAPE, Vocabulary(tuple("abcde"), 4), (4, 8), 8)


def chain():
    return Langevin(1.0, 0.01, grad_clip=0.1, clamp=(-1, 1))


def noise():
    return GaussianNoise.fit(torch.randn(200, *SHAPE, generator=seeded(0)))


def cd(starts):
    return ContrastiveDivergence(chain(), starts, 3, data_noise=0.01, clamp=(-1, 1))


EXAMPLES = {
    "contrastive_divergence from data": (lambda: cd(FromData()), energy),
    "contrastive_divergence from noise": (lambda: cd(FromNoise(uniform)), energy),
    "contrastive_divergence from a buffer": (lambda: cd(buffer()), energy),
    "contrastive_divergence from a buffer with classes": (
        lambda: cd(buffer(torch.arange(3))),
        joint_energy,
    ),
    "contrastive_divergence from a proposal": (
        lambda: cd(FromProposal(lambda batch, g: batch.x.flip(0))),
        energy,
    ),
    "persistent_contrastive_divergence": (
        lambda: persistent_contrastive_divergence(chain(), torch.zeros(B, *SHAPE), 3),
        energy,
    ),
    "improved_contrastive_divergence": (
        lambda: improved_contrastive_divergence(chain(), FromNoise(uniform), 3),
        energy,
    ),
    "improved_contrastive_divergence with classes": (
        lambda: improved_contrastive_divergence(chain(), buffer(torch.arange(3)), 3),
        joint_energy,
    ),
    "recovery_likelihood": (
        lambda: RecoveryLikelihood((0.01, 0.1, 1.0), Langevin(0.1), 3),
        lambda: conv_noisy_energy(SHAPE, 0.5, (4, 8), 8),
    ),
    "noise_contrastive": (lambda: NoiseContrastive(noise(), ratio=2), energy),
    "conditional_noise_contrastive": (lambda: ConditionalNoiseContrastive(0.3, copies=2), energy),
    "energy_discrepancy": (lambda: EnergyDiscrepancy(0.3, 4), energy),
    "pseudo_likelihood of bits": (PseudoLikelihood, energy),
    "pseudo_likelihood of some bits": (lambda: PseudoLikelihood(subset=5), energy),
    "pseudo_likelihood of categories with classes": (lambda: PseudoLikelihood(None), joint_energy),
    "ratio_matching of bits": (RatioMatching, energy),
    "ratio_matching of categories": (lambda: RatioMatching(None), energy),
    "jem marginal with classes": (lambda: JEM(cd(FromNoise(uniform))), joint_energy),
    "jem conditional with classes": (
        lambda: JEM(cd(buffer(torch.arange(3))), "conditional"),
        joint_energy,
    ),
    "denoising_score_matching log-normal": (
        lambda: DenoisingScoreMatching(LogNormal(), "edm", 0.5),
        lambda: score(),
    ),
    "denoising_score_matching ladder": (
        lambda: DenoisingScoreMatching(Ladder(VarianceExploding(), 10)),
        lambda: score(),
    ),
    "denoising_score_matching single": (
        lambda: DenoisingScoreMatching(SingleLevel(0.5)),
        lambda: score(),
    ),
    "denoising_score_matching likelihood": (
        lambda: DenoisingScoreMatching(FromProcess(VariancePreserving(), True), "likelihood"),
        lambda: score(),
    ),
    "denoising_score_matching uncertain": (
        lambda: DenoisingScoreMatching(FromProcess(Cosine()), "min_snr", uncertainty=Uncertainty()),
        lambda: score(),
    ),
    "denoising_score_matching of an energy": (
        lambda: DenoisingScoreMatching(SingleLevel(0.5), "none"),
        joint_energy,
    ),
    "explicit_score_matching": (lambda: ExplicitScoreMatching(Score(lambda x: -x)), joint_energy),
    "implicit_score_matching": (ImplicitScoreMatching, joint_energy),
    "sliced_score_matching": (SlicedScoreMatching, joint_energy),
    "sliced_score_matching plain": (lambda: SlicedScoreMatching(2, "sphere", False), joint_energy),
    "finite_difference_score_matching": (lambda: FiniteDifferenceScoreMatching(2), joint_energy),
    "ddpm_simple with classes": (
        lambda: ddpm_simple(VariancePreserving().ladder(20), 0.1),
        lambda: score(),
    ),
    "variational_bound with classes": (
        lambda: VariationalBound(
            DiscreteDiffusion(tuple(VariancePreserving().ladder(20)), 0.0, bins=256)
        ),
        lambda: score(),
    ),
    "variational_bound by importance": (
        lambda: VariationalBound(DiscreteDiffusion((2.0, 1.0, 0.5)), importance=True),
        lambda: score(),
    ),
    "hybrid_bound with classes": (
        lambda: HybridBound(DiscreteDiffusion(tuple(Cosine().ladder(20)), "learned")),
        lambda: ScoreAndVariance(),
    ),
    "flow_matching with classes": (FlowMatching, lambda: score()),
    "flow_matching by transport with classes": (
        lambda: FlowMatching(LogNormal(0.0, 1.0), optimal_transport=True),
        lambda: score(),
    ),
    "energy_matching warm-up": (EnergyMatching, energy),
    "energy_matching": (
        lambda: EnergyMatching(ContrastiveDivergence(Langevin(0.01, 0.01), FromHalves(), 3)),
        energy,
    ),
    "equilibrium_matching": (EquilibriumMatching, energy),
    "dual_score_matching": (
        lambda: DualScoreMatching(LogNormal()),
        lambda: conv_noisy_energy(SHAPE, 0.5, (4, 8), 8, classes=3),
    ),
    "cross_entropy": (CrossEntropy, lambda: ConvClassifier(SHAPE, 3, (4, 8), 8)),
    "cross_entropy augmented": (
        lambda: Augmented(CrossEntropy(), FLIPS_AND_SHIFTS),
        lambda: ConvClassifier(SHAPE, 3, (4, 8), 8),
    ),
    "noised_cross_entropy": (
        lambda: NoisedCrossEntropy(LogNormal()),
        lambda: noisy_classifier(SHAPE, 3, 0.5, (4, 8), 8),
    ),
    "clip of captions": (CLIP, captioned),
    "caption_joint from noise of captions": (
        lambda: CaptionJoint(cd(FromNoise(uniform))),
        captioned,
    ),
    "caption_joint from a buffer of captions": (
        lambda: CaptionJoint(cd(buffer(torch.randint(7, (32, 4), generator=seeded(5))))),
        captioned,
    ),
    "caption_joint by denoising of captions": (
        lambda: CaptionJoint(DenoisingScoreMatching(LogNormal(), drop_cond=0.2)),
        lambda: noisy_caption_energy(
            SHAPE, Vocabulary(tuple("abcde"), 4), 0.5, 0.0, (8,), 1, 4, (4, 8), 8
        ),
    ),
    "nt_xent": (lambda: NTXent(FLIPS_AND_SHIFTS), lambda: ConvClassifier(SHAPE, 3, (4, 8), 8)),
    "margin_loss with cross": (MarginLoss, lambda: ConvClassifier(SHAPE, 3, (4, 8), 8)),
}


def score():
    return unet_score(SHAPE, 0.5, (8,), 1, 1, classes=3)


class ScoreAndVariance(torch.nn.Module):
    """A score network, and beside it a posterior variance of x0 between none and that of N(0, 1)."""

    def __init__(self):
        super().__init__()
        self.net = score()
        self.share = torch.nn.Parameter(torch.zeros(SHAPE))

    def field(self, cond=None):
        return Both(self, cond)


class Both(NoisyField):
    def __init__(self, model, cond):
        self.model, self.cond = model, cond

    def denoise(self, x, sigma):
        return self.model.net(x, sigma, self.cond)

    def moments(self, x, sigma):
        return self.denoise(x, sigma), self.model.share.sigmoid() * column(
            sigma**2 / (1 + sigma**2), x
        )


def batch(name):
    needs_cond = "classes" in name or "cross" in name or "score" in name
    g = seeded(3)
    x = torch.rand(B, *SHAPE, generator=g) * 2 - 1
    cond = torch.randint(3, (B,), generator=g)
    if "captions" in name:
        return Batch(x, torch.randint(7, (B, 4), generator=g))
    if "bits" in name:
        x = (x > 0).float()
    if "categories" in name:  # one-hot along the last axis
        x = one_hot(x.argmax(-1), SHAPE[-1]).float()
    return Batch(x, cond if needs_cond else None)


def unlisted():
    """Examples of objectives that none is listed for: as they are made without settings, and the
    first model that they take.
    """
    found = {}
    listed = {name.split(" ")[0] for name in EXAMPLES}
    for name in OBJECTIVES.keys() - listed:
        model = next(make for make in MODELS if takes(OBJECTIVES[name](), make(), name))
        found[f"{name} with classes"] = (OBJECTIVES[name], model)
    return found


MODELS = (
    joint_energy,
    score,
    lambda: conv_noisy_energy(SHAPE, 0.5, (4, 8), 8, classes=3),
    lambda: ConvClassifier(SHAPE, 3, (4, 8), 8),
    lambda: noisy_classifier(SHAPE, 3, 0.5, (4, 8), 8),
)


def takes(objective, model, name):
    try:
        return bool(objective(model, batch(f"{name} with classes"), seeded(0)).value.ndim)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False


EXAMPLES |= unlisted()


def build(name):
    torch.manual_seed(0)
    make_objective, make_model = EXAMPLES[name]
    return make_objective(), make_model()


def test_every_objective_has_an_example():
    assert {name.split(" ")[0] for name in EXAMPLES} == set(OBJECTIVES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_one_value_per_example_and_scalars_for_the_log(name):
    objective, model = build(name)
    loss = objective(model, batch(name), seeded(1))
    assert loss.value.shape == (B,) and torch.isfinite(loss.value).all()
    assert all(v.ndim == 0 and not v.requires_grad for v in loss.info.values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_generator_decides_the_loss(name):
    values = []
    for _ in range(2):
        objective, model = build(name)
        torch.manual_seed(torch.initial_seed() + len(values))  # the global stream plays no part
        values.append(objective(model, batch(name), seeded(1)).value)
    assert torch.equal(*values)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_weight_learns(name):
    objective, model = build(name)
    objective(model, batch(name), seeded(1)).value.mean().backward()
    last_bias = {"head.linear.bias"}  # E + const is the same density; only a regulariser sees it
    missing = {n for n, p in model.named_parameters() if p.grad is None}
    assert missing <= last_bias


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_batch_is_left_alone(name):
    objective, model = build(name)
    fed, before = batch(name), batch(name)
    objective(model, fed, seeded(1))
    assert torch.equal(fed.x, before.x)


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_memory_comes_back(name):
    objective, model = build(name)
    objective(model, batch(name), seeded(1))
    state = {k: v.clone() for k, v in objective.state().items()}
    other, _ = build(name)
    other.load(state)
    assert torch.equal(
        objective(model, batch(name), seeded(2)).value, other(model, batch(name), seeded(2)).value
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_batch_that_is_none_is_an_error(name):
    objective, model = build(name)
    with pytest.raises(ValueError, match="a batch has shape"):
        objective(model, Batch(torch.zeros(3)), seeded(1))
    with pytest.raises(ValueError, match="one entry per example"):
        objective(model, Batch(torch.zeros(3, *SHAPE), torch.zeros(2, dtype=torch.long)), seeded(1))
    with pytest.raises(
        ValueError, match=r"x is in floating point, got torch.int64; pass x.float\(\)"
    ):
        objective(model, Batch(torch.zeros(3, *SHAPE, dtype=torch.long)), seeded(1))


def test_chains_of_another_dtype_than_the_data_are_an_error():
    objective = persistent_contrastive_divergence(
        chain(), torch.zeros(B, *SHAPE, dtype=torch.float64)
    )
    with pytest.raises(
        ValueError,
        match=r"one chain per example, shape .* in torch.float32, got .* in torch.float64",
    ):
        objective(energy(), batch("persistent"), seeded(0))
