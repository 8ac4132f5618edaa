"""A library in one file, copied while everything runs, and a library made of it again.

May use: the library's other modules, which do not know this room.
"""
