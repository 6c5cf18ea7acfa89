"""Asks llama.cpp what it makes of the same tiny models and vocabularies: real files follow its converter's conventions.

It computes in half precision, so logits agree to a few hundredths. Where it knowingly differs from `transformers` (it has no scale
for Gemma's queries other than the head's width, no window for Phi-3, no composition of characters for Qwen2), the models are
made without, and the texts are left out.

    pip install torch transformers gguf tokenizers sentencepiece llama-cpp-python
    python scripts/parity/llm/llama_cpp_agrees.py
"""

import json
import pathlib
import sys
import tempfile
import unicodedata

import numpy as np
from llama_cpp import Llama

import families

COMMITTED = families.OUT
TOLERANCE = 0.08


def logits_agree(folder):
    families.OUT = folder
    families.llama()
    families.qwen2()
    families.qwen3()
    families.gemma3(query_scale=8)
    families.phi3(window=None)
    families.smollm3()
    for path in sorted(folder.glob("*.gguf")):
        case = json.loads(path.with_suffix(".json").read_text())
        model = Llama(str(path), n_ctx=512, logits_all=True, n_threads=1, verbose=False)
        model.eval(case["ids"])
        difference = max(np.abs(model.scores[at] - np.array(logits)).max() for at, logits in zip(case["at"], case["logits"]))
        same_prompt = model.tokenize(case["said"].encode(), add_bos=False, special=True) == case["prompt"]
        print(f"{path.stem}: logits differ by {difference:.3f}, the prompt's tokens are {'the same' if same_prompt else 'OTHERS'}")
        yield difference < TOLERANCE and same_prompt


def tokens_agree():
    reference = json.loads((COMMITTED / "tokens.json").read_text())
    kinds = [("bytes", "bytes", {"tokenizer.ggml.pre": pre}, pre, ids) for pre, ids in reference["bytes"].items()]
    kinds += [("pieces", f"pieces-{name}", None, name, ids) for name, ids in reference["pieces"].items()]
    for kind, file, overrides, name, expected in kinds:
        model = Llama(str(COMMITTED / f"{file}.gguf"), vocab_only=True, verbose=False, kv_overrides=overrides)
        comparable = [
            (text, ids)
            for text, ids in zip(reference["texts"], expected)
            if (name != "qwen2" or unicodedata.is_normalized("NFC", text)) and "<unk>" not in text
        ]
        wrong = [text for text, ids in comparable if model.tokenize(text.encode(), add_bos=False, special=True) != ids]
        print(f"{kind} {name}: {len(comparable) - len(wrong)} of {len(comparable)} texts are the same {wrong or ''}")
        yield not wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        agreed = [*logits_agree(pathlib.Path(folder)), *tokens_agree()]
    sys.exit(0 if all(agreed) else 1)
