"""Compares token ids with those of PyPI's `tokenizers`.

    python tokenizers_reference.py tokenizer.json encoded.jsonl

Each line of the second file is {"text": ..., "ids": [...]}. Exits 1 on any difference.
"""

import json
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
tokenizer.no_truncation()
tokenizer.no_padding()
# Text never becomes a special token.
tokenizer.encode_special_tokens = True

lines = differing = tokens = 0
with open(sys.argv[2], encoding="utf-8", newline="\n") as file:
    for lines, line in enumerate(file, start=1):
        record = json.loads(line)
        want = tokenizer.encode(record["text"], add_special_tokens=False).ids
        tokens += len(want)
        if record["ids"] != want:
            differing += 1
            at = next((i for i, (a, b) in enumerate(zip(record["ids"], want)) if a != b), min(len(want), len(record["ids"])))
            print(f"line {lines}: ids differ from position {at}: {record['ids'][at:at + 5]} instead of {want[at:at + 5]}")
print(f"{lines} texts, {tokens} tokens, {differing} differ")
sys.exit(1 if differing or not lines else 0)
