"""Writes GPT-2's published vocabulary and merges as a tokenizer.json.

    python gpt2_tokenizer.py encoder.json vocab.bpe tokenizer.json
"""

import sys

from tokenizers import AddedToken, ByteLevelBPETokenizer

vocabulary, merges, out = sys.argv[1:]
tokenizer = ByteLevelBPETokenizer(vocabulary, merges, add_prefix_space=False)
tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=True)])
tokenizer.save(out)
