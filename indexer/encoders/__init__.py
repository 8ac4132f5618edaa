"""Encoders: headless networks with their preprocessing and pooling."""
