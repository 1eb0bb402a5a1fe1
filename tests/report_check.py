"""Looks at a page of `trainer report` with a real browser, in light and dark, and saves what it saw as PNG files beside the page.

usage: target/python/bin/python tests/report_check.py PAGE.html

Fails on any message of the console, any request beyond the page itself, a chart that shows nothing, a text or a mark that does not
stand out from what is behind it, or a page that is wider than its window. `make test-extended` runs it.
"""

import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

# By the Web Content Accessibility Guidelines: small text, and the marks of a chart.
TEXT_CONTRAST = 4.5
MARK_CONTRAST = 3.0

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Of each element with text of its own, and of each mark: colour, what is behind it, and where.
LOOK = """() => {
    const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const opaque = colour => colour.length === 3 || colour[3] === 1;
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = rgb(getComputedStyle(element).backgroundColor);
            if (colour.length && opaque(colour)) return colour.slice(0, 3);
        }
        return null;
    };
    const texts = [], marks = [], charts = [];
    for (const element of document.body.querySelectorAll("*")) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const box = element.getBoundingClientRect();
        if (!own || !box.width || element.closest("style")) continue;
        const style = getComputedStyle(element);
        const colour = rgb(element.closest("svg") ? style.fill : style.color).slice(0, 3);
        texts.push({text: element.textContent.trim().slice(0, 40), colour, behind: behind(element), size: box.height});
    }
    for (const svg of document.querySelectorAll("svg")) {
        const frame = svg.getBoundingClientRect();
        const box = svg.getBBox();
        const shapes = [...svg.querySelectorAll("polyline, circle, rect")].filter(shape => shape.getAttribute("opacity") !== "0");
        const drawn = shapes.map(shape => {
            const style = getComputedStyle(shape);
            const colour = rgb(style.stroke === "none" ? style.fill : style.stroke).slice(0, 3);
            const {width, height} = shape.getBBox();
            return {tag: shape.tagName, colour, behind: behind(svg.parentElement), width, height, grid: shape.getAttribute("stroke") === "#DFE2E8"};
        });
        marks.push(...drawn.filter(mark => !mark.grid));
        charts.push({
            name: svg.parentElement.getAttribute("aria-label"),
            frame: [frame.width, frame.height], box: [box.width, box.height],
            marks: drawn.filter(mark => !mark.grid && (mark.width > 4 || mark.height > 4)).length,
            labels: svg.querySelectorAll("text").length,
            inside: [...svg.querySelectorAll("text")].every(label => {
                const at = label.getBoundingClientRect();
                return at.left >= frame.left - 1 && at.right <= frame.right + 1 && at.top >= frame.top - 1 && at.bottom <= frame.bottom + 1;
            }),
        });
    }
    const root = document.documentElement;
    return {texts, marks, charts, overflow: root.scrollWidth - root.clientWidth, scripts: document.scripts.length};
}"""

CHARTS = ["Losses by steps", "Learning rate by steps", "Nats against bytes", "Quantization error by tensor"]


def luminance(colour):
    parts = [value / 255 for value in colour]
    parts = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def faults(seen, scheme):
    """What is wrong with how the page looks."""
    wrong = []
    for kind, least in [("texts", TEXT_CONTRAST), ("marks", MARK_CONTRAST)]:
        for item in seen[kind]:
            if len(item["colour"]) != 3 or item["behind"] is None:
                wrong.append(f"no colour to compare: {item}")
            elif contrast(item["colour"], item["behind"]) < least:
                wrong.append(f"contrast {contrast(item['colour'], item['behind']):.2f}, expected at least {least}: {item}")
    names = [chart["name"] for chart in seen["charts"]]
    if names != CHARTS:
        wrong.append(f"expected the charts {CHARTS}, found {names}")
    for chart in seen["charts"]:
        parts = [part for size in (chart["frame"], chart["box"]) for part in size]
        if min(parts) < 100 or chart["marks"] == 0 or chart["labels"] < 4 or not chart["inside"]:
            wrong.append(f"a chart that shows too little, or labels outside of it: {chart}")
    behind = {tuple(item["behind"]) for item in seen["texts"] if item["behind"]}
    if not behind or any((luminance(colour) > 0.5) != (scheme == "light") for colour in behind):
        wrong.append(f"the page is not {scheme}: {behind}")
    if seen["overflow"] > 0:
        wrong.append(f"the page is {seen['overflow']} pixels wider than its window")
    if seen["scripts"]:
        wrong.append(f"expected no scripts, found {seen['scripts']}")
    return wrong


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    page_file = pathlib.Path(sys.argv[1]).resolve()
    browser_file = next(filter(None, map(shutil.which, ["chromium", "google-chrome"])), None)
    if browser_file is None:
        sys.exit("expected chromium or google-chrome, found neither: run firmware/setup.sh browser")
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_file, args=FLAGS)
        for scheme in ["light", "dark"]:
            for width in [1100, 400]:
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                told, asked = [], []
                page.on("console", lambda message: told.append(message.text))
                page.on("pageerror", lambda error: told.append(str(error)))
                page.on("request", lambda request: asked.append(request.url))
                page.goto(page_file.as_uri())
                page.wait_for_load_state("networkidle")
                for summary in page.locator("summary").all():
                    summary.click()
                seen = page.evaluate(LOOK)
                picture = page_file.with_name(f"{page_file.stem}-{scheme}-{width}.png")
                page.screenshot(path=picture, full_page=True)
                here = faults(seen, scheme)
                here += [f"the console says: {text}" for text in told]
                here += [f"a request: {url}" for url in asked if url != page_file.as_uri()]
                wrong += [f"{scheme}, {width} pixels: {fault}" for fault in here]
                print(
                    f"{scheme}, {width} pixels: {len(seen['charts'])} charts, {len(seen['texts'])} texts and {len(seen['marks'])} marks; "
                    f"{len(here)} faults; {picture}"
                )
                page.close()
        browser.close()
    if wrong:
        sys.exit("\n".join(wrong))


main()
