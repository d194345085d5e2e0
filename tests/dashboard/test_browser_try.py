"""Try it in a browser: answers that stream in, stopped, failed, without scripts; commands to copy."""

from __future__ import annotations

import time

import pytest

from proxying.models import RequestRecord
from routing.models import Provider
from tests.e2e.upstreams import providers
from tests.upstream import stream_pieces

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def answering(setup):
    """The providers of ``chat``, answering slowly enough to be watched; by name."""
    with providers() as held:
        pieces = stream_pieces(["Hello ", "from ", "there."])
        found = {name: held.start(pieces=pieces, piece_delay_s=0.2) for name in "ab"}
        for name, upstream in found.items():
            Provider.objects.filter(name=name).update(base_url=upstream.base_url)
        yield found


def recorded(count=1):
    """The records, once there are as many; a moment more, so that one too many would be seen."""
    for _ in range(40):
        if RequestRecord.objects.count() >= count:
            break
        time.sleep(0.1)
    time.sleep(0.4)
    return list(RequestRecord.objects.order_by("pk"))


def test_a_try_is_sent_and_its_answer_streams_into_the_page(answering, visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/try/?model=chat&assume=a/m=503")
    answer = page.get_by_role("region", name="Answer")
    expect(page.get_by_role("heading", name="200 from b/m")).to_be_visible()
    assert recorded(0) == []  # explaining leaves none
    page.get_by_label("Prompt").fill("hi")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(answer).to_have_text("Hello ", use_inner_text=True)
    expect(answer).to_have_text("Hello from there.")
    sent = page.get_by_role("region", name="What was sent")
    expect(sent).to_contain_text("OK after failover")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    (record,) = recorded()
    assert (record.source, record.caller_name, record.status) == ("try_it", "ada", 200)
    assert (len(answering["a"].requests), len(answering["b"].requests)) == (0, 1)
    sent.get_by_role("link", name="Open the record").click()
    page.wait_for_url(f"**/dashboard/requests/{record.decision_id}/?looked=*")
    expect(page.locator(".tag", has_text="Try it")).to_be_visible()


def test_all_but_one_are_pretended_down_with_one_press(answering, visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/try/?model=chat")
    page.get_by_role("button", name="pretend that all but b/m are down").click()
    expect(page.get_by_role("heading", name="200 from b/m")).to_be_visible()
    expect(page.get_by_label("Pretend that a/m answers")).to_have_value("a/m=503")
    expect(page.get_by_label("Pretend that c/m answers")).to_have_value("c/m=503")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("region", name="Answer")).to_have_text("Hello from there.")
    assert [len(answering[name].requests) for name in "ab"] == [0, 1]


def test_a_try_is_stopped(answering, visit):
    from playwright.sync_api import expect

    answering["a"].default.piece_delay_s = 5.0
    page = visit().open("/dashboard/try/?model=chat")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("region", name="Answer")).to_have_text("Hello ", use_inner_text=True)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#said")).to_contain_text("Stopped")
    (record,) = recorded()
    assert (record.outcome, record.source) == ("client_gone", "try_it")


def test_a_try_whose_answer_breaks_off_says_so(answering, visit):
    from playwright.sync_api import expect

    answering["a"].default.cut_after_pieces = 2
    page = visit().open("/dashboard/try/?model=chat")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#said")).to_contain_text("a/m broke off")
    expect(page.get_by_role("region", name="Answer")).to_contain_text("Hello ")
    sent = page.get_by_role("region", name="What was sent")
    expect(sent).to_contain_text("too late for another candidate")


def test_a_failing_try_says_what_to_do(visit):
    from playwright.sync_api import expect

    page = visit().open("/dashboard/try/?model=solo")
    page.get_by_label("Prompt").press("Control+Enter")
    sent = page.get_by_role("region", name="What was sent")
    expect(sent.get_by_role("heading")).to_contain_text("502 upstream_unreachable")
    expect(sent).to_contain_text("Check its base URL")


def test_a_try_works_without_scripts(answering, visit):
    from playwright.sync_api import expect

    page = visit(java_script_enabled=False).open("/dashboard/try/?model=chat&assume=a/m=503")
    page.get_by_label("Prompt").fill("hi")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("region", name="Answer")).to_have_text("Hello from there.")
    expect(page.get_by_role("region", name="What was sent")).to_contain_text("OK after failover")
    expect(page.get_by_label("Prompt")).to_have_value("hi")


def test_a_request_is_copied_as_a_command(answering, visit):
    from playwright.sync_api import expect

    ada = visit()
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = ada.open("/dashboard/try/?model=chat")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="Open the record").click()
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#said")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl -N {ada.base}/v1/chat/completions")
    assert '"Authorization: Bearer $SLUICE_API_KEY"' in copied
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator(".copied")).to_have_count(2)
    assert page.evaluate("navigator.clipboard.readText()") == page.url.partition("?")[0]


def test_what_was_sent_is_for_everybody(answering, visit):
    """Axe finds nothing, and no small screen is too small."""
    from axe_playwright_python.sync_playwright import Axe

    page = visit(viewport={"width": 360, "height": 740}).open("/dashboard/try/?model=chat&assume=a/m=503")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("region", name="What was sent").wait_for()
    for summary in page.locator("#sent summary").all():
        summary.click()
    faults = [(fault["id"], fault["nodes"][0]["target"]) for fault in Axe().run(page).response["violations"]]
    assert faults == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
