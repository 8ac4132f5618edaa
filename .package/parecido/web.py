"""The server as an ASGI application, to be mounted in another program.

>>> from parecido.web import Settings, create_app
>>> app = create_app("my-library", Settings(read_only=True))
"""

from parecido.search.web.app import create_app, running
from parecido.search.web.settings import Settings

__all__ = ["Settings", "create_app", "running"]
