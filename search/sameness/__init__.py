"""Whether two pictures are the same one, decided by their pixels.

May use: the thumbnails of indexer's pictures, and arrays.  Must not know libraries or rankings.
"""
