//! An SDP offer and an ICE fragment.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| signaling::untrusted::session_description(bytes));
