//! When a server that fails is left alone, and when it is tried again.
//!
//! Pure: a state machine of (state, event, time). It is closed while the server works; after some failures in a row it opens, and
//! requests are refused at once instead of keeping a caller waiting; when its rest is over one request is let through as a probe,
//! whose outcome closes it or opens it for twice as long. Meanwhile its owner may knock: a cheap question that tells, without a
//! caller, that the server is still down or answers again.

use std::time::{Duration, Instant};

/// How much is put up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it; at least 1.
    pub failures: u32,
    /// Its first rest; each failed probe doubles it.
    pub rest: Duration,
    /// But never beyond this, whatever the server asks for.
    pub longest_rest: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 2, rest: Duration::from_secs(5), longest_rest: Duration::from_secs(120) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything passes; so many failures in a row so far.
    Closed { failures: u32 },
    /// Nothing passes until then.
    Open { until: Instant, rest: Duration },
    /// Its rest is over: one request passes as a probe. `is_probed`: it is on its way, and nothing else passes.
    HalfOpen { rest: Duration, is_probed: bool },
}

/// Leave to send a request; its outcome must be told by [`Breaker::settle`].
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    is_probe: bool,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// The server is at fault; how long it asked to be left alone, if it did.
    Failed {
        retry_after: Option<Duration>,
    },
    /// It tells nothing of the server: the caller went away, or the request itself was wrong.
    Unknown,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
}

impl Breaker {
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: BreakerState::Closed { failures: 0 } }
    }

    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// Leave to send a request, or how long nothing passes.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        match self.state {
            BreakerState::Closed { .. } => Ok(Pass { is_probe: false }),
            BreakerState::Open { until, .. } if now < until => Err(until - now),
            BreakerState::Open { rest, .. } | BreakerState::HalfOpen { rest, is_probed: false } => {
                self.state = BreakerState::HalfOpen { rest, is_probed: true };
                Ok(Pass { is_probe: true })
            }
            BreakerState::HalfOpen { rest, is_probed: true } => Err(rest),
        }
    }

    /// What became of a request that was let through. One from before it opened changes nothing any more.
    pub fn settle(&mut self, now: Instant, pass: Pass, outcome: Outcome) {
        match (self.state, outcome) {
            (BreakerState::Closed { .. }, Outcome::Answered) => self.state = BreakerState::Closed { failures: 0 },
            (BreakerState::Closed { failures }, Outcome::Failed { retry_after }) => {
                let failures = failures.saturating_add(1);
                if failures >= self.settings.failures {
                    self.open(now, self.settings.rest, retry_after);
                } else {
                    self.state = BreakerState::Closed { failures };
                }
            }
            (BreakerState::HalfOpen { rest, is_probed: true }, outcome) if pass.is_probe => match outcome {
                Outcome::Answered => self.state = BreakerState::Closed { failures: 0 },
                Outcome::Failed { retry_after } => self.open(now, rest.saturating_mul(2), retry_after),
                Outcome::Unknown => self.state = BreakerState::HalfOpen { rest, is_probed: false },
            },
            _ => {}
        }
    }

    /// When to knock: at the end of a rest.
    pub fn knock_at(&self) -> Option<Instant> {
        match self.state {
            BreakerState::Open { until, .. } => Some(until),
            BreakerState::Closed { .. } | BreakerState::HalfOpen { .. } => None,
        }
    }

    /// What came of knocking.
    pub fn knocked(&mut self, now: Instant, answered: bool) {
        match (self.state, answered) {
            (BreakerState::Open { rest, .. }, true) => {
                self.state = BreakerState::HalfOpen { rest, is_probed: false };
            }
            (BreakerState::Open { rest, .. }, false) => self.open(now, rest.saturating_mul(2), None),
            (BreakerState::Closed { .. } | BreakerState::HalfOpen { .. }, _) => {}
        }
    }

    fn open(&mut self, now: Instant, rest: Duration, retry_after: Option<Duration>) {
        let rest = rest.min(self.settings.longest_rest);
        let wait = retry_after.unwrap_or_default().max(rest).min(self.settings.longest_rest);
        self.state = BreakerState::Open { until: now + wait, rest };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    fn breaker() -> Breaker {
        Breaker::new(BreakerSettings { failures: 2, rest: 5 * SECOND, longest_rest: 60 * SECOND })
    }

    fn try_once(breaker: &mut Breaker, now: Instant, outcome: Outcome) {
        let pass = breaker.admit(now).unwrap();
        breaker.settle(now, pass, outcome);
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = breaker();
        try_once(&mut breaker, now, FAILED);
        try_once(&mut breaker, now, FAILED);
        breaker
    }

    #[test]
    fn failures_that_do_not_follow_one_another_open_nothing() {
        let (mut breaker, now) = (breaker(), Instant::now());
        for _ in 0..10 {
            try_once(&mut breaker, now, FAILED);
            try_once(&mut breaker, now, Outcome::Answered);
        }
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn a_dead_server_costs_nobody_a_wait_after_two_failures() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + SECOND), Err(4 * SECOND));
        assert_eq!(breaker.knock_at(), Some(now + 5 * SECOND));
    }

    #[test]
    fn one_probe_goes_after_the_rest_and_everyone_else_is_refused_until_it_is_back() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 5 * SECOND;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err());
        breaker.settle(later, probe, Outcome::Answered);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn each_failed_probe_doubles_the_rest_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut rests = Vec::new();
        for _ in 0..6 {
            let wait = breaker.admit(now).unwrap_err();
            rests.push(wait.as_secs());
            now += wait;
            try_once(&mut breaker, now, FAILED);
        }
        assert_eq!(rests, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn a_probe_whose_caller_went_away_lets_the_next_one_probe_at_once() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + 6 * SECOND;
        try_once(&mut breaker, later, Outcome::Unknown);
        try_once(&mut breaker, later, Outcome::Answered);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn answers_from_before_it_opened_neither_close_nor_prolong_it() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let (slow, slower) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        try_once(&mut breaker, now, FAILED);
        try_once(&mut breaker, now, FAILED);
        let state = breaker.state();
        breaker.settle(now + SECOND, slow, Outcome::Answered);
        breaker.settle(now + SECOND, slower, FAILED);
        assert_eq!(breaker.state(), state);
        // Nor is such an answer taken for the probe's.
        let stale = Pass { is_probe: false };
        let _probe = breaker.admit(now + 5 * SECOND).unwrap();
        breaker.settle(now + 5 * SECOND, stale, Outcome::Answered);
        assert_eq!(breaker.state(), BreakerState::HalfOpen { rest: 5 * SECOND, is_probed: true });
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_within_reason() {
        let now = Instant::now();
        for (asked, given) in [(1, 5), (30, 30), (86_400, 60)] {
            let mut breaker = breaker();
            try_once(&mut breaker, now, FAILED);
            try_once(&mut breaker, now, Outcome::Failed { retry_after: Some(asked * SECOND) });
            assert_eq!(breaker.admit(now), Err(given * SECOND));
        }
    }

    #[test]
    fn knocking_finds_out_without_a_caller() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.knocked(now + 5 * SECOND, false);
        assert_eq!(breaker.admit(now + 6 * SECOND), Err(9 * SECOND));
        breaker.knocked(now + 15 * SECOND, true);
        // Its models may be listed while it can't answer: one request has to show.
        assert_eq!(breaker.state(), BreakerState::HalfOpen { rest: 10 * SECOND, is_probed: false });
        try_once(&mut breaker, now + 16 * SECOND, Outcome::Answered);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
        breaker.knocked(now + 17 * SECOND, false);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 0 });
    }

    #[test]
    fn a_wrong_request_says_nothing_about_the_server() {
        let (mut breaker, now) = (breaker(), Instant::now());
        try_once(&mut breaker, now, FAILED);
        try_once(&mut breaker, now, Outcome::Unknown);
        assert_eq!(breaker.state(), BreakerState::Closed { failures: 1 });
    }
}
