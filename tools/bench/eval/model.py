"""Makes what `cargo xtask bench eval` scores with: a Llama of random weights with a tokenizer.

Usage: model.py MODEL.toml CONTEXT TOKENIZER_FOLDER OUT

The sizes are those of the file, the context is the given one; `tokenizer.json` and `tokenizer_config.json` come from the folder.
"""

import shutil
import sys
import tomllib
from pathlib import Path

import torch
import transformers


def main() -> None:
    file, context, tokenizer, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    model = tomllib.loads(file.read_text(encoding="utf-8"))["model"]
    config = transformers.LlamaConfig(
        vocab_size=model["vocab_size"], hidden_size=model["dim"], intermediate_size=model["hidden"],
        num_hidden_layers=model["layers"], num_attention_heads=model["heads"], num_key_value_heads=model["heads"],
        max_position_embeddings=context, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=0, pad_token_id=None, dtype="float32",
    )
    torch.manual_seed(0)
    llama = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in llama.parameters():
            # Large enough that no two endings are equally likely.
            if parameter.dim() == 2:
                parameter.normal_(std=1.5 * parameter.shape[1] ** -0.5)
    llama.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / name, out / name)


if __name__ == "__main__":
    main()
