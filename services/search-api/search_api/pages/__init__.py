"""The web application: pages rendered on the server with Jinja2, htmx for partial updates, and small ES modules. See
docs/decisions/0025-pages.md.
"""
