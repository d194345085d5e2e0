"""The form fields of a routing policy: each says what counts while it is empty."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django import forms

from routing.admin.base import ServiceForm
from routing.admin.fields import StatusesField, WholeField, WholeSecondsField
from routing.types import PoolPolicy

LABELS: Final = {
    "session_affinity_ttl_s": "Session affinity TTL",
    "failover_enabled": "Failover",
    "failover_max_attempts": "Attempts at most",
    "failover_on_statuses": "Fail over on statuses",
    "failover_on_model_errors": "Fail over on model errors",
    "when_all_blocked": "When all are blocked",
}


class PolicyForm(ServiceForm):
    """A form with the policy columns; an empty one shows the value that it inherits."""

    class Meta:
        field_classes: ClassVar = {
            "session_affinity_ttl_s": WholeSecondsField,
            "failover_max_attempts": WholeField,
        }

    failover_on_statuses = StatusesField(required=False, help_text="With commas between.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, value in _by_column(self.inherited()).items():
            if name in self.fields:
                self.fields[name].label = LABELS.get(name, self.fields[name].label)
                _show_inherited(self.fields[name], value)

    def inherited(self) -> PoolPolicy:
        """The policy of which the empty fields are."""
        raise NotImplementedError


def _by_column(policy: PoolPolicy) -> dict[str, Any]:
    failover = policy.failover
    return {
        "strategy": policy.strategy.value,
        "session_affinity": policy.session_affinity,
        "session_affinity_ttl_s": policy.session_affinity_ttl_s,
        "failover_enabled": failover.enabled,
        "failover_max_attempts": failover.max_attempts,
        "failover_on_statuses": ", ".join(str(status) for status in sorted(failover.retry_on_statuses)),
        "failover_on_model_errors": failover.retry_on_model_errors,
        "when_all_blocked": policy.when_all_blocked.value,
    }


def _show_inherited(field: Any, value: Any) -> None:
    if isinstance(field, forms.NullBooleanField):
        word = "yes" if value else "no"
        field.widget.choices = [("unknown", f"Default: {word}"), ("true", "Yes"), ("false", "No")]
    elif isinstance(field, forms.ChoiceField):
        choices: Any = field.choices
        field.choices = [("", f"Default: {value}"), *(pair for pair in choices if pair[0])]
    else:
        field.widget.attrs["placeholder"] = str(value)
        field.help_text = f"{field.help_text} Default: {value}.".strip()
