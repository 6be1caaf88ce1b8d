"""The course as a learner meets it: `make lab` in a real JupyterLab, looked at through a real (headless) Chromium."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT, assert_nothing_left
from playwright.sync_api import expect, sync_playwright

from tools.lab import FIRST_LESSON

LESSON = "notebooks/03_the_same_mail_twice.ipynb"
SCREENSHOTS = ROOT / "build" / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Headless, quiet (no request of Chromium's own leaves the machine), and able to run as root.
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

# What a lesson's cells show.
CARD = "[role=group][aria-label^='verdict:']"
FIGURE = "svg[role=img]"
# What must never come up by itself.
DIALOG = ".jp-Dialog"
TOAST = ".Toastify__toast"
ERROR = "[data-mime-type='application/vnd.jupyter.error']"


def chromium():
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser():
    path = chromium()
    if not path:
        pytest.skip(f"no Chromium on the PATH ({', '.join(BROWSERS)}): JupyterLab is not looked at")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=OPTIONS)
        yield browser
        browser.close()


def home_of_a_jupyter_user(path):
    """A home with what other projects leave in it: a kernel of the same name that doesn't start, and a PATH set anew."""
    kernel = path / ".local" / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "Another Python", "language": "python"}'
    )
    (path / ".bashrc").write_text("export PATH=/usr/local/bin:/usr/bin:/bin\n")
    (path / ".profile").write_text("export PATH=/usr/bin:/bin\n")


@contextlib.contextmanager
def running(home, directory, tmp):
    """JupyterLab as `make lab` starts it, over a copy of the lessons (it saves what it runs); yields the printed address."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "DISPLAY", "WAYLAND"))}
    env |= {"HOME": str(home), "TMPDIR": str(tmp), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    env |= {"REDIS_URL": "redis://nowhere.invalid", "COURSE_TASKS_LIVE": "1"}
    log = home / "jupyterlab.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "tools.lab", f"--ServerApp.root_dir={directory}"]
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not (address := re.search(r"http://127\.0\.0\.1:\S+", log.read_text())):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield address[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def jupyterlab(browser, tmp_path_factory):
    """A running JupyterLab: the address that it printed, and its user's home."""
    home, directory, tmp = (tmp_path_factory.mktemp(name) for name in ("home", "checkout", "t"))
    home_of_a_jupyter_user(home)
    shutil.copytree(ROOT / "notebooks", directory / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    with running(home, directory, tmp) as address:
        yield SimpleNamespace(address=address, home=home)
    assert_nothing_left(tmp)


@pytest.fixture
def page(browser):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(60_000)
    yield page
    page.close()


def address_of(jupyterlab, name, workspace):
    """A lesson's address in a workspace of its own: the plain one would reopen the tabs of the test before."""
    return jupyterlab.address.replace(f"/lab/tree/{FIRST_LESSON}", f"/lab/workspaces/{workspace}/tree/{name}")


def wait_for_kernel(page, jupyterlab, name):
    """Until the lesson's kernel is connected and idle. (The page itself says idle before there is a kernel.)"""
    sessions = re.sub("/lab.*[?]", "/api/sessions?", jupyterlab.address)
    for _ in range(600):
        for session in page.request.get(sessions).json():
            kernel = session["kernel"]
            if session["path"] == name and kernel["connections"] and kernel["execution_state"] == "idle":
                return
        page.wait_for_timeout(100)
    pytest.fail(f"no idle kernel for {name} after a minute")


def wait_for_the_end(page, seconds=180):
    """Until the last cell has been executed, or one has failed, after which the others don't run."""
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    for _ in range(seconds * 10):
        if re.search(r"\[\d+\]", last.inner_text()) or page.locator(ERROR).count():
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the last cell has not been executed after {seconds} s")


def choose(page, *path):
    """Choose an entry of JupyterLab's menus, as a person does."""
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{path[0]}$")).click()
    for label in path[1:]:
        page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{label}$")).last.click()


def bring_into_view(page, shown):
    """Scroll until it stays in view: JupyterLab lays a notebook out again after a change, which moves everything."""
    for _ in range(40):
        shown.evaluate("element => element.scrollIntoView({block: 'center'})")
        page.wait_for_timeout(500)
        box = shown.bounding_box()
        if box and 0 <= box["y"] < page.viewport_size["height"] - box["height"]:
            return
    pytest.fail(f"never came into view: {shown}")


def nothing_in_the_way(page):
    assert page.locator(DIALOG).count() == 0, page.locator(DIALOG).all_inner_texts()
    assert page.locator(TOAST).count() == 0, page.locator(TOAST).all_inner_texts()


def test_the_printed_address_opens_lesson_00_with_nothing_to_answer(page, jupyterlab):
    page.goto(jupyterlab.address)
    wait_for_kernel(page, jupyterlab, FIRST_LESSON)
    expect(page.locator(".lm-TabBar-tab.jp-mod-current", has_text="00_start_here.ipynb").first).to_be_visible()
    # The news prompt of an unconfigured JupyterLab comes within a second or two of the start.
    page.wait_for_timeout(4_000)
    nothing_in_the_way(page)
    page.screenshot(path=SCREENSHOTS / "start.png")


def test_run_all_shows_the_figure_and_the_card(page, jupyterlab):
    page.goto(address_of(jupyterlab, LESSON, "run-all"))
    wait_for_kernel(page, jupyterlab, LESSON)
    choose(page, "Run", "Run All Cells")
    wait_for_the_end(page)
    assert page.locator(ERROR).all_inner_texts() == []
    nothing_in_the_way(page)
    for theme in ("Dark", "Light"):
        choose(page, "Settings", "Theme", f"JupyterLab {theme}")
        expect(page.locator(f"body[data-jp-theme-light={'false' if theme == 'Dark' else 'true'}]")).to_be_attached()
        for what, selector in (("card", CARD), ("figure", FIGURE)):
            shown = page.locator(f".jp-OutputArea-output {selector}").first
            bring_into_view(page, shown)
            page.screenshot(path=SCREENSHOTS / f"{what}-{theme.lower()}.png")
    nothing_in_the_way(page)


def test_a_terminal_finds_the_environments_celery(page, jupyterlab):
    page.goto(address_of(jupyterlab, FIRST_LESSON, "terminal"))
    wait_for_kernel(page, jupyterlab, FIRST_LESSON)
    choose(page, "File", "New", "Terminal")
    page.locator(".jp-Terminal .xterm-helper-textarea").focus()
    page.keyboard.type("(command -v celery; celery --version) > ~/answer && mv ~/answer ~/answered\n")
    answer = jupyterlab.home / "answered"
    for _ in range(300):
        if answer.exists():
            break
        page.wait_for_timeout(100)
    page.screenshot(path=SCREENSHOTS / "terminal.png")
    nothing_in_the_way(page)
    where, version = answer.read_text().splitlines()
    assert where == f"{sys.prefix}/bin/celery"
    assert version.startswith("5.")
