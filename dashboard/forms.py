"""What the pages post, checked for shape; the rules are the services'."""

from __future__ import annotations

from typing import Final

from django import forms

from routing.services import NotFound, SwitchTarget

HOURS: Final = {"1h": 1, "8h": 8, "until": None}


class TryForm(forms.Form):
    """A request to be sent; ``assume`` is read beside it, it may stand there many times."""

    model = forms.CharField(max_length=300, error_messages={"required": "Name a model first."})
    prompt = forms.CharField(max_length=100_000, error_messages={"required": "Write something to send."})
    system = forms.CharField(max_length=100_000, required=False)
    max_tokens = forms.IntegerField(min_value=1, max_value=1_000_000, required=False)
    stream = forms.BooleanField(required=False)
    session_id = forms.CharField(max_length=300, required=False)
    user_path = forms.CharField(max_length=300, required=False)
    api_key_id = forms.CharField(max_length=40, required=False)


class TargetForm(forms.Form):
    """Which switch, and where to: ``on:KEY`` or ``off:KEY``, seen at which revision."""

    switch = forms.RegexField(r"\A(on|off):.+\Z", max_length=2_000)
    seen = forms.IntegerField(min_value=0, required=False)

    def clean_switch(self) -> str:
        """Refuse what can be no key."""
        text: str = self.cleaned_data["switch"]
        try:
            SwitchTarget.from_key(text.partition(":")[2])
        except NotFound as error:
            raise forms.ValidationError(error.message) from error
        return text

    @property
    def enabled(self) -> bool:
        """What the switch is to be."""
        return str(self.cleaned_data["switch"]).startswith("on:")

    @property
    def key(self) -> str:
        """The key of the routing-state API."""
        return str(self.cleaned_data["switch"]).partition(":")[2]

    @property
    def target(self) -> SwitchTarget:
        """What is switched."""
        return SwitchTarget.from_key(self.key)


class SwitchForm(TargetForm):
    """A switch with its reason and time; ``typed`` is asked for when a pool would reach zero."""

    reason = forms.CharField(max_length=500, required=False)
    hours = forms.ChoiceField(choices=[(word, word) for word in HOURS], required=False)
    typed = forms.CharField(max_length=400, required=False)

    @property
    def expires_in_s(self) -> float | None:
        """For how long; None: until somebody changes it."""
        hours = HOURS.get(self.cleaned_data["hours"] or "until")
        return None if hours is None else hours * 3_600.0
