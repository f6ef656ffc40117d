"""A browser for the tests of the page: what it complains about is kept beside what it shows."""

from contextlib import contextmanager

from playwright.sync_api import sync_playwright

CHROMIUM = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
    "--disable-component-update",
)


@contextmanager
def browser():
    """Chromium, for as many pages as a test needs."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        yield opened
        opened.close()


@contextmanager
def page_of(opened, path, **settings):
    """The page at this path; it must ask for nothing else and complain about nothing."""
    requests, complaints = [], []
    page = opened.new_page(**settings)
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
    page.goto(path.as_uri())
    yield page
    assert requests == [path.as_uri()]
    assert complaints == []
    page.close()
