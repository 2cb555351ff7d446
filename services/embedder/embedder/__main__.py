"""Run the embedder: `python -m embedder`."""

from __future__ import annotations

import os
import signal
import sys

from vitrine.errors import SettingsInvalid
from vitrine.settings import EXIT_SETTINGS, load_settings
from vitrine.telemetry import configure_logging
from vitrine.vision.process import configure_process
from vitrine.web import build_server


def main() -> int:
    configure_process()
    # These import torch.
    from embedder.app import create_app
    from embedder.dependencies import Context
    from embedder.settings import Settings

    try:
        settings = load_settings(Settings)
    except SettingsInvalid as error:
        sys.stderr.write(f"embedder: {error.detail}\n")
        return EXIT_SETTINGS
    log = configure_logging("embedder", level=settings.log_level, log_format=settings.log_format)
    app = create_app(settings)
    context: Context = app.state.context

    def drain() -> None:
        context.readiness.draining = True

    # A dead device is not repaired in place: the process ends, and its supervisor starts a new one.
    context.pipeline.when_dead(lambda: os.kill(os.getpid(), signal.SIGTERM))
    choice = context.models.choice
    log.info("start", host=settings.embedder_host, port=settings.embedder_port, device=str(choice.device))
    build_server(
        app,
        host=settings.embedder_host,
        port=settings.embedder_port,
        on_drain=drain,
        settings=settings,
    ).run()
    return 1 if context.pipeline.dead else 0


if __name__ == "__main__":
    sys.exit(main())
