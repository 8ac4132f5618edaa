"""Drawn pictures: the canvas that all share, and queries with what was found.

May use: results, pictures.  Must not know how hits were found; writes only over its own pictures.
"""
