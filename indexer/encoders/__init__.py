"""Encoders: headless networks with their preprocessing and pooling."""

from indexer.encoders.encoder import Encoder, load_encoder, open_encoder
from indexer.encoders.registry import model_table
from indexer.spec import EncoderSpec, SizePolicy

__all__ = [
    "Encoder",
    "EncoderSpec",
    "SizePolicy",
    "load_encoder",
    "model_table",
    "open_encoder",
]
