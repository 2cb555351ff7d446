"""The local Qdrant: Qdrant's own engine (qdrant-edge) in one process, behind the part of Qdrant's REST API that Vitrine
uses. Run it with `python -m vitrine_local.qdrant`.

It is durable, and made for one machine. What it does not support it refuses by name with status 501.

The engine holds the GIL in every call, so threads would not help: all engine calls run on the event loop, one after the
other. Only file copies run elsewhere. The one long call, building a search graph, runs in a child process on a copy.
"""
