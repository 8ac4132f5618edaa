"""How good retrieval is: recipes measured on collections whose groups are known.

May use: indexing, library, ranking, sheets.  Must not know the engine, nor ever touch a library
but those that it makes.
"""
