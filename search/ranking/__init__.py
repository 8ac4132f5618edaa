"""The nearest pictures of a question: candidates, exact scores, second looks, chance.

Exact search is its oracle.  May use: the library with its indexes.  Must not know where a
question's descriptors come from.
"""
