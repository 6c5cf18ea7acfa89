//! Recordings: the same bytes as a WAV file and as an Ogg Opus file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    drop(audio::wav::read(bytes));
    drop(audio::ogg::read(bytes));
});
