"""The commands of the write side: options in, words out, no logic.

Only commands print, and only they exit.
"""
