"""GGUF, the one file that llama.cpp reads: numbers in blocks of few bits, the tokenizer and all settings in it.

from_gguf(path) -> Model, tokenizer_of(path) -> BPE      read.py
save_gguf(model, tokenizer, path)                        write.py, and vocabulary.py for the tokenizer
what it calls the parts of a model, both ways            names.py
"""

from lib.gguf.read import from_gguf as from_gguf
from lib.gguf.read import tokenizer_of as tokenizer_of
from lib.gguf.write import save_gguf as save_gguf
