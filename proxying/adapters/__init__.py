"""One module per wire format; kinds (``routing.kinds``) name the one they speak."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxying.adapters.base import Adapter
from proxying.adapters.openai import OpenAIAdapter

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType({"openai": OpenAIAdapter()})
