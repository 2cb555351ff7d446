"""The fields of the forms that start jobs, as data: what each asks for, what it offers, and where its value begins. The
same names as in the bodies of `search_api.jobs.params`, so that what is wrong with a body belongs to a field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from vitrine.catalogs.registry import READERS
from vitrine.jobs import JobKind

# `list` is a text with suggestions, `checks` a group of boxes, `area` a text of many lines.
Control = Literal["text", "number", "choice", "check", "checks", "list", "area"]
Offer = Literal["datasets", "folders", "releases"]
Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `offers` names what is offered beside `options`; one that is `rare` is folded away."""

    name: str
    label: str
    control: Control = "text"
    hint: str = ""
    begins: Value = ""
    options: tuple[tuple[str, str], ...] = ()
    offers: Offer | None = None
    required: bool = False
    rare: bool = False
    step: str = "1"
    least: str | None = None
    most: str | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """The form of one kind of job."""

    kind: JobKind
    title: str
    says: str
    button: str
    fields: tuple[Field, ...]

    def named(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


_READER_OPTIONS: Final = (("", "As the dataset's name says"), *((name, name) for name in READERS))
_CATALOG: Final = (
    Field("dataset", "Dataset", "list", "The name its products go by.", offers="datasets", required=True),
    Field("root", "Catalogue folder", "list", "On the server, below an allowed root.", offers="folders", required=True),
    Field("reader", "Reader", "choice", "How the folder is laid out.", options=_READER_OPTIONS),
    Field("limit", "Only the first", "number", "Products; empty reads all of them.", rare=True, least="1"),
)
_SEED: Final = Field("seed", "Seed", "number", "The same seed gives the same result.", begins="0", rare=True, least="0")
_WHITEN: Final = Field(
    "whiten",
    "Whitening",
    "choice",
    "Gives every component of the projection the same weight.",
    options=(("", "As before, or whichever is better"), ("true", "With"), ("false", "Without")),
    rare=True,
)
_RELEASE: Final = Field("release_id", "Release", "choice", offers="releases", required=True)
_NEW_NAME: Final = Field("name", "New model's name", hint="Letters, digits, dots, dashes.", required=True)
_MEASURES: Final = (
    ("average_precision", "mAP"),
    ("precision@15", "P@15"),
    ("recall@1", "R@1"),
    ("reciprocal_rank", "MRR"),
    ("r_precision", "R-precision"),
    ("ndcg@15", "nDCG@15"),
)
_NETWORKS: Final = ("mobilenetv2_100", "resnet50", "timm:resnet18", "timm:regnety_002", "timm:efficientnet_b0")

FORMS: Final[dict[JobKind, Form]] = {
    form.kind: form
    for form in (
        Form(
            JobKind.INDEX,
            "Index a catalogue",
            "Reads every product, computes its vector with a release, and lets that release serve once all is checked.",
            "Start indexing",
            (
                *_CATALOG,
                _RELEASE,
                Field(
                    "allow_removal",
                    "Go on even if more than a fifth of the products would be removed",
                    "check",
                    rare=True,
                ),
            ),
        ),
        Form(
            JobKind.TRAIN,
            "Train a model",
            "Trains a network by a recipe and makes a release of it. Index with that release to search with it.",
            "Start training",
            (
                *_CATALOG,
                Field(
                    "release",
                    "Start from a release",
                    "choice",
                    "Only where the recipe goes on after another.",
                    options=(("", "As the recipe says"),),
                    offers="releases",
                ),
                Field(
                    "recipe",
                    "Recipe",
                    "area",
                    "TOML. Change what you like; it is checked before it starts.",
                    required=True,
                ),
            ),
        ),
        Form(
            JobKind.ADAPT,
            "Adapt a release",
            "Makes a release's network get used to other pictures, without labels. A minute, not hours.",
            "Start adapting",
            (
                *_CATALOG,
                _RELEASE,
                _NEW_NAME,
                Field(
                    "target_dataset",
                    "Adapt to another dataset",
                    "list",
                    "Empty: to this catalogue itself.",
                    offers="datasets",
                    rare=True,
                ),
                Field("target_root", "Its folder", "list", offers="folders", rare=True),
                Field(
                    "share",
                    "How far",
                    "number",
                    "From 0, not at all, to 1, entirely.",
                    begins="1",
                    step="any",
                    least="0",
                    most="1",
                ),
                Field("components", "Components", "number", "Of a vector; empty keeps as many.", rare=True, least="1"),
                _WHITEN,
                _SEED,
            ),
        ),
        Form(
            JobKind.TUNE,
            "Tune a release",
            "Tries every size of a release's projection on validation queries and makes a release of the best.",
            "Start tuning",
            (
                *_CATALOG,
                _RELEASE,
                _NEW_NAME,
                Field("queries", "Validation queries", "number", "At most.", begins="600", least="1"),
                Field("sizes", "Sizes to try", hint="Such as 32, 64, 128. Empty tries every one.", rare=True),
                Field(
                    "augment",
                    "Neighbours that smooth the gallery",
                    "number",
                    "0: none.",
                    begins="0",
                    rare=True,
                    least="0",
                    most="200",
                ),
                _WHITEN,
                _SEED,
            ),
        ),
        Form(
            JobKind.EVALUATE,
            "Evaluate releases",
            "Measures how well releases find on a catalogue, with intervals, and writes a report with pictures.",
            "Start evaluating",
            (
                *_CATALOG,
                Field("releases", "Releases", "checks", offers="releases", required=True),
                Field(
                    "measures",
                    "Measures",
                    "checks",
                    options=_MEASURES,
                    begins=tuple(name for name, _ in _MEASURES),
                    required=True,
                ),
                Field("queries", "Queries", "number", "At most, drawn by the seed.", begins="600", least="1"),
                Field("title", "Title of the report", begins="Evaluation"),
                Field(
                    "part",
                    "Queries come from",
                    "choice",
                    options=(("test", "The test part"), ("validation", "The validation part")),
                    begins="test",
                    rare=True,
                ),
                Field(
                    "protocol",
                    "Protocol",
                    "choice",
                    options=(
                        ("strict", "Strict"),
                        ("reference", "As the original"),
                        ("faults", "From the original to strict, step by step"),
                    ),
                    begins="strict",
                    rare=True,
                ),
            ),
        ),
        Form(
            JobKind.PROJECT,
            "Make a release",
            "Takes a network as it is, fits a projection on a catalogue, and makes a release of both. No training.",
            "Make the release",
            (
                *_CATALOG,
                Field(
                    "model",
                    "Network",
                    "list",
                    "Of the table, or any of timm's as timm:NAME.",
                    options=tuple((name, name) for name in _NETWORKS),
                    required=True,
                ),
                Field(
                    "weights",
                    "Weights",
                    hint="pretrained, seed:N for random ones, or a safetensors file.",
                    begins="pretrained",
                ),
                Field("components", "Components", "number", "Of a vector.", begins="128", least="1", most="4096"),
                Field("whiten", "Whitening", "check", begins="true", rare=True),
                Field(
                    "sample_max",
                    "Pictures the projection is fitted on",
                    "number",
                    "At most.",
                    begins="50000",
                    rare=True,
                    least="2",
                ),
                Field(
                    "weights_trained_on",
                    "What the weights were trained on",
                    hint="Of a file, in your words; evaluations name it.",
                    rare=True,
                ),
                _SEED,
            ),
        ),
        Form(
            JobKind.VISUALIZE,
            "Draw a map",
            "Lays a catalogue out in two dimensions as a release sees it: what is alike lies together.",
            "Draw the map",
            (
                *_CATALOG,
                _RELEASE,
                Field(
                    "colour",
                    "Coloured by",
                    "list",
                    "An attribute.",
                    begins="articleType",
                    options=tuple((name, name) for name in ("articleType", "gender", "baseColour", "season")),
                    required=True,
                ),
                Field(
                    "methods",
                    "Laid out by",
                    "checks",
                    options=(("tsne", "t-SNE"), ("umap", "UMAP")),
                    begins=("tsne", "umap"),
                    required=True,
                ),
                Field(
                    "count", "Pictures", "number", "At most, drawn by the seed.", begins="2000", least="8", most="20000"
                ),
                Field(
                    "expand",
                    "Neighbours each vector is averaged with",
                    "number",
                    "0: none.",
                    begins="0",
                    rare=True,
                    least="0",
                    most="50",
                ),
                _SEED,
            ),
        ),
    )
}
