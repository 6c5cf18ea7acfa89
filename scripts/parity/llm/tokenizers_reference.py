"""Makes models/tests/parity/llm/{bytes,pieces}.gguf and tokens.json: two small trained vocabularies and how reference tokenizers
cut a table of awkward texts with them.

`bytes` is a byte-level BPE, read with each model's cutting rule by Hugging Face's `tokenizers`. `pieces` is a SentencePiece BPE
with byte fallback, read by Google's `sentencepiece`, with a space before texts (Llama 2, Phi-3) and without (Gemma).

    pip install tokenizers gguf sentencepiece
    python scripts/parity/llm/tokenizers_reference.py
"""

import io
import json
import pathlib

import sentencepiece
from gguf import GGUFWriter, TokenType
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder

from rules import GPT4O, LLAMA3, QWEN2, TEKKEN, byte_letters

OUT = pathlib.Path(__file__).parents[3] / "models/tests/parity/llm"
SPECIAL = ["<|im_start|>", "<|im_end|>"]

CORPUS = """
Hello there, how are you today? I am well, thank you; and you?
The train to Taipei leaves at 12:30 from platform 4, and it takes 105 minutes.
It's the third time that they're late, isn't it? We'll see what he'd say, I'm sure they've heard.
Please call me back at 0912-345-678 or write to someone@example.org before 2025-11-24.
The weather in the mountains will be cold and the roads will be closed in the evening.
What is the difference between the first and the second answer? There is none, I think.
def answer(question: str) -> str:
    if question.strip() == "":
        return "nothing"
    for index in range(10):
        print(index, question[index])
    return question.upper()
for (let i = 0; i < 100; i++) { console.log(`value ${i}`); }
SELECT name, price FROM items WHERE price > 1000 ORDER BY price DESC;
你好，今天天氣怎麼樣？我想去台北車站，請問要怎麼走？
天氣很好，我們去公園走走吧。謝謝你，再見。
請問現在幾點了？現在是下午三點半。我明天早上要去台北開會。
這個問題很有意思，我想一想再回答你。我們今天去吃牛肉麵好不好？
語音助理可以用國語回答你的問題，也可以說英語。
😀 👍 🎉 😂 great, thanks! 😀😀 👍🏽 👩‍👩‍👧
Ça va très bien, merci. Über naïve café façade. Ñandú, crème brûlée.
1 2 3 10 20 30 100 200 300 1000 2000 12345 67890 3.14159 2.71828
"""

TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n\n", " \n \n", "\t\tx", "a\r\nb", "Hello there", "hello  there   you",
    "It's we'll I'M THEY'RE don'T 'tis", "123 1234 12345 1,234,567.89", "0912-345-678", "१२३ ４５６ ²³", "3.14e-10",
    "    def f(x):\n        return x**2  # it's\n\n\n", "for (let i=0;i<10;i++){console.log(`${i}`)}", "a/b//c\\d", "https://example.org/a?b=c&d=%20e",
    "你好，今天天氣怎麼樣？", "我想去台北車站，請問要怎麼走？謝謝！", "龜鬱釁䶵𠮷", "中文English混合123文字", "「引號」『雙引號』——……", "全形　空格",
    "😀", "👍🏽👩‍👩‍👧", "thanks😀😂!", "❤️ 🇹🇼", "Ça va? naïve café", "Cafe\u0301 e\u0301", "Übergrößenträger", "ﬁ ﬀ Å Å", "مرحبا بالعالم", "שלום עולם", "Привет, мир!",
    "สวัสดีครับ", "한국어 텍스트", "カタカナ ひらがな", "CamelCaseXMLHttpRequest", "snake_case_name __init__", "UPPER lower Title", "!!!???...", "--- *** ===", "<b>bold</b> <|x|>", "a\u00a0b\u2003c\u200bd",
    "\u0000\u0001\x7f", "x" * 40, "the the the the", "▁already▁escaped", "<0x41> <unk>", "e\u0301\u0302\u0303", "ＡＢＣ　ａｂｃ", "½ ⅓ № ™", "🏳️‍🌈 flag", "\u202eright\u202c", "I’m “quoted” — dash", "NT$1,500元，約50美元",
]
CHATS = ["<|im_start|>user\nHello there<|im_end|>\n<|im_start|>assistant\n", "a<|im_end|> b<|im_start|>", "<|im_end|><|im_end|>你好<|im_start|>😀"]


def byte_level():
    trainer = trainers.BpeTrainer(vocab_size=640, initial_alphabet=sorted(byte_letters().values()), show_progress=False)
    trained = Tokenizer(models.BPE())
    # Trained without a rule, so that merges run across what the rules cut apart.
    trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\n"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    lines = [line for line in CORPUS.splitlines() for _ in range(2)]
    # Short windows of each line, or whole sentences would become tokens.
    windows = [line[start : start + 12] for line in lines for start in range(0, max(len(line) - 11, 1), 3)]
    trained.train_from_iterator(windows, trainer)
    bpe = json.loads(trained.to_str())["model"]
    texts = [text for text, _ in sorted(bpe["vocab"].items(), key=lambda item: item[1])] + SPECIAL
    merges = [tuple(merge) for merge in bpe["merges"]]
    writer = GGUFWriter(OUT / "bytes.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types([TokenType.NORMAL] * (len(texts) - 2) + [TokenType.CONTROL] * 2)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(len(texts) - 1)
    write(writer)

    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)

    def by(regex):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

    rules = {
        "gpt-2": (words, False),
        "smollm": (pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words]), False),
        "qwen2": (by(QWEN2), False),
        "llama-bpe": (by(LLAMA3), True),
        "dbrx": (by(LLAMA3), False),
        "gpt-4o": (by(GPT4O), False),
        "tekken": (by(TEKKEN), True),
    }
    cases = {}
    for pre, (rule, ignores_merges) in rules.items():
        tokenizer = Tokenizer(models.BPE({text: index for index, text in enumerate(texts)}, merges, ignore_merges=ignores_merges))
        tokenizer.pre_tokenizer = rule
        tokenizer.decoder = ByteLevelDecoder()
        if pre == "qwen2":
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
        cases[pre] = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS + CHATS]
    return cases


def pieces():
    cases = {}
    for name, prefix in [("spaced", True), ("plain", False)]:
        trained = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS.strip().splitlines() * 3), model_writer=trained, vocab_size=640, model_type="bpe", byte_fallback=True,
            add_dummy_prefix=prefix, remove_extra_whitespaces=False, normalization_rule_name="identity", split_digits=True, allow_whitespace_only_pieces=True,
            character_coverage=0.98, control_symbols=SPECIAL, unk_surface="", minloglevel=2,
        )
        model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
        size = model.vocab_size()

        def kind(index):
            if model.is_byte(index):
                return TokenType.BYTE
            if model.is_unknown(index):
                return TokenType.UNKNOWN
            return TokenType.CONTROL if model.is_control(index) else TokenType.NORMAL

        writer = GGUFWriter(OUT / f"pieces-{name}.gguf", "llama")
        writer.add_tokenizer_model("llama")
        writer.add_token_list([model.id_to_piece(index) for index in range(size)])
        writer.add_token_scores([model.get_score(index) for index in range(size)])
        writer.add_token_types([kind(index) for index in range(size)])
        if not prefix:
            writer.add_add_space_prefix(False)
        writer.add_bos_token_id(model.bos_id())
        writer.add_eos_token_id(model.eos_id())
        writer.add_unk_token_id(model.unk_id())
        write(writer)

        def cut(chat):
            # What stands between control tokens is a text of its own.
            if not chat:
                return []
            at = min((chat.find(text), text) for text in SPECIAL if text in chat) if any(text in chat for text in SPECIAL) else None
            if at is None:
                return model.encode(chat)
            start, text = at
            return (model.encode(chat[:start]) if start else []) + [model.piece_to_id(text)] + cut(chat[start + len(text) :])

        cases[name] = [model.encode(text) for text in TEXTS] + [cut(chat) for chat in CHATS]
    return cases


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    reference = {"texts": TEXTS + CHATS, "bytes": byte_level(), "pieces": pieces()}
    (OUT / "tokens.json").write_text(json.dumps(reference, ensure_ascii=True, separators=(",", ":")) + "\n")
    for path in sorted(OUT.glob("*")):
        print(path.name, path.stat().st_size)
