//! See `models::fuzzing::safetensors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::fuzzing::safetensors(bytes));
