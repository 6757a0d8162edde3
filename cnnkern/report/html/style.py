"""The page's style sheet and its script, which only adds: without it everything is there, unsorted."""

from __future__ import annotations

from ..series import FAMILIES
from .plot import css_name

_LIGHT = {
    "bg": "#ffffff", "fg": "#1b1f24", "muted": "#59636e", "line": "#d5dae0", "soft": "#f4f6f8", "link": "#0b5cad",
    "good": "#116b3a", "bad": "#b3261e", "warn": "#8a5300", "roof": "#57606a", "faster": "#0072b2",
    "slower": "#c8500a",
}  # fmt: skip
_DARK = {
    "bg": "#12161b", "fg": "#e8ecf0", "muted": "#a3adb8", "line": "#333b44", "soft": "#1b2128", "link": "#7dbcff",
    "good": "#62d394", "bad": "#ff8f85", "warn": "#f0b860", "roof": "#aab4bf", "faster": "#5ab1f0",
    "slower": "#ff8c4b",
}  # fmt: skip


def _colours(theme: dict[str, str], which: int, scheme: str) -> str:
    every = {**theme, **{css_name(name): family[which] for name, family in FAMILIES.items()}}
    return f"color-scheme:{scheme};" + "".join(f"--{name}:{colour};" for name, colour in every.items())


def _families() -> str:
    return "".join(f".{css_name(name)}{{fill:var(--{css_name(name)});}}" for name in FAMILIES)


_RULES = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 76rem; padding: 1.25rem; background: var(--bg); color: var(--fg);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { display: flex; gap: 1rem; align-items: flex-start; justify-content: space-between; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 70ch; overflow-wrap: anywhere; }
a { color: var(--link); }
.muted, small { color: var(--muted); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
td.why { white-space: normal; min-width: 14rem; }
.why { color: var(--slower); }
.warn { color: var(--warn); font-size: .9rem; max-width: none; }
button { font: inherit; padding: .3rem .7rem; color: var(--fg); background: var(--soft); cursor: pointer;
  border: 1px solid var(--line); border-radius: .4rem; white-space: nowrap; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: .5rem 0; }
.legend { font-size: .85rem; }
.legend li { display: inline-flex; align-items: center; gap: .3rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: var(--muted); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
code { font: .85em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .5rem; margin: .75rem 0; }
.tiles div { background: var(--soft); border-radius: .5rem; padding: .5rem .75rem; font-size: .8rem;
  color: var(--muted); }
.tiles b { display: block; font-size: 1.3rem; line-height: 1.3; color: var(--fg); font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.box { position: relative; overflow: auto; max-width: 100%; border-radius: .5rem;
  border: 1px solid var(--line); margin: .5rem 0 1rem; }
.tall { max-height: 38rem; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .82rem;
  font-variant-numeric: tabular-nums; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); }
th, td { padding: .3rem .5rem; text-align: left; vertical-align: middle; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
thead th { position: sticky; top: 0; z-index: 2; background: var(--soft); color: var(--muted); font-weight: 600;
  vertical-align: bottom; white-space: normal; min-width: 3.2rem; }
tbody th { position: sticky; left: 0; z-index: 1; background: var(--bg); font-weight: 600; white-space: normal;
  overflow-wrap: break-word; min-width: 11.5rem; max-width: 17rem; }
.plain tbody th { white-space: nowrap; min-width: 0; max-width: none; overflow-wrap: normal; }
tbody tr:hover > * { background: var(--soft); }
thead th:first-child { left: 0; z-index: 3; }
td.n, th.n { text-align: right; }
th small { display: block; font-weight: 400; font-size: .75rem; }
td.chart, thead th.chart { min-width: 14rem; width: 30%; white-space: normal; }
th[aria-sort] { cursor: pointer; color: var(--fg); }
th.able { cursor: pointer; }
th.able:hover, th.able:focus { text-decoration: underline; }
th[aria-sort=ascending]::after { content: " \\25B2"; }
th[aria-sort=descending]::after { content: " \\25BC"; }
svg { display: block; }
.legend svg { flex: none; }
svg.bar { overflow: visible; }
svg text { fill: var(--fg); font-size: 12px; }
svg.narrow text { font-size: 11px; }
.plot { width: 100%; height: auto; }
.plot.narrow { display: none; }
.grid line { stroke: var(--line); stroke-width: 1; }
.grid text, svg.bar text { fill: var(--muted); font-weight: 400; }
tbody th { box-shadow: 1px 0 0 var(--line); }
.roof-L1 { stroke-dasharray: 2 3; }
.roof-L2 { stroke-dasharray: 7 3; }
.roof-L3 { stroke-dasharray: 12 3 2 3; }
.roof { stroke: var(--roof); stroke-width: 1.5; }
svg text.rooftext { fill: var(--roof); }
.halo { paint-order: stroke; stroke: var(--bg); stroke-width: 3px; stroke-linejoin: round; }
thead .halo { stroke: var(--soft); }
.mark { stroke: var(--bg); stroke-width: 1; fill-opacity: .82; }
.mark.f-other { fill-opacity: .25; stroke: var(--f-other); }
.reach { fill: transparent; }
.point { cursor: pointer; outline: none; }
.point:hover .mark, .point:focus .mark { stroke: var(--fg); stroke-width: 2; fill-opacity: 1; }
.lead line { stroke: var(--muted); stroke-width: .75; }
.name { pointer-events: none; }
.fill { fill-opacity: .85; }
.outline { fill: none; stroke: var(--fg); stroke-width: 1; stroke-opacity: .7; }
.limit { stroke: var(--fg); stroke-width: 2; }
.tick { stroke: var(--line); }
.one { stroke: var(--muted); stroke-width: 1.5; }
.stem { stroke-width: 3; }
.stem.faster, .least.faster { stroke: var(--faster); }
.stem.slower, .least.slower { stroke: var(--slower); }
.least { fill: var(--bg); stroke-width: 1.5; }
.dot.faster { fill: var(--faster); }
.dot.slower { fill: var(--slower); }
#tip { position: fixed; z-index: 9; max-width: min(22rem, 90vw); padding: .4rem .6rem; font-size: .8rem;
  background: var(--fg); color: var(--bg); border-radius: .4rem; pointer-events: none; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: .75rem; }
  h1 { font-size: 1.3rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; }
  .plot.wide { display: none; }
  .plot.narrow { display: block; }
  tbody th { max-width: 9rem; overflow-wrap: anywhere; min-width: 7rem; }
  th, td { padding: .3rem .4rem; }
  td.chart, thead th.chart { min-width: 8.5rem; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(6.5rem, 1fr)); }
  .tall { max-height: 30rem; }
  .spared { display: none; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  button, #tip { display: none !important; }
  .box, .tall { overflow: visible; max-height: none; border: 0; }
  table { font-size: 8px; }
  th, td { padding: .15rem .25rem; }
  td.chart, thead th.chart { min-width: 7rem; width: auto; }
  tbody th, thead th { position: static; }
  tbody th { min-width: 5rem; max-width: 9rem; }
  thead { display: table-header-group; }
  tr, svg.plot { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

SCRIPT = """
(function () {
  var root = document.documentElement, button = document.getElementById("theme");
  function dark() {
    var set = root.dataset.theme;
    return set ? set === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  function show() { button.textContent = dark() ? "Light" : "Dark"; }
  try { var kept = localStorage.getItem("cnnkern-theme"); if (kept) root.dataset.theme = kept; } catch (e) {}
  button.hidden = false;
  show();
  button.addEventListener("click", function () {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("cnnkern-theme", root.dataset.theme); } catch (e) {}
    show();
  });

  var tip = document.getElementById("tip");
  function tell(point) {
    var box = point.querySelector(".mark").getBoundingClientRect();
    tip.textContent = point.getAttribute("aria-label");
    tip.hidden = false;
    var wide = tip.offsetWidth, high = tip.offsetHeight, above = box.top - high - 8;
    tip.style.left = Math.max(6, Math.min(innerWidth - wide - 6, box.left + box.width / 2 - wide / 2)) + "px";
    tip.style.top = (above > 6 ? above : box.bottom + 8) + "px";
  }
  function hush() { tip.hidden = true; }
  addEventListener("scroll", hush, { passive: true });
  document.querySelectorAll(".points").forEach(function (group) {
    var points = Array.from(group.children);
    points.forEach(function (point, i) {
      var title = point.querySelector("title");
      if (title) title.remove();
      point.addEventListener("mouseenter", function () { tell(point); });
      point.addEventListener("mouseleave", hush);
      point.addEventListener("focus", function () { tell(point); });
      point.addEventListener("blur", hush);
      point.addEventListener("click", function () { point.focus(); tell(point); });
      point.addEventListener("keydown", function (event) {
        var step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") hush();
        if (!step) return;
        event.preventDefault();
        points[(i + step + points.length) % points.length].focus({ preventScroll: true });
      });
    });
  });

  function value(row, column) {
    var cell = row.cells[column];
    if (!cell) return null;
    var figure = cell.querySelector("rect[data-value], circle[data-value]");
    if (cell.dataset.value !== undefined) return parseFloat(cell.dataset.value);
    if (figure) return parseFloat(figure.dataset.value);
    var words = cell.textContent.trim();
    return words === "-" || words === "" ? null : /^[0-9]+$/.test(words) ? parseFloat(words) : words;
  }
  function order(a, b) {
    if (typeof a === typeof b && typeof a === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
      function sort() {
        var up = head.getAttribute("aria-sort") === "descending", body = table.tBodies[0];
        var rows = Array.from(body.rows).map(function (row) { return [value(row, column), row]; });
        rows.sort(function (a, b) {
          if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
          return up ? order(a[0], b[0]) : order(b[0], a[0]);
        });
        rows.forEach(function (pair) { body.appendChild(pair[1]); });
        Array.from(head.parentNode.cells).forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
      }
      head.classList.add("able");
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", function (event) {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
      });
    });
  });
})();
"""


def sheet() -> str:
    """All of the style, for a style element: it holds no "<"."""
    light, dark = _colours(_LIGHT, 1, "light"), _colours(_DARK, 2, "dark")
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme: dark){{:root:not([data-theme=light]){{{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{{dark}}}}}\n"
        f"{_families()}{_RULES}"
    )
