//! What goes wrong with a server, and whether asking again can help.
//!
//! Pure. A request is repeated only before anything of its answer was passed on, only for what may pass (the connection, 429, 5xx),
//! and only if the answer can still come before the deadline. Waits are drawn evenly from zero to a bound that doubles ("full
//! jitter": Brooker, "Exponential Backoff And Jitter", 2015), so that callers who failed together do not return together; a
//! server that says how long to wait is believed.

use std::time::{Duration, Instant};

use super::breaker::Outcome;
use crate::error::EngineError;

/// The bound of the first wait, and of all.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What went wrong. Texts are short, single lines, without keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: refused, unknown host, no TLS.
    Connection(String),
    /// The connection was lost, or the answer ended in its middle.
    Broken(String),
    /// Nothing came for that long.
    Silent { awaited: &'static str, after: Duration },
    /// An answer that is not 2xx.
    Status { code: u16, message: String, retry_after: Option<Duration> },
    /// The server told of an error in the middle of its answer.
    Told(String),
    /// The answer is not what the interface says.
    Nonsense(String),
    /// More than is taken.
    TooMuch(&'static str),
}

impl Failure {
    /// How long to wait before the request is sent again; `None` if it is not. `tries` were made; `chance` is in 0..1.
    pub fn wait(&self, tries: u32, retries: u32, chance: f64, now: Instant, deadline: Instant) -> Option<Duration> {
        let asked = match self {
            Self::Connection(_) | Self::Broken(_) => None,
            Self::Status { code: 429 | 500 | 502 | 503 | 504, retry_after, .. } => *retry_after,
            Self::Silent { .. } | Self::Status { .. } | Self::Told(_) | Self::Nonsense(_) | Self::TooMuch(_) => {
                return None;
            }
        };
        if tries > retries {
            return None;
        }
        let bound = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        let wait = asked.unwrap_or_default().saturating_add(bound.mul_f64(chance.clamp(0.0, 1.0)));
        (now.checked_add(wait)? < deadline).then_some(wait)
    }

    /// What it tells of the server.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Status { code: 400 | 413 | 415 | 422, .. } => Outcome::Unknown,
            Self::Status { retry_after, .. } => Outcome::Failed { retry_after: *retry_after },
            Self::Connection(_)
            | Self::Broken(_)
            | Self::Silent { .. }
            | Self::Told(_)
            | Self::Nonsense(_)
            | Self::TooMuch(_) => Outcome::Failed { retry_after: None },
        }
    }

    /// In words, with what to do. `section` is where its settings stand.
    pub fn told(&self, server: &str, section: &str) -> EngineError {
        let (reason, hint) = match self {
            Self::Connection(reason) => {
                (format!("no connection: {reason}"), format!("start it, or mend url in [{section}]"))
            }
            Self::Broken(reason) => (format!("it broke off: {reason}"), "look into its log".to_owned()),
            Self::Silent { awaited, after } => (
                format!("{awaited} did not come within {} ms", after.as_millis()),
                format!("see whether it is busy, or give it more time in [{section}]"),
            ),
            Self::Status { code: code @ (401 | 403), message, .. } => {
                (answer(*code, message), format!("set api_key in [{section}] to a key it knows"))
            }
            Self::Status { code: 404, message, .. } => {
                (answer(404, message), format!("mend url (often it ends in /v1) or model in [{section}]"))
            }
            Self::Status { code: code @ 300..=399, message, .. } => (
                answer(*code, message),
                format!("redirects are not followed: give the address itself as url in [{section}]"),
            ),
            Self::Status { code: 429, message, .. } => {
                (answer(429, message), "it limits how often it may be asked: wait, or raise its limit".to_owned())
            }
            Self::Status { code, message, .. } => (answer(*code, message), "look into its log".to_owned()),
            Self::Told(message) => (format!("it told of an error: {message}"), "look into its log".to_owned()),
            Self::Nonsense(reason) => {
                (reason.clone(), format!("see that url in [{section}] is of an OpenAI-compatible server"))
            }
            Self::TooMuch(what) => {
                (format!("it sent more than is taken of {what}"), format!("see what url in [{section}] is of"))
            }
        };
        EngineError::Remote { server: server.to_owned(), reason, hint }
    }
}

fn answer(code: u16, message: &str) -> String {
    if message.is_empty() { format!("it answered {code}") } else { format!("it answered {code}: {message}") }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn status(code: u16, retry_after: Option<Duration>) -> Failure {
        Failure::Status { code, message: String::new(), retry_after }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let now = Instant::now();
        let again = |failure: &Failure| failure.wait(1, 2, 0.5, now, now + SECOND).is_some();
        for failure in
            [Failure::Connection(String::new()), Failure::Broken(String::new()), status(429, None), status(503, None)]
        {
            assert!(again(&failure), "{failure:?}");
        }
        for failure in [
            Failure::Silent { awaited: "a word", after: SECOND },
            Failure::Told(String::new()),
            Failure::Nonsense(String::new()),
            status(400, None),
            status(401, None),
            status(404, None),
            status(307, None),
        ] {
            assert!(!again(&failure), "{failure:?}");
        }
    }

    #[test]
    fn waits_are_spread_from_nothing_to_a_bound_that_doubles() {
        let now = Instant::now();
        let lost = Failure::Broken(String::new());
        let wait = |tries, chance| lost.wait(tries, 9, chance, now, now + 60 * SECOND).unwrap().as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|tries| wait(tries, 1.0)), [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!([1, 5].map(|tries| wait(tries, 0.0)), [0, 0]);
        assert_eq!(wait(3, 0.25), 100);
    }

    #[test]
    fn a_server_that_says_how_long_is_not_asked_before() {
        let now = Instant::now();
        let busy = status(429, Some(SECOND));
        assert_eq!(busy.wait(1, 2, 0.0, now, now + 2 * SECOND), Some(SECOND));
        assert_eq!(busy.wait(1, 2, 0.0, now, now + SECOND), None, "the caller would wait in vain");
    }

    #[test]
    fn nobody_is_asked_more_often_than_allowed_or_after_the_deadline() {
        let now = Instant::now();
        let lost = Failure::Broken(String::new());
        assert!(lost.wait(2, 2, 0.5, now, now + SECOND).is_some());
        assert_eq!(lost.wait(3, 2, 0.5, now, now + SECOND), None);
        assert_eq!(lost.wait(1, 0, 0.5, now, now + SECOND), None);
        assert_eq!(lost.wait(1, 2, 0.5, now, now), None);
        assert_eq!(status(503, Some(Duration::MAX)).wait(1, 2, 1.0, now, now + SECOND), None);
    }

    #[test]
    fn a_request_that_was_wrong_does_not_blame_the_server_and_a_refused_key_does() {
        assert_eq!(status(400, None).outcome(), Outcome::Unknown);
        for code in [401, 404, 429, 500] {
            assert!(matches!(status(code, None).outcome(), Outcome::Failed { .. }), "{code}");
        }
    }

    #[test]
    fn each_failure_names_the_server_and_the_setting_that_mends_it() {
        for (failure, part) in [
            (Failure::Connection("refused".into()), "url in [remote.llm]"),
            (status(401, None), "api_key in [remote.llm]"),
            (status(404, None), "model in [remote.llm]"),
            (status(302, None), "redirects are not followed"),
        ] {
            let told = failure.told("http://h:1", "remote.llm").to_string();
            assert!(told.starts_with("http://h:1 cannot be used: ") && told.contains(part), "{told}");
        }
    }
}
