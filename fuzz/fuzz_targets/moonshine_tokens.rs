//! See `models::fuzzing::moonshine_tokens`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::fuzzing::moonshine_tokens(bytes));
