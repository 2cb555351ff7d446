"""The frame of every page in a browser: themes, the menu of phones, dialogs and toasts, errors, and logging in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from harness.browser import PATIENCE_MS, OpenVisit, every_look
from harness.system import System
from tools.chromium import Look

pytestmark = pytest.mark.slow

PHONE = Look("light", 360)
KEY = "the key of the shop"


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def locked(bare: System) -> Iterator[str]:
    """The address of an API with a key."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    with bare.another_api(VITRINE_API_KEYS=f"shop:search:{digest},ops:ingest:{'a' * 64}") as url:
        yield url


def ground(page: Page) -> str:
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


LIGHT, DARK = "rgb(250, 249, 247)", "rgb(19, 19, 22)"


@every_look
def test_the_first_page_and_an_error_are_accessible_and_fit(visit: OpenVisit, look: Look, bare: System) -> None:
    visited = visit(bare.url("search_api"), look)
    page = visited.open("/")
    assert ground(page) == (DARK if look.theme == "dark" else LIGHT)
    visited.check_accessible()
    visited.check_no_overflow()
    visited.expect_failure("/nowhere", 404)
    visited.open("/nowhere")
    expect(page.get_by_role("heading", name="Nothing is here")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()
    page.get_by_role("link", name="Go to search").click()
    expect(page).to_have_title("Find it by how it looks · Vitrine")


def test_the_switch_changes_the_theme_keeps_it_and_gives_it_back_to_the_system(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/")
    told: list[str] = []
    page.expose_function("tell", lambda theme: told.append(theme))
    page.evaluate("document.addEventListener('vitrine:theme', (event) => tell(event.detail))")
    page.get_by_role("button", name="Switch to the dark theme").click()
    assert ground(page) == DARK
    page.wait_for_function("() => localStorage.getItem('vitrine-theme') === 'dark'")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert ground(page) == DARK
    page.get_by_role("button", name="Switch to the light theme").click()
    assert ground(page) == LIGHT
    assert page.evaluate("localStorage.getItem('vitrine-theme')") is None
    page.emulate_media(color_scheme="dark")
    assert ground(page) == DARK
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert told == ["dark"]


def test_the_theme_is_there_before_the_first_paint(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    visited.context.add_init_script("localStorage.setItem('vitrine-theme', 'dark')")
    page = visited.open("/")
    blocking = page.evaluate(
        "[...document.querySelectorAll('head script')].filter((s) => !s.defer && s.type !== 'module').map((s) => s.src)"
    )
    assert [urlsplit(source).path.rpartition("/")[2] for source in blocking] == ["theme.js"]
    assert ground(page) == DARK


def test_a_phone_has_a_menu_that_the_keyboard_opens_and_closes(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"), PHONE)
    page = visited.open("/")
    links = page.get_by_role("navigation", name="Menu").get_by_role("link")
    expect(links.first).to_be_hidden()
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    button = page.get_by_role("button", name="Menu")
    button.focus()
    page.keyboard.press("Enter")
    expect(links.first).to_be_visible()
    visited.check_accessible()
    page.keyboard.press("Escape")
    expect(links.first).to_be_hidden()
    expect(button).to_be_focused()


def test_the_keyboard_reaches_the_content_past_the_top_bar(visit: OpenVisit, bare: System) -> None:
    page = visit(bare.url("search_api")).open("/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def import_of(page: Page, module: str) -> str:
    """The address of a module beside the frame's own, which it then is the same as."""
    frame = page.locator('script[type="module"]').first.get_attribute("src")
    assert frame is not None
    return frame.replace("frame.js", module)


def test_a_toast_is_read_out_and_taken_away_and_shows_text_as_text(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/")
    page.evaluate(
        "async (path) => (await import(path)).toast('<b>Saved</b>', { kind: 'bad' })", import_of(page, "toast.js")
    )
    toast = page.locator("#toasts[role=status]").get_by_text("<b>Saved</b>")
    expect(toast).to_be_visible()
    visited.check_accessible()
    page.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)


@pytest.mark.parametrize(("button", "agreed"), [("Delete", True), ("Cancel", False), (None, False)])
def test_a_question_is_answered_by_its_buttons_and_by_escape(
    visit: OpenVisit, bare: System, button: str | None, *, agreed: bool
) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/")
    page.evaluate(
        """async (path) => {
          const { ask } = await import(path);
          const question = { title: "Delete it?", text: "It cannot be brought back.", confirm: "Delete", danger: true };
          ask(question).then((agreed) => (window.agreed = agreed));
        }""",
        import_of(page, "dialogs.js"),
    )
    dialog = page.get_by_role("dialog", name="Delete it?")
    expect(dialog).to_be_visible()
    visited.check_accessible()
    if button:
        dialog.get_by_role("button", name=button).click()
    else:
        page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.wait_for_function("() => window.agreed !== undefined")
    assert page.evaluate("window.agreed") is agreed


def test_a_part_of_a_page_that_cannot_be_had_is_told_and_nothing_typed_is_lost(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/")
    page.evaluate(
        """() => {
          const form = document.createElement("form");
          form.setAttribute("hx-get", "/nowhere");
          form.innerHTML = '<input name="typed" value="kept"><button id="ask">Ask</button>';
          document.getElementById("main").append(form);
          htmx.process(form);
        }"""
    )
    visited.expect_failure("/nowhere", 404)
    page.locator("#ask").click()
    expect(page.locator("#toasts[role=status]")).to_contain_text("Not Found")
    expect(page.locator(".bar.busy")).to_have_count(0)
    expect(page.locator("input[name=typed]")).to_have_value("kept")


@every_look
def test_somebody_logs_in_looks_around_and_logs_out(visit: OpenVisit, look: Look, locked: str) -> None:
    visited = visit(locked, look)
    page = visited.open("/?topK=5")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    expect(page.get_by_label("API key")).to_be_focused()
    visited.check_accessible()
    visited.check_no_overflow()
    visited.expect_failure("/login", 403)
    page.get_by_label("API key").fill("a guess")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The API key is not known.")).to_be_visible()
    visited.check_accessible()
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/?topK=5")
    visited.settle()
    if look.phone:
        page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_a_link_on_another_site_leads_somebody_with_a_session_to_the_page(browser: Browser, locked: str) -> None:
    with browser.new_context() as context:
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(f"{locked}/")
        page.get_by_label("API key").fill(KEY)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{locked}/")
        # To a browser another name of the same server is another site.
        page.goto(f"{locked.replace('127.0.0.1', 'localhost')}/docs")
        page.evaluate("(address) => location.assign(address)", f"{locked}/?topK=5")
        page.wait_for_url(f"{locked}/?topK=5")
        expect(page).to_have_title("Find it by how it looks · Vitrine")
