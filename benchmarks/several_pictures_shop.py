"""A shop with three pictures a product beside the same shop with one, in a running system.

The catalogues are made of a folder or ZIP file of pictures: each picture is the face of one product, and its two others
are a detail of it, mirrored, and the whole in another light and turned. Both are indexed with one release, then
searched in turn, with the same pictures, so that both have the same load beside them. Checked are: each product is the
first result for each of its pictures, none is twice in the pages of an answer, and totals and facets count products.

    VITRINE_CATALOG_ROOTS=/tmp/shop vitrine up --data /tmp/shop-data --port 8127
    python -m benchmarks.several_pictures_shop PICTURES --root /tmp/shop --data /tmp/shop-data
        --url http://127.0.0.1:8127 [--model demo] [--products 8000] [--asked 1000]
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageEnhance, ImageOps

from benchmarks.pictures import SEED, SUFFIXES, pictures_below
from benchmarks.processes import ServiceProcesses
from benchmarks.tables import head, quantiles, row

PER_PRODUCT = 3
COLOURS = ("red", "green", "blue", "white", "black")
SHOPS = {"shop_one": 1, "shop_three": PER_PRODUCT}
TOP_K = 15
PAGES = 4
PAGED_QUERIES = 100
WARM_UP = 20
FACETS_COUNT = 200  # the facets of a search count so many of the nearest products
# Two scores as near as these are of pictures that are the same.
TIE = 1e-4
_POLL_S = 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("pictures", type=Path, help="a folder or a ZIP file")
    parser.add_argument("--root", type=Path, required=True, help="the catalogues are written here, if they are not yet")
    parser.add_argument("--data", type=Path, required=True, help="the data folder of the system, for its memory")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--products", type=int, default=8_000)
    parser.add_argument(
        "--asked", type=int, default=1_000, help="products that are searched, by each of their pictures"
    )
    parser.add_argument("--no-index", action="store_true", help="search what an earlier run has indexed")
    arguments = parser.parse_args()
    products = make(arguments.pictures, arguments.root, arguments.products)
    print(
        f"{products:,} products, searches by each picture of {min(arguments.asked, products):,} of them\n", flush=True
    )
    with httpx.Client(base_url=arguments.url, timeout=120) as api:
        qdrant = ServiceProcesses.of(arguments.data)
        if not arguments.no_index:
            print(head("shop", "pictures", "indexed s", "pictures/s", "Qdrant MB before", "after"), flush=True)
            for shop, per_product in SHOPS.items():
                before_mb = qdrant.resident_mb()["qdrant"]
                result = index(api, shop, arguments.root / shop, arguments.model)
                print(
                    row(
                        shop,
                        f"{products * per_product:,}",
                        f"{result['seconds']:.0f}",
                        f"{products * per_product / result['seconds']:.0f}",
                        f"{before_mb:.0f}",
                        f"{qdrant.resident_mb()['qdrant']:.0f}",
                    ),
                    flush=True,
                )
            print()
        asked = random.Random(SEED).sample(range(products), min(arguments.asked, products))
        print("\n".join(searches(api, arguments.root, asked)), flush=True)
        print("\n" + "\n".join(counts(api, arguments.root, asked[:PAGED_QUERIES], products)))
    return 0


def make(source: Path, root: Path, most: int) -> int:
    """Write the catalogues of both shops. Returns the number of products. What is there already stays."""
    count = 0
    tables: dict[str, list[list[str]]] = {shop: [] for shop in SHOPS}
    for shop in SHOPS:
        (root / shop / "images").mkdir(parents=True, exist_ok=True)
    for number, data in zip(range(most), _read(source), strict=False):
        for shop, per_product in SHOPS.items():
            files = [root / shop / "images" / name_of(number, picture) for picture in range(per_product)]
            if not all(file.exists() for file in files):
                for file, picture in zip(files, drawn(data, number)[:per_product], strict=True):
                    file.write_bytes(picture)
            names = "|".join(file.name for file in files)
            tables[shop].append([product_id(number), names, COLOURS[number % len(COLOURS)]])
        count += 1
    for shop, rows in tables.items():
        with (root / shop / "products.csv").open("w", newline="") as table:
            csv.writer(table).writerows([["id", "image", "colour"], *rows])
    return count


def _read(source: Path) -> Iterator[bytes]:
    if source.is_dir():
        yield from (path.read_bytes() for path in pictures_below(source))
        return
    with zipfile.ZipFile(source) as archive:
        for name in sorted(archive.namelist()):
            if Path(name).suffix.lower() in SUFFIXES:
                yield archive.read(name)


def drawn(data: bytes, number: int) -> list[bytes]:
    """The pictures of a product: the face as it is, a detail of it, and the whole in another light."""
    chance = random.Random(SEED + number)
    face = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = face.size
    left, top = (chance.uniform(0, 0.4) * size for size in (width, height))
    detail = ImageOps.mirror(face.crop((round(left), round(top), round(left + 0.6 * width), round(top + 0.6 * height))))
    turned = face.rotate(chance.uniform(4, 9) * chance.choice((-1, 1)), Image.Resampling.BILINEAR, fillcolor="white")
    lit = ImageEnhance.Color(ImageEnhance.Brightness(turned).enhance(chance.uniform(0.6, 0.8))).enhance(0.7)
    return [data, _jpeg(detail.resize((width, height), Image.Resampling.BICUBIC)), _jpeg(lit)]


def _jpeg(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=90)
    return written.getvalue()


def product_id(number: int) -> str:
    return f"S{number:05}"


def name_of(number: int, picture: int) -> str:
    return f"{product_id(number)}_{picture}.jpg"


def index(api: httpx.Client, shop: str, root: Path, model: str) -> dict[str, Any]:
    """Index a shop and wait for it. Returns the job's result."""
    body = {"dataset": shop, "reader": "folder", "root": str(root), "model": model}
    job = api.post("/api/jobs/index", json=body).raise_for_status().json()["job"]
    while job["state"] not in ("succeeded", "failed", "cancelled"):
        time.sleep(_POLL_S)
        job = api.get(f"/api/jobs/{job['id']}").raise_for_status().json()["job"]
    if job["state"] != "succeeded":
        raise SystemExit(f"the indexing of {shop} {job['state']}: {job['error']}")
    result: dict[str, Any] = job["result"]
    return result


def searches(api: httpx.Client, root: Path, asked: list[int]) -> list[str]:
    """A table of both shops, searched in turn with the same pictures: what each finds, and how long it takes."""
    found: dict[tuple[str, int], list[str]] = {(shop, picture): [] for shop in SHOPS for picture in range(PER_PRODUCT)}
    client_ms: dict[str, list[float]] = {shop: [] for shop in SHOPS}
    search_ms: dict[str, list[float]] = {shop: [] for shop in SHOPS}
    for count, number in enumerate([*asked[:WARM_UP], *asked]):
        for picture in range(PER_PRODUCT):
            data = (root / "shop_three" / "images" / name_of(number, picture)).read_bytes()
            # Each is first every other time.
            for shop in sorted(SHOPS, reverse=bool((count + picture) % 2)):
                started_s = time.perf_counter()
                answer = search(api, shop, data)
                took_ms = (time.perf_counter() - started_s) * 1e3
                if count >= WARM_UP:
                    found[shop, picture].append(_place(answer, number, picture if shop == "shop_three" else None))
                    client_ms[shop].append(took_ms)
                    search_ms[shop].append(answer["tookMs"]["search"])
    lines = [
        head("shop", "searched by", "first", "same score as the first", "later in the 15", "not found", "wrong picture")
    ]
    kinds = ("first", "tied", "later", "missing", "wrong picture")
    names = ("the face", "the detail", "the other light")
    for (shop, picture), places in found.items():
        lines.append(row(shop, names[picture], *(places.count(kind) for kind in kinds)))
    lines += [
        "",
        "Milliseconds, p50 / p95.",
        "",
        head("shop", "searches", "at the client", "search in the server"),
    ]
    for shop in SHOPS:
        cells = (" / ".join(quantiles(one[shop], 0.5, 0.95)) for one in (client_ms, search_ms))
        lines.append(row(shop, len(client_ms[shop]), *cells))
    return lines


def _place(answer: dict[str, Any], number: int, picture: int | None) -> str:
    """Where a product is in an answer. `picture`: the number of its picture that must be the one that matched."""
    ranking, results = answer["ranking"], answer["results"]
    if len(set(ranking)) != len(ranking):
        raise SystemExit(f"a product is twice in an answer: {ranking}")
    if product_id(number) not in ranking:
        return "missing"
    position = ranking.index(product_id(number))
    if results[position]["score"] < results[0]["score"] - TIE:
        return "later"
    if position:
        return "tied"
    return "first" if picture is None or results[0]["matchedPicture"]["index"] == picture else "wrong picture"


def counts(api: httpx.Client, root: Path, asked: list[int], products: int) -> list[str]:
    """Check pages, totals and facets of the shop with three pictures a product. Raises SystemExit if one is wrong."""
    for number in asked:
        data = (root / "shop_three" / "images" / name_of(number, number % PER_PRODUCT)).read_bytes()
        whole = search(api, "shop_three", data, topK=str(PAGES * TOP_K), facets="colour")
        counted = sum(one["count"] for one in whole["facets"]["colour"])
        if whole["total"] != products or counted != min(products, FACETS_COUNT):
            raise SystemExit(f"total {whole['total']} and facets {whole['facets']} are not of {products} products")
        pages = [search(api, "shop_three", data, offset=str(TOP_K * page))["ranking"] for page in range(PAGES)]
        shown = [one for page in pages for one in page]
        if len(set(shown)) != PAGES * TOP_K:
            raise SystemExit(f"a product is twice in {PAGES} pages: {shown}")
        colour = COLOURS[number % len(COLOURS)]
        filtered = search(api, "shop_three", data, colour=colour)
        expected = len(range(number % len(COLOURS), products, len(COLOURS)))
        if filtered["total"] != expected or len(set(filtered["ranking"])) != TOP_K:
            raise SystemExit(f"{filtered['total']} products are {colour} instead of {expected}")
    return [
        f"{len(asked)} queries: {PAGES} pages of {TOP_K} without a product twice; the total is {products:,}, the "
        f"facets' sum {min(products, FACETS_COUNT)}, and with a filter the total is as many as have the value."
    ]


def search(api: httpx.Client, shop: str, data: bytes, **options: str) -> dict[str, Any]:
    answer = api.post(
        "/api/search", files={"image": data}, data={"dataset": shop, "topK": str(TOP_K), **options}
    ).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


if __name__ == "__main__":
    sys.exit(main())
