"""Makes models/tests/parity/llm/smollm2_greedy.json: what llama.cpp says greedily with SmolLM2's real weights.

    CMAKE_ARGS="-DGGML_NATIVE=ON" pip install llama-cpp-python==0.3.36 numpy
    python scripts/parity/llama_cpp_greedy.py data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf

Twenty prompts, fifty tokens each, chosen by the highest logit; with each step its three best tokens and their logits, so that a
difference can be judged. The Rust test `greedy_text_is_llama_cpps` reads the file.
"""

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp as llama
import numpy

STEPS = 50
SYSTEM = "Answer in one or two short sentences."
QUESTIONS = [
    "What is the capital of France?",
    "How do I make a cup of tea?",
    "Why is the sky blue?",
    "Tell me about the sea.",
    "What is the difference between a cat and a dog?",
    "Write a short poem about autumn.",
    "How many days are there in a leap year?",
    "My name is Anna and I live in Oslo. What is my name?",
    "Explain what a computer does to a child.",
    "What should I cook for dinner tonight?",
    "Who wrote Romeo and Juliet?",
    "How does a bicycle stay upright?",
    "Can you recommend a book about history?",
    "What is photosynthesis?",
    "I feel tired today. What can I do?",
    "Describe a forest in the morning.",
    "What are the planets of the solar system?",
    "How can I learn a new language quickly?",
    "What is 12 times 12?",
    "Tell me a story about a brave mouse.",
]
OUT = Path(__file__).resolve().parent.parent.parent / "models/tests/parity/llm/smollm2_greedy.json"

silent = llama.llama_log_callback(lambda level, text, data: None)
llama.llama_log_set(silent, ctypes.c_void_p(0))
llama.llama_backend_init()
model = llama.llama_model_load_from_file(sys.argv[1].encode(), llama.llama_model_default_params())
vocabulary = llama.llama_model_get_vocab(model)
size = llama.llama_vocab_n_tokens(vocabulary)
options = llama.llama_context_default_params()
options.n_ctx = options.n_batch = options.n_ubatch = 512
context = llama.llama_init_from_model(model, options)


def tokenize(text):
    room = (llama.llama_token * 512)()
    count = llama.llama_tokenize(vocabulary, text.encode(), len(text.encode()), room, 512, False, True)
    return list(room[:count])


def read(ids):
    tokens = (llama.llama_token * len(ids))(*ids)  # Lives as long as the batch that points to it.
    batch = llama.llama_batch_get_one(tokens, len(ids))
    if llama.llama_decode(context, batch) != 0:
        sys.exit("llama.cpp failed")
    logits = numpy.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (size,))
    best = numpy.argsort(-logits, kind="stable")[:3]
    return [[int(token), round(float(logits[token]), 3)] for token in best]


cases = []
for question in QUESTIONS:
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    said = [("system", SYSTEM), ("user", question)]
    prompt = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in said) + "<|im_start|>assistant\n"
    ids = tokenize(prompt)
    best = read(ids)
    steps = []
    for _ in range(STEPS):
        steps.append(best)
        best = read([best[0][0]])
    cases.append({"question": question, "prompt": ids, "steps": steps})

OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
print(f"{OUT}: {OUT.stat().st_size} bytes")
