"""Put, change, delete and restore single products. A product is first written to the upload store, which later
indexings read too; then a job makes it searchable. Each call returns when its job has ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from search_api.answers import attributes_of
from search_api.jobs.gateway import JobsGateway
from search_api.products.attributes import MAX_ATTRIBUTES, changed_attributes, split_variant, typed_attributes
from search_api.products.pictures import Pictures
from search_api.products.service import Products, StoredProduct
from search_api.vector_store import VectorStore
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import DatasetNotFound, ImageRejected, ProductNotFound
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.catalog import DeleteParams, UpsertParams
from vitrine.kinds import narrower
from vitrine.products import VARIANT_FIELD, AttributeKind, AttributeValue, Product, check_product_id, group_of
from vitrine.uploads.store import UploadStore


@dataclass(frozen=True, slots=True)
class VariantChange:
    """The product that a product becomes a variant of, by id; None if it is no variant any more."""

    variant_of: str | None


class ProductWrites:
    """Changes single products. Every call may raise DatasetNotFound, BrokerUnavailable, StorageFull, and the error of
    its job.
    """

    def __init__(
        self,
        store: VectorStore,
        products: Products,
        pictures: Pictures,
        upload_store: UploadStore,
        embedder: AsyncEmbedderClient,
        jobs: JobsGateway,
        *,
        timeout_s: float,
    ) -> None:
        self._store = store
        self._products = products
        self._pictures = pictures
        self._upload_store = upload_store
        self._embedder = embedder
        self._jobs = jobs
        self._timeout_s = timeout_s

    async def put(
        self, dataset: str, product_id: str, fields: Sequence[tuple[str, str]], picture: bytes, *, caller: str
    ) -> tuple[StoredProduct, tuple[str, ...]]:
        """(the stored product, notices). Raises ImageRejected and ParameterInvalid."""
        of, fields = split_variant(fields)
        put = typed_attributes(fields, await self._kinds_of(dataset), max_attributes=MAX_ATTRIBUTES)
        variant_of, notices = await self._group(dataset, product_id, of)
        # The whole picture is decoded first: a bad one fails this call and is never stored.
        if not picture:
            raise ImageRejected("empty", "the picture file is empty")
        await self._embedder.check(picture, caller=caller)
        product = Product(dataset, product_id, "", put.attributes, variant_of=variant_of)
        return await self._stored(product, picture), (*put.notices, *notices)

    async def change(
        self,
        dataset: str,
        product_id: str,
        changes: Mapping[str, AttributeValue | None],
        *,
        variant: VariantChange | None = None,
    ) -> tuple[StoredProduct, tuple[str, ...]]:
        """(the product with these attributes set, notices). None removes an attribute. Raises ProductNotFound."""
        kinds = await self._kinds_of(dataset)
        try:
            stored = await self._products.get(dataset, product_id)
        except ProductNotFound as error:
            raise ProductNotFound(
                f"{error.detail}: a new product is put with its picture, as a form with the file 'image'"
            ) from None
        put = changed_attributes(attributes_of(stored.payload), changes, kinds, max_attributes=MAX_ATTRIBUTES)
        variant_of: str | None = stored.payload.get(VARIANT_FIELD)
        notices: tuple[str, ...] = ()
        if variant is not None:
            variant_of, notices = await self._group(dataset, product_id, variant.variant_of)
        elif variant_of == product_id:
            variant_of = None
        face, *others = await self._pictures.read_all(stored, dataset, product_id)
        product = Product(dataset, product_id, "", put.attributes, variant_of=variant_of)
        return await self._stored(product, face, others), (*put.notices, *notices)

    async def delete(self, dataset: str, product_id: str) -> None:
        """Remove the product from the searches of every model. Raises ProductNotFound."""
        check_product_id(product_id)
        try:
            await self._products.get(dataset, product_id)
        except ProductNotFound:
            if await asyncio.to_thread(self._upload_store.get, dataset, product_id) is None:
                raise
        await asyncio.to_thread(self._upload_store.delete, dataset, product_id)
        await self._run(JobKind.DELETE, DeleteParams(dataset=dataset, product_id=product_id))

    async def restore(self, dataset: str, product_id: str) -> tuple[bool, str]:
        """(whether the product is served again, a sentence on what happened). Raises ProductNotFound."""
        if not await asyncio.to_thread(self._upload_store.restore, dataset, check_product_id(product_id)):
            raise ProductNotFound(
                f"the product {product_id!r} of the dataset {dataset!r} was not deleted through the API"
            )
        reason = "nothing of the dataset is indexed"
        try:
            params = UpsertParams(dataset=dataset, product_id=product_id, restore=True)
            result = (await self._run(JobKind.UPSERT, params)).result or {}
        except DatasetNotFound:
            result = {}
        if result.get("collections"):
            return True, "the product is served again"
        return False, (
            f"the deletion is undone, but the product is not served yet: {result.get('reason') or reason}. The next "
            "indexing that finds its row and its picture brings it back"
        )

    async def _stored(self, product: Product, picture: bytes, more_pictures: Sequence[bytes] = ()) -> StoredProduct:
        dataset, product_id = product.dataset, product.id
        await asyncio.to_thread(self._upload_store.put, product, picture, more_pictures)
        await self._run(JobKind.UPSERT, UpsertParams(dataset=dataset, product_id=product_id))
        return await self._products.get(dataset, product_id)

    async def _group(self, dataset: str, product_id: str, of: str | None) -> tuple[str | None, tuple[str, ...]]:
        """(the id that a variant of the product `of` shares with it, notices). Raises ParameterInvalid."""
        if of is None:
            return None, ()
        with suppress(ProductNotFound):  # it may be put later
            of = group_of((await self._products.get(dataset, of)).payload)
        if of == product_id:  # the others have its id
            return None, ()
        servings = await self._products.servings(dataset)
        infos = [await self._store.collection(serving.collection) for serving in servings]
        if all(info.variants for info in infos):
            return of, ()
        return of, (
            f"the product is kept as a variant of {of!r}; the dataset has no variants yet, so searches show both until "
            "its next indexing",
        )

    async def _kinds_of(self, dataset: str) -> dict[str, AttributeKind]:
        """The attributes of all serving collections. A value must fit the narrowest kind of its attribute."""
        kinds: dict[str, AttributeKind] = {}
        for serving in await self._products.servings(dataset):
            own = (await self._store.collection(serving.collection, fresh=True)).kinds
            kinds |= {name: narrower(kinds.get(name, kind), kind) for name, kind in own.items()}
        return kinds

    async def _run(self, kind: JobKind, params: DeleteParams) -> JobRecord:
        record, _ = await self._jobs.submit(kind, params)
        try:
            return await self._jobs.finished(record.id, timeout_s=self._timeout_s)
        finally:
            self._store.forget()  # so that the next counts include the change
