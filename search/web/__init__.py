"""The same answers over HTTP, and a page for people; see :mod:`parecido.web`.

May use: the engine and what lies below it.  The page uses nothing but the public API.
"""
