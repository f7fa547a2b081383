"""Attention's ways beside each other, in one run: time, memory, and that they agree.

    OMP_NUM_THREADS=1 python bench/attention.py                   on a CPU: two minutes
    python bench/attention.py --device cuda                       on a GPU; on Colab: %run bench/attention.py

Every way gets the same heads, in turns, so that what else the machine does slows all alike, and is held to the
reference in float64: the error of our tiles is at most twice that of the naive computation in the same precision, and
that of torch's ways eight times. What is found goes into bench/attention.json, each device in its own place; the
other's figures stay.

On a CPU, with one thread and in float32: how time and memory grow with the length, for the table of all scores
(reference), torch's fused operator (sdpa), our tiles in plain torch (flash) and compiled flex_attention (flex, forward
only). And where flex pays: windows of several widths, beside SDPA that is handed its mask ready-made. Exit status 1
where that is less than 4 times faster at length 4,096 with a window of 256, the course's bound (issue 4).

On a GPU, in float16 or bfloat16: our kernels, SDPA by its flash and cuDNN kernels, flex_attention and naive, over
lengths, widths and masks. TFLOP/s counts the products of the pairs that the mask allows: 4 D floating-point operations
each forward, 10 D backward. The share is that of the published peak.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from lib import seed
from lib.attention import masks, scores
from lib.attention.backends import HAS_TRITON, Request, attention
from lib.attention.traffic import GPUS
from lib.shapes import Mask

RESULT = Path(__file__).with_suffix(".json")
LEAST_RATIO = 4
WINDOW = 256
MASKS: dict[str, Mask] = {
    "full": masks.full,
    "causal": masks.causal,
    f"window {WINDOW}": masks.and_masks(masks.causal, masks.sliding_window(WINDOW)),
}
Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def backend(name: str, mask: Mask) -> Way:
    """The call that a reader makes: masks become tables or tiles within it."""
    return lambda q, k, v: attention(q, k, v, mask, backend=name)


def fused(kernel: SDPBackend, mask: Mask) -> Way:
    """SDPA by one of its kernels and no other."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(kernel):
            return attention(q, k, v, mask, backend="sdpa")

    return run


# --- what is measured -------------------------------------------------------------------------------------------------


def heads(B: int, H: int, T: int, D: int, dtype: torch.dtype, device: str, backward: bool) -> list[Tensor]:
    seed(0)
    return [torch.randn(B, H, T, D).to(device, dtype).requires_grad_(backward) for _ in range(3)]


def passes(way: Way, leaves: list[Tensor], dy: Tensor | None) -> list[Tensor]:
    """The output; and the gradients of the leaves, where one of the output is given."""
    y = way(*leaves)
    return [y] if dy is None else [y.detach(), *torch.autograd.grad(y, leaves, dy)]


def now(device: str) -> float:
    """Seconds: the processor's, as nothing else matters on a shared CPU; on a GPU the wall's, once it is done."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def in_turns(runs: Mapping[str, Callable[[], object]], device: str, turns: int) -> dict[str, float]:
    """Seconds of one call of each: the median over the turns. A turn is as many calls as take 20 milliseconds."""
    calls = {}
    for name, run in runs.items():
        run()  # compiles
        start = now(device)
        run()
        calls[name] = max(1, round(0.02 / max(now(device) - start, 1e-5)))
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            start = now(device)
            for _ in range(calls[name]):
                run()
            found[name].append((now(device) - start) / calls[name])
    return {name: statistics.median(times) for name, times in found.items()}


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """The most memory that tensors took at one time during a call, beyond what there was before it."""
    if device != "cpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    events = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    held = most = 0
    for event in events:
        held += event["args"]["Bytes"]
        most = max(most, held)
    return most


def pairs(mask: Mask, B: int, H: int, T: int) -> int:
    """How many pairs of a query and a key the mask allows."""
    x = torch.zeros(1, 1, T, 1)
    interval = Request(x, x, x, mask, scores.same, None, 0.0, None).interval
    assert interval is not None, "the masks of this benchmark have patterns"
    lo, hi = interval
    return B * H * int((hi - lo).clamp(min=0).sum())


def agree(found: dict[str, list[Tensor]], mask: Mask, leaves: list[Tensor], dy: Tensor | None) -> float:
    """The largest error of any way, in units of the naive computation's own: AssertionError where it is too large.

    found: output and gradients of each way. Errors are of one head, relative to the largest entry of the reference in
    float64; a unit is at least one rounding.
    """
    one = [x[:1, :1].detach().requires_grad_(dy is not None) for x in leaves]
    wide = [x.detach().double().requires_grad_(dy is not None) for x in one]
    dy = None if dy is None else dy[:1, :1]
    exact = passes(backend("reference", mask), wide, None if dy is None else dy.double())

    def errors(ours: list[Tensor]) -> list[float]:
        return [((a[:1, :1] - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, exact, strict=True)]

    naive = errors(passes(backend("reference", mask), one, dy))
    unit = [max(error, torch.finfo(one[0].dtype).eps) for error in naive]
    worst = {name: max(a / b for a, b in zip(errors(ours), unit, strict=True)) for name, ours in found.items()}
    fits = all(error <= (2 if name in ("triton", "flash") else 8) for name, error in worst.items())
    assert fits, f"errors in units of the naive computation's: {worst}"
    return max(worst.values())


def compare(ways: dict[str, Way], mask: Mask, leaves: list[Tensor], backward: bool, turns: int) -> Iterator[dict]:
    """For each way that can do it: seconds and bytes of a call; for the others, why not."""
    device, found = leaves[0].device.type, {}
    dy = torch.randn_like(leaves[2]) if backward else None  # as wide as the values
    for name, way in ways.items():
        try:
            found[name] = passes(way, leaves, dy)
        except (ValueError, RuntimeError) as error:  # not enough memory is a RuntimeError
            yield {"way": name, "cannot": str(error).splitlines()[0][:100]}
    worst = round(agree(found, mask, leaves, dy), 2)
    runs = {name: partial(passes, ways[name], leaves, dy) for name in found}
    del found
    for name, seconds in in_turns(runs, device, turns).items():
        yield {"way": name, "seconds": seconds, "bytes": peak_bytes(runs[name], device), "worst error": worst}


# --- the two devices --------------------------------------------------------------------------------------------------


def on_cpu(lengths: list[int], turns: int) -> dict:
    """Growth with the length, forward and backward; then windows."""
    rows, H, D = [], 4, 64
    for T in lengths:
        for kind, mask in list(MASKS.items())[1:]:  # every query meets every key: as causal, and twice as long
            for backward in (False, True):
                leaves = heads(1, H, T, D, torch.float32, "cpu", backward)
                names = ["reference", "sdpa", "flash", *([] if backward else ["flex"])]
                for row in compare({name: backend(name, mask) for name in names}, mask, leaves, backward, turns):
                    rows.append({"T": T, "mask": kind, "backward": backward, **row})
                    print(line(rows[-1]), flush=True)
    windows = [window(T, width, H, D, turns) for T in (1024, 2048, 4096) for width in (T // 16, T // 4, T)]
    return {"B": 1, "H": H, "D": D, "dtype": "float32", "growth": rows, "windows": windows}


@torch.no_grad()
def window(T: int, width: int, H: int, D: int, turns: int) -> dict:
    """Flex with all that it has to prepare, beside SDPA given the same mask as a ready table, and without any mask."""
    q, k, v = heads(1, H, T, D, torch.float32, "cpu", False)
    mask = masks.and_masks(masks.causal, masks.sliding_window(width))
    table = masks.dense(mask, 1, 1, T, T)
    runs = {
        "flex": lambda: attention(q, k, v, mask, backend="flex"),
        "sdpa, mask ready": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=table),
        "sdpa, causal": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    }
    torch.testing.assert_close(runs["flex"](), runs["sdpa, mask ready"](), rtol=0, atol=1e-5)
    times = in_turns(runs, "cpu", turns)
    skipped = Request(q, k, v, mask, scores.same, None, 0.0, None).block_mask.sparsity() / 100
    ratio = times["sdpa, mask ready"] / times["flex"]
    print(f"T {T:5}  window {width:5}  {skipped:4.0%} of tiles skipped  flex {1e3 * times['flex']:7.1f} ms", end="")
    print(f"  sdpa {1e3 * times['sdpa, mask ready']:7.1f} ms  ratio {ratio:5.2f}", flush=True)
    return {"T": T, "width": width, "skipped": round(skipped, 3), "seconds": times, "ratio": round(ratio, 2)}


def on_gpu(lengths: list[int], dtype: torch.dtype, turns: int) -> dict:
    """16,384 tokens in all, and 2,048 numbers to a token, whatever the length and the width."""
    rows, card = [], torch.cuda.get_device_name()
    peak = next((gpu.flops for key, gpu in GPUS.items() if key in card), None)
    for D in (64, 128):
        for T in lengths:
            for kind, mask in MASKS.items():
                B, H = max(1, 16_384 // T), 2048 // D
                ways = {
                    "triton": backend("triton", mask),
                    "sdpa flash": fused(SDPBackend.FLASH_ATTENTION, mask),
                    "sdpa cuDNN": fused(SDPBackend.CUDNN_ATTENTION, mask),
                    "sdpa": backend("sdpa", mask),
                    "flex": backend("flex", mask),
                    "naive": backend("reference", mask),
                }
                for backward in (False, True):
                    leaves = heads(B, H, T, D, dtype, "cuda", backward)
                    for row in compare(ways, mask, leaves, backward, turns):
                        row = {"D": D, "B": B, "H": H, "T": T, "mask": kind, "backward": backward, **row}
                        if "seconds" in row:
                            flops = pairs(mask, B, H, T) * D * (14 if backward else 4)
                            row["TFLOP/s"] = round(flops / row["seconds"] / 1e12, 2)
                            row["share of peak"] = peak and round(flops / row["seconds"] / peak, 3)
                        rows.append(row)
                        print(line(row), flush=True)
    return {"card": card, "capability": torch.cuda.get_device_capability(), "dtype": str(dtype), "rows": rows}


def line(row: dict[str, Any]) -> str:
    """A measurement as text."""
    width = f"D {row['D']:3}  " if "D" in row else ""
    passes = "both ways" if row["backward"] else "forward"
    text = f"{width}T {row['T']:5}  {row['mask']:<10}  {passes:<9}  {row['way']:<10}"
    if "cannot" in row:
        return f"{text}  cannot: {row['cannot']}"
    text += f"  {1e3 * row['seconds']:9.2f} ms  {row['bytes'] / 2**20:9.1f} MiB"
    if "TFLOP/s" in row:
        share = "" if row["share of peak"] is None else f"  {row['share of peak']:5.1%} of peak"
        text += f"  {row['TFLOP/s']:7.2f} TFLOP/s{share}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--dtype", default="float16", choices=["float16", "bfloat16"], help="on a GPU (default float16)"
    )
    parser.add_argument("--lengths", type=int, nargs="+", help="default 256 to 2048 on a CPU, 512 to 8192 on a GPU")
    parser.add_argument("--turns", type=int, default=5, help="turns that each way gets (default 5)")
    args = parser.parse_args()

    found: dict[str, dict | None] = (
        json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {"cpu": None, "cuda": None}
    )
    about = {
        "command": " ".join(["python bench/attention.py", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}",
        "threads": torch.get_num_threads(),
    }
    if args.device == "cpu":
        figures = on_cpu(args.lengths or [256, 512, 1024, 2048], args.turns)
    else:
        assert HAS_TRITON, "Triton is not installed: pip install triton"
        figures = on_gpu(args.lengths or [512, 2048, 8192], getattr(torch, args.dtype), args.turns)
    found[args.device] = about | figures
    RESULT.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    if args.device == "cuda":
        return 0
    ratio = next(row["ratio"] for row in figures["windows"] if (row["T"], row["width"]) == (4096, WINDOW))
    print(f"\nflex, window {WINDOW} of 4096: {ratio:.2f} times as fast as SDPA (at least {LEAST_RATIO})")
    return 0 if ratio >= LEAST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
