r"""How much a representation knows of the classes: neighbours, a linear probe, clusters.

    kNN      = accuracy on test of the vote of the k most similar training features (cosine)
    probe    = accuracy on test of a logistic regression on standardised training features
    k-means  = accuracy under the best matching of clusters to classes, NMI and ARI, fitted and read on one set

Beside each stand the rows of an untrained network and of PCA: a random encoder is no blank.

References: Wu et al. (2018), Unsupervised Feature Learning via Non-Parametric Instance
Discrimination, arXiv 1805.01978, section 3.4 (neighbours); Alain & Bengio (2017), Understanding
Intermediate Layers Using Linear Classifier Probes, arXiv 1610.01644; Kuhn (1955), The Hungarian
Method for the Assignment Problem; Hubert & Arabie (1985), Comparing Partitions (ARI).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gradlogp.metrics.base import Measure, binomial_error, features

CELLS = 2**24  # cosines held at once: 64 MiB


def knn_accuracy(
    train: Tensor, train_labels: Tensor, test: Tensor, labels: Tensor, k: int = 20
) -> Measure:
    """The accuracy of the vote of k training features, [n, d] and [n], on test [m, d] and [m]; ties
    go to the lower class.
    """
    _pair(train, train_labels, "train")
    _pair(test, labels, "test")
    bank, asks = (
        F.normalize(features(*z), dim=1).float() for z in ((train, "train"), (test, "test"))
    )
    votes, classes = [], int(train_labels.max()) + 1
    for part in asks.split(max(1, CELLS // len(bank))):
        among = train_labels[(part @ bank.T).topk(min(k, len(bank)), 1).indices]
        votes.append(F.one_hot(among, classes).sum(1).argmax(1))
    says = f"vote of {k} neighbours by cosine among {len(train)} training features"
    return _accuracy("knn_accuracy", torch.cat(votes) == labels, says, labels)


def linear_probe(
    train: Tensor, train_labels: Tensor, test: Tensor, labels: Tensor, penalty: float = 1.0
) -> Measure:
    """The accuracy of a logistic regression on training features, [n, d] and [n], on test [m, d]
    and [m]; `penalty` is the weight of |w|^2 / 2 against the summed loss.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _pair(train, train_labels, "train")
    _pair(test, labels, "test")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=1 / penalty, max_iter=2000))
    probe.fit(features(train, "train").numpy(), train_labels.numpy())
    guess = torch.from_numpy(probe.predict(features(test, "test").numpy()))
    says = f"logistic regression on {len(train)} standardised training features"
    return _accuracy("linear_probe", guess == labels, says, labels)


def clustering(
    x: Tensor, labels: Tensor, clusters: int | None = None, seed: int = 0
) -> list[Measure]:
    """ACC (Hungarian matching), NMI and ARI of k-means of features [n, d] against labels [n]; as
    many clusters as classes where None.
    """
    from sklearn.cluster import KMeans

    _pair(x, labels, "x")
    k = clusters or int(labels.max()) + 1
    fit = KMeans(k, n_init=10, random_state=seed).fit(features(x, "x").numpy())
    return agreement_of(torch.from_numpy(fit.labels_).long(), labels)


def agreement_of(found: Tensor, labels: Tensor) -> list[Measure]:
    """ACC, NMI and ARI of a partition `found` [n] against labels [n]."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    right = matched(found, labels) == labels
    k, n = int(found.max()) + 1, len(labels)
    says = f"k-means, {k} clusters fitted and read on the same {n} features"
    nmi, ari = (
        float(score(labels.numpy(), found.numpy()))
        for score in (normalized_mutual_info_score, adjusted_rand_score)
    )
    return [
        _accuracy("cluster_accuracy", right, says + ", matched to classes one to one", labels),
        Measure("nmi", nmi, None, n, "higher", says, trivial=0.0),
        Measure("ari", ari, None, n, "higher", says, trivial=0.0),
    ]


def matched(found: Tensor, labels: Tensor) -> Tensor:
    """The class of each example's cluster, [n], by the one-to-one matching with the most examples
    right; -1 where a cluster is left over.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = int(found.max()) + 1, int(labels.max()) + 1
    table = torch.zeros(rows, columns, dtype=torch.long)
    table.index_put_((found, labels), torch.ones_like(labels), accumulate=True)
    cluster, kind = (torch.from_numpy(i) for i in linear_sum_assignment(-table.numpy()))
    return torch.full((rows,), -1).index_put((cluster,), kind)[found]


def _accuracy(metric: str, right: Tensor, says: str, labels: Tensor) -> Measure:
    """The share that is right; trivial is the share of the commonest of the labels [n]."""
    value, n = float(right.double().mean()), len(right)
    error = binomial_error(value, n)
    says = f"{says}, {n} judged, binomial standard error"
    commonest = float(labels.bincount().max()) / n
    return Measure(metric, value, error, n, "higher", says, trivial=commonest)


def _pair(x: Tensor, labels: Tensor, name: str) -> None:
    if labels.shape != x.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"`{name}` needs one integer label for each of its {len(x)} features, got"
            f" {list(labels.shape)} of {labels.dtype}."
        )
