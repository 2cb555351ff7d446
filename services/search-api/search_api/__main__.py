"""Run the search API: `python -m search_api`."""

from __future__ import annotations

import gc
import sys

from search_api.app import create_app
from search_api.settings import Settings
from vitrine.errors import SettingsInvalid
from vitrine.settings import EXIT_SETTINGS, load_settings
from vitrine.telemetry import configure_logging
from vitrine.web import build_server


def main() -> int:
    try:
        settings = load_settings(Settings)
        log = configure_logging("search-api", level=settings.log_level, log_format=settings.log_format)
        app = create_app(settings)
    except SettingsInvalid as error:
        sys.stderr.write(f"search-api: {error.detail}\n")
        return EXIT_SETTINGS
    # Objects that live as long as the process are left out of full garbage collections.
    gc.collect()
    gc.freeze()
    log.info("start", host=settings.api_host, port=settings.api_port)
    build_server(
        app,
        host=settings.api_host,
        port=settings.api_port,
        on_drain=app.state.context.lifecycle.draining.set,
        settings=settings,
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
