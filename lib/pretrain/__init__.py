"""From documents to the examples that a model is pre-trained on. Stands between `tokens` and `train`.

documents.py    text -> sentences; documents split for training and for the test, copies kept apart
masking.py      some of the tokens hidden, for a model that fills gaps
pairs.py        two stretches of sentences in a row: does the second follow the first?
"""
