"""The read side: questions, their answers, why they match, how good they are; shell and server.

It may import the write side.  Programs take its names from :mod:`parecido`.
"""
