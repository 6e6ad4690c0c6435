r"""What all representations share: how their features are chosen and measured.

A method gives candidates, functions from examples to features [n, d]. Each candidate stands as it
is and whitened, :math:`z \mapsto \Lambda^{-1/2} U^\top (z - \bar z)` on its leading components,
since the cosine of whitened features is the better neighbour of the two for pixels. The vote of 20
neighbours on the *validation* part chooses; the test part is then looked at once.

References: Wu et al. (2018), arXiv 1805.01978, section 3.4 (the vote of neighbours); Alain & Bengio
(2017), arXiv 1610.01644 (linear probes); Van Gansbeke et al. (2020), SCAN, arXiv 2005.12320
(clusters matched to classes); van der Maaten & Hinton (2008), Visualizing Data using t-SNE.
"""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, final

import torch
from torch import Tensor

from gradlogp.baselines.linear import Principal
from gradlogp.core.errors import UserError
from gradlogp.core.spectrum import Spectrum
from gradlogp.data import Split
from gradlogp.harness.kinds import Kind
from gradlogp.harness.recipe import specify
from gradlogp.harness.record import Recorder
from gradlogp.harness.trial import Context, Trial
from gradlogp.metrics import representation

COMPONENTS = 128  # of whitened features
NEIGHBOURS = 20
SHOWN = 600  # test examples in the t-SNE picture
Encode = Callable[[Tensor], Tensor]  # x [n, *shape] in model coordinates -> features [n, d]


class Labelled(NamedTuple):
    """Features [n, d] and their classes [n]."""

    z: Tensor
    labels: Tensor


@final
@dataclass(frozen=True)
class Candidate:
    """Features as they are, or whitened: `layer` says which, `whiten` how, None as they are."""

    layer: str
    encode: Encode
    whiten: Principal | None = None

    @property
    def axis(self) -> str:
        return "layer" if self.whiten is None else "whitened_layer"

    def __call__(self, x: Tensor) -> Tensor:
        return self.after(self.encode(x))

    def after(self, z: Tensor) -> Tensor:
        """Features of the layer, whitened if so chosen."""
        return z if self.whiten is None else self.whiten(z).float()

    def says(self) -> str:
        return self.layer if self.whiten is None else f"{self.layer}, whitened"


@dataclass(frozen=True)
class Represent(Trial):
    """What all methods share. images: training examples of the network; bank: training examples
    whose features vote and are probed; chosen_on: those of them that vote in the choice.
    """

    images: int = 60_000
    bank: int = 20_000
    chosen_on: int = 5_000

    @abc.abstractmethod
    def candidates(self, context: Context, recorder: Recorder) -> Mapping[str, Encode]:
        """Layer -> features, after whatever there is to learn."""

    def perform(self, context: Context, recorder: Recorder) -> None:
        data = context.data
        if data.train.labels is None:
            raise UserError(
                f"features are measured by classes, but {data.name} has no labels; take cifar10,"
                " mnist or digits."
            )
        kind = specify(data).coordinates
        layers = self.candidates(context, recorder)
        chosen = self._choose(layers, data.train, data.validation, kind, recorder)
        train = encoded(chosen, data.train, kind, self.bank)
        test = encoded(chosen, data.test, kind, len(data.test))
        measure(recorder, train, test, chosen.says(), self.seed)
        keep_plane(recorder, test, self.seed)

    def _choose(
        self,
        layers: Mapping[str, Encode],
        train: Split,
        validation: Split,
        kind: Kind,
        recorder: Recorder,
    ) -> Candidate:
        """The candidate whose neighbours vote best on the validation part; a row for each."""
        found: dict[Candidate, float] = {}
        for layer, encode in layers.items():
            plain = Candidate(layer, encode)
            bank = encoded(plain, train, kind, self.chosen_on)
            asks = encoded(plain, validation, kind, len(validation))
            for each in (plain, *whitened(plain, bank.z)):
                vote = representation.knn_accuracy(
                    each.after(bank.z), bank.labels, each.after(asks.z), asks.labels, NEIGHBOURS
                )
                recorder.add(vote, axes={each.axis: layer})
                found[each] = vote.value
        return max(found, key=found.__getitem__)


def whitened(plain: Candidate, z: Tensor) -> tuple[Candidate, ...]:
    """The same layer whitened on its features z [n, d]; none where these are constant."""
    if not z.var(0).any():
        return ()
    return (replace(plain, whiten=components(z, COMPONENTS)),)


def components(x: Tensor, most: int) -> Principal:
    """The leading components of x [n, *shape], at most so many, to unit variance; those without
    any variance are left out.
    """
    variances = Spectrum.fit(x.double(), ddof=1).variances
    rank = int((variances > 1e-6 * variances.max()).sum())
    return Principal.fit(x, min(most, rank))


def encoded(candidate: Candidate, split: Split, kind: Kind, most: int) -> Labelled:
    """The features and classes of the first `most` examples of a part."""
    assert split.labels is not None
    n = min(most, len(split))
    parts = torch.arange(n).split(500)
    with torch.no_grad():
        z = torch.cat([candidate(kind.to_model(split.scaled(part))) for part in parts])
    return Labelled(z, split.labels[:n])


def measure(recorder: Recorder, train: Labelled, test: Labelled, says: str, seed: int) -> None:
    """The five measurements of the headline, on the test part."""
    found = [
        representation.knn_accuracy(*train, *test, NEIGHBOURS),
        representation.linear_probe(*train, *test),
        *representation.clustering(*test, seed=seed),
    ]
    recorder.add(*(replace(each, protocol=f"{each.protocol}; features: {says}") for each in found))


def keep_plane(recorder: Recorder, test: Labelled, seed: int) -> None:
    """Where t-SNE puts the first test examples in the plane, [SHOWN, 2]."""
    from sklearn.manifold import TSNE

    z = test.z[:SHOWN]
    perplexity = min(30.0, (len(z) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z.numpy())
    recorder.save(plane=torch.from_numpy(plane), labels=test.labels[:SHOWN])
