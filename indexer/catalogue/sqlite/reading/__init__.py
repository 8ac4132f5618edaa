"""Questions to the catalogue.

Never writes, and never imports SQLAlchemy, whose import takes as long as a whole search.
"""
