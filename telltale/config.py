"""One frozen model of every setting; the only reader of the configuration file and environment.

Later wins: defaults, the YAML file, `TELLTALE_*` variables (`__` for nesting), the command line.
An unknown key is a `ConfigError` that names it, in the file and in the environment alike.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from collector.config import KafkaConfig, OtlpConfig
from contracts.errors import ConfigError
from contracts.labels import CATEGORY_IDS
from detectors.config import RulesConfig
from storage.config import StorageSettings

SubjectField = Literal["environment", "agent", "agent_version", "model"]
SUBJECT_FIELDS: tuple[SubjectField, ...] = get_args(SubjectField)

_TEST_VARIABLES = ("TELLTALE_TEST_KAFKA", "TELLTALE_KAFKA_CACHE", "TELLTALE_REQUIRE")
"""Read by the project's own tests, never by the daemon."""


MOST_ARL = 1e9
"""Twice the delay of the default; beyond it nothing would ever page."""
MOST_MATERIALITY = 10.0
"""Eleven times the reference's rate: the tests bet on rises by factors up to 60."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def address(value: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises ValueError."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r} is not host:port")
    return host.strip("[]"), int(port)


class ApiConfig(_Section):
    """API, UI and /metrics. `url`: the address people reach it under, for links in alerts; "" for
    the one it listens on. `token`: bearer token asked of every API request, "" for none.
    `hosts`: names besides loopback under which the API may be addressed (DNS rebinding guard).
    """

    listen: str = "127.0.0.1:8686"
    url: str = ""
    token: SecretStr = SecretStr("")
    hosts: tuple[str, ...] = ()

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        address(value)
        return value


class AlertmanagerConfig(_Section):
    """Alertmanagers that get every alert; none: alerts are only metrics and rows. `runbooks`: the
    address under which the runbooks stand, for links.
    """

    urls: tuple[str, ...] = ()
    runbooks: str = "docs/runbooks"


class RedactionConfig(_Section):
    """What is replaced before anything is stored. `arguments: digest` keeps of tool arguments and
    results only keyed digests and shapes, by which equality and novelty still work.
    """

    secrets: bool = True
    arguments: Literal["keep", "digest"] = "keep"


class TrajectoriesConfig(_Section):
    """When a trajectory is complete: quiet for `idle_timeout_s` of receive time, or, still going
    on, with a call not judged for `max_age_s` or `max_calls` of them; then the part so far is
    judged. `spans_in_memory` bounds what is held; the rest is read back when a span of it comes.
    """

    idle_timeout_s: float = Field(default=300.0, gt=0)
    max_age_s: float = Field(default=3_600.0, gt=0)
    max_calls: int = Field(default=500, gt=0)
    spans_in_memory: int = Field(default=500_000, gt=0)


class DetectionConfig(_Section):
    """`arl`: trajectories of a subject to a false alarm, at least, over all categories of one
    reference. `materiality`: relative excess over the reference that does not matter; `clear`
    excludes twice the reference's rate, or more where that leaves less room. `ceilings`:
    declared highest rate per opportunity by category, judged without any reference data.
    `threshold`: `guaranteed` pages at the threshold that a theorem holds to `arl`, `calibrated` at
    the lower one that was simulated for each baseline, so earlier and with `arl` by measurement.
    `trusted_keys`: Ed25519 public keys (hex); where given, only baselines signed by one are used.
    """

    arl: float = Field(default=5_000.0, ge=10, le=MOST_ARL)
    materiality: float = Field(default=0.2, ge=0, le=MOST_MATERIALITY)
    ceilings: dict[str, float] = Field(default_factory=dict)
    threshold: Literal["guaranteed", "calibrated"] = "guaranteed"
    trusted_keys: tuple[Annotated[str, Field(pattern="^[0-9a-f]{64}$")], ...] = ()

    @field_validator("ceilings")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        for category, rate in value.items():
            if category not in CATEGORY_IDS:
                raise ValueError(f"unknown category {category}")
            if not 0 <= rate < 1:
                raise ValueError(f"{category}: a ceiling is a rate from 0 to below 1")
        return value


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything that can be set. See `docs/configuration.md` for each key with its default."""

    model_config = SettingsConfigDict(
        env_prefix="TELLTALE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    data: Path = Path("./telltale-data")
    environment: str = "production"
    kafka: KafkaConfig | None = None
    otlp: OtlpConfig = OtlpConfig()
    api: ApiConfig = ApiConfig()
    subject: Annotated[tuple[SubjectField, ...], BeforeValidator(_listed)] = SUBJECT_FIELDS
    rules: RulesConfig = RulesConfig()
    storage: StorageSettings = StorageSettings()
    alertmanager: AlertmanagerConfig = AlertmanagerConfig()
    redaction: RedactionConfig = RedactionConfig()
    trajectories: TrajectoriesConfig = TrajectoriesConfig()
    detection: DetectionConfig = DetectionConfig()

    @field_validator("otlp")
    @classmethod
    def _are_addresses(cls, value: OtlpConfig) -> OtlpConfig:
        for given in (value.http, value.grpc):
            if given is not None:
                address(given)
        return value

    @field_validator("subject")
    @classmethod
    def _not_empty(cls, value: tuple[SubjectField, ...]) -> tuple[SubjectField, ...]:
        if not value:
            raise ValueError("name at least one of " + ", ".join(SUBJECT_FIELDS))
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # what `load` passes is the file's content: variables win over it
        return env_settings, init_settings


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("--config", f"{path}: {error}") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError("--config", f"{path} is not YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError("--config", f"{path} must hold a mapping of settings")
    mapping = cast("dict[object, Any]", content)
    return {str(key): value for key, value in mapping.items()}


def _unknown_variables(environ: Mapping[str, str]) -> None:
    known = {f"TELLTALE_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith("TELLTALE_") or upper in _TEST_VARIABLES:
            continue
        if upper.partition("__")[0] not in known:
            raise ConfigError(name, "is no setting of Telltale")


def load(path: Path | None = None, data: Path | None = None) -> Settings:
    """Settings from the file at `path`, the environment and `data` (the command line's `--data`).

    Raises `ConfigError` naming the key as the user writes it.
    """
    _unknown_variables(os.environ)
    content = _read(path) if path is not None else {}
    try:
        settings = Settings(**content)
        if data is not None:
            settings = settings.model_copy(update={"data": data})
    except ValidationError as error:
        # a mistyped key is also one that is missing: name what was written
        found = error.errors(include_url=False, include_input=False)
        first = min(found, key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"]
        if first["type"] == "extra_forbidden":
            message = "is no setting of Telltale"
        raise ConfigError(key, message) from error
    return settings
