"""The plain nouns that cross borders between rooms: a picture, an encoder, a region, a filter.

All are immutable and know no file, no network and no database.  May use: arrays, errors.
"""
