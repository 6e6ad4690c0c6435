"""What the arguments of several verbs share: --json, the flags of verbs that train, and how a wrong
value is refused. Nothing heavy is imported: help is instant.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tyro.conf import UseAppendAction, arg

Preset = Literal["quick", "full", "gpu"]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Changes = Annotated[
    tuple[tuple[str, ...], ...], UseAppendAction, arg(name="set", metavar="SECTION.KEY=VALUE")
]


MEANT = {  # what others call a verb, a table, an experiment
    "fit": "train",
    "generate": "sample",
    "draw": "sample",
    "predict": "classify",
    "anomaly": "detect",
    "impute": "inpaint",
    "benchmark": "bench",
    "recipe": "experiments",
    "recipes": "experiments",
    "dataset": "data",
    "datasets": "data",
    "loss": "objectives",
    "losses": "objectives",
    "networks": "models",
    "methods": "comparisons",
    "pretrained": "zoo",
    "diffusion": "ddpm",
    "energy": "ebm",
    "score": "ncsn",
}


class Refused(Exception):
    """Words or flags that no verb takes. Not a ValueError, which tyro would put into a box."""


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    as_json: Annotated[bool, arg(name="json")] = False
    """Print the result, and only that, as JSON on stdout, and all other words on stderr."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        own = cls.__annotations__
        for name, field in cls.model_fields.items():
            # the source breaks its lines, the help its own
            field.description = " ".join((field.description or "").split())
            if field.default is None and name in own:  # the description says it in words
                own[name] = Annotated[own[name], arg(help_behavior_hint="")]

    @property
    def aside(self) -> bool:
        """Whether stdout is for the result alone, and words go to stderr, without --json too."""
        return False

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            wrong = error.errors()[0]
            flag = str(wrong["loc"][0]).replace("cls", "class").replace("_", "-")
            raise Refused(
                f"--{flag}: {wrong['msg'][:1].lower()}{wrong['msg'][1:]}, got {wrong['input']!r}."
            ) from None


class Changing(Arguments):
    """Verbs that train."""

    changes: Changes = ()
    """Change any setting that --dry-run shows, as in --set training.images=20000 training.batch=32.
    """
    dry_run: bool = False
    """Print the resolved settings and what training will take: steps, images, seconds (by a few
    steps on the data) and megabytes of memory; and do nothing more.
    """
    data: Path | None = None
    """Folder with the data set's published files; by default GRADLOGP_DATA, else they are
    downloaded once.
    """
    last_whole: bool = False
    """Where the newest checkpoint is damaged, go on from the last whole one."""
    track: Literal["tensorboard", "wandb", "trackio", "mlflow"] | None = None
    """Also tell the numbers and pictures of each run to this tracker while it trains; TensorBoard's
    files go into tracker/ in the run folder.
    """

    @property
    def overrides(self) -> list[str]:
        return [change for group in self.changes for change in group]
