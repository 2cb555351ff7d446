"""The web application: pages rendered on the server with Jinja2, htmx for parts of them, and small ES modules.
docs/decisions/0025-pages.md says how a page is made.
"""
