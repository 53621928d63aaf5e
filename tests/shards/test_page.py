"""The HTML page, in a real browser: what is seen, what keys do, what hostile text does not do."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, open_browser
from made_studies import key_of, study_of

from shards import page, words
from study.records import Report, Study

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script><script>document.title = 'owned'</script>",
    '"><img src="http://192.0.2.1/spy.png" onerror="document.title = \'owned\'">',
    "' onclick='alert(1)",
    "<!-- no end",
    "</li></ul></section><style>section { display: none }</style>",
    "<b>5 > 3</b> &amp; <i>more",
    "{title} {0} %s `${1}`",
    "A \u202eright-to-left override\u202c and a \x00 and a \x1b[31m.",
    "long" * 40_000 + " ending.",
)


def page_of(studies: list[Study], file: Path, *, tile: int = 60) -> Path:
    sections = (page.study_section(study, tile=tile) for study in studies)
    text = "".join(page.html_page(sections, title="made <i>up</i>"))
    file.write_text(text, encoding="utf-8")
    return file


def with_text(study: Study, *sentences: str, report: str = "") -> Study:
    return replace(study, report=Report({"offline": sentences}, report))


def with_kind(study: Study, *kinds: tuple[str, str, str]) -> Study:
    """Scans of the given modality, plane and window."""
    scans = tuple(
        replace(scan, modality=modality, plane=plane, window=window)
        for scan, (modality, plane, window) in zip(study.scans, kinds, strict=True)
    )
    return replace(study, scans=scans)


MR, CT = ("MR", "axial", "percentile"), ("CT", "axial", "brain")
STUDIES = [
    with_text(with_kind(study_of(0), MR, MR), "Acute infarct of the left MCA.", "No mass."),
    with_text(with_kind(study_of(1), CT, ("CT", "axial", "bone")), "No acute haemorrhage."),
    with_text(
        with_kind(study_of(2, split="test"), MR, ("MR", "sagittal", "percentile")),
        "Chronic infarction.",
        report="FINDINGS: Chronic. Nothing acute to describe.",
    ),
    with_text(with_kind(study_of(3, split="test"), MR, CT), "Gr\u00f6\u00dfe 5 mm.", *HOSTILE),
    replace(study_of(4, scans=0), report=Report({}, "")),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Browser:
    browser.size(1200, 800)
    browser.open(page_of(STUDIES, tmp_path / "page.html"))
    return browser


def shown(browser: Browser) -> list[int]:
    """Numbers of the studies that are seen."""
    keys = browser.ask(
        "[...document.querySelectorAll('section')]"
        ".filter((s) => s.checkVisibility()).map((s) => s.id)"
    )
    return [int(key, 16) for key in keys]


def counted(browser: Browser) -> str:
    return browser.ask("document.querySelector('output').value")


def pick(browser: Browser, name: str, value: str) -> None:
    """Choose in a drop-down list with the keyboard: its first letters select."""
    browser.ask(f"document.querySelector('select[name={name}]').focus()")
    browser.press(*value)
    assert browser.ask(f"document.querySelector('select[name={name}]').value") == value


def test_words_and_lists_filter_studies(opened: Browser) -> None:
    assert shown(opened) == [0, 1, 2, 3, 4]
    assert counted(opened) == "5 of 5 studies, 8 of 8 scans"
    opened.press("/", *"INFARCT")
    assert shown(opened) == [0, 2]
    assert counted(opened) == "2 of 5 studies, 4 of 8 scans"
    opened.press(*" left")
    assert shown(opened) == [0]
    opened.press("Escape")
    assert shown(opened) == [0, 1, 2, 3, 4]
    opened.press(*'"no acute"')  # the cursor has stayed in the field
    assert shown(opened) == [1]
    opened.press("Escape")
    opened.ask("document.activeElement.blur()")
    pick(opened, "modality", "CT")
    assert shown(opened) == [1, 3]
    assert counted(opened) == "2 of 5 studies, 3 of 8 scans"  # the MR of study 3 is not shown
    pick(opened, "split", "test")
    assert shown(opened) == [3]
    pick(opened, "window", "bone")
    assert shown(opened) == []
    assert counted(opened) == "0 of 5 studies, 0 of 8 scans"
    opened.ask("document.querySelector('button').click()")
    assert len(shown(opened)) == 5
    pick(opened, "plane", "sagittal")
    assert shown(opened) == [2]
    assert opened.problems() == []


def test_what_was_found_is_marked_and_the_report_opens_for_it_alone(opened: Browser) -> None:
    marked = "[...CSS.highlights.get('found')].map((range) => range.toString())"
    is_open = f"document.getElementById('{key_of(2)}').querySelector('details').open"
    opened.press("/", *"acute")
    assert shown(opened) == [0, 1, 2]
    assert opened.ask(marked) == ["Acute", "acute", "acute"]
    assert opened.ask(is_open)
    opened.press("Escape", *"chronic")
    assert opened.ask(marked) == ["Chronic", "Chronic"]  # in the report too, which stays closed
    assert not opened.ask(is_open)


def test_j_and_k_walk_the_shown_studies(opened: Browser) -> None:
    at = "document.activeElement.closest('section')?.id"
    opened.press("/", *"infarct")
    opened.ask("document.activeElement.blur()")
    walked = []
    for key in "jjjk":
        opened.press(key)
        walked.append(int(opened.ask(at), 16))
    assert walked == [0, 2, 2, 0]


def test_the_heading_that_is_walked_to_is_not_under_the_controls(opened: Browser) -> None:
    opened.size(900, 500)
    for _ in range(3):
        opened.press("j")
        top = opened.ask("document.activeElement.getBoundingClientRect().top")
        form = opened.ask("document.querySelector('form').getBoundingClientRect().toJSON()")
        assert form["bottom"] <= top < 250
    assert form["top"] == 0


def test_pictures_decode_and_nothing_is_asked_of_the_network(opened: Browser) -> None:
    opened.ask("document.querySelectorAll('img').forEach((i) => i.scrollIntoView())")
    sizes = opened.ask(
        "Promise.all([...document.images].map(async (image) => { await image.decode();"
        " return [image.naturalWidth, image.naturalHeight]; }))"
    )
    assert sizes == [[3 * 60 + 4, 60]] * 8
    assert [Path(url).name for url in opened.requests()] == ["page.html"]


def test_pictures_are_those_of_the_sheet(opened: Browser) -> None:
    """Grey values of the first picture as the browser shows it, against the picture itself."""
    seen = opened.ask(
        "(async () => { const image = document.images[0]; await image.decode();"
        " const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);"
        " const drawn = canvas.getContext('2d'); drawn.drawImage(image, 0, 0);"
        " return [...drawn.getImageData(0, 0, canvas.width, canvas.height).data]; })()"
    )
    seen_HWC = np.array(seen).reshape(60, 184, 4)[..., :3]
    made = np.asarray(page.preview.scan_picture(STUDIES[0].scans[0], tile=60)).astype(int)
    assert np.abs(seen_HWC - made).mean() < 6


def test_hostile_text_is_only_text(opened: Browser) -> None:
    assert opened.ask("document.title") == "made <i>up</i>"
    said = opened.ask(
        f"[...document.getElementById('{key_of(3)}').querySelectorAll('li')]"
        ".map((item) => item.textContent)"
    )
    assert said[1:] == [text.replace("\x00", "\ufffd") for text in HOSTILE]
    assert opened.ask("document.scripts.length") == 1
    assert opened.ask("document.querySelectorAll('style').length") == 1
    assert opened.ask("document.querySelectorAll('section ul').length") == 4
    assert opened.problems() == []
    opened.press("/", *"ending")
    assert shown(opened) == [3]
    assert opened.problems() == []


def test_the_policy_stops_what_would_get_through(opened: Browser) -> None:
    """Even if something were not escaped: no other script, style, picture or address."""
    opened.ask(
        "globalThis.refused = [];"
        "document.addEventListener('securitypolicyviolation',"
        " (event) => refused.push(event.effectiveDirective));"
        "const script = document.createElement('script');"
        "script.textContent = 'document.title = \"owned\"'; document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=\"http://192.0.2.1/a.png\""
        ' onerror="document.title = 1"><p style="color: red">\'); fetch(\'http://192.0.2.1/\')'
        ".catch(() => 0).then(() => new Promise((done) => setTimeout(done, 50)))"
    )
    refused = set(opened.ask("refused"))
    assert {"script-src-elem", "script-src-attr", "style-src-attr", "img-src", "connect-src"} <= (
        refused
    )
    assert opened.ask("document.title") == "made <i>up</i>"
    urls = [url for url in opened.requests() if not url.startswith("file:")]
    finished = [e for e in opened.events if e.get("method") == "Network.responseReceived"]
    assert all(
        event["params"]["response"]["url"].startswith(("file:", "data:")) for event in finished
    )
    assert set(urls) <= {"http://192.0.2.1/a.png", "http://192.0.2.1/"}  # announced, then blocked


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_has_nothing_to_scroll_sideways(
    browser: Browser, width: int, tmp_path: Path
) -> None:
    browser.size(width, 700, phone=True)
    browser.open(page_of(STUDIES, tmp_path / "page.html", tile=224))
    for large in ("false", "true"):
        browser.ask(
            f"document.querySelector('[name=large]').checked = {large};"
            "document.querySelector('form').dispatchEvent(new Event('input'))"
        )
        assert browser.ask("document.documentElement.scrollWidth") == width
        edges = browser.ask(
            "[...document.querySelectorAll('img, form *, h2, li, figcaption')]"
            ".map((element) => element.getBoundingClientRect().right)"
        )
        assert max(edges) <= width


TYPED = (
    "infarct",
    "INFARCTION",
    "rib",
    "5 mm",
    '"5 mm"',
    "m 5",
    "a.b*",
    "(x)",
    "\u65e5\u672c",
    "\u6240\u898b",
    "gr\u00f6\u00dfe",
    "gro\u0308\u00dfe",
    "GR\u00d6SSE",
    "stra\u1e9ee",
    "_x",
    "x",
    "[",
    "\\",
    '"no  acute"',
    '"no\u00a0acute"',
    "acute no",
    '"no acute" \u00e9',
    '"acute',
    "10^3",
    "3",
)
SENTENCES = (
    "Acute infarction.",
    "We describe ribs.",
    "5 mm, not 15 mm.",
    "5\nmm",
    "a.b*c and (x)",
    "\u65e5\u672c\u8a9e\u306e\u6240\u898b",
    "Gr\u00f6\u00dfe",
    "gro\u0308\u00dfe",
    "_x",
    "[ and \\",
    "No acute \u00e9dema",
    "no   acute",
    "stra\u00dfe",
    "x10^3",
    "",
)


def test_the_page_finds_what_find_finds(browser: Browser, tmp_path: Path) -> None:
    """One rule in two languages: `shards.words` and the page's script."""
    studies = [with_text(study_of(number, scans=0), text) for number, text in enumerate(SENTENCES)]
    browser.open(page_of(studies, tmp_path / "page.html"))
    counts = set()
    for typed in TYPED:
        browser.ask(
            f"document.querySelector('[name=text]').value = {json.dumps(typed)};"
            "document.querySelector('form').dispatchEvent(new Event('input'))"
        )
        wanted = words.words(typed)
        found = [n for n, s in enumerate(SENTENCES) if wanted.spans(words.composed(s)) is not None]
        assert shown(browser) == found, typed
        counts.add(len(found))
    assert counts >= {0, 1, 2}


def test_without_scripts_all_is_there(tmp_path: Path) -> None:
    text = page_of(STUDIES, tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 8
    assert text.count("<script>") == text.count("</script>") == 1
    assert text.count("<section ") == 5
    assert "&lt;b&gt;5 &gt; 3&lt;/b&gt; &amp;amp; &lt;i&gt;more" in text
    assert "source 20x256x256 of 5x0.9x0.9 mm, GANTRY_TILT" in text
    assert "labels: mass 1" in text


def test_two_pages_of_the_same_studies_are_the_same(tmp_path: Path) -> None:
    first, second = (page_of(STUDIES[:2], tmp_path / name).read_bytes() for name in "ab")
    assert first == second
