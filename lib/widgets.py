"""Small animations for notebooks: HTML and JavaScript that need no library and no network."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import torch

from lib.layers.conv import conv2d_loops
from lib.layers.windows import pad

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
