"""Small animations for notebooks: HTML and JavaScript that need no library and no network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lib.layers.conv import conv2d_loops
from lib.layers.windows import pad
from lib.shapes import require

if TYPE_CHECKING:
    from IPython.display import HTML

STYLE = """
<style>
div.slide table { border-collapse: collapse; margin: 4px 14px 4px 0 !important; display: inline-table; font-size: 12px;
  vertical-align: middle }
div.slide td { width: 30px; height: 30px; min-width: 30px; padding: 0 !important; border: 1px solid #999 !important;
  text-align: center !important }
div.slide tr { background: none !important }
div.slide caption { caption-side: top; padding: 2px }
div.slide td.dim { color: #999; border-style: dashed !important }
div.slide td.on { background: #FFD9A0; color: black }
div.slide td.now { outline: 3px solid #D55E00; outline-offset: -3px }
div.slide p { margin: 6px 0 }
</style>"""

SCRIPT = """
<script>
(function () {
  const d = DATA, box = document.getElementById("ID"), slider = box.querySelector("input");
  const rows = box.querySelectorAll("table");
  const cell = (t, i, j) => rows[t].rows[i].cells[j];
  let timer = null;
  function show(k) {
    const i = Math.floor(k / d.w), j = k % d.w, terms = [];
    rows[0].querySelectorAll("td").forEach(c => c.classList.remove("on"));
    for (let a = 0; a < d.kernel.length; a++) for (let b = 0; b < d.kernel[0].length; b++) {
      const r = i * d.stride + a * d.dilation, c = j * d.stride + b * d.dilation;
      cell(0, r, c).classList.add("on");
      terms.push(d.x[r][c] + "\\u00b7" + (d.kernel[a][b] < 0 ? "(" + d.kernel[a][b] + ")" : d.kernel[a][b]));
    }
    rows[2].querySelectorAll("td").forEach((c, m) => {
      c.textContent = m <= k ? d.y[Math.floor(m / d.w)][m % d.w] : "";
      c.classList.toggle("now", m === k);
    });
    box.querySelector("p").textContent = terms.join(" + ") + " = " + d.y[i][j];
    slider.value = k;
  }
  slider.oninput = () => show(+slider.value);
  box.querySelector("button").onclick = () => {
    if (timer) { clearInterval(timer); timer = null; return; }
    timer = setInterval(() => show((+slider.value + 1) % (d.h * d.w)), 700);
  };
  show(0);
})();
</script>"""


def sliding_window(x, kernel, stride: int = 1, padding: int = 0, dilation: int = 1) -> HTML:
    """A kernel (kh, kw) slides over an image x (H, W), both of whole numbers: press play, or move the slider.

    Shows at each place which pixels the window holds (dashed: padding), the sum of products, and the output so far.
    Raises ValueError when the kernel does not fit.
    """
    from IPython.display import HTML

    image, weight = (torch.as_tensor(t)[None, None] for t in (x, kernel))
    y = conv2d_loops(image, weight, None, stride, padding, dilation)[0, 0].tolist()
    padded = pad(image, (padding, padding))[0, 0].tolist()
    data = {"x": padded, "kernel": weight[0, 0].tolist(), "y": y, "h": len(y), "w": len(y[0])}
    data |= {"stride": stride, "dilation": dilation}
    text = json.dumps(data)
    name = "slide-" + hashlib.sha256(text.encode()).hexdigest()[:8]  # the same in every run, another for other numbers
    inside = range(padding, padding + image.shape[2]), range(padding, padding + image.shape[3])

    def table(title: str, numbers: list[list], hidden=lambda i, j: False) -> str:
        rows = "".join(
            "<tr>" + "".join(f'<td class="{"dim" * hidden(i, j)}">{v}</td>' for j, v in enumerate(row)) + "</tr>"
            for i, row in enumerate(numbers)
        )
        return f"<table><caption>{title}</caption>{rows}</table>"

    tables = table("image", padded, lambda i, j: i not in inside[0] or j not in inside[1])
    tables += table("kernel", data["kernel"]) + table("output", y)
    controls = f'<button>play / pause</button> <input type="range" min="0" max="{len(y) * len(y[0]) - 1}" value="0">'
    body = f'<div class="slide" id="{name}">{tables}<p></p>{controls}</div>'
    return HTML(STYLE + body + SCRIPT.replace("DATA", text).replace("ID", name))


TOKEN_STYLE = """
<style>
div.tokens { line-height: 2.1; font-size: 13px }
div.tokens span { display: inline-block; background: #CDE6F5; color: black; border: 1px solid #444; border-radius: 4px;
  line-height: 1.4; padding: 0 2px; margin-right: 2px; font-family: monospace; white-space: pre }
div.tokens span.odd { background: #FFE3B8 }
div.tokens b { display: inline-block; min-width: 7em; margin-right: 8px; font-weight: 600 }
div.tokens div.word { display: inline-block; margin-right: 16px }
div.tokens table { border-collapse: collapse; font-size: 13px; margin: 4px 0 !important }
div.tokens td { border: 1px solid #999 !important; padding: 1px 8px !important; text-align: left !important }
div.tokens td.on { background: #FFD9A0; color: black; font-weight: 600 }
</style>"""

PLAYER = """
<script>
(function () {
  const box = document.getElementById("ID"), slider = box.querySelector("input");
  const pages = box.querySelectorAll("section");
  let timer = null;
  function show(k) {
    pages.forEach((page, i) => { page.hidden = i !== k; });
    slider.value = k;
  }
  slider.oninput = () => show(+slider.value);
  box.querySelector("button").onclick = () => {
    if (timer) { clearInterval(timer); timer = null; return; }
    timer = setInterval(() => show((+slider.value + 1) % pages.length), 1500);
  };
})();
</script>"""


@dataclass(frozen=True)
class Frame:
    """One moment of an algorithm on pieces, for `player`."""

    title: str
    table: Sequence[Sequence[str]]  # rows; the first is the head
    chosen: Collection[int]  # which rows of the table are marked, the first after the head being 0
    words: Sequence[tuple[Sequence[str], int]]  # the text as it stands: the pieces of each word, and its count


def tokens(rows: Mapping[str, Sequence[str]]) -> HTML:
    """Pieces side by side in two colours and each in a frame; a row for each entry, with its name and their number."""
    from IPython.display import HTML

    lines = (f"<div><b>{escape(name)}</b>{_spans(row)} ({len(row)})</div>" for name, row in rows.items())
    return HTML(f'{TOKEN_STYLE}<div class="tokens">{"".join(lines)}</div>')


def player(frames: Sequence[Frame]) -> HTML:
    """Frames one after another: press play, or move the slider. Raises ValueError where there are none."""
    from IPython.display import HTML

    if not frames:
        raise ValueError("An animation needs a frame or more; there are none.")
    pages = "".join(f"<section{' hidden' * (i > 0)}>{_page(frame)}</section>" for i, frame in enumerate(frames))
    name = "play-" + hashlib.sha256(pages.encode()).hexdigest()[:8]
    controls = f'<button>play / pause</button> <input type="range" min="0" max="{len(frames) - 1}" value="0">'
    body = f'<div class="tokens" id="{name}">{controls}{pages}</div>'
    return HTML(TOKEN_STYLE + body + PLAYER.replace("ID", name))


def _page(frame: Frame) -> str:
    def row(i: int, cells: Sequence[str]) -> str:
        mark = ' class="on"' * (i - 1 in frame.chosen)
        return "<tr>" + "".join(f"<td{mark}>{escape(cell)}</td>" for cell in cells) + "</tr>"

    table = "".join(row(i, cells) for i, cells in enumerate(frame.table))
    words = "".join(f'<div class="word">{n} × {_spans(word)}</div>' for word, n in frame.words)
    return f"<div>{escape(frame.title)}</div><table>{table}</table><div>{words}</div>"


def _spans(pieces: Sequence[str]) -> str:
    return "".join(f"<span{' class=odd' * (i % 2)}>{escape(piece)}</span>" for i, piece in enumerate(pieces))


LOOK_STYLE = """
<style>
div.look table { border-collapse: collapse; margin: 6px 0 !important; font-size: 11px }
div.look td, div.look th { width: 15px; min-width: 15px; height: 15px; padding: 0 2px !important; line-height: 1;
  text-align: center !important; font-weight: normal; background: none }
div.look td { border: 1px solid #8884 !important }
div.look th.key span { writing-mode: vertical-rl; transform: rotate(180deg) }
div.look th.query { text-align: right !important; white-space: nowrap }
div.look tr { background: none !important }
div.look tr.on th.query { font-weight: bold; color: #D55E00 }
div.look tr.on td { border-top: 2px solid #D55E00 !important; border-bottom: 2px solid #D55E00 !important }
div.look p { margin: 6px 0; line-height: 1.9 }
div.look p span { padding: 2px 3px; white-space: pre }
div.look label { display: inline-block; margin-right: 24px }
</style>"""

LOOK_SCRIPT = """
<script>
(function () {
  const d = DATA, box = document.getElementById("ID"), [view, query] = box.querySelectorAll("input");
  const rows = [...box.querySelectorAll("tr.row")], said = [...box.querySelectorAll("p span")];
  const blue = w => "rgba(0, 114, 178, " + w / 100 + ")";
  function show() {
    const w = d.weights[view.value], q = +query.value, best = [...w[q].keys()].sort((a, b) => w[q][b] - w[q][a]);
    rows.forEach((row, t) => {
      row.classList.toggle("on", t === q);
      row.querySelectorAll("td").forEach((cell, s) => { cell.style.background = blue(w[t][s]); });
    });
    said.forEach((key, s) => { key.style.background = blue(w[q][s]); });
    const most = best.slice(0, 3).filter(s => w[q][s] > 0).map(s => d.keys[s] + " " + w[q][s] + "%").join(",  ");
    box.querySelector("b.view").textContent = d.names[view.value];
    box.querySelector("b.query").textContent = d.queries[q] + "  \\u2192  " + (most || "nothing");
  }
  rows.forEach((row, t) => { row.onmouseenter = () => { query.value = t; show(); }; });
  view.oninput = query.oninput = show;
  show();
})();
</script>"""


def attention_view(keys: Sequence[str], weights: Mapping[str, Tensor], queries: Sequence[str] | None = None) -> HTML:
    """Tables of attention weights to look into: one slider goes through the tables, another through the queries.

    weights: a table (T, S) for each name, such as "head 3" or "step 100". keys: S labels; queries: T labels, the keys
    if None. The query that the pointer is on, or that the slider chose, shows what it takes of each key, in per cent.
    Raises ValueError for a table of another shape.
    """
    from IPython.display import HTML

    queries = keys if queries is None else queries
    for name, w in weights.items():
        fits = tuple(w.shape) == (len(queries), len(keys))
        require(fits, f"{name!r} has the shape {tuple(w.shape)}, not {len(queries)} queries by {len(keys)} keys")
    require(len(weights) > 0, "there is no table to look at: weights is empty")
    tables = [(100 * w).round().int().tolist() for w in weights.values()]
    data = {"names": list(weights), "keys": list(keys), "queries": list(queries), "weights": tables}
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # a label may hold </script>
    name = "look-" + hashlib.sha256(text.encode()).hexdigest()[:8]
    head = "".join(f'<th class="key"><span>{escape(key)}</span></th>' for key in keys)
    row = '<tr class="row"><th class="query">{}</th>' + "<td></td>" * len(keys) + "</tr>"
    table = f"<table><tr><th></th>{head}</tr>{''.join(row.format(escape(query)) for query in queries)}</table>"
    line = "".join(f"<span>{escape(key)}</span>" for key in keys)
    sliders = [("view", len(weights), 0), ("query", len(queries), len(queries) // 2)]
    controls = "".join(
        f'<label><input type="range" min="0" max="{n - 1}" value="{start}"> <b class="{kind}"></b></label>'
        for kind, n, start in sliders
    )
    body = f'<div class="look" id="{name}">{controls}<p>{line}</p>{table}</div>'
    return HTML(LOOK_STYLE + body + LOOK_SCRIPT.replace("ID", name).replace("DATA", text))
