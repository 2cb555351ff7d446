"""`vitrine demo`: draw a catalogue, index it with the bundled release and search it, through the search API. Nothing is
downloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from vitrine.jobs import JobKind
from vitrine.jobs.params.catalog import IndexParams
from vitrine_local.bundled import MODEL, install_bundled_releases
from vitrine_local.cli.api import Api, Target, find_target
from vitrine_local.cli.following import follow_job, job_params, must_have_succeeded, start_job
from vitrine_local.cli.jobs import report_job
from vitrine_local.cli.output import Screen, count, duration, plain_if_no_terminal
from vitrine_local.cli.paths import catalog_of
from vitrine_local.cli.results import show_results
from vitrine_local.cli.search import search_fields
from vitrine_local.cli.system import MAX_PORT, LogLevel
from vitrine_local.data_folder import DataFolder
from vitrine_local.demo_catalog.generate import draw_garment, generate_catalog
from vitrine_local.supervisor import LocalSystem, SystemOptions
from vitrine_local.supervisor.logs import SteadyConsole

DEMO_DATA: Final = Path(".vitrine-demo")
DATASET: Final = "synthetic"
K: Final = 8
FILTER: Final = ("gender", "Women")
_CATALOG_SEED: Final = 0
_MIN_COUNT: Final = 300
_INTERRUPTED: Final = 130
T = TypeVar("T")


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the search, and leave nothing behind.")] = False,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"The data folder; by default {DEMO_DATA}, with --once a temporary one."),
    ] = None,
    products: Annotated[int, typer.Option("--count", metavar="N", min=_MIN_COUNT, help="Products to draw.")] = 1000,
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=MAX_PORT, help="Port of the search API, 0 for any free one.")
    ] = 0,
    log_level: Annotated[LogLevel, typer.Option(help="The least level of the log lines shown.")] = LogLevel.WARNING,
) -> None:
    """Raises CommandFailed, and what `up` raises. Exits with 130 if Ctrl-C came before the search was shown."""
    console = plain_if_no_terminal(SteadyConsole(highlight=False))
    with ExitStack() as stack:
        folder = data
        if folder is None and once:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-demo-")))
        data_folder = DataFolder.at(folder or DEMO_DATA)
        stack.callback(console.show_cursor)  # Ctrl-C may come while a bar moves and the cursor is hidden
        run = Demo(Screen(out=console, notes=console), data_folder, count=products, stay=not once)
        run.prepare()
        run.screen.note("starting Redis, Qdrant, embedder, indexer, trainer and search API")
        options = SystemOptions(data_folder, port=port, log_level=log_level.value)
        asyncio.run(LocalSystem(options, console=console).run(run.show))
        if not run.shown:
            raise typer.Exit(_INTERRUPTED)


@dataclass(slots=True)
class Demo:
    """The steps of the demonstration on one data folder. `shown` is whether all of them were done."""

    screen: Screen
    data: DataFolder
    count: int
    stay: bool
    shown: bool = False
    clock: Callable[[], float] = time.monotonic
    _began_s: float = field(init=False)
    _release_id: str = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock()

    @property
    def catalog(self) -> Path:
        return self.data.root / f"catalog-{self.count}"

    def prepare(self) -> None:
        """Install the release, and draw the catalogue unless the folder has it. Raises DataFolderInUse and
        DataFolderUnusable.
        """
        self.data.create()
        with self.data.lock():
            self._release_id = install_bundled_releases(self.data)
            if self.catalog.exists():
                self.screen.note(f"the catalogue is there already: {self.catalog}")
                return
            self.screen.note(f"drawing a catalogue of {count(self.count, 'garment')}")
            generate_catalog(self.catalog, count=self.count, seed=_CATALOG_SEED)

    async def show(self, url: str) -> None:
        """Index, search, and stay if that is wanted."""
        self.screen.note(f"every service is ready after {self._so_far()}")
        await in_background(lambda: self._steps(find_target(url, self.data.root)))
        self.shown = True
        self.screen.note(f"all of it took {self._so_far()}")
        self.screen.say(f"ready: {url}")
        if self.stay:
            self.screen.note(f"until Ctrl-C, search with your browser: {url}/")
            self.screen.note(f"the documentation of the API is at {url}/docs; or try")
            self.screen.note(f"  vitrine search PICTURE --model {MODEL} --data {self.data.root}")
            await asyncio.Event().wait()

    def _steps(self, target: Target) -> None:
        self.screen.say(f"The network is {self._release_id}, which comes with Vitrine: trained on a real catalogue.")
        with Api(target) as api:
            self._index(api)
            self._search(api)

    def _index(self, api: Api) -> None:
        params = job_params(
            IndexParams,
            **catalog_of(api.target, DATASET, DATASET, self.catalog),
            model=MODEL,
            release_id=self._release_id,
            allow_removal=True,  # another --count draws another catalogue
        )
        record = start_job(api, JobKind.INDEX, params)
        record = follow_job(api, self.screen, record.id, "index")
        report_job(self.screen, record)
        must_have_succeeded(record, "index")

    def _search(self, api: Api) -> None:
        file = self.data.root / "query.png"
        # A design that the catalogue does not have, so no product is this picture.
        draw_garment("Tops", "Pink", "plain", "Women", 1, (240, 320), design=987_654_321).save(file)
        name, value = FILTER
        self.screen.say()
        where = f" ({file})" if self.stay else ""  # otherwise the file is removed with its folder
        self.screen.say(f"query: a drawn pink top{where}, filter: {name}={value}")
        fields = search_fields([FILTER], model=MODEL, topK=K, dataset=DATASET)
        show_results(self.screen, api.post_picture("/api/search", file.read_bytes(), fields))
        self.screen.say()

    def _so_far(self) -> str:
        return duration(self.clock() - self._began_s)


async def in_background(work: Callable[[], T]) -> T:
    """Run blocking `work` in a daemon thread, so that Ctrl-C ends the program even while it waits. Returns its result
    or raises its error. Cancelling abandons the work, it does not undo it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def target() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # passed on to the caller
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=target, name="vitrine-background", daemon=True).start()
    return await future
