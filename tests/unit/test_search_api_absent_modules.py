"""Modules marked as absent: importing them fails as before, without a search."""

from __future__ import annotations

import importlib
import sys

import pytest

from search_api.absent_modules import remember_absent


def test_a_module_that_is_not_installed_is_marked_and_still_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "a_module_nobody_installs"
    monkeypatch.delitem(sys.modules, name, raising=False)
    searched: list[str] = []

    class Watcher:
        def find_spec(self, wanted: str, _path: object = None, _target: object = None) -> None:
            searched.append(wanted)

    assert remember_absent(name)
    monkeypatch.setattr(sys, "meta_path", [Watcher(), *sys.meta_path])
    with pytest.raises(ImportError):
        importlib.import_module(name)
    assert searched == []
    assert remember_absent(name)
    monkeypatch.delitem(sys.modules, name)


def test_a_module_that_is_installed_is_left_alone() -> None:
    assert not remember_absent("colorsys")
    assert importlib.import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
