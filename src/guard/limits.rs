//! How many requests each key may make, and how often each address may guess at keys.
//!
//! Whoever presents a wrong key has a few more tries, then waits. So that guessing tells nothing, a right key of the server's own
//! (which its owner chose, perhaps badly) counts as a guess too the first time it comes from an address; from then on it always
//! opens there, whatever others at the same address do. Keys that were given out and client secrets are 244 random bits, which no
//! number of guesses finds: they open at once.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use sha2::{Digest, Sha256};
use signaling::grant::Grant;
use signaling::http::error::ApiError;

use crate::config;

/// How many addresses that guessed are told apart. While so many did so lately, all further ones share one count.
const ADDRESSES: usize = 16_384;
/// How many pairs of an address and a key that is right there are remembered. When so many are, all are forgotten: each key then
/// counts as a guess once more.
const KNOWN: usize = 4_096;

type Limiter<K, C> = RateLimiter<K, HashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The counts of one server.
pub struct Limits<C: Clock = DefaultClock> {
    clock: C,
    requests_per_minute: u32,
    guesses: Option<Limiter<IpAddr, C>>,
    known: Mutex<HashSet<(IpAddr, [u8; 32])>>,
    /// By requests a minute: keys that may make as many share one limiter. Keys are made by the server's owner alone, which
    /// bounds it.
    requests: Mutex<HashMap<NonZeroU32, Arc<Limiter<String, C>>>>,
}

impl Limits {
    pub fn new(settings: &config::Limits) -> Self {
        Self::with_clock(settings, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limits<C> {
    fn with_clock(settings: &config::Limits, clock: C) -> Self {
        let guesses = NonZeroU32::new(settings.wrong_keys_per_minute)
            .map(|most| RateLimiter::hashmap_with_clock(Quota::per_minute(most), clock.clone()));
        Self {
            clock,
            requests_per_minute: settings.requests_per_minute,
            guesses,
            known: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    /// One more request of the key.
    pub fn request(&self, grant: &Grant) -> Result<(), ApiError> {
        let Some(most) = NonZeroU32::new(grant.requests_per_minute.unwrap_or(self.requests_per_minute)) else {
            return Ok(());
        };
        let limiter =
            Arc::clone(lock(&self.requests).entry(most).or_insert_with(|| {
                Arc::new(RateLimiter::hashmap_with_clock(Quota::per_minute(most), self.clock.clone()))
            }));
        limiter.check_key(&grant.key).map_err(|not_until| {
            let message = format!("this key may make {most} requests a minute; retry when `Retry-After` is over");
            limited(message, not_until.wait_time_from(self.clock.now()))
        })
    }

    /// A wrong key came from the address.
    pub fn wrong_key(&self, from: IpAddr) -> Result<(), ApiError> {
        let Some(guesses) = &self.guesses else { return Ok(()) };
        let mut from = network(from);
        if guesses.len() >= ADDRESSES {
            guesses.retain_recent();
            if guesses.len() >= ADDRESSES {
                from = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
            }
        }
        guesses.check_key(&from).map_err(|not_until| {
            let message = "too many wrong keys came from this address; retry when `Retry-After` is over";
            limited(message.to_owned(), not_until.wait_time_from(self.clock.now()))
        })
    }

    /// A right key of the server's own came from the address.
    pub fn own_key(&self, from: IpAddr, token: &str) -> Result<(), ApiError> {
        let pair = (network(from), Sha256::digest(token.as_bytes()).into());
        if lock(&self.known).contains(&pair) {
            return Ok(());
        }
        self.wrong_key(from)?;
        let mut known = lock(&self.known);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(pair);
        Ok(())
    }
}

fn limited(message: String, wait: Duration) -> ApiError {
    ApiError::limited("rate_limited", message).retry_after(wait)
}

/// Of IPv6 the /64, all of which one machine has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address @ IpAddr::V4(_) => address,
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::net::Ipv4Addr;

    use axum::http::StatusCode;
    use axum::response::IntoResponse;
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn limits(requests: u32, wrong: u32) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let settings =
            config::Limits { requests_per_minute: requests, wrong_keys_per_minute: wrong, ..config::Limits::default() };
        (Limits::with_clock(&settings, clock.clone()), clock)
    }

    fn grant(key: &str) -> Grant {
        Grant { key: key.to_owned(), ..Grant::default() }
    }

    fn host(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
    }

    #[test]
    fn a_key_that_asks_too_often_is_told_when_to_come_again_and_then_let_in() {
        let (limits, clock) = limits(2, 20);
        for _ in 0..2 {
            limits.request(&grant("ann")).unwrap();
        }
        let refused = limits.request(&grant("ann")).unwrap_err().into_response();
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (StatusCode::TOO_MANY_REQUESTS, &"30".parse().unwrap())
        );
        limits.request(&grant("bob")).unwrap();
        clock.advance(Duration::from_secs(30));
        limits.request(&grant("ann")).unwrap();
    }

    #[test]
    fn a_keys_own_limit_goes_before_the_servers() {
        let (limits, _) = limits(1, 20);
        let ann = Grant { requests_per_minute: Some(3), ..grant("ann") };
        for _ in 0..3 {
            limits.request(&ann).unwrap();
        }
        assert!(limits.request(&ann).is_err());
        let (unlimited, _) = super::tests::limits(0, 20);
        for _ in 0..10_000 {
            unlimited.request(&grant("ann")).unwrap();
        }
    }

    #[test]
    fn who_guesses_at_keys_must_wait_and_the_right_one_does_not_show() {
        let (limits, clock) = limits(0, 5);
        for _ in 0..5 {
            limits.wrong_key(host(1)).unwrap();
        }
        assert_eq!(limits.wrong_key(host(1)).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(limits.own_key(host(1), "the right one").unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
        limits.wrong_key(host(2)).unwrap();
        clock.advance(Duration::from_secs(12));
        limits.own_key(host(1), "the right one").unwrap();
    }

    #[test]
    fn who_has_used_the_key_is_not_locked_out_by_others_who_guess() {
        let (limits, _) = limits(0, 2);
        limits.own_key(host(1), "the right one").unwrap();
        while limits.wrong_key(host(1)).is_ok() {}
        limits.own_key(host(1), "the right one").unwrap();
        assert!(limits.own_key(host(1), "another").is_err());
    }

    #[test]
    fn a_network_that_guesses_from_many_addresses_is_one() {
        let (limits, _) = limits(0, 2);
        let from = |last: u16| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last));
        limits.wrong_key(from(1)).unwrap();
        limits.wrong_key(from(2)).unwrap();
        assert!(limits.wrong_key(from(3)).is_err());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        limits.wrong_key(mapped).unwrap();
        limits.wrong_key(host(1)).unwrap();
        assert!(limits.wrong_key(host(1)).is_err());
    }

    #[test]
    fn however_many_addresses_guess_the_memory_is_bounded() {
        let (limits, clock) = limits(0, 1);
        for number in 0..ADDRESSES as u32 + 100 {
            let _ = limits.wrong_key(IpAddr::V4(Ipv4Addr::from_bits(number)));
        }
        let guesses = limits.guesses.as_ref().unwrap();
        assert!(guesses.len() <= ADDRESSES + 1, "{}", guesses.len());
        clock.advance(Duration::from_secs(600));
        limits.wrong_key(host(7)).unwrap();
        assert!(guesses.len() < 10, "{}", guesses.len());
        for number in 0..KNOWN + 100 {
            let (limits, token) = (&limits, number.to_string());
            let _ = limits.own_key(IpAddr::V4(Ipv4Addr::from_bits(number as u32)), &token);
        }
        assert!(lock(&limits.known).len() <= KNOWN);
    }
}
