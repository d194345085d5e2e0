"""The ``providers`` of a configuration file: types, addresses, credentials, inventories. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from routing import config_gomodel, refusals
from routing.config_context import Notes, Surroundings
from routing.config_references import CREDENTIAL
from routing.config_schema import ProviderSection
from routing.document import Fields, object_key
from routing.kinds import Kind
from routing.yaml_nodes import Path

MAX_REFERENCE: Final = 200


@dataclass(slots=True)
class Providers:
    """Reads one provider after the other. ``secrets`` are the literal keys by provider name."""

    notes: Notes
    around: Surroundings
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    def read(self, name: str, value: Any, path: Path) -> Fields | None:
        """The fields of a provider that the file decides; no credential where ``api_key`` is absent."""
        section = self.notes.section(ProviderSection, value, path)
        if section is None:
            return None
        kind_name = self._kind_name(section, path)
        kind = self.around.kinds.get(kind_name)
        self._address(section, kind, path)
        for index, model in enumerate(section.models):
            if model in section.models[:index]:
                self.notes.warn((*path, "models", index), f'"{model}" stands twice')
        fields: Fields = {
            "kind": kind_name,
            "base_url": section.base_url.rstrip("/"),
            "configured_models": list(section.models),
            "options": self._options(section, path),
            "connect_timeout_s": section.timeouts.connect,
            "first_byte_timeout_s": section.timeouts.first_byte,
            "idle_timeout_s": section.timeouts.idle,
            "total_timeout_s": section.timeouts.total,
            "max_in_flight": section.max_in_flight,
        }
        if section.api_key is not None:
            fields["credential"] = self._credential(name, section.api_key, (*path, "api_key"))
        before = self.around.current.get(object_key("provider", name), {})
        stored = before.get("credential", "")
        if stored and "credential" not in fields and self._moves(before, fields):
            self.notes.fault((*path, "base_url"), refusals.OTHER_HOST)
        if kind is not None and kind.needs_key and not fields.get("credential", stored):
            self.notes.warn(path, "has no api_key and none is stored: its provider will refuse every request")
        return fields

    def _options(self, section: ProviderSection, path: Path) -> dict[str, str]:
        options, version = dict(section.options), section.api_version
        if version and options.setdefault("api_version", version) != version:
            self.notes.fault((*path, "api_version"), "differs from the option api_version; give one of them")
        return options

    def _kind_name(self, section: ProviderSection, path: Path) -> str:
        given, kinds = section.type, self.around.kinds
        if given in kinds:
            return given
        if config_gomodel.TYPES.get(given) in kinds:
            self.notes.warn((*path, "type"), f"{given} is called {config_gomodel.TYPES[given]} here")
            return config_gomodel.TYPES[given]
        self.notes.fault((*path, "type"), refusals.unknown_type(given, kinds))
        return given

    def _address(self, section: ProviderSection, kind: Kind | None, path: Path) -> None:
        if section.base_url:
            if problem := refusals.base_url(section.base_url):
                self.notes.fault((*path, "base_url"), problem)
        elif kind is not None and not kind.default_base_url:
            self.notes.fault((*path, "base_url"), refusals.no_base_url(kind.name))
        address = section.base_url or (kind.default_base_url if kind is not None else "")
        problem = refusals.region(kind, address, section.options) if kind is not None else ""
        if problem := problem or refusals.choices(section.options):
            self.notes.fault((*path, "options"), problem)

    def _moves(self, before: Fields, after: Fields) -> bool:
        """Whether a stored credential would go to a host that it was not given for."""
        old, new = (
            _origin(fields["base_url"] or self._default_url(fields["kind"])) for fields in (before, after)
        )
        return old != new

    def _default_url(self, kind_name: str) -> str:
        kind = self.around.kinds.get(kind_name)
        return kind.default_base_url if kind is not None else ""

    def _credential(self, name: str, api_key: str, path: Path) -> str:
        """The credential as it stands in a document; a literal key goes to ``secrets``."""
        reference = CREDENTIAL.fullmatch(api_key)
        if reference is not None:
            self._reference(api_key, bool(reference["default"]), path)
            return api_key
        if "${" in api_key:
            self.notes.fault(
                path, "must be one reference ${NAME} or ${NAME:-default}, with nothing around it"
            )
        elif api_key and self.around.literal_key_problem:
            self.notes.fault(path, f"a literal key cannot be stored. {self.around.literal_key_problem}")
        elif api_key:
            self.secrets[name] = api_key
            return self.around.credential_label(api_key)
        return ""

    def _reference(self, api_key: str, has_default: bool, path: Path) -> None:
        if len(api_key) > MAX_REFERENCE:
            self.notes.fault(path, f"is longer than {MAX_REFERENCE} characters")
        elif problem := self.around.credential_problem(api_key):
            self.notes.fault(path, problem)
        elif has_default:
            self.notes.warn(path, "the default after :- is kept as it stands, not encrypted")


def _origin(text: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
