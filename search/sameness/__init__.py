"""Whether two pictures are the same one, decided by their pixels.

May use: records, arrays.  Must not know libraries or rankings.
"""
