"""The same answers over HTTP, and a page for people; see :mod:`parecido.web`."""
