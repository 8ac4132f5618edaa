"""Why two pictures match: what each place of both adds to their score, and how that looks.

The arithmetic is apart from the drawing.  May use: the engine, asking, sheets.  Encodes with the
library's own network, and builds no other.
"""
