"""The secrets between the services of one local system: random, made once, stored in `secrets.json`.

They keep other users of the machine out: every user can connect to ports on loopback, but only the owner can read the
file.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from vitrine.atomic_write import write_text

_BYTES: Final = 32
OWNER_ONLY: Final = 0o600


class LocalSecrets(BaseModel):
    """One secret for each service that listens. Hexadecimal, because the one of Redis becomes part of a URL."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    redis_password: SecretStr = Field(min_length=_BYTES)
    qdrant_api_key: SecretStr = Field(min_length=_BYTES)
    embedder_api_key: SecretStr = Field(min_length=_BYTES)

    @classmethod
    def random(cls) -> LocalSecrets:
        return cls(**{name: SecretStr(secrets.token_hex(_BYTES)) for name in cls.model_fields})


def read_secrets(file: Path) -> LocalSecrets | None:
    """The secrets in `file`; None if it is missing, unreadable or damaged."""
    try:
        return LocalSecrets.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def load_or_create_secrets(file: Path) -> LocalSecrets:
    """The secrets in `file`; if there are none, new ones, which are stored there.

    On a full disk the new secrets are not stored and are valid for this run only.
    """
    known = read_secrets(file)
    if known is not None:
        with contextlib.suppress(OSError):
            file.chmod(OWNER_ONLY)
        return known
    made = LocalSecrets.random()
    plain = {name: getattr(made, name).get_secret_value() for name in LocalSecrets.model_fields}
    with contextlib.suppress(OSError):
        write_text(file, f"{json.dumps(plain, indent=2)}\n", mode=OWNER_ONLY)
    return made
