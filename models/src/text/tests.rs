#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::markup::HOLD_MAX;
use super::{Sentence, SentenceSplitter, speakable};

/// What a voice is given for a text, piece by piece.
const CASES: &[(&str, &str, &[&str])] = &[
    // Plain sentences.
    ("one sentence", "It is raining.", &["It is raining."]),
    ("two sentences", "It is raining. Take a coat.", &["It is raining.", "Take a coat."]),
    ("three kinds of stop", "Really? Yes! Good.", &["Really?", "Yes!", "Good."]),
    ("no stop at the end", "Hello there. And then", &["Hello there.", "And then"]),
    ("several marks", "What?! No way!! Fine.", &["What?!", "No way!!", "Fine."]),
    ("lower case after a stop", "that works. let us go.", &["that works.", "let us go."]),
    ("two spaces", "One here.  Two here.", &["One here.", "Two here."]),
    ("empty", "", &[]),
    ("spaces only", "   \n \n", &[]),
    ("stops only", "...", &[]),
    // Decimals, thousands, times, versions.
    ("decimal", "Pi is 3.14 or so. Yes.", &["Pi is 3.14 or so.", "Yes."]),
    ("decimal at the end", "It costs $3.50.", &["It costs $3.50."]),
    ("number ends a sentence", "There were 3. Then more came.", &["There were 3.", "Then more came."]),
    ("thousands", "About 1,234,567 people live there now.", &["About 1,234,567 people live there now."]),
    ("time of day", "The train leaves at 10:30 sharp today.", &["The train leaves at 10:30 sharp today."]),
    ("version", "Use v1.2.3 or 2.0.1-rc.1 then. Fine.", &["Use v1.2.3 or 2.0.1-rc.1 then.", "Fine."]),
    ("leading point", "It fell by .5 percent. Good.", &["It fell by .5 percent.", "Good."]),
    ("number sign", "See No. 5 there. No. That is all.", &["See No. 5 there.", "No.", "That is all."]),
    ("date", "On Jan. 5 it snowed. Then it stopped.", &["On Jan. 5 it snowed.", "Then it stopped."]),
    // Abbreviations.
    ("title", "Ask Dr. Smith. He knows.", &["Ask Dr. Smith.", "He knows."]),
    ("titles", "Mr. and Mrs. Jones met Prof. Lee.", &["Mr. and Mrs. Jones met Prof. Lee."]),
    ("for example", "Eat fruit, e.g. apples. Daily.", &["Eat fruit, e.g. apples.", "Daily."]),
    ("that is", "The last one, i.e. Friday. Good.", &["The last one, i.e. Friday.", "Good."]),
    ("country inside", "The U.S. Army is big. Yes.", &["The U.S. Army is big.", "Yes."]),
    ("country at the end", "He lives in the U.S. He likes it.", &["He lives in the U.S.", "He likes it."]),
    ("company inside", "Acme Inc. sells anvils. Yes.", &["Acme Inc. sells anvils.", "Yes."]),
    (
        "company at the end",
        "She works at Acme Inc. They sell anvils.",
        &["She works at Acme Inc.", "They sell anvils."],
    ),
    ("morning inside", "At 9 a.m. sharp we start. Good.", &["At 9 a.m. sharp we start.", "Good."]),
    ("afternoon at the end", "It opens at 5 p.m. The door is red.", &["It opens at 5 p.m.", "The door is red."]),
    ("and so on inside", "Pens, paper, etc. are here. Good.", &["Pens, paper, etc. are here.", "Good."]),
    ("and so on at the end", "Bring pens, etc. Then sit.", &["Bring pens, etc.", "Then sit."]),
    ("initials", "J. R. R. Tolkien wrote it. Yes.", &["J. R. R. Tolkien wrote it.", "Yes."]),
    ("initials joined", "J.R.R. Tolkien wrote it. Yes.", &["J.R.R. Tolkien wrote it.", "Yes."]),
    ("letter at the end", "Go to plan B. Then rest.", &["Go to plan B.", "Then rest."]),
    ("pronoun at the end", "So am I. He left.", &["So am I.", "He left."]),
    ("degree", "She has a Ph.D. in physics. Good.", &["She has a Ph.D. in physics.", "Good."]),
    ("saint", "We saw St. Louis. Nice.", &["We saw St. Louis.", "Nice."]),
    ("versus", "It is cats vs. dogs. Sure.", &["It is cats vs. dogs.", "Sure."]),
    // Addresses and files.
    ("url", "Go to https://example.com/a/b?c=d.e today. Bye.", &["Go to example.com today.", "Bye."]),
    ("url ends a sentence", "See https://example.com/a. Then go.", &["See example.com.", "Then go."]),
    ("url with port", "Open http://localhost:8080/x now.", &["Open localhost now."]),
    ("url with parentheses", "Read (https://en.wikipedia.org/wiki/A_(b)) now.", &["Read (en.wikipedia.org) now."]),
    ("www", "Try www.example.org/path first.", &["Try www.example.org first."]),
    ("url in brackets", "Mail <https://a.example/b> now.", &["Mail a.example now."]),
    ("domain", "Visit example.com today. Bye.", &["Visit example.com today.", "Bye."]),
    ("e-mail", "Write to jane.doe@mail.example.com. Thanks.", &["Write to jane.doe@mail.example.com.", "Thanks."]),
    ("file name", "Open main.rs and notes.txt. Done.", &["Open main.rs and notes.txt.", "Done."]),
    ("snake case", "Call my_function now.", &["Call my_function now."]),
    // Ellipses.
    ("ellipsis goes on", "Well... maybe so. Yes.", &["Well... maybe so.", "Yes."]),
    ("ellipsis ends", "I wonder... The end.", &["I wonder...", "The end."]),
    ("ellipsis character", "Hmm… let me think. Ok.", &["Hmm… let me think.", "Ok."]),
    // Quotes and brackets.
    ("quote after the stop", "He said \"go.\" Then he left.", &["He said \"go.\"", "Then he left."]),
    ("curly quote", "She said “Stop!” Then silence.", &["She said “Stop!”", "Then silence."]),
    ("quote goes on", "\"Really?\" he asked. Yes.", &["\"Really?\" he asked.", "Yes."]),
    ("bracket after the stop", "(It was late.) We slept.", &["(It was late.)", "We slept."]),
    ("bracket inside", "It works (e.g. here) well. Yes.", &["It works (e.g. here) well.", "Yes."]),
    ("quote opens", "He left. \"Who?\" she asked.", &["He left.", "\"Who?\" she asked."]),
    // The first clause.
    (
        "no mark but a conjunction after eight words",
        "The capital of France is the old city Paris and it lies on the Seine and is large.",
        &["The capital of France is the old city Paris", "and it lies on the Seine and is large."],
    ),
    ("a conjunction too early", "Bread and butter and jam is nice.", &["Bread and butter and jam is nice."]),
    (
        "a conjunction in a later sentence",
        "Yes. The capital of France is the old city Paris and it lies on the Seine.",
        &["Yes.", "The capital of France is the old city Paris and it lies on the Seine."],
    ),
    (
        "clause long enough",
        "If it rains this afternoon, take a coat.",
        &["If it rains this afternoon,", "take a coat."],
    ),
    ("clause too short", "Well, I think so.", &["Well, I think so."]),
    (
        "only the first",
        "I think it is fine, really. If it rains this time, take a coat.",
        &["I think it is fine,", "really.", "If it rains this time, take a coat."],
    ),
    ("colon", "Here is what you need: a pen and paper.", &["Here is what you need:", "a pen and paper."]),
    ("em dash", "It is a long story—and a sad one.", &["It is a long story—", "and a sad one."]),
    ("spaced dash", "It is a long story – and a sad one.", &["It is a long story –", "and a sad one."]),
    ("hyphen", "A well-known and much-loved song.", &["A well-known and much-loved song."]),
    ("quote in a clause", "\"I would rather not go,\" he said.", &["\"I would rather not go,\"", "he said."]),
    ("chinese clause", "如果明天下雨，我们就不去了。", &["如果明天下雨，", "我们就不去了。"]),
    ("chinese clause too short", "好的，我明白了。", &["好的，我明白了。"]),
    ("chinese list comma", "我喜欢苹果香蕉、橙子。好。", &["我喜欢苹果香蕉、橙子。", "好。"]),
    // Lists, headings, lines.
    ("numbers", "1. First thing\n2. Second thing", &["1. First thing", "2. Second thing"]),
    ("numbers with stops", "1. Wash it. 2. Dry it.", &["1. Wash it.", "2. Dry it."]),
    ("dashes", "- apples\n- pears\n", &["apples", "pears"]),
    ("stars", "* apples\n* **red** pears", &["apples", "red pears"]),
    ("bullets", "• apples\n• pears", &["apples", "pears"]),
    ("task list", "- [ ] wash\n- [x] dry", &["wash", "dry"]),
    ("nested list", "- a thing\n  - b thing", &["a thing", "b thing"]),
    ("heading", "# Title\n\nBody text. More.", &["Title", "Body text.", "More."]),
    ("hash inside", "C# is #1 here.", &["C# is #1 here."]),
    ("quote block", "> Wise words.\n> More words.", &["Wise words.", "More words."]),
    ("rule", "Above.\n\n---\n\nBelow.", &["Above.", "Below."]),
    ("rule of stars", "Above.\n* * *\nBelow.", &["Above.", "Below."]),
    ("new line without stop", "Roses are red\nViolets are blue", &["Roses are red", "Violets are blue"]),
    ("blank lines", "One here.\n\n\nTwo here.", &["One here.", "Two here."]),
    ("carriage returns", "One here.\r\nTwo here.\r\n", &["One here.", "Two here."]),
    ("abbreviation ends a line", "I saw the Dr.\nHe left.", &["I saw the Dr.", "He left."]),
    ("negative number", "-5 degrees today.", &["-5 degrees today."]),
    ("table", "Look:\n| a | b |\n|---|---|\n| 1 | 2 |\nDone.", &["Look:", "Done."]),
    // Marks.
    ("bold", "This is **very** good.", &["This is very good."]),
    ("bold sentence", "**Yes.** It is _so_ good.", &["Yes.", "It is so good."]),
    ("bold and italic", "A ***strong*** word.", &["A strong word."]),
    ("struck", "It is ~~bad~~ good, ~5 minutes.", &["It is bad good,", "~5 minutes."]),
    ("product", "So 2 * 3 is 2*3.", &["So 2 * 3 is 2*3."]),
    ("inline code", "Run `cargo test. Now` first. Good.", &["Run cargo test. Now first.", "Good."]),
    ("double ticks", "Type ``a`b`` here.", &["Type ab here."]),
    ("code block", "Try this:\n```rust\nfn main() {}\n// end. Yes.\n```\nIt works.", &["Try this:", "It works."]),
    ("code block unclosed", "Try this:\n```rust\nfn main() {}", &["Try this:"]),
    ("tilde block", "Try this:\n~~~\ncode here\n~~~\nIt works.", &["Try this:", "It works."]),
    ("link", "See [the guide](https://example.com/a_(b)) now. Good.", &["See the guide now.", "Good."]),
    ("link by reference", "See [the guide][1] now.", &["See the guide now."]),
    ("link is a url", "See [https://example.com/x](https://example.com/x).", &["See example.com."]),
    ("image", "Look ![a cat](cat.png) here.", &["Look here."]),
    ("citation", "It is so[1]. And[^2] more.", &["It is so.", "And more."]),
    ("brackets", "He [the king] spoke.", &["He [the king] spoke."]),
    ("escape", "A \\*star\\* here.", &["A *star* here."]),
    ("tags", "A <b>bold</b> <span class=\"x\">word</span>.", &["A bold word."]),
    ("break tag", "One here<br>two here<br/>three.", &["One here", "two here", "three."]),
    ("comment", "A <!-- not this. --> word.", &["A word."]),
    ("less than", "If a < b and c > d then. I <3 you.", &["If a < b and c > d then.", "I <3 you."]),
    ("entity", "Salt &amp; pepper &lt;3.", &["Salt & pepper <3."]),
    ("special token", "Hello there.<|im_end|>", &["Hello there."]),
    // Thinking.
    ("thinking", "<think>Is it? Yes. No.</think>\n\nIt is. Good.", &["It is.", "Good."]),
    ("thinking unclosed", "<think>Is it? Yes. No.\n\nIt is.", &[]),
    ("thinking empty", "<think>\n\n</think>\n\nHello there.", &["Hello there."]),
    ("thinking in the middle", "First this.<think>hm <b>x</think> Then that.", &["First this.", "Then that."]),
    ("thinking in capitals", "<THINK>no</THINK>Yes then.", &["Yes then."]),
    ("thinking closed only", "</think>\nYes then.", &["Yes then."]),
    // Emoji.
    ("emoji", "Great! 😀 Let us go. 🎉🎉", &["Great!", "Let us go."]),
    ("emoji before the stop", "So good 😀! Yes.", &["So good!", "Yes."]),
    ("emoji of several parts", "Hi 👩‍👩‍👧‍👦 there 🇹🇼 ❤️ you.", &["Hi there you."]),
    ("emoji only", "😀🎉 👍", &[]),
    // Chinese and mixed.
    ("chinese stops", "你好。你是谁？太好了！", &["你好。", "你是谁？", "太好了！"]),
    ("chinese semicolon", "春天来了；花开了。", &["春天来了；", "花开了。"]),
    ("chinese quotes", "他说：「你好。」她笑了。", &["他说：「你好。」", "她笑了。"]),
    ("chinese double quotes", "他說『走吧！』就走了。", &["他說『走吧！』", "就走了。"]),
    ("chinese comma after a quote", "「好！」，他說。", &["「好！」，", "他說。"]),
    ("chinese ellipsis", "他想了想……然后走了。", &["他想了想……", "然后走了。"]),
    ("chinese marks", "真的？！我不信。", &["真的？！", "我不信。"]),
    ("half-width stops", "你好!你是谁?我是小明.好的", &["你好!", "你是谁?", "我是小明.", "好的"]),
    ("half-width comma", "如果明天下雨,我们就不去了", &["如果明天下雨,", "我们就不去了"]),
    ("mixed without space", "我用Rust写代码。It is fast.很快", &["我用Rust写代码。", "It is fast.", "很快"]),
    ("decimal in chinese", "圆周率是3.14左右。对。", &["圆周率是3.14左右。", "对。"]),
    ("url in chinese", "请看https://example.com/路径。谢谢。", &["请看example.com路径。", "谢谢。"]),
    ("chinese list", "1.苹果\n2.香蕉", &["1.苹果", "2.香蕉"]),
    ("chinese bold", "这是**重点**。好。", &["这是重点。", "好。"]),
    ("full-width brackets", "（他来了。）我走了。", &["（他来了。）", "我走了。"]),
    ("chinese name point", "约翰·史密斯来了。", &["约翰·史密斯来了。"]),
    ("chinese dash", "这件事情说来话长——先吃饭。", &["这件事情说来话长——", "先吃饭。"]),
];

fn split<'a>(chunks: impl IntoIterator<Item = &'a str>) -> Vec<Sentence> {
    let mut splitter = SentenceSplitter::new();
    let mut sentences = Vec::new();
    for chunk in chunks {
        sentences.extend(splitter.push(chunk));
    }
    sentences.extend(splitter.finish());
    sentences
}

fn characters(text: &str) -> Vec<&str> {
    text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect()
}

fn random_chunks(text: &str, seed: u64) -> Vec<&str> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rest = text;
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let count = random.random_range(1..=7);
        let end = rest.char_indices().nth(count).map_or(rest.len(), |(at, _)| at);
        let (chunk, after) = rest.split_at(end);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

fn written(sentences: &[Sentence]) -> String {
    sentences.iter().map(|sentence| sentence.written.as_str()).collect()
}

#[test]
fn every_kind_of_text_is_cut_where_a_reader_would_pause() {
    assert!(CASES.len() >= 80, "only {} cases", CASES.len());
    let mut wrong = Vec::new();
    for (name, text, expected) in CASES {
        let whole = split([*text]);
        let spoken: Vec<&str> = whole.iter().map(|s| s.spoken.as_str()).filter(|s| !s.is_empty()).collect();
        if spoken != *expected {
            wrong.push(format!("{name}: {text:?}\n  expected {expected:?}\n  got      {spoken:?}"));
        }
        assert_eq!(written(&whole), *text, "{name}: text lost or doubled");
        assert_eq!(split(characters(text)), whole, "{name}: one character at a time");
        for seed in 0..8 {
            assert_eq!(split(random_chunks(text, seed)), whole, "{name}: in chunks of seed {seed}");
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn transcript_of_a_piece_is_the_text_it_covers() {
    let sentences = split(["**Hi.** Go to https://a.example/b now.\n```\nx\n```\nBye 😀"]);
    let pairs: Vec<(&str, &str)> = sentences.iter().map(|s| (s.spoken.as_str(), s.written.as_str())).collect();
    assert_eq!(
        pairs,
        [
            ("Hi.", "**Hi.** "),
            ("Go to a.example now.", "Go to https://a.example/b now.\n"),
            ("Bye", "```\nx\n```\nBye 😀")
        ]
    );
}

#[test]
fn first_clause_is_spoken_before_the_sentence_is_complete() {
    let mut splitter = SentenceSplitter::new();
    assert!(splitter.push("If it rains this afternoon,").is_empty(), "may still be a number");
    assert_eq!(splitter.push(" ").first().map(|s| s.spoken.as_str()), Some("If it rains this afternoon,"));
}

#[test]
fn full_stop_at_the_end_of_a_chunk_waits_for_what_follows() {
    for text in ["It costs 3.", "Ask Dr.", "He is in the U.S. "] {
        assert!(SentenceSplitter::new().push(text).is_empty(), "{text}");
    }
    assert_eq!(SentenceSplitter::new().push("It is late. ").len(), 1);
    assert_eq!(SentenceSplitter::new().push("你好。我").len(), 1);
}

#[test]
fn run_on_does_not_keep_the_voice_waiting() {
    let words = "word ".repeat(200);
    let clauses = "some words here, ".repeat(60);
    let chinese = "我们一直说话从来不停".repeat(60);
    let chinese_clauses = "我们一直说话、".repeat(60);
    for text in [&words, &clauses, &chinese, &chinese_clauses] {
        let sentences = split([text.as_str()]);
        assert_eq!(&written(&sentences), text);
        let longest = sentences.iter().map(|s| s.written.chars().count()).max().unwrap();
        assert!(longest <= 261, "{longest} characters in one piece of {text:.20}");
        let (_, whole) = sentences.split_last().unwrap();
        for sentence in whole.iter().filter(|s| s.written.is_ascii()) {
            assert!(sentence.written.ends_with(' '), "cut inside a word: {:?}", sentence.written);
        }
        for sentence in whole.iter().filter(|s| s.written.contains('、')) {
            assert!(sentence.written.ends_with('、'), "not cut at a clause mark: {:?}", sentence.written);
        }
    }
}

#[test]
fn endless_silence_or_noise_is_not_kept_in_memory() {
    for unit in [
        "<think>",
        "```\n",
        "*",
        "[",
        "a",
        "<a ",
        "| x ",
        "https://a.example/",
        "😀",
        "`",
        "&",
        "\\",
        "!",
        "…",
        "\n",
        "    ",
    ] {
        let mut splitter = SentenceSplitter::new();
        let mut sentences = Vec::new();
        let text = unit.repeat(20_000 / unit.len());
        for chunk in random_chunks(&text, 1) {
            sentences.extend(splitter.push(chunk));
            assert!(splitter.held() < 1_024, "{} units of {unit:?} held", splitter.held());
        }
        sentences.extend(splitter.finish());
        assert_eq!(written(&sentences), text, "{unit:?}");
    }
}

#[test]
fn speakable_leaves_words_only() {
    assert_eq!(
        speakable("# Hi\n**there** 😀 [you](http://x.example)\n\n```\ncode\n```\n| t |\nend"),
        "Hi there you end"
    );
    assert_eq!(speakable("😀 --- ***"), "");
    assert_eq!(speakable("<think>no"), "");
}

/// Texts thick with markup, so that marks meet each other in ways nobody wrote down.
fn soup() -> impl Strategy<Value = String> {
    let pieces = [
        "word",
        "Word",
        " ",
        "  ",
        "\n",
        "\n\n",
        ".",
        "...",
        "!",
        "?",
        ",",
        ":",
        ";",
        "-",
        "—",
        "*",
        "**",
        "_",
        "`",
        "``",
        "```",
        "~",
        "~~~",
        "#",
        "# ",
        "- ",
        "> ",
        "|",
        "|---|",
        "[",
        "]",
        "(",
        ")",
        "](",
        "![",
        "[x](y)",
        "<",
        ">",
        "</",
        "<b>",
        "<think>",
        "</think>",
        "<br>",
        "<!--",
        "-->",
        "<|x|>",
        "https://",
        "www.",
        "a.example/b",
        "@",
        "&",
        "&amp;",
        "\\",
        "\"",
        "'",
        "“",
        "”",
        "「",
        "」",
        "你好",
        "。",
        "，",
        "、",
        "！",
        "……",
        "…",
        "1",
        "1.",
        "3.14",
        "Dr.",
        "U.S.",
        "e.g.",
        "J.",
        "😀",
        "👩‍👧",
        "\u{301}",
        "\u{FE0F}",
        "\u{200D}",
        "\t",
        "\r\n",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..60).prop_map(|parts| parts.concat())
}

fn holds_for(text: &str, seed: u64) -> Result<(), TestCaseError> {
    let whole = split([text]);
    prop_assert_eq!(written(&whole), text);
    prop_assert_eq!(&split(characters(text)), &whole);
    prop_assert_eq!(&split(random_chunks(text, seed)), &whole);
    for sentence in &whole {
        prop_assert!(!sentence.written.is_empty());
        prop_assert!(sentence.written.chars().count() <= 4 * HOLD_MAX);
        prop_assert!(sentence.spoken.is_empty() || sentence.spoken.chars().any(char::is_alphanumeric));
        // Inside inline code and after a backslash a mark is a word.
        let literal = text.contains(['`', '\\']);
        prop_assert!(literal || !sentence.spoken.contains("**"), "{}", sentence.spoken);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_lost_doubled_or_cut_by_its_chunks(text in soup(), seed in any::<u64>()) {
        holds_for(&text, seed)?;
    }

    #[test]
    fn any_unicode_is_survived(text in any::<String>(), seed in any::<u64>()) {
        holds_for(&text, seed)?;
    }
}
