//! What reads descriptions from outside, for the fuzz targets in `fuzz/` and for the test that runs it over a few seeds.
//!
//! Only compiled for tests and with `--cfg fuzzing`, which `cargo fuzz` sets.

/// An offer up to the first zero byte, and after it an ICE fragment that a client sends later.
pub fn session_description(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (offer, fragment) = text.split_once('\0').unwrap_or((&text, ""));
    crate::peer::read_untrusted(offer, fragment);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn no_damaged_offer_ends_the_server() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/session_description");
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            for at in 0..seed.len() {
                session_description(&seed[..at]);
                let mut damaged = seed.clone();
                damaged[at] ^= 0x20;
                session_description(&damaged);
            }
            seeds += 1;
        }
        assert!(seeds > 0);
    }
}
