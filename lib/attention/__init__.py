"""Attention, readable first, then fast: what the weights are, who may look where, decoding, and the ways to compute it.

    masks.py        who may attend to whom: functions of (b, h, q, k), and how they combine
    scores.py       what is done to a score before the softmax: ALiBi, T5's buckets, soft-capping, relative tables
    core.py         the reference: scaled dot-product attention and the multi-head layer with grouped heads
    decode.py       key-value caches: plain, sliding window, paged; ragged batches in each

    backends.py     `attention`: one call, by the back end that fits, and `explain`: which one, and why
    pattern.py      what tiled kernels understand of a mask and a score
    flash.py        attention in tiles, forward and backward, in plain torch
    flash_triton/   the same as GPU kernels
    ops.py          both as an operator of torch: autograd, torch.compile
    traffic.py      the bytes that a kernel moves, counted and by formula

A mask or a score is a function of positions, as in PyTorch's flex_attention, so that one definition serves the
reference, flex_attention and a kernel. Letters of the axes: lib/shapes.py.
"""
