"""Qdrant: names, schema, filters, aliases, clients, and its errors as Vitrine's.

Nothing is imported here: programs that only need names, such as the embedder, start without Qdrant's client.
"""
