"""External text never sends control characters to a terminal, through any of the classes that print."""

from __future__ import annotations

import io
import json
import logging
import re
from pathlib import Path
from typing import Any, Final, cast

import pytest
import structlog
from rich.console import Console

from harness.releases import picture
from vitrine.errors import Conflict
from vitrine.jobs import JobError, JobFault, JobKind, JobRecord, JobState
from vitrine.jobs.record import JobNote
from vitrine.telemetry import configure_logging
from vitrine.terminal import printable
from vitrine_local.cli.app import run
from vitrine_local.cli.jobs import report_job, show
from vitrine_local.cli.output import Column, ProgressDisplay, Screen
from vitrine_local.supervisor.logs import LogConsole, ServiceLog

# Sets the title, clears the screen, moves up a line, rings; the same with C1 controls; reverses the text; hides it.
HOSTILE: Final = (
    "name\x1b]0;owned\x07\x1b[2J\x1b[1A\r\n\x9b2J\x9d0;x\x9c\x85\x00\x08\x7f"
    "\u202etxt.exe\u2066\u2028\u200b\u200f\ud800\U000e0041"
)
SENT_BY_RICH: Final = re.compile(r"\x1b\[[0-9;]*m")  # colours that Vitrine prints


def commands_in(text: str) -> list[str]:
    """The control characters in `text`, apart from line ends and colours."""
    plain = SENT_BY_RICH.sub("", text)
    return [character for character in plain if character != "\n" and printable(character) != character]


def terminal() -> tuple[Screen, io.StringIO]:
    written = io.StringIO()

    def console() -> Console:
        return Console(file=written, force_terminal=True, width=200, highlight=False)

    return Screen(console(), console()), written


def hostile_record(state: JobState = JobState.FAILED) -> JobRecord:
    return JobRecord(
        id="0" * 21,
        kind=JobKind.INDEX,
        state=state,
        created_at="2026-01-01T00:00:00+00:00",
        phase=HOSTILE,
        params={"dataset": HOSTILE, "model": HOSTILE, "root": HOSTILE},
        notes=(JobNote(at="2026-01-01T00:00:00+00:00", text=HOSTILE),),
        faults=(JobFault(product_id=HOSTILE, kind=HOSTILE, detail=HOSTILE),),
        fault_counts={HOSTILE: 2},
        error=JobError(code=HOSTILE, detail=HOSTILE),
        result={"release": HOSTILE},
    )


def test_every_line_of_the_screen_is_printable() -> None:
    screen, written = terminal()
    screen.say(HOSTILE)
    screen.note(HOSTILE)
    screen.error(HOSTILE)
    screen.table([Column("a"), Column("b", cut=True)], [(HOSTILE, 1), (None, HOSTILE)])
    assert commands_in(written.getvalue()) == []
    assert "\\x1b]0;owned\\x07" in written.getvalue()
    # A value adds no lines: three lines, the table's head, and its rows, one of them folded.
    assert len(written.getvalue().splitlines()) == 7


def test_json_output_is_printable_and_keeps_its_value() -> None:
    screen, written = terminal()
    value = {"name": HOSTILE, HOSTILE: ["über", "👩\u200d🎤", 1.5]}
    screen.json(value)
    assert commands_in(written.getvalue()) == []
    assert json.loads(written.getvalue()) == json.loads(json.dumps(value))


def test_a_jobs_record_is_shown_printable() -> None:
    screen, written = terminal()
    report_job(screen, hostile_record())
    show(screen, hostile_record(), as_json=False)
    show(screen, hostile_record(), as_json=True)
    with ProgressDisplay(screen, "indexing") as display:
        display.show_job(hostile_record(JobState.RUNNING))
    moves = re.compile(r"\x1b\[(\?25[lh]|[0-9]*[AGK]|2K|1A)|\r")  # of the progress bar
    assert commands_in(moves.sub("", written.getvalue())) == []


def test_the_title_of_a_bar_is_not_parsed_as_markup() -> None:
    screen, written = terminal()
    with ProgressDisplay(screen, "indexing") as display:
        display.show(1, 2, phase="[link=https://evil.example]done[/link]")
    assert "]8;" not in written.getvalue()


def test_an_error_is_printable(tmp_path: Path) -> None:
    screen, written = terminal()
    code = run(["catalog", "inspect", str(tmp_path / "no\x1b[2Jwhere\x9b"), "--dataset", "shop"], screen=screen)
    assert code != 0
    assert commands_in(written.getvalue()) == []
    assert "where" in written.getvalue()


@pytest.mark.parametrize("as_json", [False, True])
def test_the_values_of_a_catalogue_are_printable(tmp_path: Path, as_json: bool) -> None:
    (tmp_path / "images").mkdir()
    text = HOSTILE.replace("\ud800", "").replace("\x00", "").replace("\r\n", "")
    (tmp_path / "images" / "1.jpg").write_bytes(picture(1))
    rows = ["id,gender,articleType,name", f'1,"{text}","{text}","{text}"', f'"{text}",x,y,z']
    (tmp_path / "styles.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    screen, written = terminal()
    line = ["catalog", "inspect", str(tmp_path), "--dataset", "shop", "--reader", "folder"]
    run([*line, *(["--json"] if as_json else [])], screen=screen)
    assert commands_in(written.getvalue()) == []
    assert "owned" in written.getvalue()


def test_a_services_log_is_shown_printable(tmp_path: Path) -> None:
    written = io.StringIO()
    log_console = LogConsole(Console(file=written, force_terminal=True, width=200))
    log = ServiceLog("indexer", folder=tmp_path, console=log_console)
    entry = {"event": HOSTILE, "level": "error", "timestamp": HOSTILE, HOSTILE: HOSTILE, "exception": HOSTILE}
    log.add(json.dumps(entry))
    log.add(HOSTILE.replace("\n", ""))
    log.show_tail()
    log.close()
    assert commands_in(written.getvalue()) == []
    assert "owned" in written.getvalue()


def test_the_console_log_of_a_service_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        log = configure_logging("indexer", log_format="console")
        log.info(HOSTILE, product=HOSTILE, values=cast(Any, [HOSTILE]))
        try:
            raise Conflict(HOSTILE)
        except Conflict as error:
            log.error("failure", exc_info=error)
        output = capsys.readouterr().err
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        structlog.reset_defaults()
    assert commands_in(output) == []
    assert "owned" in output


def test_ordinary_text_is_unchanged() -> None:
    for text in ("Crème brûlée", "日本語", "العربية", "👩\u200d🎤", "na\u200cme", "50 % — 1,5 m²"):
        assert printable(text) == text
    assert printable("a\nb\tc", lines=True) == "a\nb\\tc"
