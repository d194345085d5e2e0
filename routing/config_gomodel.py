"""What GoModel's ``config.yaml`` has and this gateway does not: named in a warning and skipped. Pure.

The names were taken from https://github.com/ENTERPILOT/GoModel and https://github.com/vfeitoza/GoModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from routing.yaml_nodes import Path

_ELSEWHERE: Final = "a section of GoModel that has no counterpart here; skipped"
SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "admin": _ELSEWHERE,
        "budgets": _ELSEWHERE,
        "cache": "skipped; the cache is set by CACHE_URL",
        "encryption": "skipped; set GATEWAY_ENCRYPTION_KEYS",
        "failover": "skipped; failover stays inside a pool here, see routing.defaults.failover",
        "fallback": "skipped; failover stays inside a pool here, see routing.defaults.failover",
        "guardrails": _ELSEWHERE,
        "header_policies": _ELSEWHERE,
        "http": "skipped; timeouts are set by GATEWAY_*_TIMEOUT_S or a provider's timeouts",
        "intelligent_routing": _ELSEWHERE,
        "logging": "skipped; logs are set by GATEWAY_LOG_FORMAT",
        "mcp": _ELSEWHERE,
        "mcp_servers": _ELSEWHERE,
        "media": _ELSEWHERE,
        "metrics": "skipped; /metrics is always there, see GATEWAY_METRICS_OPEN",
        "opentelemetry": _ELSEWHERE,
        "plugins": _ELSEWHERE,
        "rate_limits": _ELSEWHERE,
        "resilience": "skipped; circuits are set by GATEWAY_CIRCUIT_FAILURES and GATEWAY_CIRCUIT_OPEN_S",
        "server": "skipped; the server is set by GATEWAY_BIND and its neighbours, keys by create_api_key",
        "storage": "skipped; the database is set by DATABASE_URL",
        "tagging": _ELSEWHERE,
        "usage": "skipped; every request is recorded",
        "version_check": _ELSEWHERE,
        "virtual_models": "skipped; write them as aliases or as routing.model_pools",
        "workflows": _ELSEWHERE,
    }
)
PROVIDER_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "api_keys": "skipped; make one provider per key and put them into one pool",
        "api_mode": "skipped; the provider's type says how it is spoken to",
        "auth_type": "skipped; only keys are supported",
        "backend": "skipped; the provider's type says how it is spoken to",
        "gcp_scope": "skipped; only keys are supported",
        "resilience": "skipped; retries are routing.defaults.failover",
        "service_account_file": "skipped; only keys are supported",
        "service_account_json": "skipped; only keys are supported",
        "service_account_json_base64": "skipped; only keys are supported",
        "session_sticky_keys": "skipped; make one provider per key and put them into one pool",
        "vertex_location": "skipped; put the location into base_url",
        "vertex_project": "skipped; put the project into base_url",
    }
)
MODELS_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "enabled_by_default": "skipped; restrict a client key by create_api_key --models",
        "keep_only_aliases_at_models_endpoint": "skipped; see GATEWAY_EXPOSE_EXACT_MODELS",
        "overrides_enabled": "skipped; restrict a client key by create_api_key --models",
    }
)
TYPES: Final[Mapping[str, str]] = MappingProxyType({"azure": "azure_openai"})
"""GoModel's names of provider types that are called differently here."""


def strip(tree: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """A copy of the file without GoModel's own keys, and a warning with its path for each of them."""
    warnings: list[tuple[Path, str]] = []
    kept = _without(tree, SECTIONS, (), warnings)
    if isinstance(kept.get("models"), dict):
        kept["models"] = _without(kept["models"], MODELS_KEYS, ("models",), warnings)
    if isinstance(kept.get("providers"), dict):
        kept["providers"] = {
            name: _provider(fields, ("providers", name), warnings) if isinstance(fields, dict) else fields
            for name, fields in kept["providers"].items()
        }
    return kept, warnings


def _provider(fields: dict[str, Any], path: Path, warnings: list[tuple[Path, str]]) -> dict[str, Any]:
    kept = _without(fields, PROVIDER_KEYS, path, warnings)
    models = kept.get("models")
    for index, model in enumerate(models if isinstance(models, list) else []):
        if isinstance(model, dict) and "metadata" in model:
            warnings.append(((*path, "models", index, "metadata"), "skipped; only the id is used"))
    return kept


def _without(
    fields: dict[str, Any], table: Mapping[str, str], path: Path, warnings: list[tuple[Path, str]]
) -> dict[str, Any]:
    warnings += [((*path, key), table[key]) for key in fields if key in table]
    return {key: value for key, value in fields.items() if key not in table}
