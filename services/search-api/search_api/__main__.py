"""Run the search API: `python -m search_api`."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from search_api.app import create_app
from search_api.server import build_server
from search_api.settings import Settings
from vitrine.errors import SettingsInvalid
from vitrine.telemetry import configure_logging

_EXIT_SETTINGS = 2


def main() -> int:
    try:
        settings = Settings()
        log = configure_logging("search-api", level=settings.log_level, log_format=settings.log_format)
        app = create_app(settings)
    except SettingsInvalid as error:
        sys.stderr.write(f"search-api: {error.detail}\n")
        return _EXIT_SETTINGS
    except ValidationError as error:
        # The values are left out: one of them may be a secret.
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        sys.stderr.write(f"search-api: the settings are not valid: {faults}\n")
        return _EXIT_SETTINGS
    log.info("start", host=settings.api_host, port=settings.api_port)
    build_server(app, settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
