"""Scores HellaSwag's documents with lm-evaluation-harness: the peer of `bench_eval.rs`.

Usage: lm_eval_scores.py MODEL_FOLDER DOCUMENTS.jsonl --batch N --threads N

Documents, requests and tokens are made by the harness before the first line is read. The line `score` of standard input is
answered with the seconds of the harness's scoring of all requests, `memory` with the largest resident set.
"""

import argparse
import json
import logging
import os
import resource
import sys
import tempfile
import time
from pathlib import Path


def hellaswag(documents: Path):
    """The harness's own task, with other documents."""
    import lm_eval
    import yaml
    from lm_eval.tasks import TaskManager, get_task_dict

    own = Path(lm_eval.__file__).parent / "tasks/hellaswag/hellaswag.yaml"
    definition = {
        "include": str(own), "task": "bench_hellaswag", "dataset_path": "json", "dataset_name": None, "training_split": None,
        "dataset_kwargs": {"data_files": {"validation": str(documents.resolve())}},
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bench_hellaswag.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
        manager = TaskManager(include_path=folder, include_defaults=False)
        return get_task_dict(["bench_hellaswag"], manager)["bench_hellaswag"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("documents", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    import torch
    from lm_eval.models.huggingface import HFLM

    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    lm = HFLM(pretrained=str(options.model), dtype="float32", device="cpu", batch_size=options.batch)
    task = hellaswag(options.documents)
    task.build_all_requests()
    pairs = [instance.args for instance in task.instances]
    requests = [(pair, *lm._encode_pair(*pair)) for pair in pairs]
    ready = {
        "parameters": sum(p.numel() for p in lm.model.parameters()),
        "documents": len(task.eval_docs), "requests": len(requests),
    }
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            # Kilobytes on Linux, bytes on macOS.
            unit = 1 if sys.platform == "darwin" else 1024
            print(json.dumps({"peak_rss_bytes": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}), flush=True)
            continue
        start = time.perf_counter()
        answers = lm._loglikelihood_tokens(requests, disable_tqdm=True)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": [seconds], "log_likelihood": sum(answer[0] for answer in answers)}), flush=True)


if __name__ == "__main__":
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    main()
