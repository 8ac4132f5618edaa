"""What is kept of a picture so that it can be compared with another one pixel by pixel.

May use: records, arrays.  Must not know files, encoders or catalogues.
"""
