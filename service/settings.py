"""Everything that can be set, each from a `SUBNET_...` variable of the environment."""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.contracts import read_host


class Settings(BaseSettings):
    """Settings of one process; the defaults are safe for one machine."""

    model_config = SettingsConfigDict(env_prefix="SUBNET_", frozen=True)

    home: Path = Path("var")
    """Folder of all state: the database with searches, devices and keys, models, the user's
    supernets. A relative path is taken from where a process starts."""
    database_url: str | None = None
    """SQLAlchemy URL. Default: a SQLite file under `home`."""
    artifacts_url: str | None = None
    """fsspec URL of finished models. Default: a folder under `home`."""
    signing_key: Path | None = None
    """PEM file of an Ed25519 private key (`subnet-search keygen`) that signs finished models."""
    sample_images: bool = True
    """Whether the page shows a few of the validation images that supernets' bundles hold, to
    everybody who may read; `off` keeps them back."""
    workers: int = Field(default=1, ge=0, le=64)
    """Worker processes that `serve` starts; 0 leaves all work to `subnet-search worker`."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads with which a worker checks a model. Results do not depend on it. Default: its share
    of the cores."""
    poll_interval_s: float = Field(default=0.1, gt=0, le=60)
    """How often an idle worker looks for searches; raise it for many workers. Waiting requests and
    event streams are notified and do not use it."""
    dead_after_s: float = Field(default=15.0, ge=0.5, le=3600)
    """How long a worker may be silent before others take over its search; it gives a sign ten
    times as often. After two missed signs, workers of the same machine also take over from one
    whose process no longer exists."""
    max_attempts: int = Field(default=3, ge=1, le=100)
    """Workers that take up one search before it counts as what kills them."""
    job_timeout_s: float = Field(default=1800.0, gt=0)
    """Longest time of one search in one worker."""
    max_queued: int = Field(default=1000, ge=1)
    """Searches that may wait; more are refused (429)."""
    shutdown_s: float = Field(default=20.0, ge=0, le=3600)
    """How long a stopping worker may finish its search before it puts it back."""
    max_wait_s: float = Field(default=60.0, ge=0, le=600)
    """Longest `Prefer: wait` that is honoured."""
    max_body_bytes: int = Field(default=16 * 2**20, ge=1024)
    """Largest request body; a device profile of 50,000 layers is some 10 MB."""
    log_format: Literal["console", "json"] = "console"
    extensions: str | None = None
    """Python files or modules, separated by commas, that every command and worker imports first.
    They may register limits, runtimes, layer kinds, families, predictors and formats."""
    mirrors: str | None = None
    """Folders and http(s) URLs, separated by commas, that published files are taken from before
    the place where they were published. Files lie there by their published path, or by name."""
    access: Literal["auto", "required", "off"] = "auto"
    """Whether requests need an API key. auto: all do, unless `serve` listens on loopback, no proxy
    is named and no key was ever made. off: none does, whoever sends it."""
    allowed_hosts: str | None = None
    """Hosts that requests may name besides localhost and the address that the service listens on,
    as `subnet.example.com, *.lan.example.com, 10.0.0.7:8080`; without a port, on any; `*`: all."""
    trusted_proxies: str | None = None
    """Addresses of the reverse proxies in front, as `127.0.0.1, 10.1.0.0/16`. Requests that came
    through others (X-Forwarded-For and the like) are refused."""
    rate_per_s: float = Field(default=20.0, gt=0, le=1e6)
    """Requests a second that a key may make in the long run."""
    rate_burst: int = Field(default=200, ge=1, le=10**6)
    """Requests that a key may make at once after a pause."""
    api_key: SecretStr | None = None
    """What the command line sends to `--server` (SUBNET_SERVER); from `keys create` there."""

    public_url: str | None = None
    """Address that other devices reach the service by, as `https://subnet.example.com`: links and
    their QR codes begin with it. Default: the address that the request for a link was sent to."""
    runtimes: Path | None = None
    """Folder of runtimes (`subnet-search runtimes install`) that are used beside those under
    `home`; a container image brings its own."""

    webhook_hosts: str | None = None
    """Hosts that webhooks may be sent to, as `hooks.example.com, 10.0.0.7:8080`; without a port,
    on any. Default: none, and requests with a webhook are refused."""
    webhook_secret: SecretStr | None = None
    """What webhooks are signed with (HMAC-SHA256), 16 characters or more; receivers know it."""

    @field_validator("webhook_hosts", "allowed_hosts")
    @classmethod
    def _check_hosts(cls, value: str | None) -> str | None:
        _hosts(value)
        return value

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
                raise ValueError("expected an address such as https://subnet.example.com")
        return None if value is None else value.rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def _check_networks(cls, value: str | None) -> str | None:
        _networks(value)
        return value

    @property
    def allowed_webhook_hosts(self) -> frozenset[tuple[str, int | None]]:
        """Hosts that webhooks may be sent to, each with the one port, or None for any."""
        return _hosts(self.webhook_hosts)

    @property
    def named_hosts(self) -> frozenset[tuple[str, int | None]]:
        """`allowed_hosts`, each with the one port, or None for any."""
        return _hosts(self.allowed_hosts)

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`trusted_proxies`; one address is a network of its own."""
        return _networks(self.trusted_proxies)

    @property
    def mirror_list(self) -> list[str]:
        """`mirrors`, each by itself."""
        return _entries(self.mirrors)

    def environment(self) -> dict[str, str]:
        """The variables by which another process gets the same settings."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        for name in changed:
            if isinstance(secret := getattr(self, name), SecretStr):
                changed[name] = secret.get_secret_value()  # shown as stars otherwise
        return {
            f"SUBNET_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in changed.items()
        }

    @cached_property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self._default_database}"

    @property
    def lacks_default_database(self) -> bool:
        """Whether the database is the SQLite file under `home`, and that does not exist yet."""
        return self.database_url is None and not self._default_database.is_file()

    @property
    def _default_database(self) -> Path:
        return self.home.resolve() / "subnet-search.sqlite"

    @cached_property
    def artifacts(self) -> str:
        """The artifacts' URL."""
        return self.artifacts_url or (self.home.resolve() / "artifacts").as_uri()


@lru_cache
def _hosts(value: str | None) -> frozenset[tuple[str, int | None]]:
    return frozenset(read_host(entry) for entry in _entries(value))


@lru_cache
def _networks(value: str | None) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(entry) for entry in _entries(value))


def _entries(value: str | None) -> list[str]:
    return [part for entry in (value or "").split(",") if (part := entry.strip())]
