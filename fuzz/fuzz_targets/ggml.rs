//! See `models::untrusted::ggml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::untrusted::ggml(bytes));
