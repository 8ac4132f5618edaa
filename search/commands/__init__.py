"""The commands of the read side: options in, words out, no logic.

Only commands print, and only they exit.
"""
