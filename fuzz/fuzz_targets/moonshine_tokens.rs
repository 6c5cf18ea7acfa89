//! See `models::untrusted::moonshine_tokens`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::untrusted::moonshine_tokens(bytes));
