"""Corpora, tokenizer, token files, and seeded batches. Torch-free.

`prepare.prepare` turns the data part of a study into files; `batches.Batches` reads them in a
seeded order.
"""
