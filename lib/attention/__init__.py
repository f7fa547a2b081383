"""Attention, readable first: what the weights are, who may look where, and decoding one token at a time.

    masks.py     who may attend to whom: functions of (b, h, q, k), and how they combine
    scores.py    what is done to a score before the softmax: ALiBi, T5's buckets, soft-capping, relative tables
    core.py      the reference: scaled dot-product attention and the multi-head layer with grouped heads
    decode.py    key-value caches: plain, sliding window, paged; ragged batches in each

A mask or a score is a function of positions, as in PyTorch's flex_attention, so that one definition serves the
reference, flex_attention and a kernel. Letters of the axes: lib/shapes.py.
"""
