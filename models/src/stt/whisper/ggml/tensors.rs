//! Every tensor of a Whisper model, as whisper.cpp's loader makes them before it reads their data.

use std::collections::BTreeMap;

use super::Header;

/// ggml's numbers of the types of small tensors.
const SINGLE: i32 = 0;
const HALF: i32 = 1;

/// Shape (the fastest dimension first) and type.
type Form = ([i32; 3], i32);

/// The tensors by name. At most 11 + 39 × 32, since the header has been checked.
pub fn expected(header: &Header) -> BTreeMap<String, Form> {
    let weights = header.weight_kind().unwrap_or(SINGLE);
    let convolution = if weights == SINGLE { SINGLE } else { HALF };
    let state = header.audio_state;
    let mut tensors = Tensors { found: BTreeMap::new(), state, weights };
    tensors.add("encoder.positional_embedding", [state, header.audio_context, 1], SINGLE);
    tensors.add("encoder.conv1.weight", [3, header.mels, state], convolution);
    tensors.add("encoder.conv1.bias", [1, state, 1], SINGLE);
    tensors.add("encoder.conv2.weight", [3, state, state], convolution);
    tensors.add("encoder.conv2.bias", [1, state, 1], SINGLE);
    tensors.norm("encoder.ln_post");
    for layer in 0..header.audio_layers {
        tensors.block(&format!("encoder.blocks.{layer}"), &["attn"]);
    }
    tensors.add("decoder.positional_embedding", [state, header.text_context, 1], SINGLE);
    tensors.add("decoder.token_embedding.weight", [state, header.vocabulary, 1], weights);
    tensors.norm("decoder.ln");
    for layer in 0..header.text_layers {
        tensors.block(&format!("decoder.blocks.{layer}"), &["attn", "cross_attn"]);
    }
    tensors.found
}

struct Tensors {
    found: BTreeMap<String, Form>,
    state: i32,
    weights: i32,
}

impl Tensors {
    fn add(&mut self, name: &str, shape: [i32; 3], kind: i32) {
        self.found.insert(name.to_owned(), (shape, kind));
    }

    fn block(&mut self, name: &str, attentions: &[&str]) {
        let state = self.state;
        self.norm(&format!("{name}.mlp_ln"));
        self.linear(&format!("{name}.mlp.0"), state, 4 * state);
        self.linear(&format!("{name}.mlp.2"), 4 * state, state);
        for attention in attentions {
            self.norm(&format!("{name}.{attention}_ln"));
            self.add(&format!("{name}.{attention}.key.weight"), [state, state, 1], self.weights);
            for part in ["query", "value", "out"] {
                self.linear(&format!("{name}.{attention}.{part}"), state, state);
            }
        }
    }

    fn norm(&mut self, name: &str) {
        self.add(&format!("{name}.weight"), [self.state, 1, 1], SINGLE);
        self.add(&format!("{name}.bias"), [self.state, 1, 1], SINGLE);
    }

    fn linear(&mut self, name: &str, from: i32, to: i32) {
        self.add(&format!("{name}.weight"), [from, to, 1], self.weights);
        self.add(&format!("{name}.bias"), [to, 1, 1], SINGLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_tensors_is_what_whisper_cpp_counts() {
        let header = Header {
            vocabulary: 51_865,
            audio_context: 1_500,
            audio_state: 384,
            audio_heads: 6,
            audio_layers: 4,
            text_context: 448,
            text_state: 384,
            text_heads: 6,
            text_layers: 4,
            mels: 80,
            file_type: 2_007,
        };
        let tensors = expected(&header);
        assert_eq!(tensors.len(), 11 + 15 * 4 + 24 * 4);
        assert_eq!(tensors["decoder.blocks.3.cross_attn.out.weight"], ([384, 384, 1], 8));
        assert_eq!(tensors["encoder.conv1.weight"].1, HALF);
    }
}
