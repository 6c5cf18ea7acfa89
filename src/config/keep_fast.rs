//! How long the audio that was made live is kept beside a better one: `always`, `until_ready`, or days.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What becomes of fast audio once the better one is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepFast {
    Always,
    UntilReady,
    Days(u16),
}

impl FromStr for KeepFast {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "always" => Ok(Self::Always),
            "until_ready" => Ok(Self::UntilReady),
            days => days.parse().map(Self::Days).map_err(|_| {
                format!(
                    "'{text}' is not how long fast audio can be kept; write always, until_ready, or a number of days"
                )
            }),
        }
    }
}

impl fmt::Display for KeepFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::UntilReady => f.write_str("until_ready"),
            Self::Days(days) => write!(f, "{days}"),
        }
    }
}

impl Serialize for KeepFast {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Days(days) => serializer.serialize_u16(*days),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for KeepFast {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = KeepFast;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("always, until_ready, or a number of days")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<KeepFast, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, days: i64) -> Result<KeepFast, E> {
                u16::try_from(days)
                    .map(KeepFast::Days)
                    .map_err(|_| E::custom(format!("{days} is no number of days; write 0 to 65535")))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written_and_nothing_else_is() {
        let cases = [("always", KeepFast::Always), ("until_ready", KeepFast::UntilReady), ("7", KeepFast::Days(7))];
        for (text, keep) in cases {
            assert_eq!(text.parse(), Ok(keep));
            assert_eq!(keep.to_string(), text);
        }
        for text in ["", "never", "-1", "7d", "70000"] {
            assert!(text.parse::<KeepFast>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_may_have_it_as_a_number_or_a_text() {
        let read = |toml: &str| toml.parse::<toml::Table>().ok()?.remove("keep")?.try_into::<KeepFast>().ok();
        assert_eq!(read("keep = 30"), Some(KeepFast::Days(30)));
        assert_eq!(read("keep = \"30\""), Some(KeepFast::Days(30)));
        assert_eq!(read("keep = \"always\""), Some(KeepFast::Always));
        assert_eq!(read("keep = -1"), None);
        assert_eq!(read("keep = 1.5"), None);
    }
}
