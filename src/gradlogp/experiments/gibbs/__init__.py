"""Contrastive divergence and Gibbs sampling: what more steps buy, and what stays stable."""

from gradlogp.experiments.gibbs.methods import METHODS
from gradlogp.experiments.gibbs.summary import summary
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

COMPARISON = Comparison(
    "What do more steps of the chain buy: CD-1, CD-10, persistent chains, tempering?",
    METHODS,
    dataset="mnist",
    headline=(
        Column("log_likelihood"),
        Column("bracket_gap"),
        Column("fd"),
        Column("energy_gap"),
        Column("weight_norm"),
        Column("diverged"),
    ),
    tables=(
        Table("Log-likelihood at both ends of the bracket", ("log_likelihood",), "end"),
        Table(
            "By how much CD-10 is likelier, by the ends of the brackets that favour the other",
            ("likelihood_gain",),
            "over",
        ),
        Table("Fréchet distance from noise, by steps", ("fd",), "steps", {"start": "noise"}),
        Table("Fréchet distance from test pictures, by steps", ("fd",), "steps", {"start": "data"}),
        Table(
            "Samplers on one machine: Fréchet distance from noise after 50 steps",
            ("fd",),
            "sampler",
            {"after": 50},
        ),
        Table("And after 10", ("fd",), "sampler", {"after": 10}),
    ),
    summary=summary,
)
