"""One run over folders: what changed, described by workers, committed in batches.

The only room that knows pictures, encoders and catalogue at once.
"""
