//! Where a server is.
//!
//! Accepts `http://` and `https://` with or without the path of the interface; `/v1` is added where none is given. Refuses a user
//! name, password or query: what can't be in an address can't get into a log through one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;

/// The beginning of all of a server's addresses, as `http://127.0.0.1:8000/v1`. Shown without its path.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Without a slash at its end.
    base: String,
    /// Scheme, host and port.
    shown: String,
    is_plain: bool,
    is_loopback: bool,
}

/// Why a text is no address. Never quotes it: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it is no address of a server; write it as http://127.0.0.1:8000/v1")]
    Malformed,
    #[error("it must begin with http:// or https://")]
    Scheme,
    #[error("it must not hold a user name or password; set api_key instead")]
    Credentials,
    #[error("it must not hold a query")]
    Query,
}

impl ServerAddress {
    /// The whole address of one of its resources, as `chat/completions`.
    pub fn of(&self, resource: &str) -> Result<Uri, AddressError> {
        format!("{}/{resource}", self.base).parse().map_err(|_| AddressError::Malformed)
    }

    /// Whether a key sent there can be read on the way: no TLS, and another machine.
    pub fn exposes_keys(&self) -> bool {
        self.is_plain && !self.is_loopback
    }
}

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let is_plain = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => true,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => false,
            _ => return Err(AddressError::Scheme),
        };
        if text.contains('@') {
            return Err(AddressError::Credentials);
        }
        if text.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Malformed)?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or(AddressError::Malformed)?;
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let is_loopback = address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback());
        let authority = uri.authority().ok_or(AddressError::Malformed)?;
        let shown = format!("{}://{authority}", if is_plain { "http" } else { "https" });
        let path = match uri.path().trim_end_matches('/') {
            "" => "/v1",
            path => path,
        };
        Ok(Self { base: format!("{shown}{path}"), shown, is_plain, is_loopback })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_interface_may_be_left_out() {
        for (text, whole) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/models"),
            ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1/models"),
            ("HTTPS://llm.example/v1/", "https://llm.example/v1/models"),
            ("https://llm.example/openai/v2", "https://llm.example/openai/v2/models"),
            ("http://[::1]:9", "http://[::1]:9/v1/models"),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().of("models").unwrap().to_string(), whole);
        }
    }

    #[test]
    fn an_address_that_could_leak_a_password_is_refused_without_quoting_it() {
        for (text, expected) in [
            ("http://user:hunter2@host/v1", AddressError::Credentials),
            ("http://host/v1?key=hunter2", AddressError::Query),
            ("hunter2", AddressError::Scheme),
            ("ftp://hunter2", AddressError::Scheme),
            ("http://", AddressError::Malformed),
            ("http://hunter2 /v1", AddressError::Malformed),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_key_is_exposed_only_without_tls_to_another_machine() {
        for (text, exposed) in [
            ("http://127.0.0.1:8000", false),
            ("http://localhost:8000", false),
            ("http://[::1]", false),
            ("https://llm.example", false),
            ("http://llm.example", true),
            ("http://192.168.1.5:8000/v1", true),
        ] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().exposes_keys(), exposed, "{text}");
        }
    }
}
