//! The seeds of the fuzz target `audio_files`, whole, cut short anywhere and with any byte changed: an error or a recording.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

fn seed(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/audio_files").join(name)).unwrap()
}

#[test]
fn no_damaged_recording_ends_the_server() {
    assert_eq!(audio::wav::read(&seed("wav")[..]).unwrap().samples.len(), 32);
    audio::ogg::read(&seed("ogg")[..]).unwrap();
    for name in ["wav", "ogg"] {
        let whole = seed(name);
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            for bytes in [&whole[..at], &damaged] {
                drop(audio::wav::read(bytes));
                drop(audio::ogg::read(bytes));
            }
        }
    }
}
