"""The local Qdrant: Qdrant's own engine in one process, behind the part of Qdrant's REST API that Vitrine uses.

Run as `python -m vitrine_local.qdrant`. It is for one machine: durable, correct and bound to loopback. What it does not
support it refuses by name with 501, so that no caller takes silence for success.

The engine holds Python's interpreter lock in every call, so threads would win nothing: all engine calls run on the
event loop, one after the other, and only file copies leave it. The one long call, building the search graph, runs in a
child process on a copy.
"""
