"""`vitrine demo`: everything at once, with nothing to download. A drawn catalogue, the release that comes with Vitrine,
an index of the one by the other and a search, all of it through the search API as the other commands do it.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vitrine_local.bundled import MODEL, install_bundled_release
from vitrine_local.cli.api import Api
from vitrine_local.cli.background import in_background
from vitrine_local.cli.catalogs import catalog_of
from vitrine_local.cli.job_report import must_have_succeeded, report_job
from vitrine_local.cli.job_run import follow_job, start_job
from vitrine_local.cli.options import Commands, whole_number
from vitrine_local.cli.screen import Screen, count, duration, plain_if_no_terminal
from vitrine_local.cli.search import search_fields, show_results
from vitrine_local.cli.target import Target, find_target
from vitrine_local.cli.up import LOG_LEVELS
from vitrine_local.data_folder import DataFolder
from vitrine_local.demo_catalog.generate import draw_garment, generate_catalog
from vitrine_local.supervisor import LocalSystem, SystemOptions
from vitrine_local.supervisor.console import SteadyConsole

DEMO_DATA = Path(".vitrine-demo")
DATASET = "synthetic"
K = 8
FILTER = ("gender", "Women")
_CATALOG_SEED = 0
_MIN_COUNT = 300
_INTERRUPTED = 130


def add_to(commands: Commands) -> None:
    parser = commands.add("demo", run, "draw a catalogue, index it and search it, with nothing to download")
    parser.add_argument("--once", action="store_true", help="end after the search, and leave nothing behind")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"data folder (default: {DEMO_DATA}; with --once a temporary one)"
    )
    parser.add_argument(
        "--count",
        type=whole_number(at_least=_MIN_COUNT),
        default=1000,
        metavar="N",
        help=f"products to draw, {_MIN_COUNT} or more (default: 1000)",
    )
    parser.add_argument("--port", type=whole_number(at_least=0), default=0, help="the search API's port (default: any)")
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default="warning", help="least level of the services' lines shown"
    )


def run(arguments: argparse.Namespace, _screen: Screen) -> int:
    """Returns 0 when the search was shown, 130 where Ctrl-C came before. Raises CommandFailed, and what `up` raises."""
    console = plain_if_no_terminal(SteadyConsole(highlight=False))
    with ExitStack() as stack:
        folder: Path | None = arguments.data
        if folder is None and arguments.once:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vitrine-demo-")))
        data = DataFolder.at(folder or DEMO_DATA)
        stack.callback(console.show_cursor)  # Ctrl-C may come while a bar moves and the cursor is hidden
        demo = Demo(Screen(out=console, notes=console), data, count=arguments.count, stay=not arguments.once)
        demo.prepare()
        demo.screen.note("starting Redis, Qdrant, embedder, indexer, trainer and search API")
        options = SystemOptions(data, port=arguments.port, log_level=arguments.log_level)
        asyncio.run(LocalSystem(options, console=console).run(demo.show))
        return 0 if demo.shown else _INTERRUPTED


@dataclass(slots=True)
class Demo:
    """The steps of the demonstration on one data folder. `shown` tells whether all of them were done."""

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
        """Install the release, and draw the catalogue, unless an earlier demonstration on this folder did.

        Raises DataFolderInUse and DataFolderUnusable.
        """
        self.data.create()
        with self.data.lock():
            self._release_id = install_bundled_release(self.data)
            if self.catalog.exists():
                self.screen.note(f"the catalogue is there already: {self.catalog}")
                return
            self.screen.note(f"drawing a catalogue of {count(self.count, 'garment')}")
            generate_catalog(self.catalog, count=self.count, seed=_CATALOG_SEED)

    async def show(self, url: str) -> None:
        """Index, search; then stay if that is wanted."""
        self.screen.note(f"every service is ready after {self._so_far()}")
        await in_background(lambda: self._steps(find_target(url, self.data.root)))
        self.shown = True
        self.screen.note(f"all of it took {self._so_far()}")
        self.screen.say(f"ready: {url}")
        if self.stay:
            self.screen.note(f"until Ctrl-C, search with your browser: {url}/")
            self.screen.note(f"the API's documentation is at {url}/docs; or try")
            self.screen.note(f"  vitrine search PICTURE --model {MODEL} --data {self.data.root}")
            await asyncio.Event().wait()

    def _steps(self, target: Target) -> None:
        self.screen.say(f"The network is {self._release_id}, which comes with Vitrine: trained on a real catalogue.")
        with Api(target) as api:
            self._index(api)
            self._search(api)

    def _index(self, api: Api) -> None:
        body = {
            **catalog_of(api.target, DATASET, DATASET, self.catalog),
            "model": MODEL,
            "release_id": self._release_id,
            "allowRemoval": True,  # another --count draws another catalogue
        }
        record = start_job(api, "/api/jobs/index", body)
        record = follow_job(api, self.screen, record.id, "index")
        report_job(self.screen, record)
        must_have_succeeded(record, "index")

    def _search(self, api: Api) -> None:
        file = self.data.root / "query.png"
        # A piece of its own: the catalogue's designs are other ones, so no product is this picture.
        draw_garment("Tops", "Pink", "plain", "Women", 1, (240, 320), design=987_654_321).save(file)
        name, value = FILTER
        self.screen.say()
        where = f" ({file})" if self.stay else ""  # without staying the file goes with its folder
        self.screen.say(f"query: a drawn pink top{where}, filter: {name}={value}")
        fields = search_fields([FILTER], model=MODEL, topK=K, dataset=DATASET)
        show_results(self.screen, api.post_picture("/api/search", file.read_bytes(), fields))
        self.screen.say()

    def _so_far(self) -> str:
        return duration(self.clock() - self._began_s)
