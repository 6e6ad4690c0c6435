"""What numbers mean that comparisons measure themselves: the words of `Quantity` for what no
function of this room computes.
"""

from gradlogp.metrics.base import Better, Quantity


def _quantity(
    key: str,
    better: Better,
    name: str,
    meaning: str,
    unit: str = "",
    aim: float | None = None,
) -> Quantity:
    return Quantity(key=key, name=name, meaning=meaning, better=better, unit=unit, aim=aim)


QUANTITIES = {
    each.key: each
    for each in (
        _quantity(
            "rarest_class",
            "higher",
            "rarest class",
            "The share of the class that is drawn least often. Near 0: that class is forgotten.",
        ),
        _quantity(
            "commonest_class",
            "lower",
            "commonest class",
            "The share of the class that is drawn most often. Near 1: always the same.",
        ),
        _quantity(
            "cas",
            "higher",
            "classes taught",
            "The accuracy, on real pictures, of a classifier that has seen nothing but drawn"
            " ones: nonsense and whatever is never drawn both cost accuracy. Real training"
            " pictures, as many, say what can be reached.",
        ),
        _quantity(
            "class_probability",
            "higher",
            "class probability",
            "How sure the evaluation classifier is of what it sees, on average. Low: the samples look"
            " like nothing in particular.",
        ),
        _quantity(
            "level_loss",
            "lower",
            "loss of the level",
            "Denoising score matching at one noise level, per dimension, weighted by its square. A"
            " score of nothing has one half; the trivial value is the best linear score's.",
        ),
        _quantity(
            "level_share",
            "lower",
            "share of the linear loss",
            "The loss at one noise level over that of the best linear score, which knows mean and"
            " covariance of the data alone. Above 1: worse than that.",
        ),
        _quantity(
            "score_length",
            "none",
            "length of the score",
            "The mean square of the score times sigma^2, per dimension: near 1 where noise hides the"
            " data. An exact score has 1 - 2 times the loss, the reference.",
        ),
        _quantity(
            "cov_iou",
            "higher",
            "coverage by overlap",
            "The share of test volumes that are the nearest of some drawn one. Low: whole kinds are"
            " never drawn.",
        ),
        _quantity(
            "mmd_iou",
            "lower",
            "distance by overlap",
            "How far the nearest drawn volume is from a test volume, on average: 1 less what they share"
            " of what either fills.",
        ),
        _quantity(
            "1nna_iou",
            "none",
            "told apart by overlap",
            "The share of test and drawn volumes whose nearest other is of their own kind: 0.5 when"
            " nobody could tell. Below: copies.",
            aim=0.5,
        ),
        _quantity(
            "fd_spectrum",
            "lower",
            "Fréchet distance of spectra",
            "How far drawn waveforms are from test waveforms in the loudness of each band, and in how it"
            " changes in time.",
        ),
        _quantity(
            "hole_psnr",
            "higher",
            "in the unknown part, dB",
            "Peak signal-to-noise ratio where nothing was known: how near the completion is to what was"
            " there. The mean of many completions is nearer than any one of them.",
            unit="dB",
        ),
        _quantity(
            "diversity",
            "none",
            "completions differ by",
            "How far the completions of one picture lie apart. 0: the method has one answer.",
        ),
        _quantity(
            "retention",
            "higher",
            "class kept",
            "The share of chains from real pictures whose class is still that of their start."
            " Low: the model does not know the pictures as its own.",
        ),
        _quantity(
            "energy",
            "none",
            "mean energy",
            "Low means likely; only differences between kinds of pictures count.",
            unit="nats",
        ),
        _quantity(
            "energy_gap",
            "none",
            "held-out minus training energy",
            "0: held-out pictures are as likely as those learned from. Above: learned by heart.",
            unit="nats",
            aim=0.0,
        ),
        _quantity(
            "taken_at",
            "none",
            "weights taken at",
            "The share of the training after which the weights were best on the validation part.",
        ),
        _quantity(
            "lead",
            "higher",
            "lead over the best baseline",
            "The AUROC less that of the best baseline on the same examples: above 0 wins.",
        ),
        _quantity(
            "rank",
            "lower",
            "mean rank",
            "Where the method comes among all others, from one set to the next, on average: 1"
            " is always first.",
        ),
        _quantity(
            "place",
            "lower",
            "mean place among baselines",
            "Its rank where it alone joins the baselines: 1 is before all of them, always.",
        ),
        _quantity(
            "bits_per_dim",
            "lower",
            "bits per dimension",
            "How many bits a pixel costs when the model compresses pictures that it has not"
            " seen; fewer is a better model of all there is, fine noise included.",
            unit="bits",
        ),
        _quantity(
            "bits_per_dim_histogram",
            "lower",
            "bits per dimension, pixels alone",
            "The same by a histogram for each pixel: what anything must beat.",
            unit="bits",
        ),
        _quantity(
            "bits_per_dim_gaussian",
            "lower",
            "bits per dimension, Gaussian",
            "The same by one Gaussian of all pixels.",
            unit="bits",
        ),
        _quantity(
            "drawn_mean",
            "none",
            "mean drawn",
            "The mean of what the guided flow draws, where it is known exactly.",
        ),
        _quantity(
            "drawn_std",
            "none",
            "deviation drawn",
            "The standard deviation of what the guided flow draws: how much variety is left.",
        ),
        _quantity(
            "tilted_mean",
            "none",
            "mean, tilted",
            "The mean of the tilted density which guidance is often taken for.",
        ),
        _quantity(
            "tilted_std",
            "none",
            "deviation, tilted",
            "The standard deviation of the tilted density which guidance is often taken for.",
        ),
        _quantity(
            "log_likelihood",
            "higher",
            "log-likelihood, nats",
            "How likely the model holds test pictures to be, noise included; higher is a better model"
            " of all there is.",
            unit="nats",
        ),
        _quantity(
            "bracket_gap",
            "none",
            "left open by the bracket, nats",
            "How far apart two estimates of the partition function are that err in opposite ways."
            " Near 0: the log-likelihood can be trusted. Below: chains that came down never were"
            " where those that went up arrived.",
            unit="nats",
            aim=0.0,
        ),
        _quantity(
            "likelihood_gain",
            "higher",
            "log-likelihood gained, nats",
            "How much likelier test pictures are than by another method, by the estimates that"
            " favour the other.",
            unit="nats",
        ),
        _quantity(
            "weight_norm",
            "none",
            "norm of the weights",
            "How large the weights have grown: large ones make chains slow to mix.",
        ),
        _quantity(
            "diverged",
            "lower",
            "share diverged",
            "The share of the seeds whose training left the finite or ran away. 0: all are sound.",
        ),
        _quantity(
            "bits_gain",
            "higher",
            "bits per dimension gained",
            "How many bits a pixel costs less than by another method.",
            unit="bits",
        ),
        _quantity(
            "gain",
            "higher",
            "gain, dB",
            "How many dB nearer to the clean example than another method comes, on the same"
            " examples under the same noise.",
            unit="dB",
        ),
        _quantity(
            "fd_gain",
            "higher",
            "Fréchet distance gained",
            "How far the distance falls beside that of another method.",
        ),
        _quantity(
            "snr",
            "higher",
            "restored, dB",
            "Signal-to-noise ratio: 3 dB more is half the error.",
            unit="dB",
        ),
        _quantity(
            "nrmse",
            "lower",
            "restored, RMS error",
            "How far a restored row is from the clean one, in standard deviations of the columns.",
        ),
        _quantity(
            "displacement",
            "lower",
            "displacement",
            "How far chains from real examples move an entry, on average.",
        ),
        _quantity(
            "excess",
            "none",
            "excess variance",
            "The measured variance less that of the data.",
        ),
        _quantity(
            "sample_loss",
            "none",
            "lost by one sample, dB",
            "How much worse one draw from the posterior is than its mean. 3.01 dB, twice the"
            " error, is what a model that knows how uncertain it is must lose; less is too sure,"
            " more is too unsure.",
            unit="dB",
            aim=3.01,
        ),
        _quantity(
            "recall_at_1",
            "higher",
            "found first",
            "The share of questions (a picture, or a sentence) whose partner is the one that fits best"
            " among all.",
        ),
        _quantity(
            "recall_at_5",
            "higher",
            "found among five",
            "The share of questions whose partner is among the five that fit best.",
        ),
        _quantity(
            "swapped_attributes",
            "higher",
            "attributes bound",
            "The share of pictures whose sentence fits better than the same with the colours changed"
            " round. A half: which colour belongs to which thing is not read.",
        ),
        _quantity(
            "bound_attributes",
            "higher",
            "every binding told apart",
            "The share of pictures whose sentence fits better than the three others that the same words"
            " make: with the colours, the digits or the places of the two things changed round. A"
            " quarter: the words are read in no order.",
        ),
        _quantity(
            "recovery_error",
            "lower",
            "hidden part wrong",
            "The share of what was hidden of an example, voxels of a volume, that is filled in wrongly.",
        ),
        _quantity(
            "linear_probe",
            "higher",
            "classes in the features",
            "The accuracy of a logistic regression on the features of a model that was never told the"
            " classes.",
        ),
        _quantity(
            "knn_accuracy",
            "higher",
            "20 neighbours",
            "The accuracy of the vote of the nearest training features, by the angle between them. It"
            " asks whether what lies together is of one class.",
        ),
        _quantity(
            "cluster_accuracy",
            "higher",
            "clusters that are classes",
            "The share of examples in the right cluster, when as many clusters as classes are found by"
            " k-means and each is given the class that fits best.",
        ),
        _quantity(
            "nmi",
            "higher",
            "shared information",
            "The mutual information of clusters and classes over the mean of their entropies. 0: the"
            " clusters know nothing of the classes; 1: they are the classes.",
        ),
        _quantity(
            "ari",
            "higher",
            "Rand index, adjusted",
            "How often clusters and classes agree whether two examples belong together, beyond what"
            " chance does. 0: chance; 1: always.",
        ),
        _quantity(
            "rmse",
            "lower",
            "RMS error of the score",
            "How far the learned score is from the exact one where the law has its mass, in"
            " units of 1 / s.",
        ),
        _quantity(
            "relative",
            "lower",
            "relative error of the score",
            "The mean squared error under the law, over the mean square of the exact score.",
        ),
        _quantity(
            "slope_error",
            "none",
            "error of the slope",
            "How far a fitted line's slope is from the value that it has in closed form.",
            aim=0.0,
        ),
        _quantity(
            "largest_deviation",
            "lower",
            "largest deviation, standard errors",
            "The largest difference of a measured variance from its exact recursion, over all"
            " settings. Chance alone gives 2 to 3.",
            unit="standard errors",
        ),
        _quantity(
            "deviation",
            "none",
            "deviation, standard errors",
            "How far a measured variance is from its exact recursion. Chance alone gives about 1.",
            unit="standard errors",
            aim=0.0,
        ),
        _quantity(
            "from_logistic",
            "none",
            "difference from logistic regression",
            "The largest difference of a probability from that of logistic regression: 0, for"
            " the two are one model.",
            aim=0.0,
        ),
        _quantity(
            "contrast",
            "none",
            "contrast",
            "How far apart the energies of the two classes are for one example, over their mean size."
            " It says whether a classifier by energies is sharp, not whether it is right.",
        ),
        _quantity(
            "growth",
            "none",
            "growth",
            "By how much the logarithm of |x| grows in a step without noise. Above 0 the chain"
            " diverges.",
        ),
        _quantity(
            "p",
            "none",
            "p, McNemar",
            "The chance that two equally good classifiers would differ by as much on these"
            " examples.",
        ),
    )
}
