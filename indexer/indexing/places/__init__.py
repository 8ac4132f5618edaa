"""Where pictures lie: what of it is there, what is only away, and what has another path by now.

Uses the catalogue and the file system; knows nothing of decoding or encoding.
"""
