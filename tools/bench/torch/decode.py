"""Decodes token by token with a key/value cache in `transformers`: the peer of `bench_decode.rs`.

Usage: decode.py MODEL.toml

A Llama of the same shape with random weights, batch 1, greedy, in f32. Answers the line `tokens N` of standard input with a
line of JSON.
"""

import json
import sys
import time
import tomllib

import torch
import transformers


def main() -> None:
    with open(sys.argv[1], "rb") as file:
        model = tomllib.load(file)["model"]
    config = transformers.LlamaConfig(
        vocab_size=model["vocab_size"], hidden_size=model["dim"], intermediate_size=model["hidden"],
        num_hidden_layers=model["layers"], num_attention_heads=model["heads"], num_key_value_heads=model["heads"],
        max_position_embeddings=model["context"], tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None, pad_token_id=0, attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    llama = transformers.LlamaForCausalLM(config).eval()
    prompt = torch.ones((1, 1), dtype=torch.long)
    print(json.dumps({"parameters": sum(p.numel() for p in llama.parameters())}), flush=True)
    for line in sys.stdin:
        count = int(line.split()[1])
        start = time.perf_counter()
        with torch.inference_mode():
            out = llama.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, use_cache=True,
                min_new_tokens=count, max_new_tokens=count,
            )
        seconds = time.perf_counter() - start
        assert out.shape[1] == 1 + count
        print(json.dumps({"seconds": [seconds]}), flush=True)


if __name__ == "__main__":
    main()
