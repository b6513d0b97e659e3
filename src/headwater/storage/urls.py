"""A store's URL → the module that opens it: the scheme chooses, and only the chosen module is imported."""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from urllib.parse import urlsplit

from headwater.domain.errors import BadInput, Unavailable


def backend_of(seam: str, url: str, known: Mapping[str, str]) -> ModuleType:
    """The backend module of `headwater.storage.<seam>` for the scheme of `url`.

    Raises BadInput for an unknown scheme, Unavailable when the backend's client library is not installed.
    """
    scheme = urlsplit(url).scheme
    if scheme not in known:
        raise BadInput(
            f"{seam}: unknown scheme {scheme!r} in {without_secret(url)!r}; known: {', '.join(sorted(known))}",
            code="UNKNOWN_SCHEME",
        )
    try:
        return import_module(f"headwater.storage.{seam}.{known[scheme]}")
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"{seam}: {scheme!r} needs the package {error.name!r}; install it with: pip install 'headwater[{scheme}]'",
            code="MISSING_PACKAGE",
        ) from error


def without_secret(url: str) -> str:
    """The URL with any password in it replaced by `***`."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")).geturl()


def path_of(url: str) -> str:
    """The local path of a `file:///…` or `duckdb:///…` URL."""
    parts = urlsplit(url)
    return parts.netloc + parts.path
