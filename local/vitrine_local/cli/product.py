"""`vitrine product`: undo the deletion of a product, and list the deleted ones."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from vitrine_local.cli.api import Api
from vitrine_local.cli.options import Commands, add_json, add_target, target_of, whole_number
from vitrine_local.cli.screen import Screen, count
from vitrine_local.errors import UsageInvalid


def add_to(commands: Commands) -> None:
    level = commands.add_level("product", "undo the deletion of a product, or list the deleted ones")
    restore = level.add("restore", run_restore, "undo the deletion of a product of the catalogue")
    restore.add_argument("id", metavar="ID", help="the product's id")
    deleted = level.add("deleted", run_deleted, "list the products that were deleted through the API")
    deleted.add_argument(
        "--limit", type=whole_number(at_least=1), default=1_000, metavar="N", help="list only N of them (default: 1000)"
    )
    for parser in (restore, deleted):
        parser.add_argument("--dataset", metavar="NAME", help="the dataset (default: the only one there is)")
        add_json(parser)
        add_target(parser)


def run_restore(arguments: argparse.Namespace, screen: Screen) -> int:
    """Returns 0 when the deletion is undone, also where only the next indexing brings the product back."""
    parameters = {"dataset": arguments.dataset} if arguments.dataset else {}
    with Api(target_of(arguments)) as api:
        answer = api.post(f"/api/products/{quote(arguments.id, safe='')}/restore", **parameters)
    if arguments.json:
        screen.json(answer)
    else:
        screen.say(f"{answer['id']} in {answer['dataset']}: {answer['detail']}")
    return 0


def run_deleted(arguments: argparse.Namespace, screen: Screen) -> int:
    with Api(target_of(arguments)) as api:
        dataset = arguments.dataset or _only_dataset(api)
        answer = api.get(f"/api/datasets/{quote(dataset, safe='')}/deleted", limit=arguments.limit)
    if arguments.json:
        screen.json(answer)
        return 0
    for product_id in answer["deleted"]:
        screen.say(str(product_id))
    screen.note(f"{count(answer['total'], 'product')} deleted in {dataset}")
    return 0


def _only_dataset(api: Api) -> str:
    names = [dataset["dataset"] for dataset in api.get("/api/datasets")["datasets"]]
    if len(names) != 1:
        raise UsageInvalid(f"name the dataset with --dataset; there are: {', '.join(names) or 'none'}")
    return str(names[0])
