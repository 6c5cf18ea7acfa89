//! See `models::fuzzing::ggml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::fuzzing::ggml(bytes));
