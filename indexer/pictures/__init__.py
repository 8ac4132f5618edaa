"""From paths to pixels: the walk, a file's bytes, decoding, colours, EXIF, crops.

Pictures are only ever read.  May use: records, system.  Must not know encoders or catalogues.
"""
