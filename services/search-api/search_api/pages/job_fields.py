"""The forms that start jobs, as data. Names, defaults and bounds of the fields are those of the models in
`vitrine.jobs.params`; labels, hints and choices are here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel

from search_api.jobs.service import PARAMS
from vitrine.catalogs.registry import READERS
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs import JobKind

# `list` is a text with suggestions, `checks` a group of boxes, `lines` a text of a few lines, `area` one of many.
Control = Literal["text", "number", "choice", "check", "checks", "list", "lines", "area"]
Offer = Literal["datasets", "folders", "releases"]
Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `offers` names a source of choices; `rare` fields are in a collapsed section.

    `default`, `least` and `most` come from the model of the job.
    """

    name: str
    label: str
    control: Control = "text"
    hint: str = ""
    options: tuple[tuple[str, str], ...] = ()
    offers: Offer | None = None
    required: bool = False
    rare: bool = False
    step: str = "1"
    default: Value = ""
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


_READER_OPTIONS: Final = (("", "Recognised by the files and columns"), *((name, name) for name in READERS))
_CATALOG: Final = (
    Field(
        "dataset",
        "Dataset",
        "list",
        "The name of the dataset that its products belong to.",
        offers="datasets",
        required=True,
    ),
    Field("root", "Catalogue folder", "list", "On the server, below an allowed root.", offers="folders", required=True),
    Field("reader", "Reader", "choice", "How the folder is laid out.", options=_READER_OPTIONS),
    Field("limit", "Only the first", "number", "Products; empty reads all of them.", rare=True),
    Field(
        "mapping",
        "Columns",
        "lines",
        "One NAME=COLUMN a line: id, picture, variantOf or an attribute, such as id=Handle.",
        rare=True,
    ),
)
_SEED: Final = Field("seed", "Seed", "number", "The same seed gives the same result.", rare=True)
_WHITEN: Final = Field(
    "whiten",
    "Whitening",
    "choice",
    "Gives every component of the projection the same weight.",
    options=(("", "Unchanged, or the better one"), ("true", "With"), ("false", "Without")),
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


def _form(
    kind: JobKind, title: str, says: str, button: str, *fields: Field, catalog: tuple[Field, ...] = _CATALOG
) -> Form:
    models = (EvaluationPlan, PARAMS[kind]) if kind is JobKind.EVALUATE else (PARAMS[kind],)
    catalog = tuple(_kept_columns(field) if kind is JobKind.INDEX else field for field in catalog)
    return Form(kind, title, says, button, tuple(_with_limits(field, models) for field in (*catalog, *fields)))


def _kept_columns(field: Field) -> Field:
    """The field as an index job has it, which keeps the columns with the dataset."""
    if field.name != "mapping":
        return field
    return replace(
        field, hint=f"{field.hint} Kept with the dataset: empty takes those of before, none takes the usual names."
    )


def _with_limits(field: Field, models: tuple[type[BaseModel], ...]) -> Field:
    """The field with the default and the bounds of the first model that has it."""
    info = next((model.model_fields[field.name] for model in models if field.name in model.model_fields), None)
    if info is None or field.control == "area":
        return field
    bounds = {name: getattr(part, name) for part in info.metadata for name in ("ge", "le") if hasattr(part, name)}
    is_number = field.control == "number"
    return replace(
        field,
        default=_text(None if info.is_required() else info.default),
        least=str(bounds["ge"]) if is_number and "ge" in bounds else None,
        most=str(bounds["le"]) if is_number and "le" in bounds else None,
    )


def _text(default: Any) -> Value:
    """A default as the value of a form."""
    if isinstance(default, list | tuple):
        return tuple(map(str, default))
    if isinstance(default, bool):
        return "true" if default else ""
    return "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)


FORMS: Final[dict[JobKind, Form]] = {
    form.kind: form
    for form in (
        _form(
            JobKind.INDEX,
            "Index a catalogue",
            "Reads every product, computes its vector with a release, and makes the release serve once all is checked.",
            "Start indexing",
            _RELEASE,
            Field("every", "Index again every", hint="Such as 30min, 6h or 1d. Empty: only now.", rare=True),
            Field("full", "Read every picture, also those whose file has not changed", "check", rare=True),
            Field("download", "Download pictures that are links and not in the folder", "check", rare=True),
            Field(
                "allow_removal",
                "Go on even if more than a fifth of the products would be removed",
                "check",
                rare=True,
            ),
        ),
        _form(
            JobKind.TRAIN,
            "Train a model",
            "Trains a network by a recipe and makes a release of it. Index with that release to search with it.",
            "Start training",
            Field(
                "release",
                "Start from a release",
                "choice",
                "Only if the recipe continues another one.",
                options=(("", "As the recipe says"),),
                offers="releases",
            ),
            Field(
                "recipe", "Recipe", "area", "TOML. You can edit it; it is checked before the job starts.", required=True
            ),
        ),
        _form(
            JobKind.ADAPT,
            "Adapt a release",
            "Adapts a release's network to other pictures, without labels. Takes a minute, not hours.",
            "Start adapting",
            _RELEASE,
            _NEW_NAME,
            Field(
                "target_dataset",
                "Adapt to another dataset",
                "list",
                "Empty: adapt to this catalogue.",
                offers="datasets",
                rare=True,
            ),
            Field("target_root", "Its folder", "list", offers="folders", rare=True),
            Field("share", "How far", "number", "From 0 (unchanged) to 1 (fully adapted).", step="any"),
            Field("components", "Components", "number", "Of a vector; empty keeps the number.", rare=True),
            _WHITEN,
            _SEED,
        ),
        _form(
            JobKind.TUNE,
            "Tune a release",
            "Tries every size of a release's projection on validation queries and makes a release of the best.",
            "Start tuning",
            _RELEASE,
            _NEW_NAME,
            Field("queries", "Validation queries", "number", "At most."),
            Field("sizes", "Sizes to try", hint="Such as 32, 64, 128. Empty tries every one.", rare=True),
            Field("augment", "Neighbours that smooth the gallery", "number", "0: none.", rare=True),
            _WHITEN,
            _SEED,
        ),
        _form(
            JobKind.EVALUATE,
            "Evaluate releases",
            "Measures the search quality of releases on a catalogue and writes a report with intervals and pictures.",
            "Start evaluating",
            Field("releases", "Releases", "checks", offers="releases", required=True),
            Field("measures", "Measures", "checks", options=_MEASURES, required=True),
            Field("queries", "Queries", "number", "At most, drawn by the seed."),
            Field("title", "Title of the report"),
            Field(
                "part",
                "Queries come from",
                "choice",
                options=(("test", "The test part"), ("validation", "The validation part")),
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
                rare=True,
            ),
        ),
        _form(
            JobKind.PROJECT,
            "Make a release",
            "Fits a projection on a catalogue for an existing network, and makes a release of both. No training.",
            "Make the release",
            Field(
                "model",
                "Network",
                "list",
                "A name from the table, or any timm network as timm:NAME.",
                options=tuple((name, name) for name in _NETWORKS),
                required=True,
            ),
            Field("weights", "Weights", hint="pretrained, seed:N for random ones, or a safetensors file."),
            Field("components", "Components", "number", "Of a vector."),
            Field("whiten", "Whitening", "check", rare=True),
            Field("sample_max", "Pictures the projection is fitted on", "number", "At most.", rare=True),
            Field(
                "weights_trained_on",
                "What the weights were trained on",
                hint="For a weights file: a description, which evaluations show.",
                rare=True,
            ),
            _SEED,
        ),
        _form(
            JobKind.VISUALIZE,
            "Draw a map",
            "Lays a catalogue out in two dimensions as a release sees it: similar products are close together.",
            "Draw the map",
            _RELEASE,
            Field(
                "colour",
                "Coloured by",
                "list",
                "An attribute.",
                options=tuple((name, name) for name in ("articleType", "gender", "baseColour", "season")),
                required=True,
            ),
            Field("methods", "Laid out by", "checks", options=(("tsne", "t-SNE"), ("umap", "UMAP")), required=True),
            Field("count", "Pictures", "number", "At most, drawn by the seed."),
            Field("expand", "Neighbours each vector is averaged with", "number", "0: none.", rare=True),
            _SEED,
        ),
        _form(
            JobKind.HEALTH,
            "Check a catalogue",
            "Looks for duplicates, likely wrong labels, odd pictures, and empty or misspelled values.",
            "Start the check",
            Field("dataset", "Dataset", "list", "It must be indexed.", offers="datasets", required=True),
            Field("model", "Model", hint="Only needed if several serve the dataset."),
            Field(
                "label",
                "Label",
                "list",
                "The attribute that is compared with the pictures; by default articleType.",
                options=tuple((name, name) for name in ("articleType", "subCategory", "masterCategory", "gender")),
            ),
            Field("most", "Entries", "number", "Of each list of the report, at most.", rare=True),
            catalog=(),
        ),
    )
}
