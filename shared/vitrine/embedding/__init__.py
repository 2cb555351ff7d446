"""The client of the embedder: pictures in, vectors out. All errors are Vitrine's."""

from vitrine.embedding.client import AsyncEmbedderClient, EmbedderClient
from vitrine.embedding.found_garments import FoundGarment, RegionsFound
from vitrine.embedding.wire import REJECTED_HEADER, BatchResult, Embedding, Prediction, decode_batch, encode_batch

__all__ = [
    "AsyncEmbedderClient",
    "BatchResult",
    "EmbedderClient",
    "Embedding",
    "FoundGarment",
    "Prediction",
    "REJECTED_HEADER",
    "RegionsFound",
    "decode_batch",
    "encode_batch",
]
