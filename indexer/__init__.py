"""The write side, and what both sides share: pictures, encoders, catalogue, vectors, indexing.

It never imports the read side.  Programs take its names from :mod:`parecido`.
"""
