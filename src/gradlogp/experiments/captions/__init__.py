"""Pictures and sentences in one energy: which belongs to which, and a picture from a sentence.

The joint energy has noise levels. It is CLIP's with a fusion of both encoders added, and the energy
of noised pictures given the sentence; it is taught by CLIP's loss and by denoising score matching.
One without noise levels is taught by a contrastive divergence instead. CLIP has the same encoders,
the same examples and the same number of updates; its -cos / tau is drawn from as well, as a
control.

References: Radford et al. (2021), arXiv 2103.00020 (CLIP); Ganz & Elad (2024), arXiv 2408.17046 (an
energy of CLIP's cosine, drawn from); Du, Li & Mordatch (2020), arXiv 2004.06030 (energies of two
concepts, summed).
"""

from gradlogp.experiments.captions.methods import METHODS
from gradlogp.harness.compare import Comparison
from gradlogp.harness.table import Column, Table

BY_PICTURE, BY_CAPTION = {"query": "picture"}, {"query": "caption"}

COMPARISON = Comparison(
    "Can one energy find the sentence of a picture, and draw the picture of a sentence?",
    METHODS,
    dataset="captioned_digits",
    headline=(
        Column("recall_at_1", BY_PICTURE, "R@1, a picture's sentence"),
        Column("recall_at_1", BY_CAPTION, "R@1, a sentence's picture"),
        Column("bound_attributes"),
        Column("agreement", {"sentence": "seen"}, "class drawn as asked"),
    ),
    tables=(
        Table("A picture's sentence", ("recall_at_1", "recall_at_5"), "picture_of"),
        Table("A sentence's picture", ("recall_at_1", "recall_at_5"), "sentence_of"),
        Table(
            "The same words in another sentence: colours changed round, and all four bindings",
            ("swapped_attributes", "bound_attributes"),
            "picture_of",
        ),
        Table(
            "Pictures drawn from a sentence: the first digit, and the sentence that fits best",
            ("agreement", "class_probability"),
            "sentence",
        ),
    ),
)
