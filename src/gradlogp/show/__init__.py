"""Show: what a field is, and what its chains do, in one line each, for a cell or a file.

    field("rings")                         its energy as colour, its score as arrows
    chains("ring", "langevin")             walkers on the plane, moving
    film("runs/ebm")                       examples of a trained model on their way from noise
    ladder("runs/ncsn", x)                 what a score makes of x at each of its noise levels

The first two take a density by its name in TARGETS (its first word will do), points of your own
[n, 2], a model on the plane, any energy (B, 2) -> (B,). The last two take a run folder or a name
that `gradlogp.harness.load` takes, or what it returned. All return a picture or a film that shows
itself in a notebook and that `save` writes.
"""

from gradlogp.show.picture import Film, Picture
from gradlogp.show.plane import chains, field
from gradlogp.show.runs import film, ladder

__all__ = ["Film", "Picture", "chains", "field", "film", "ladder"]
