//! A Whisper model of the smallest size whisper.cpp runs, with random weights, in ggml format: for tests of the mechanics.

use std::sync::OnceLock;

const VOCABULARY: i32 = 51_865;
const TOKENS: i32 = 50_257;
const STATE: i32 = 64;
const HEADS: i32 = 2;
const AUDIO_CONTEXT: i32 = 1_500;
const TEXT_CONTEXT: i32 = 448;
const MELS: i32 = 80;
const BINS: i32 = 201;

/// Where the number of tokens stands: after the magic number, eleven numbers of header, and the filters.
pub const VOCABULARY_AT: usize = 4 * (1 + 11 + 2 + MELS as usize * BINS as usize);

/// Where the first tensor begins.
pub fn tensors_at() -> usize {
    let tokens: usize = (0..TOKENS).map(|token| 4 + token_text(token).len()).sum();
    VOCABULARY_AT + 4 + tokens
}

/// The file.
pub fn bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| Writer::default().model())
}

fn token_text(token: i32) -> String {
    match token {
        0 => " ".to_owned(),
        1 => " -".to_owned(),
        2 => " '".to_owned(),
        _ => format!(" w{token}"),
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    random: u32,
}

impl Writer {
    fn model(mut self) -> Vec<u8> {
        self.numbers(&[
            0x6767_6d6c,
            VOCABULARY,
            AUDIO_CONTEXT,
            STATE,
            HEADS,
            1,
            TEXT_CONTEXT,
            STATE,
            HEADS,
            1,
            MELS,
            1,
        ]);
        self.numbers(&[MELS, BINS]);
        for filter in 0..MELS * BINS {
            let (band, bin) = (filter / BINS, filter % BINS);
            let weight: f32 = if bin * MELS / BINS == band { 0.1 } else { 0.0 };
            self.bytes.extend(weight.to_le_bytes());
        }
        assert_eq!(self.bytes.len(), VOCABULARY_AT);
        self.numbers(&[TOKENS]);
        for token in 0..TOKENS {
            let text = token_text(token);
            self.numbers(&[text.len() as i32]);
            self.bytes.extend(text.as_bytes());
        }
        self.encoder();
        self.decoder();
        self.bytes
    }

    fn encoder(&mut self) {
        self.single("encoder.positional_embedding", &[STATE, AUDIO_CONTEXT]);
        self.half("encoder.conv1.weight", &[3, MELS, STATE]);
        self.single("encoder.conv1.bias", &[1, STATE]);
        self.half("encoder.conv2.weight", &[3, STATE, STATE]);
        self.single("encoder.conv2.bias", &[1, STATE]);
        self.norm("encoder.ln_post");
        self.block("encoder.blocks.0", &["attn"]);
    }

    fn decoder(&mut self) {
        self.single("decoder.positional_embedding", &[STATE, TEXT_CONTEXT]);
        self.half("decoder.token_embedding.weight", &[STATE, VOCABULARY]);
        self.norm("decoder.ln");
        self.block("decoder.blocks.0", &["attn", "cross_attn"]);
    }

    fn block(&mut self, name: &str, attentions: &[&str]) {
        self.norm(&format!("{name}.mlp_ln"));
        self.linear(&format!("{name}.mlp.0"), STATE, 4 * STATE);
        self.linear(&format!("{name}.mlp.2"), 4 * STATE, STATE);
        for attention in attentions {
            self.norm(&format!("{name}.{attention}_ln"));
            self.half(&format!("{name}.{attention}.key.weight"), &[STATE, STATE]);
            for part in ["query", "value", "out"] {
                self.linear(&format!("{name}.{attention}.{part}"), STATE, STATE);
            }
        }
    }

    fn norm(&mut self, name: &str) {
        self.single(&format!("{name}.weight"), &[STATE]);
        self.single(&format!("{name}.bias"), &[STATE]);
    }

    fn linear(&mut self, name: &str, from: i32, to: i32) {
        self.half(&format!("{name}.weight"), &[from, to]);
        self.single(&format!("{name}.bias"), &[to]);
    }

    /// A tensor of single-precision numbers in -1.0..1.0.
    fn single(&mut self, name: &str, shape: &[i32]) {
        self.tensor(name, shape, 0);
        for _ in 0..shape.iter().product() {
            let value = self.next_random() as f32 / 32_768.0 - 1.0;
            self.bytes.extend(value.to_le_bytes());
        }
    }

    /// A tensor of half-precision numbers, each 1/16 to 1/8 with either sign.
    fn half(&mut self, name: &str, shape: &[i32]) {
        self.tensor(name, shape, 1);
        for _ in 0..shape.iter().product() {
            let bits = (self.next_random() & 0x83ff) as u16 | 0x2c00;
            self.bytes.extend(bits.to_le_bytes());
        }
    }

    fn tensor(&mut self, name: &str, shape: &[i32], kind: i32) {
        self.numbers(&[shape.len() as i32, name.len() as i32, kind]);
        self.numbers(shape);
        self.bytes.extend(name.as_bytes());
    }

    fn numbers(&mut self, numbers: &[i32]) {
        numbers.iter().for_each(|number| self.bytes.extend(number.to_le_bytes()));
    }

    /// Sixteen random bits (a linear congruential generator, "Numerical Recipes").
    fn next_random(&mut self) -> u32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random >> 16
    }
}
