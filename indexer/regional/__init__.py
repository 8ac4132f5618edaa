"""Descriptors of parts of pictures: windows, how they are stored, their own index.

May use: vectors, encoders, catalogue.
"""
