"""The client of the embedder: pictures in, vectors out. All errors are Vitrine's."""

from vitrine.embedding.client import AsyncEmbedderClient, EmbedderClient
from vitrine.embedding.wire import REJECTED_HEADER, BatchResult, Embedding, Prediction, decode_batch, encode_batch

__all__ = [
    "AsyncEmbedderClient",
    "BatchResult",
    "EmbedderClient",
    "Embedding",
    "Prediction",
    "REJECTED_HEADER",
    "decode_batch",
    "encode_batch",
]
