"""Drawn pictures: the canvas that all share, and queries with what was found."""
