# Generated from _async/__init__.py by `make docs`.
"""The synchronous client. The synchronous one is generated from it by `make docs`."""
