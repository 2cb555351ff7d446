"""Accessibility check of a page with axe-core: serious and critical findings fail the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_FAILING: Final = ("serious", "critical")
# Part of WCAG 2.2 AA, but off by default in axe.
_OPTIONS: Final = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
# Runs through the developer tools protocol, so the Content-Security-Policy of the page stays in force.
_RUN: Final = "([context, options]) => axe.run(context, options).then((found) => found.violations)"


def accessibility_findings(page: Page, *, exclude: Sequence[str] = ()) -> list[str]:
    """The serious and critical findings, each with its rule, its help and the elements.

    `exclude`: CSS selectors of third-party elements.
    """
    if not page.evaluate("() => 'axe' in window"):  # half a megabyte of script, once in a document
        page.evaluate(f"() => {{ {AXE_SCRIPT} }}")
    context = {"exclude": [[selector] for selector in exclude]} if exclude else {"include": [["html"]]}
    violations: list[dict[str, Any]] = page.evaluate(_RUN, [context, _OPTIONS])
    return [_described(violation) for violation in violations if violation["impact"] in _FAILING]


def check_accessible(page: Page, *, exclude: Sequence[str] = ()) -> None:
    """Raise AssertionError if axe finds anything serious or critical."""
    faults = accessibility_findings(page, exclude=exclude)
    assert not faults, "\n".join([f"{page.url} is not accessible:", *faults])


def _described(violation: dict[str, Any]) -> str:
    lines = [f"{violation['id']} ({violation['impact']}): {violation['help']}, {violation['helpUrl']}"]
    for node in violation["nodes"]:
        why = " ".join(node.get("failureSummary", "").split())
        lines.append(f"  {_target(node['target'])}: {why}")
    return "\n".join(lines)


def _target(parts: Sequence[str | list[str]]) -> str:
    """The selector of an element. It has several parts inside a frame or a shadow root."""
    return " > ".join(part if isinstance(part, str) else " ".join(part) for part in parts)
