"""Pixels that Pillow reads wrongly, or not at all: in planes, of many bits, of many channels.

Knows nothing of encoders.  NumPy is imported when such a file is read, for it takes 50 ms.
"""
