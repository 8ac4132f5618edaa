"""What lies below every room: files of our own, paths, memory, words for people.

Knows nothing of pictures.  May use: errors.
"""
