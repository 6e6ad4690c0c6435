"""The studio in a real browser: what a person sees, presses and drags, and that nothing leaves."""

import contextlib
import shutil
import threading
import time

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
uvicorn = pytest.importorskip("uvicorn", reason="needs the extra app")
from gradlogp.app import Library, Place, create  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
    pytest.mark.slow,
]

PATIENCE = 60_000  # ms, for a loaded machine
VIEWS = ("watch", "draw", "field", "compare", "odd", "train")


@pytest.fixture(scope="module")
def address(folder):
    listening = Place(port=0).bound()
    server = uvicorn.Server(uvicorn.Config(create(Library(folder)), log_level="warning"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listening]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)
    listening.close()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that records what it complains of and whom it asks."""
    with contextlib.closing(
        browser.new_context(viewport={"width": 1280, "height": 900})
    ) as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        wrong, asked = [], []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
        page.on("request", lambda request: asked.append(request.url))
        yield page
        assert not wrong
        assert all(url.startswith((address, "data:", "blob:")) for url in asked), asked


def opened(page, address, view):
    page.goto(f"{address}#{view}")
    page.wait_for_selector(f"#view-{view}")
    return page.locator(f"#view-{view}")


def until(page, view, what):
    """Waits until `what`, of the view's element as `e`, is true in the page. (The page's own policy
    forbids the polling of `wait_for_function`.)
    """
    asked = f"(() => {{ const e = document.querySelector('#view-{view}'); return {what} }})()"
    last = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(asked):
        assert time.monotonic() < last, what
        page.wait_for_timeout(50)


def test_chains_walk_at_once_and_obey_the_keyboard(page, address):
    view = opened(page, address, "watch")
    until(page, "watch", "e.dataset.done === 'true'")
    assert view.locator(".grid canvas").count() == 16
    page.keyboard.press("r")
    page.keyboard.press(" ")
    until(page, "watch", "e.querySelector('button.main').textContent !== 'Pause'")
    before = int(view.get_attribute("data-step"))
    if view.get_attribute("data-done") != "true":
        page.keyboard.press("ArrowRight")
        until(page, "watch", f"+e.dataset.step === {before + 1}")
    view.locator(".grid canvas").nth(3).focus()
    page.keyboard.press("Enter")
    assert view.locator(".grid canvas").nth(3).get_attribute("aria-pressed") == "true"
    assert "chain 4" in view.inner_text()


def test_pictures_are_magnified_by_whole_numbers(page, address):
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        opened(page, address, "watch")
        until(page, "watch", "+e.dataset.step > 0")
        times = page.eval_on_selector_all(
            "#view-watch .grid canvas",
            "all => all.map(c => [c.getBoundingClientRect().width / c.width, getComputedStyle(c).imageRendering])",
        )
        assert {t[1] for t in times} == {"pixelated"}
        assert all(t[0] >= 1 and t[0] == int(t[0]) for t in times)


def test_a_stroke_is_answered_and_what_is_rubbed_out_is_filled_in(page, address):
    view = opened(page, address, "draw")
    until(page, "draw", "+e.dataset.answers > 0")
    box = view.locator(".pad").bounding_box()
    view.get_by_role("button", name="Clear").click()
    answers = int(view.get_attribute("data-answers"))
    page.mouse.move(box["x"] + 60, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 150, steps=6)
    page.mouse.up()
    until(page, "draw", f"+e.dataset.answers > {answers}")
    view.get_by_text("Rub out", exact=True).click()
    page.mouse.move(box["x"] + 60, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 100, steps=3)
    page.mouse.up()
    view.get_by_role("button", name="Fill in").click()
    until(page, "draw", "e.dataset.done === 'true'")
    assert view.locator(".grid canvas").count() == 4
    view.locator(".pad").focus()
    for key in ("ArrowLeft", "ArrowUp", " "):
        page.keyboard.press(key)


def test_a_particle_is_dragged_and_points_are_set(page, address):
    view = opened(page, address, "field")
    until(page, "field", "+e.dataset.step > 2")
    page.keyboard.press(" ")
    view.get_by_label("Distribution").select_option("points")
    plane = view.locator("canvas.plane").bounding_box()
    for x, y in ((0.3, 0.3), (0.7, 0.6)):
        page.mouse.click(plane["x"] + x * plane["width"], plane["y"] + y * plane["height"])
    until(page, "field", "+e.dataset.maps > 1 && +e.dataset.step > 2")
    view.get_by_label("Sampler").select_option("heun")
    until(page, "field", "e.dataset.done === 'true'")
    view.locator("canvas.plane").focus()
    page.keyboard.press("n")
    page.keyboard.press("ArrowLeft")


def test_runs_are_drawn_side_by_side_and_their_table_sorts(page, address):
    view = opened(page, address, "compare")
    until(page, "compare", "e.querySelectorAll('.grid[data-done=true]').length === 2")
    head = view.get_by_role("button", name="parameters")
    head.click()
    assert view.locator("th[aria-sort=ascending]").inner_text().startswith("parameters")
    first = view.locator("tbody tr").first.inner_text()
    head.click()
    assert view.locator("tbody tr").first.inner_text() != first


def test_noise_is_set_against_test_examples(page, address):
    view = opened(page, address, "odd")
    until(page, "odd", "e.dataset.ready")
    view.get_by_role("button", name="Pure noise").click()
    until(page, "odd", "e.dataset.judged === '1'")
    assert "trange" in view.inner_text() and "noise scores" in view.locator(
        "canvas.chart"
    ).get_attribute("aria-label")


def test_what_can_be_trained_is_explained(page, address):
    view = opened(page, address, "train")
    view.get_by_label("Experiment").select_option("vae")
    assert "variational autoencoder" in view.inner_text()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("light", ["light", "dark"])
def test_every_view_fits_and_names_its_controls(page, address, width, light):
    page.set_viewport_size({"width": width, "height": 844})
    page.emulate_media(color_scheme=light)
    for name in VIEWS:
        opened(page, address, name)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert over <= 0, (name, over)
        nameless = page.eval_on_selector_all(
            "button, input, select, canvas.pad, canvas.plane, a",
            "all => all.filter(e => !e.hidden && !(e.ariaLabel || e.labels?.length || e.textContent.trim()))"
            ".map(e => e.outerHTML)",
        )
        assert not nameless, name
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 200) == (light == "dark")


def test_the_keyboard_reaches_everything_and_focus_is_seen(page, address):
    opened(page, address, "train")
    for _ in range(12):
        page.keyboard.press("Tab")
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none"


def test_the_light_is_chosen_and_kept(page, address):
    opened(page, address, "train")
    page.locator("#theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
