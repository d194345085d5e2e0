"""The scripted provider itself."""

import httpx
import pytest

from tests.upstream import Script

pytestmark = pytest.mark.anyio


async def test_upstream_echoes_records_and_follows_its_script(upstream):
    up = await upstream()
    up.script(Script(status=503, body=b"{}"), Script(drop=True))
    async with httpx.AsyncClient(base_url=up.base_url, trust_env=False) as http:
        first = await http.post("/chat/completions", json={"model": "x"})
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/chat/completions", json={"model": "x"})
        echo = await http.post("/chat/completions", json={"model": "x"})
        stream = await http.post("/chat/completions", json={"model": "x", "stream": True})
    assert (first.status_code, first.content) == (503, b"{}")
    assert echo.json()["model"] == "x"
    assert stream.text.endswith("data: [DONE]\n\n")
    assert [r.json for r in up.requests] == [{"model": "x"}] * 3 + [{"model": "x", "stream": True}]
