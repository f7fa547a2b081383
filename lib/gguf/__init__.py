"""GGUF, the one file that llama.cpp reads: numbers in blocks of few bits, the tokenizer and all settings in it.

    names    what it calls the parts of a model, read in both directions
    read     from_gguf(path) -> Model, tokenizer_of(path) -> BPE
"""

from lib.gguf.read import from_gguf as from_gguf
from lib.gguf.read import tokenizer_of as tokenizer_of
