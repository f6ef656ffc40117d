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


def faults(page):
    """What keeps a reader out: texts of too little contrast, things without a name, headings that skip a level, tables
    without headers, ids that are not unique."""
    return [f"{kind}: {each}" for kind, script in FAULTS.items() for each in page.evaluate(script)]


CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const found = rgb(getComputedStyle(each).backgroundColor);
      if (found.length < 4 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  return [...document.body.querySelectorAll("*:not(script, style, svg title, svg desc)")].filter(own)
    .filter((element) => element.checkVisibility())
    .map((element) => {
      const ink = getComputedStyle(element)[element.closest("svg") ? "fill" : "color"];
      const [a, b] = [light(rgb(ink)), light(ground(element))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), `${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`];
    })
    .filter(([ratio]) => ratio < 4.5)
    .map(([ratio, told]) => `${ratio.toFixed(2)} ${told}`);
}"""
NAMELESS = """() => [...document.querySelectorAll("a, button, input, [tabindex], svg, img, section, nav, table")]
  .filter((each) => !(each.getAttribute("aria-label") || each.getAttribute("aria-labelledby") || each.labels?.length
    || each.ariaHidden || (each.matches("svg, img") ? each.alt : each.textContent.trim())))
  .map((each) => each.outerHTML.slice(0, 80))"""
SKIPPED = """() => [...document.querySelectorAll("h1, h2, h3, h4")]
  .map((each) => [Number(each.tagName[1]), each.textContent])
  .filter(([level], at, all) => level > (at ? all[at - 1][0] + 1 : 1)).map(([, text]) => text)"""
HEADLESS = """() => [...document.querySelectorAll("table")].filter((each) => !(each.caption && each.tHead
    && each.querySelector("thead th[scope=col]") && each.querySelector("tbody th[scope=row]")))
  .map((each) => each.outerHTML.slice(0, 80))"""
TWICE = """() => [...document.querySelectorAll("[id]")].map((each) => each.id)
  .filter((id, at, all) => all.indexOf(id) < at)"""
FAULTS = {"contrast": CONTRAST, "no name": NAMELESS, "level": SKIPPED, "no headers": HEADLESS, "id twice": TWICE}
