#!/usr/bin/env python3
"""Writes the seeds in fuzz/seeds: the smallest sound files of each format, with weights that mean nothing.

Needs numpy and gguf (PyPI). The files are committed; run this only to change them.
"""
import json
import struct
from pathlib import Path

import gguf
import numpy

SEEDS = Path(__file__).parent / "seeds"
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write(path, data):
    target = SEEDS / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def byte_letters():
    """How byte-level BPE writes the 256 bytes (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


def tiny_gguf(name, architecture):
    random = numpy.random.default_rng(1)
    path = SEEDS / "gguf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(8)
    writer.add_value_length(8)
    writer.add_rope_dimension_count(8)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    tokens = byte_letters() + ["<|im_start|>", "<|im_end|>", "he", "<think>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 256 + [3, 3, 1, 4])
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(257)
    writer.add_chat_template(CHATML)

    def matrix(tensor, rows):
        values = random.uniform(-0.6, 0.6, (rows, 32)).astype(numpy.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(tensor, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def vector(tensor, length):
        writer.add_tensor(tensor, numpy.ones(length, dtype=numpy.float32))

    matrix("token_embd.weight", len(tokens))
    vector("output_norm.weight", 32)
    vector("blk.0.attn_norm.weight", 32)
    matrix("blk.0.attn_q.weight", 32)
    matrix("blk.0.attn_k.weight", 16)
    matrix("blk.0.attn_v.weight", 16)
    matrix("blk.0.attn_output.weight", 32)
    vector("blk.0.ffn_norm.weight", 32)
    matrix("blk.0.ffn_gate.weight", 32)
    matrix("blk.0.ffn_up.weight", 32)
    matrix("blk.0.ffn_down.weight", 32)
    if architecture == "qwen2":
        vector("blk.0.attn_q.bias", 32)
        vector("blk.0.attn_k.bias", 16)
        vector("blk.0.attn_v.bias", 16)
    if architecture == "qwen3":
        vector("blk.0.attn_q_norm.weight", 8)
        vector("blk.0.attn_k_norm.weight", 8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tiny_ggml():
    """As models::untrusted::ggml reads it: the length, then only what is not skipped."""
    vocabulary, audio, state, text, mels, bins = 51_865, 1_500, 32, 64, 80, 201
    header = [0x67676D6C, vocabulary, audio, state, 1, 1, text, state, 1, 1, mels, 1, mels, bins]
    data = struct.pack("<14i", *header)
    length = len(data) + 4 * mels * bins
    words = [b" ", b" -", b" '"]
    vocabulary_bytes = struct.pack("<i", len(words)) + b"".join(struct.pack("<i", len(word)) + word for word in words)
    data += vocabulary_bytes
    length += len(vocabulary_bytes)

    def tensor(name, shape, half):
        nonlocal data, length
        head = struct.pack(f"<{3 + len(shape)}i", len(shape), len(name), int(half), *shape) + name.encode()
        data += head
        length += len(head) + int(numpy.prod(shape)) * (2 if half else 4)

    def linear(name, rows, columns, bias=True):
        tensor(f"{name}.weight", [rows, columns], True)
        if bias:
            tensor(f"{name}.bias", [columns], False)

    def norm(name):
        tensor(f"{name}.weight", [state], False)
        tensor(f"{name}.bias", [state], False)

    def block(name, attentions):
        norm(f"{name}.mlp_ln")
        linear(f"{name}.mlp.0", state, 4 * state)
        linear(f"{name}.mlp.2", 4 * state, state)
        for attention in attentions:
            norm(f"{name}.{attention}_ln")
            linear(f"{name}.{attention}.key", state, state, bias=False)
            for part in ["query", "value", "out"]:
                linear(f"{name}.{attention}.{part}", state, state)

    tensor("encoder.positional_embedding", [state, audio], False)
    tensor("encoder.conv1.weight", [3, mels, state], True)
    tensor("encoder.conv1.bias", [1, state], False)
    tensor("encoder.conv2.weight", [3, state, state], True)
    tensor("encoder.conv2.bias", [1, state], False)
    norm("encoder.ln_post")
    block("encoder.blocks.0", ["attn"])
    tensor("decoder.positional_embedding", [state, text], False)
    tensor("decoder.token_embedding.weight", [state, vocabulary], True)
    norm("decoder.ln")
    block("decoder.blocks.0", ["attn", "cross_attn"])
    write("ggml/whole", struct.pack("<Q", length) + data)


def tiny_safetensors():
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    }
    text = json.dumps(header).encode()
    write("safetensors/two", struct.pack("<Q", len(text)) + text + bytes(range(22)))


def texts():
    said = "\0You are kind.\0Hello?\0Hi.\0And now?"
    thinking = (
        "{%- set ns = namespace(last=0) %}{%- for message in messages[::-1] %}{%- if message.role == 'user' and not "
        "message.content.startswith('<tool') and ns.last == 0 %}{%- set ns.last = loop.index %}{%- endif %}{%- endfor %}"
        "{%- for message in messages %}{%- if message.role == 'assistant' %}{{- message.content.split('</think>')[-1].lstrip('\\n') }}"
        "{%- endif %}{%- endfor %}{{ messages[0].get('tools', 'none') }}{% if enable_thinking is defined %}off{% endif %}"
    )
    dated = "{{ strftime_now('%d %b %Y') }}{% if messages | length > 9 %}{{ raise_exception('long') }}{% endif %}{{ bos_token | upper }}"
    for name, source in [("chatml", CHATML), ("thinking", thinking), ("dated", dated)]:
        write(f"chat_template/{name}", (source + said).encode())
    offer = (
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:old\r\na=ice-pwd:oldpassword\r\n"
        "a=fingerprint:sha-256 00:11\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n"
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=sendrecv\r\n"
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n"
    )
    fragment = "a=ice-ufrag:new\r\na=ice-pwd:newpassword\r\na=mid:0\r\na=candidate:2 1 udp 1 192.0.2.2 2 typ host\r\na=end-of-candidates\r\n"
    write("session_description/restart", f"{offer}\0{fragment}".encode())


def vocabulary():
    tokens = [b"<unk>", b"<s>", b"</s>", "\u2581a".encode(), b"bc", b"\xc3", b"\xa9", b"<<ST_1>>"]
    data = b"".join(bytes([len(token)]) + token for token in tokens)
    write("moonshine_tokens/small", data + bytes([130, 2]) + b"x" * 258)


def recordings():
    samples = numpy.zeros(32, dtype=numpy.int16).tobytes()
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    write("audio_files/wav", b"RIFF" + struct.pack("<I", len(body)) + body)
    write("audio_files/ogg", tiny_ogg())


def tiny_ogg():
    """Three pages: the head, the tags, and a packet of silence."""

    def checksum(page):
        value = 0
        for byte in page:
            value ^= byte << 24
            for _ in range(8):
                value = (value << 1) ^ (0x104C11DB7 if value & 0x80000000 else 0)
        return value

    def page(number, kind, granule, packet):
        head = struct.pack("<4sBBqIIIBB", b"OggS", 0, kind, granule, 7, number, 0, 1, len(packet))
        whole = bytearray(head + packet)
        whole[22:26] = struct.pack("<I", checksum(whole))
        return bytes(whole)

    opus_head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 312, 48_000, 0, 0)
    tags = struct.pack("<8sI", b"OpusTags", 4) + b"seed" + struct.pack("<I", 0)
    return page(0, 2, 0, opus_head) + page(1, 0, 0, tags) + page(2, 4, 960, bytes([0xF8, 0xFF, 0xFE]))


for name, architecture in [("llama", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3")]:
    tiny_gguf(name, architecture)
tiny_ggml()
tiny_safetensors()
texts()
vocabulary()
recordings()
