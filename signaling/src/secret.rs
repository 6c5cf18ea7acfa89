//! Text that must not be shown: keys and credentials.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const HIDDEN: &str = "[redacted]";

/// A key or credential. Neither `Debug` nor serialising shows it; [`Secret::reveal`] is the only way to the text, so that each
/// use can be found.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether `presented` is the secret, in a time that depends on the lengths alone.
    pub fn matches(&self, presented: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), presented.as_bytes());
        let difference = own.iter().zip(other).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
        own.len() == other.len() && difference == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_alone() {
        let secret = Secret::new("correct horse battery");
        assert!(secret.matches("correct horse battery"));
        for other in ["", "correct horse", "correct horse batterz", "correct horse battery "] {
            assert!(!secret.matches(other), "{other}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let shown = format!("{:?} {}", Secret::new("hunter2"), serde_json::json!(Secret::new("hunter2")));
        assert_eq!(shown, "[redacted] \"[redacted]\"");
    }
}
