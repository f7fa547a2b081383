"""Layers on torch tensors, each proved against torch's own in float64: forward and all gradients.

windows.py     windows that slide over an image: how many fit, what a stack of them sees (receptive field)
conv.py        convolution by loops, by im2col, by FFT; its backward by hand; transposed convolution
pool.py        max and average pooling
pos.py         positions: learned, sinusoidal, rotary
norm.py        batch norm with running statistics
recurrent.py   RNN, LSTM and GRU
"""
