"""The style and the script of the HTML page, which are the same for every dataset.

In: nothing. Out: two texts. They stand in the page between their tags, so they hold no `</`; the
page's policy names them by hash, so an attribute `style` or `onclick` would not work. Filters: a
study is shown when one scan has the modality, plane and window, and one sentence, or one of the
report, has all words, which are found as `shards.words` finds them. Words are marked with the CSS
Custom Highlight API, which changes no element; older browsers show them unmarked.
"""

from __future__ import annotations

STYLE = """
:root { color-scheme: dark; }
body { background: #101010; color: #e6e6e6; font: 14px/1.4 sans-serif; margin: 0 1em; }
[hidden] { display: none !important; }
h1 { font-size: 18px; margin: .6em 0 .2em; }
h2 { font-size: 14px; color: #ffd23c; margin: 0 0 .4em; grid-column: 1 / -1;
  overflow-wrap: anywhere; }
h3 { font-size: 12px; color: #a8a8a8; font-weight: normal; margin: 0; }
p { margin: .2em 0; }
small { color: #a8a8a8; }
form { background: #101010; display: flex; flex-wrap: wrap; gap: .4em .6em; align-items: center; }
label { display: flex; align-items: center; }
input, select, button { font: inherit; }
select, button, input[type=search] { min-height: 2em; }
input[type=search] { flex: 1 1 16em; min-width: 10em; max-width: 30em; box-sizing: border-box; }
output { font-weight: bold; }
section, h2 { scroll-margin-top: 6em; }
section { border-top: 1px solid #444; padding: .8em 0; display: grid;
  grid-template-columns: minmax(0, 3fr) minmax(0, 1fr); gap: .3em 1em;
  content-visibility: auto; contain-intrinsic-size: auto 500px; }
.scans { display: flex; flex-wrap: wrap; gap: 8px; align-content: start; }
figure { margin: 0; width: var(--strip); max-width: 100%; }
figcaption { overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; }
.large figure { width: auto; }
.said { overflow-wrap: anywhere; }
.said ul { margin: 0 0 .5em; padding-left: 1.2em; }
details div { white-space: pre-wrap; color: #c8c8c8; }
::highlight(found) { background-color: #ffd23c; color: #000; }
@media (min-width: 800px) and (min-height: 500px) {
  form { position: sticky; top: 0; padding: .4em 0; z-index: 1; }
}
@media (max-width: 800px) { section { grid-template-columns: minmax(0, 1fr); } }
@media (hover: none) { form small { display: none; } }
@media print { form { display: none; } section { content-visibility: visible; } }
"""

SCRIPT = r"""
(() => {
  "use strict";
  const form = document.querySelector("form");
  const count = form.querySelector("output");
  const ofScans = ["modality", "plane", "window"];
  const studies = [...document.querySelectorAll("section")].map((section) => ({
    section,
    split: section.dataset.split,
    figures: [...section.querySelectorAll("figure")],
    report: section.querySelector("details"),
    sentences: [...section.querySelectorAll("li, details span")].map((element) => {
      element.normalize();  /* parsers cut long texts into several nodes: Chromium at 65,536 */
      return { element, text: element.textContent };
    }),
  }));
  const numScans = document.querySelectorAll("figure").length;

  for (const name of [...ofScans, "split"]) {
    const values = new Set(studies.flatMap((study) => name === "split"
      ? [study.split] : study.figures.map((figure) => figure.dataset[name])));
    for (const value of [...values].sort()) form.elements[name].add(new Option(value, value));
  }

  /* As words() of shards/words.py: what has a case, and digits, must begin a word. */
  function patterns(typed) {
    const found = [];
    for (const match of typed.normalize("NFC").matchAll(/"([^"]*)"?|([^\s"]+)/g)) {
      const term = (match[1] ?? match[2]).trim();
      if (!term) continue;
      const first = String.fromCodePoint(term.codePointAt(0));
      const begins = /\p{Nd}/u.test(first) || first.toLowerCase() !== first.toUpperCase();
      const plain = term.split(/\s+/).map((word) => word.replace(/[\\^$.*+?()[\]{}|\/]/g, "\\$&"));
      found.push(new RegExp((begins ? "(?<![\\p{L}\\p{N}_])" : "") + plain.join("\\s+"), "giu"));
    }
    return found;
  }

  function mark(sentences, wanted) {
    if (typeof Highlight === "undefined" || !CSS.highlights) return;
    const ranges = [];
    for (const { element, text } of sentences) {
      for (const pattern of wanted) {
        for (const match of text.matchAll(pattern)) {
          const range = document.createRange();
          range.setStart(element.firstChild, match.index);
          range.setEnd(element.firstChild, match.index + match[0].length);
          ranges.push(range);
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  function filter() {
    const asked = Object.fromEntries(new FormData(form));
    const wanted = patterns(asked.text);
    const marked = [];
    let shownStudies = 0, shownScans = 0;
    for (const study of studies) {
      const said = wanted.length === 0 ? [] : study.sentences.filter(({ text }) =>
        wanted.every((pattern) => text.search(pattern) >= 0));
      const scans = study.figures.filter((figure) =>
        ofScans.every((name) => !asked[name] || figure.dataset[name] === asked[name]));
      const noScans = study.figures.length === 0 && ofScans.every((name) => !asked[name]);
      const shown = (scans.length > 0 || noScans)
        && (!asked.split || study.split === asked.split)
        && (wanted.length === 0 || said.length > 0);
      study.section.hidden = !shown;
      if (!shown) continue;
      const kept = new Set(scans);
      for (const figure of study.figures) figure.hidden = !kept.has(figure);
      if (study.report) {
        const inReport = said.filter(({ element }) => study.report.contains(element));
        study.report.open = inReport.length > 0 && inReport.length === said.length;
      }
      shownStudies += 1;
      shownScans += scans.length;
      marked.push(...said);
    }
    mark(marked, wanted);
    document.body.classList.toggle("large", form.elements.large.checked);
    count.value = `${shownStudies} of ${studies.length} studies, `
      + `${shownScans} of ${numScans} scans`;
  }

  function clear() {
    form.reset();
    filter();
  }

  function go(step) {
    const shown = studies.filter((study) => !study.section.hidden);
    const at = shown.findIndex((study) => study.section.contains(document.activeElement));
    const next = shown[at < 0 ? (step > 0 ? 0 : shown.length - 1) : at + step];
    if (!next) return;
    next.section.scrollIntoView({ block: "start" });
    next.section.querySelector("h2").focus();
  }

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").addEventListener("click", clear);
  addEventListener("pageshow", filter);  /* a browser may bring back what was typed before */
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      clear();
      return;
    }
    if (document.activeElement.matches("input[type=search], select")) return;
    if (event.key === "/") {
      event.preventDefault();
      form.elements.text.focus();
    } else if (event.key === "j") go(1);
    else if (event.key === "k") go(-1);
  });
  form.hidden = false;
  filter();
})();
"""
