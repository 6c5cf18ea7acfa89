//! See `models::fuzzing::chat_template`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| models::fuzzing::chat_template(bytes));
