"""Makes models/src/llm/gguf/fixtures/smollm2.json: what SmolLM2-135M-Instruct should see and say.

An independent account, sharing no code with the engine: the prompt by Jinja2 as Hugging Face sets it up, the tokens by a
plain byte-pair encoder with llama.cpp's rule for `smollm`, the logits by a float32 forward pass in numpy over the dequantised weights.

    pip install gguf==0.19.0 jinja2==3.1.6 numpy==2.4.6 regex
    python models/scripts/smollm2_reference.py data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf
"""

import json
import pathlib
import sys

import numpy as np
import regex
from gguf import GGUFReader
from gguf.quants import dequantize
from jinja2.sandbox import ImmutableSandboxedEnvironment

SYSTEM = "Answer in one or two short sentences."
CONVERSATIONS = [
    [("system", SYSTEM), ("user", "What is the capital of France?")],
    [("user", "Hello there")],
    [
        ("system", SYSTEM),
        ("user", "How do I make a cup of tea?"),
        ("assistant", "Boil water, pour it over the tea and wait."),
        ("user", "How long should I wait?"),
    ],
    [("system", SYSTEM), ("user", "In 1984 it cost $3.50, didn't it?  Or was it 12,000 yen\n\tper 25kg?")],
    [("system", ""), ("user", "你好，今天天氣怎麼樣？ Ça va? 😀👍🏽 naïve co-operation")],
    [("system", SYSTEM), ("user", "  def f(x):\n    return x**2  # it's we'll I'M\n\n\n")],
]
GREEDY_TOKENS = 16

path = sys.argv[1]
reader = GGUFReader(path)
field = lambda key: reader.fields[key].contents()
vocabulary = field("tokenizer.ggml.tokens")
ids = {token: index for index, token in enumerate(vocabulary)}
control = [token for token, kind in zip(vocabulary, field("tokenizer.ggml.token_type")) if kind == 3]
ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(field("tokenizer.ggml.merges"))}


def byte_letters():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(plain))
    return letters


LETTERS = byte_letters()
WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def merged(word):
    parts = [LETTERS[byte] for byte in word.encode()]
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, len(ranks)), at) for at, pair in enumerate(zip(parts, parts[1:])))
        if rank == len(ranks):
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return [ids[part] for part in parts]


def encode(text):
    tokens = []
    for piece in regex.split("(" + "|".join(map(regex.escape, control)) + ")", text):
        if piece in control:
            tokens.append(ids[piece])
            continue
        # Each digit stands alone, then GPT-2's words.
        for run in regex.findall(r"\p{N}|\P{N}+", piece):
            for word in WORDS.findall(run):
                tokens.extend(merged(word))
    return tokens


weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float32) for tensor in reader.tensors}
HEADS, KV_HEADS = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
WIDTH = field("llama.embedding_length") // HEADS
EPSILON, BASE = field("llama.attention.layer_norm_rms_epsilon"), field("llama.rope.freq_base")


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def rotate(x):
    """Neighbouring pairs, as GGUF stores the Llama family."""
    position = np.arange(len(x))[:, None, None]
    angle = (position * BASE ** (-np.arange(0, WIDTH, 2) / WIDTH)).astype(np.float32)
    out = np.empty_like(x)
    out[..., 0::2] = x[..., 0::2] * np.cos(angle) - x[..., 1::2] * np.sin(angle)
    out[..., 1::2] = x[..., 0::2] * np.sin(angle) + x[..., 1::2] * np.cos(angle)
    return out


def logits(tokens):
    x = weights["token_embd.weight"][tokens]
    length = len(tokens)
    mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)
    for layer in range(field("llama.block_count")):
        w = lambda name: weights[f"blk.{layer}.{name}.weight"]
        h = norm(x, w("attn_norm"))
        q = rotate((h @ w("attn_q").T).reshape(length, HEADS, WIDTH))
        k = rotate((h @ w("attn_k").T).reshape(length, KV_HEADS, WIDTH))
        v = (h @ w("attn_v").T).reshape(length, KV_HEADS, WIDTH)
        k, v = (np.repeat(t, HEADS // KV_HEADS, axis=1) for t in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / WIDTH**0.5 + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", scores, v).reshape(length, -1) @ w("attn_output").T
        h = norm(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return norm(x[-1], weights["output_norm.weight"]) @ weights["token_embd.weight"].T


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
template = environment.from_string(field("tokenizer.chat_template"))
cases = []
for conversation in CONVERSATIONS:
    messages = [{"role": role, "content": content} for role, content in conversation]
    prompt = template.render(messages=messages, add_generation_prompt=True)
    tokens = encode(prompt)
    first = logits(tokens)
    best = np.argsort(-first)[:8]
    greedy = []
    while len(greedy) < GREEDY_TOKENS:
        greedy.append(int(np.argmax(logits(tokens + greedy))))
        if vocabulary[greedy[-1]] == "<|im_end|>":
            break
    cases.append(
        {
            "messages": messages,
            "prompt": prompt,
            "ids": tokens,
            "best": [[int(token), round(float(first[token]), 4)] for token in best],
            "greedy": greedy,
        }
    )
    print(json.dumps(prompt), "".join(vocabulary[token] for token in greedy), sep="\n")
target = pathlib.Path(__file__).parents[1] / "src/llm/gguf/fixtures/smollm2.json"
lines = ",\n".join("  " + json.dumps(case, ensure_ascii=True) for case in cases)
target.write_text("[\n" + lines + "\n]\n")
