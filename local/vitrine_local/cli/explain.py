"""`vitrine explain`: where a picture and a product look alike, as a picture."""

from __future__ import annotations

import argparse
import base64
from pathlib import Path

from vitrine_local.cli.api import Api
from vitrine_local.cli.options import Commands, add_json, add_model, add_target, model_name, target_of
from vitrine_local.cli.screen import Screen
from vitrine_local.cli.search import read_query, search_fields
from vitrine_local.errors import CommandFailed


def add_to(commands: Commands) -> None:
    parser = commands.add("explain", run, "show where a picture and a product look alike")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the picture: JPEG, PNG or WebP")
    parser.add_argument("id", metavar="ID", help="the product")
    add_model(parser)
    parser.add_argument("--dataset", metavar="NAME", help="the dataset (default: the only one that is served)")
    parser.add_argument(
        "--out", type=Path, default=Path("why.png"), metavar="FILE.png", help="where to (default: why.png)"
    )
    add_json(parser)
    add_target(parser)


def run(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the picture is written. Raises CommandFailed."""
    picture = read_query(arguments.image)
    fields = search_fields([("id", arguments.id)], model=model_name(arguments.model), dataset=arguments.dataset)
    with Api(target_of(arguments)) as api:
        answer = api.post_picture("/api/explain", picture, fields)
    if arguments.json:
        screen.json(answer)
        return 0
    try:
        arguments.out.write_bytes(base64.b64decode(answer["picture"].partition(",")[2]))
    except OSError as error:
        raise CommandFailed(f"the picture cannot be written to {arguments.out}: {error.strerror}") from error
    screen.say(f"score {answer['score']:.4f}; left the query, right product {answer['id']}: {arguments.out}")
    return 0
