//! See `models::untrusted::safetensors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::untrusted::safetensors(bytes));
