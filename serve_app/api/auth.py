"""Bearer keys: where they come from, and whose a request's is. It knows no server; keys are kept as hashes only."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass

from serve_app.api.failures import Unauthorized
from serve_app.api.http_config import HttpConfig
from sprint.errors import ConfigError

_COMMENT = re.compile(r"(^|[\s,])#.*")  # a key may hold a # of its own


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the name under which its holder is known in logs and in the queue."""

    name: str
    digest: bytes


class Keys:
    """The keys that open the door."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    def holder(self, authorization: str | None) -> str:
        """The name of the key in an `Authorization` header. Raises Unauthorized.

        Every key is compared, in constant time, whichever fits.
        """
        scheme, _, given = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise Unauthorized("this server asks for a key, expected the header 'Authorization: Bearer KEY'")
        digest = _digest(given.strip())
        names = [key.name for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not names:
            raise Unauthorized("the key in the header 'Authorization' is not known here")
        return names[0]


def load_keys(config: HttpConfig) -> Keys | None:
    """The configured keys; None where none are asked for.

    Raises ConfigError when a source is configured that is not there, holds no key or holds something else.
    """
    keys: list[Key] = []
    if config.keys_file is not None:
        keys += _keys_in(_read(config), str(config.keys_file), "keys_file")
    if config.keys_env is not None:
        text = os.environ.get(config.keys_env)
        if text is None:
            raise ConfigError(f"the environment variable {config.keys_env} is not set", field="keys_env")
        keys += _keys_in(_uncommented(text).replace(",", "\n"), config.keys_env, "keys_env")
    return Keys(tuple(keys)) if keys else None


def _read(config: HttpConfig) -> str:
    assert config.keys_file is not None, "no file to read"
    try:
        return config.keys_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the keys in {config.keys_file}: {reason}", field="keys_file") from None


def _keys_in(text: str, source: str, field: str) -> list[Key]:
    lines = [(number, line.strip()) for number, line in enumerate(_uncommented(text).splitlines(), 1)]
    keys = [_key(line, f"{source}, line {number}", number, field) for number, line in lines if line]
    if not keys:
        raise ConfigError(f"{source} holds no key, expected one a line", field=field)
    return keys


def _uncommented(text: str) -> str:
    return "\n".join(_COMMENT.sub("", line) for line in text.splitlines())


def _key(line: str, where: str, number: int, field: str) -> Key:
    before, colon, after = line.partition(":")
    name, key = (before.strip(), after.strip()) if colon else ("", line)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{where}: expected KEY or NAME:KEY, in ASCII and without blanks", field=field)
    return Key(name or f"key-{number}", _digest(key))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()
