"""Takes the pictures: a browser signed in to the demo, one window for each, what is wrong with any."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Error, sync_playwright

from tests.conftest import CHROMIUM
from tests.dashboard.browsing import FLAGS, HARMLESS
from tests.screenshots.demo import Demo, running
from tests.screenshots.shots import AFTER, FRESH, LIVELY, Shot

SCALE = 2
# How many colours a picture keeps as they are, and how many stand for all the others.
EXACT, NEARLY = 112, 80
LARGEST_BYTES = 200_000
# Where the last of a page's parts ends.
BOTTOM = """Math.max(0, ...Array.from(
  document.querySelectorAll('main > *, #content > *, #content-main > *'),
  one => one.getBoundingClientRect().bottom
))"""
# A page that failed to draw has its ground and little else.
FEWEST_COLOURS = 24


def take_all(home: Path, into: Path, *, seconds: float) -> dict[str, list[str]]:
    """All pictures of a demo of its own, with clients for so many seconds; what is wrong, by picture."""
    with running(home) as demo, camera(demo, into) as take:
        faults = take(FRESH)
        demo.live_through_an_hour()
        with demo.clients():
            time.sleep(seconds / 2)
            demo.vendor("demo-primary", "fail")
            time.sleep(seconds / 2)
            return faults | take(LIVELY)


@contextmanager
def camera(demo: Demo, into: Path) -> Iterator[Any]:
    """A function that takes shots and answers what is wrong with each."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        signed_in = sign_in(chromium, demo)

        def take(shots: Iterable[Shot]) -> dict[str, list[str]]:
            return {shot.name: photograph(chromium, demo, shot, signed_in, into) for shot in shots}

        yield take
        chromium.close()


def sign_in(chromium: Any, demo: Demo) -> Any:
    """The operator's cookies, by the form and the password that the demo prints."""
    context = chromium.new_context(base_url=demo.url)
    page = context.new_page()
    page.goto("/admin/login/?next=/dashboard/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill(demo.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/dashboard/")
    state = context.storage_state()
    context.close()
    return state


def photograph(chromium: Any, demo: Demo, shot: Shot, signed_in: Any, into: Path) -> list[str]:
    """Take one picture; what is wrong with it: scripts, console, policy, what is not on it, its size."""
    context = chromium.new_context(
        base_url=demo.url,
        storage_state=signed_in,
        viewport={"width": shot.width, "height": shot.height},
        device_scale_factor=SCALE,
        color_scheme="dark" if shot.dark else "light",
        reduced_motion="reduce",
        **shot.options,
    )
    context.set_default_timeout(15_000)
    faults: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("console", lambda message: faults.extend(heard(message)))
    try:
        page.goto(shot.path)
        shot.do(page)
        fit(page, shot)
        page.mouse.move(2, shot.height // 2)
        page.wait_for_timeout(400)
        faults += [f"not on it: {text}" for text in shot.shows if not shown(page, text)]
        picture = page.screenshot()
        if shot.name in AFTER:
            AFTER[shot.name](page)
            page.wait_for_timeout(500)
    except Error as problem:
        return [*faults, f"browser: {problem.message}"]
    finally:
        context.close()
    return faults + keep(picture, into / f"{shot.name}.png")


def heard(message: Any) -> list[str]:
    """What the console told of a fault."""
    bad = message.type in {"error", "warning"} and not message.text.startswith(HARMLESS)
    return [f"console: {message.text}"] if bad else []


def shown(page: Any, text: str) -> bool:
    """Whether it can be seen."""
    return any(one.is_visible() for one in page.get_by_text(text).all())


def fit(page: Any, shot: Shot) -> None:
    """A shorter page makes a shorter picture: nothing empty below."""
    bottom = page.evaluate(BOTTOM)
    if 0 < bottom + 24 < shot.height and not page.locator("dialog[open], .toast").count():
        page.set_viewport_size({"width": shot.width, "height": int(bottom) + 24})


def keep(picture: bytes, path: Path) -> list[str]:
    """Write it with a palette, which takes a third of the room; what is wrong with it."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    colours = image.getcolors(image.width * image.height) or []
    with_palette(image, colours).save(path, optimize=True)
    faults = []
    if len(colours) < FEWEST_COLOURS:
        faults.append("nothing is on it")
    if path.stat().st_size > LARGEST_BYTES:
        faults.append(f"{path.stat().st_size} bytes, more than {LARGEST_BYTES}")
    return faults


def with_palette(image: Any, colours: list[tuple[int, Any]]) -> Any:
    """Frequent colours stay exactly as they are, the rare ones nearly so."""
    ordered = [colour for _, colour in sorted(colours, reverse=True)]
    rest = Image.new("RGB", (max(len(ordered) - EXACT, 1), 1))
    rest.putdata(ordered[EXACT:])
    chosen = [part for colour in ordered[:EXACT] for part in colour]
    chosen += rest.quantize(NEARLY, method=Image.Quantize.MEDIANCUT).getpalette()[: NEARLY * 3]
    palette = Image.new("P", (1, 1))
    palette.putpalette(chosen)
    return image.quantize(palette=palette, dither=Image.Dither.NONE)
