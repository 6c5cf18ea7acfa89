//! See `models::untrusted::chat_template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::untrusted::chat_template(bytes));
