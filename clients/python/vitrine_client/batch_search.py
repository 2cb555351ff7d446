"""`search_many` and `search_to_file` of both clients: at most so many searches at a time, answered in any order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Unpack

from vitrine_client._async.client import AsyncVitrine as _AsyncVitrine
from vitrine_client._sync.client import Vitrine as _Vitrine
from vitrine_client.batches import (
    DEFAULT_CONCURRENCY,
    BatchOutput,
    BatchPlan,
    BatchProgress,
    Query,
    QueryResult,
    as_queries,
)
from vitrine_client.errors import VitrineError
from vitrine_client.filters import Filters
from vitrine_client.options import SearchOptions

Source = str | os.PathLike[str] | Iterable[Query | str | os.PathLike[str]]
OnProgress = Callable[[BatchProgress], object]


class Vitrine(_Vitrine):
    """A client of one search API. Close it, or use it as a context manager. It may be used by several threads.

    `url` and `api_key` are by default those in VITRINE_URL and VITRINE_API_KEY. `timeout_s` is for one answer. A call
    that the server refuses for the moment (429, 503), or that does not reach it, is repeated up to `max_retries` times;
    so is one that only reads if its answer is lost. Calls raise VitrineError.
    """

    def search_many(
        self,
        queries: Source,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        filters: Filters | None = None,
        **options: Unpack[SearchOptions],
    ) -> Generator[QueryResult, None, None]:
        """The result of each query as it arrives: an answer or an error."""

        def ask(query: Query) -> QueryResult:
            try:
                return QueryResult(query.name, answer=self.search(query.picture, filters=filters, **options))
            except VitrineError as error:
                return QueryResult(query.name, error=error)

        waiting = iter(as_queries(queries))
        with ThreadPoolExecutor(concurrency, thread_name_prefix="vitrine-search") as pool:
            running: set[Future[QueryResult]] = set()
            try:
                while running := running | {
                    pool.submit(ask, query) for query in itertools.islice(waiting, concurrency - len(running))
                }:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield one.result()
            finally:
                for one in running:
                    one.cancel()

    def search_to_file(
        self,
        queries: Source,
        output: str | os.PathLike[str],
        *,
        on_progress: OnProgress | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        filters: Filters | None = None,
        **options: Unpack[SearchOptions],
    ) -> BatchProgress:
        """Search with every picture of a folder or an iterable and write the results to a `.jsonl` or `.csv` file.

        Queries that are in the file already are skipped. A picture that cannot be searched with is a line with its
        error; any other error is raised, and the same call goes on later.
        """
        file, source = BatchOutput(output), as_queries(queries)
        with file:
            plan = BatchPlan(source, file, on_progress)
            for result in self.search_many(plan.waiting(), concurrency=concurrency, filters=filters, **options):
                plan.record(result)
        return plan.progress


class AsyncVitrine(_AsyncVitrine):
    """An asynchronous client of one search API. Close it, or use it as a context manager.

    `url` and `api_key` are by default those in VITRINE_URL and VITRINE_API_KEY. `timeout_s` is for one answer. A call
    that the server refuses for the moment (429, 503), or that does not reach it, is repeated up to `max_retries` times;
    so is one that only reads if its answer is lost. Calls raise VitrineError.
    """

    async def search_many(
        self,
        queries: Source,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        filters: Filters | None = None,
        **options: Unpack[SearchOptions],
    ) -> AsyncGenerator[QueryResult, None]:
        """The result of each query as it arrives: an answer or an error."""

        async def ask(query: Query) -> QueryResult:
            try:
                return QueryResult(query.name, answer=await self.search(query.picture, filters=filters, **options))
            except VitrineError as error:
                return QueryResult(query.name, error=error)

        waiting = iter(as_queries(queries))
        running: set[asyncio.Task[QueryResult]] = set()
        try:
            while running := running | {
                asyncio.create_task(ask(query)) for query in itertools.islice(waiting, concurrency - len(running))
            }:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    yield one.result()
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def search_to_file(
        self,
        queries: Source,
        output: str | os.PathLike[str],
        *,
        on_progress: OnProgress | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        filters: Filters | None = None,
        **options: Unpack[SearchOptions],
    ) -> BatchProgress:
        """Search with every picture of a folder or an iterable and write the results to a `.jsonl` or `.csv` file.

        Queries that are in the file already are skipped. A picture that cannot be searched with is a line with its
        error; any other error is raised, and the same call goes on later.
        """
        file, source = BatchOutput(output), as_queries(queries)
        with file:
            plan = BatchPlan(source, file, on_progress)
            many = self.search_many(plan.waiting(), concurrency=concurrency, filters=filters, **options)
            async with contextlib.aclosing(many) as results:
                async for result in results:
                    plan.record(result)
        return plan.progress
