"""Descriptors of parts of pictures: windows, how they are stored, what an index of them reads.

May use: catalogue, vectors, encoders' pooling.  Must not know libraries.
"""
