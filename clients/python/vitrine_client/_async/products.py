"""The products of a dataset: read, list, export, put, change, delete, restore."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from pydantic_core import from_json

from vitrine_client._async.connection import NDJSON, AsyncConnection
from vitrine_client.errors import AnswerInvalid
from vitrine_client.filters import Filters, FilterValue, filter_pairs, text_of
from vitrine_client.models import (
    DeletedAnswer,
    Product,
    ProductAnswer,
    ProductsAnswer,
    RestoredAnswer,
    VariantsAnswer,
)
from vitrine_client.pictures import Picture, Upload
from vitrine_client.requests import form_of, option_pairs, parse, path_of, query_of


class AsyncProducts:
    """Calls about products. `dataset` may be left out if one is configured or only one is served."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, product_id: str | int, *, dataset: str | None = None) -> Product:
        content = await self._call("GET", product_id, dataset=dataset)
        return parse(ProductAnswer, content, "a product").product

    async def put(
        self,
        product_id: str | int,
        picture: Picture,
        attributes: Mapping[str, FilterValue | builtins.list[str]] | None = None,
        *,
        variant_of: str | int | None = None,
        dataset: str | None = None,
    ) -> ProductAnswer:
        """Store a product whole: its picture, its attributes and the product that it is a variant of. It can be found
        when this returns.
        """
        part = await self._connection.part(picture)
        if isinstance(part, Upload):
            raise ValueError("a product is put with its picture, not with an upload")
        fields = [
            (name, text_of(one))
            for name, value in (attributes or {}).items()
            for one in (value if isinstance(value, builtins.list) else [value])
        ]
        if variant_of is not None:
            fields.append(("variantOf", str(variant_of)))
        form = form_of(fields, [("image", part)])
        content = await self._call("PUT", product_id, dataset=dataset, files=form)
        return parse(ProductAnswer, content, "a put")

    async def change(
        self, product_id: str | int, attributes: Mapping[str, Any], *, dataset: str | None = None
    ) -> ProductAnswer:
        """Change attributes; None removes one, the others are kept, as are the pictures and the variants."""
        content = await self._call("PUT", product_id, dataset=dataset, json={"attributes": dict(attributes)})
        return parse(ProductAnswer, content, "a change")

    async def delete(self, product_id: str | int, *, dataset: str | None = None) -> DeletedAnswer:
        """Delete a product from every search. A later indexing leaves it out, until it is restored."""
        return parse(DeletedAnswer, await self._call("DELETE", product_id, dataset=dataset), "a deletion")

    async def restore(self, product_id: str | int, *, dataset: str | None = None) -> RestoredAnswer:
        """Undo a deletion."""
        content = await self._call("POST", product_id, "restore", dataset=dataset)
        return parse(RestoredAnswer, content, "a restoration")

    async def variants(
        self,
        product_id: str | int,
        *,
        limit: int | None = None,
        filters: Filters | None = None,
        dataset: str | None = None,
        model: str | None = None,
    ) -> VariantsAnswer:
        """The other variants of a product, such as other colours or sizes."""
        named = {"dataset": dataset, "model": model, "limit": limit}
        params = query_of([*option_pairs(named), *filter_pairs(filters)])
        content = await self._connection.call("GET", path_of("products", product_id, "variants"), params=params)
        return parse(VariantsAnswer, content, "a list of variants")

    async def page(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        sort: str | None = None,
        filters: Filters | None = None,
        dataset: str | None = None,
        model: str | None = None,
    ) -> ProductsAnswer:
        """One page of a list; `next` is the cursor of the page after."""
        named = {"dataset": dataset, "model": model, "sort": sort, "limit": limit, "cursor": cursor}
        params = query_of([*option_pairs(named), *filter_pairs(filters)])
        content = await self._connection.call("GET", path_of("products"), params=params)
        return parse(ProductsAnswer, content, "a list of products")

    async def list(
        self,
        *,
        limit: int | None = None,
        page_size: int = 200,
        sort: str | None = None,
        filters: Filters | None = None,
        dataset: str | None = None,
        model: str | None = None,
    ) -> AsyncGenerator[Product, None]:
        """The products that the filters let through, at most `limit`, read page by page.

        `sort` is `newest`, `oldest` or a numeric field, with `-` before it for the largest first.
        """
        left, cursor = limit, None
        while left is None or left > 0:
            size = page_size if left is None else min(left, page_size)
            page = await self.page(cursor=cursor, limit=size, sort=sort, filters=filters, dataset=dataset, model=model)
            for product in page.products:
                yield product
            if page.next is None:
                return
            cursor = page.next
            left = None if left is None else left - len(page.products)

    async def export(
        self,
        *,
        sort: str | None = None,
        filters: Filters | None = None,
        dataset: str | None = None,
        model: str | None = None,
    ) -> AsyncGenerator[Product, None]:
        """All products as one stream. Raises ConnectionLost if the stream ends before the last of them."""
        named = {"dataset": dataset, "model": model, "sort": sort}
        params = query_of([*option_pairs(named), *filter_pairs(filters)])
        async with self._connection.stream(path_of("products"), media_type=NDJSON, params=params) as lines:
            async for line in lines:
                try:
                    content = from_json(line)
                except ValueError as error:
                    raise AnswerInvalid(f"a line of the export is not JSON: {line[:80]!r}") from error
                yield parse(Product, content, "an export")

    async def _call(
        self, method: str, product_id: str | int, *more: str, dataset: str | None, **options: Any
    ) -> dict[str, Any]:
        params = {} if dataset is None else {"dataset": dataset}
        return await self._connection.call(method, path_of("products", product_id, *more), params=params, **options)
