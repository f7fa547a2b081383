"""How fast is our LSTM? Beside torch.nn.LSTM with the same weights, forward and backward, in one run.

    OMP_NUM_THREADS=1 python bench/lstm.py
    OMP_NUM_THREADS=1 python bench/lstm.py --device cuda

The two take turns on the same input, so that whatever else the machine does slows both alike. Printed is the median
time of a forward pass and of a backward pass (of the sum of the output), and ours over torch's.

Where the gap comes from:

- Neither wastes arithmetic. Both take the four gates in one product, and the input's share of it, W_ih x_t, for all
  steps at once, since it waits for no earlier step. So where the products are large, the ratio comes near 1.
- Ours walks the steps in Python: about a dozen operations a step (a product, a split, five squashings, the products
  and sums of the cell), each dispatched on its own, each recorded for the backward pass, each with a result in memory.
  At a small size an operation costs more to start than to compute. On a GPU each one is a kernel launch, and the GPU
  waits for most of them.
- torch's is one operation for a whole layer, forward and backward (a profile shows `mkldnn_rnn_layer`: oneDNN's LSTM;
  on a GPU it is cuDNN's). It walks the steps in compiled code, and squashes and multiplies the gates in one sweep.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from lib import seed
from lib.layers.recurrent import LSTM

SIZES = [(1, 50, 32), (32, 20, 64), (32, 100, 128), (64, 50, 512)]
"""Sequences B, steps T, width of input and state."""


def now(x: torch.Tensor) -> float:
    """The time, once the device of x has done what it was given."""
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def turn(layer: torch.nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """The times of one forward and one backward pass."""
    layer.zero_grad()
    start = now(x)
    loss = layer(x)[0].sum()
    middle = now(x)
    loss.backward()
    return middle - start, now(x) - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="turns for each size (default 15)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    args = parser.parse_args()
    device = torch.device(args.device)

    print(f"{args.device}, {torch.get_num_threads()} thread(s), torch {torch.__version__}, float32, milliseconds,")
    print(f"median of {args.turns} turns after 3 to warm up\n")
    print(f"{'':20}{'forward':^28}{'backward':^28}")
    print(f"{'B':>4}{'T':>6}{'width':>7}   " + f"{'ours':>9}{'torch':>9}{'ratio':>8}  " * 2 + f"{'both':>8}")
    for B, T, width in SIZES:
        seed(0)
        ours, theirs = LSTM(width, width).to(device), torch.nn.LSTM(width, width).to(device)
        theirs.load_state_dict(ours.state_dict())
        x = torch.randn(T, B, width, device=device)
        assert torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-4), "the two layers disagree"
        pairs = [(turn(ours, x), turn(theirs, x)) for _ in range(args.turns + 3)][3:]
        line = f"{B:>4}{T:>6}{width:>7}   "
        for part in (0, 1):
            a, b = (1e3 * statistics.median(pair[i][part] for pair in pairs) for i in (0, 1))
            line += f"{a:>9.2f}{b:>9.2f}{statistics.median(p[part] / q[part] for p, q in pairs):>8.2f}  "
        whole = statistics.median(sum(p) / sum(q) for p, q in pairs)
        print(line + f"{whole:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
