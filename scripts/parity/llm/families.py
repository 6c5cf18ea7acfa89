"""Makes models/tests/parity/llm/FAMILY.gguf and .json: tiny models with random weights, and what `transformers` makes of them.

Each GGUF is written as llama.cpp's converter writes that family (tensor names, row order, metadata), with a tokenizer and a chat
template; each JSON has the logits of the same weights in `transformers`, the ids of a conversation and its greedy reply.

    pip install torch transformers gguf jinja2
    python scripts/parity/llm/families.py
"""

import json
import math
import pathlib

import numpy as np
import torch
import transformers
from gguf import GGUFWriter, RopeScalingType, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from rules import GPT4O, LLAMA3, QWEN2, byte_letters

OUT = pathlib.Path(__file__).parents[3] / "models/tests/parity/llm"
# Sequences: the first is read whole, then cut back to KEPT tokens and continued with other ones.
LENGTH, KEPT, CONTINUED, GREEDY = 60, 23, 20, 16
AT, THEN_AT = [0, 33, 59], [0, 19]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{%- for message in messages -%}{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}"
)
CHAT = [
    {"role": "user", "content": "Hello there, who are you?"},
    {"role": "assistant", "content": "it's 12 o'clock  你好"},
    {"role": "user", "content": "And then? 😀"},
]


def byte_level(pre, regex, special, end, template):
    """The 256 bytes, a few merges, and control tokens."""
    letters = list(byte_letters().values())
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "t"), ("Ġt", "he"), ("1", "2")]
    texts = letters + [a + b for a, b in merges] + special
    tokenizer = Tokenizer(models.BPE({text: index for index, text in enumerate(texts)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    kinds = [TokenType.NORMAL] * (len(texts) - len(special)) + [TokenType.CONTROL] * len(special)

    def write(writer):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(pre)
        writer.add_token_list(texts)
        writer.add_token_types(kinds)
        writer.add_token_merges([" ".join(pair) for pair in merges])
        writer.add_eos_token_id(texts.index(end))
        writer.add_chat_template(template)

    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, chat_template=template)
    return fast, write, len(texts)


def pieces(template):
    """SentencePiece BPE with scores and byte fallback, as Gemma has it."""
    merged = ["he", "ll", "hell", "hello", "▁t", "▁the", "12", "▁▁"]
    plain = ["▁", *"helot12?,'", "你"]
    special = ["<start_of_turn>", "<end_of_turn>"]
    texts = ["<pad>", "<eos>", "<bos>", "<unk>", *[f"<0x{byte:02X}>" for byte in range(256)], *merged, *plain, *special]
    normal = len(merged) + len(plain)
    kinds = [TokenType.CONTROL] * 3 + [TokenType.UNKNOWN] + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * normal
    kinds += [TokenType.CONTROL] * len(special)
    scores = [0.0] * 260 + [-float(rank) for rank in range(normal)] + [0.0] * len(special)
    ids = {text: index for index, text in enumerate(texts)}
    merges = [(text[:cut], text[cut:]) for text in merged for cut in range(1, len(text)) if text[:cut] in ids and text[cut:] in ids]
    tokenizer = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in [*texts[:3], *special]])

    def write(writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(texts)
        writer.add_token_scores(scores)
        writer.add_token_types(kinds)
        writer.add_add_space_prefix(False)
        writer.add_bos_token_id(2)
        writer.add_eos_token_id(1)
        writer.add_unk_token_id(3)
        writer.add_chat_template(template)

    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", chat_template=template)
    return fast, write, len(texts)


def neighbours(weight, heads):
    """Llama's converter lays rotary pairs side by side."""
    rows = weight.shape[0]
    return weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def randomise(model, seed):
    """Weights large enough that every part of the network shows in the logits; matrices as half precision holds them."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            offset = 0.0 if "gemma" in model.config.model_type else 1.0
            parameter.data = offset + 0.2 * noise
        elif parameter.dim() == 1:
            parameter.data = 0.3 * noise
        else:
            gain = 0.5 if "embed" in name else 1.3
            parameter.data = (gain * noise / math.sqrt(parameter.shape[1])).half().float()
            if "embed" in name:
                parameter.data = (0.8 * noise).half().float()


NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def tensors(model, interleaved):
    """Name and array of each tensor, as the GGUF has it."""
    config = model.config
    is_gemma = config.model_type.startswith("gemma")
    inner = {**NAMES, "post_attention_layernorm": "post_attention_norm" if is_gemma else "ffn_norm"}
    inner |= {"pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    for name, parameter in model.named_parameters():
        array = parameter.detach().numpy()
        name = name.removeprefix("model.")
        if "norm" in name and is_gemma:
            array = array + 1.0
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            part, kind = rest.rsplit(".", 1)
            if interleaved and part in ("self_attn.q_proj", "self_attn.k_proj"):
                array = neighbours(array, config.num_attention_heads if "q_proj" in part else config.num_key_value_heads)
            name = f"blk.{layer}.{inner[part]}.{kind}"
        else:
            name = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}[name]
        yield name, np.ascontiguousarray(array, dtype=np.float16 if array.ndim == 2 else np.float32)


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def rounded(rows):
    return [[round(float(value), 5) for value in row] for row in rows]


def make(name, model, tokenizer, settings, interleaved=False, extra=()):
    write(name, model, tokenizer, settings, interleaved, extra)
    judge(name, model, tokenizer)


def write(name, model, tokenizer, settings, interleaved, extra):
    _, write_tokenizer, vocabulary = tokenizer
    config = model.config
    assert vocabulary == config.vocab_size
    writer = GGUFWriter(OUT / f"{name}.gguf", name)
    writer.add_name(f"tiny {name} with random weights")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    settings(writer)
    write_tokenizer(writer)
    for tensor, array in [*tensors(model, interleaved), *extra]:
        writer.add_tensor(tensor, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(name, config.num_hidden_layers, "layers", (OUT / f"{name}.gguf").stat().st_size, "bytes")


def judge(name, model, tokenizer, length=LENGTH):
    fast, _, vocabulary = tokenizer
    model.eval()
    random = np.random.default_rng(7)
    ids = random.integers(0, vocabulary, length).tolist()
    then = random.integers(0, vocabulary, min(CONTINUED, length - KEPT)).tolist()
    at, then_at = [at for at in AT if at < length], [at for at in THEN_AT if at < len(then)]
    then_logits = logits(model, ids[:KEPT] + then)[KEPT:]
    said = fast.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
    prompt = fast(said, add_special_tokens=False)["input_ids"]
    greedy = list(prompt)
    for _ in range(GREEDY):
        greedy.append(int(logits(model, greedy)[-1].argmax()))
    case = {
        "ids": ids,
        "at": at,
        "logits": rounded(logits(model, ids)[at]),
        "kept": KEPT,
        "then": then,
        "then_at": then_at,
        "then_logits": rounded(then_logits[then_at]),
        "said": said,
        "prompt": prompt,
        "greedy": greedy[len(prompt) :],
    }
    (OUT / f"{name}.json").write_text(json.dumps(case, ensure_ascii=False, separators=(",", ":")) + "\n")


def sizes(vocabulary, **others):
    usual = dict(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=512, rms_norm_eps=1e-5, pad_token_id=None, bos_token_id=None, eos_token_id=None,
        tie_word_embeddings=True, attn_implementation="eager",
    )
    return dict(vocab_size=vocabulary, **{**usual, **others})


def llama():
    tokenizer = byte_level("llama-bpe", LLAMA3, ["<|im_start|>", "<|im_end|>"], "<|im_end|>", CHATML)
    base, factor, low, high, original = 10_000.0, 8.0, 1.0, 4.0, 32
    rope = dict(rope_type="llama3", rope_theta=base, factor=factor, low_freq_factor=low, high_freq_factor=high, original_max_position_embeddings=original)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes(tokenizer[2], rope_parameters=rope, tie_word_embeddings=False)))
    randomise(model, 1)
    divisors = []
    for pair in range(4):
        turns = original * base ** (-pair / 4) / (2 * math.pi)
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        divisors.append(1.0 / ((1.0 - smooth) / factor + smooth))
    extra = [("rope_freqs.weight", np.array(divisors, dtype=np.float32))]

    def settings(writer):
        writer.add_rope_dimension_count(8)
        writer.add_rope_freq_base(base)

    make("llama", model, tokenizer, settings, interleaved=True, extra=extra)


def qwen2():
    tokenizer = byte_level("qwen2", QWEN2, ["<|im_start|>", "<|im_end|>"], "<|im_end|>", CHATML)
    rope = dict(rope_type="yarn", rope_theta=1_000_000.0, factor=4.0, original_max_position_embeddings=128)
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes(tokenizer[2], rope_parameters=rope)))
    randomise(model, 2)

    def settings(writer):
        writer.add_rope_freq_base(rope["rope_theta"])
        writer.add_rope_scaling_type(RopeScalingType.YARN)
        writer.add_rope_scaling_factor(4.0)
        writer.add_rope_scaling_orig_ctx_len(128)

    make("qwen2", model, tokenizer, settings)


def qwen3():
    tokenizer = byte_level("qwen2", QWEN2, ["<|im_start|>", "<|im_end|>"], "<|im_end|>", CHATML)
    rope = dict(rope_type="default", rope_theta=1_000_000.0)
    model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes(tokenizer[2], rope_parameters=rope, head_dim=12)))
    randomise(model, 3)

    def settings(writer):
        writer.add_rope_freq_base(rope["rope_theta"])
        writer.add_key_length(12)
        writer.add_value_length(12)

    make("qwen3", model, tokenizer, settings)


def gemma3():
    tokenizer = pieces(GEMMA)
    config = transformers.Gemma3TextConfig(
        **sizes(
            tokenizer[2], num_hidden_layers=7, num_key_value_heads=1, intermediate_size=32, sliding_window=16, query_pre_attn_scalar=11,
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        )
    )
    model = transformers.Gemma3ForCausalLM(config)
    randomise(model, 4)

    def settings(writer):
        writer.add_rope_freq_base(1_000_000.0)
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)
        writer.add_sliding_window(16)
        writer.add_attention_scale(11**-0.5)
        writer.add_key_length(8)
        writer.add_value_length(8)

    make("gemma3", model, tokenizer, settings)


def phi3():
    tokenizer = byte_level("gpt-4o", GPT4O, ["<|user|>", "<|assistant|>", "<|end|>"], "<|end|>", PHI)
    short, long = [1.0, 1.1, 1.3], [1.5, 2.0, 5.0]
    rope = dict(rope_type="longrope", rope_theta=10_000.0, short_factor=short, long_factor=long, original_max_position_embeddings=32, partial_rotary_factor=0.75)
    config = transformers.Phi3Config(**sizes(tokenizer[2], rope_parameters=rope, original_max_position_embeddings=32, sliding_window=24))
    model = transformers.Phi3ForCausalLM(config)
    randomise(model, 5)
    extra = [("rope_factors_long.weight", np.array(long, dtype=np.float32)), ("rope_factors_short.weight", np.array(short, dtype=np.float32))]
    growth = config.max_position_embeddings / 32

    def settings(writer):
        writer.add_rope_dimension_count(6)
        writer.add_rope_freq_base(10_000.0)
        writer.add_rope_scaling_orig_ctx_len(32)
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(growth) / math.log(32)))
        writer.add_sliding_window(24)

    make("phi3", model, tokenizer, settings, extra=extra)
    # Within 32 positions the short divisors hold.
    judge("phi3-short", model, tokenizer, length=30)


def smollm3():
    tokenizer = byte_level("llama-bpe", LLAMA3, ["<|im_start|>", "<|im_end|>"], "<|im_end|>", CHATML)
    rope = dict(rope_type="default", rope_theta=5_000_000.0)
    model = transformers.SmolLM3ForCausalLM(transformers.SmolLM3Config(**sizes(tokenizer[2], rope_parameters=rope, num_hidden_layers=4, intermediate_size=32)))
    randomise(model, 6)

    def settings(writer):
        writer.add_rope_dimension_count(8)
        writer.add_rope_freq_base(rope["rope_theta"])

    make("smollm3", model, tokenizer, settings, interleaved=True)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    llama()
    qwen2()
    qwen3()
    gemma3()
    phi3()
    smollm3()
