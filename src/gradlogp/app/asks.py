"""What the page may ask, with its bounds. A field that is not here is refused, and so is a number
out of its range: one line, whichever it was.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 64 * 64 * 3  # entries of a drawing
FILE = 6 << 20  # bytes of an uploaded file, once it is decoded

Name = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Level = Annotated[float, Field(ge=0, le=10)]
Coordinate = Annotated[float, Field(ge=-100, le=100)]
Pixels = Annotated[list[Annotated[float, Field(ge=-20, le=20)]], Field(max_length=LARGEST)]
Points = Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=400)]


class Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Begin(Ask):
    """Chains of a model: from noise, from the picture `pixels`, or, where `free` says what of it is
    missing, its completions.
    """

    run: Name
    sampler: Name | None = None
    steps: Annotated[int, Field(ge=1, le=5000)] | None = None
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    cls: Annotated[int, Field(ge=0)] | None = None
    seed: Seed = 0
    n: Annotated[int, Field(ge=1, le=36)] = 16
    pixels: Pixels | None = None
    free: Annotated[list[bool], Field(max_length=LARGEST)] | None = None


class Density(Ask):
    """A distribution of the plane with noise `sigma` added: of the table, or of one's own points."""

    density: Name = "rings"
    points: Points = []
    sigma: Level = 0.0


class Particles(Density):
    """Particles that a sampler moves; `keep` begins where those before stand."""

    sampler: Name = "langevin"
    step_size: Annotated[float, Field(gt=0, le=10)] = 0.01
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    levels: Annotated[int, Field(ge=2, le=500)] = 60
    n: Annotated[int, Field(ge=1, le=500)] = 150
    seed: Seed = 0
    keep: bool = False


class Order(Ask):
    """A word to chains that walk: go, pause, so many steps, steps for a frame, or a particle moved."""

    do: Literal["go", "pause", "step", "stride", "move"]
    steps: Annotated[int, Field(ge=1, le=100)] = 1
    index: Annotated[int, Field(ge=0, le=499)] = 0
    x: Coordinate = 0.0
    y: Coordinate = 0.0


class Drawing(Ask):
    """A drawing of a model's shape, [channels, height, width] row by row, 0 black and 1 white."""

    run: Name
    pixels: Pixels
    sigma: Annotated[float, Field(ge=0.02, le=2)] = 0.25


class Which(Ask):
    """A model by its name."""

    run: Name


class Example(Ask):
    """Test example number `index` of the data that a run was trained on."""

    run: Name
    index: Annotated[int, Field(ge=0, le=10**6)] = 0


class Odd(Ask):
    """What is set against the test examples: an uploaded file, base64, or a drawing."""

    run: Name
    content: Annotated[str, Field(max_length=FILE * 4 // 3 + 4)] | None = None
    ending: Annotated[str, Field(pattern=r"^\.[a-z0-9]{1,7}$")] = ".png"
    pixels: Pixels | None = None


class Training(Ask):
    """A training, by the words of `gradlogp train`."""

    experiment: Name
    dataset: Name = "digits"
    preset: Literal["quick", "full", "gpu"] = "quick"
    seed: Seed = 0
    images: Annotated[int, Field(ge=64, le=10**8)] | None = None
