"""Reads a data set with `datasets` and encodes it with `tokenizers`: the peer of `evenburn data bench`.

    python streaming.py TOKENIZER.json PATH...        JSON lines on this machine
    python streaming.py TOKENIZER.json hub:OWNER/NAME the training split of a repository, from HF_ENDPOINT

Streams, a thousand documents to a batch, with as many threads as RAYON_NUM_THREADS says. Prints a line of JSON.
"""

import json
import sys
import time

from datasets import load_dataset
from tokenizers import Tokenizer


def main() -> None:
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Text never becomes a special token.
    tokenizer.encode_special_tokens = True
    first = sys.argv[2]
    start = time.perf_counter()
    if first.startswith("hub:"):
        texts = load_dataset(first.removeprefix("hub:"), split="train", streaming=True)
    else:
        texts = load_dataset("json", data_files=sys.argv[2:], split="train", streaming=True)
    documents = tokens = 0
    for batch in texts.select_columns(["text"]).iter(batch_size=1000):
        for encoded in tokenizer.encode_batch_fast(batch["text"], add_special_tokens=False):
            documents += 1
            tokens += len(encoded)
    seconds = time.perf_counter() - start
    print(json.dumps({"documents": documents, "tokens": tokens, "seconds": seconds}))


if __name__ == "__main__":
    main()
