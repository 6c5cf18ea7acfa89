//! What each key that was given out may still use: calls at once, and minutes of talk a day.
//!
//! A call that has begun is not cut; the next one is refused. Days are UTC's. The server's own keys have no limits here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use signaling::grant::Grant;
use signaling::line::Refusal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often a call that goes on is charged: so much is forgotten at most when the process is killed.
const CHARGED_EVERY: Duration = Duration::from_secs(60);
/// When a key whose calls are all up may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const DAY: u64 = 86_400;

/// Where the talk of each key is added up.
pub trait Meter: Send + Sync + 'static {
    /// How long the key has talked on the day of `now`. Must answer within a millisecond.
    fn talked(&self, key: &str, now: SystemTime) -> Duration;
    /// Adds to that; takes no longer than a hand-over.
    fn add_talk(&self, key: &str, now: SystemTime, talked: Duration);
}

/// What a key may use that says nothing else itself; zero: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pub calls: u16,
    pub talk_minutes_per_day: u32,
}

/// The shares of all keys.
pub struct Allowances {
    share: Share,
    meter: Arc<dyn Meter>,
    /// Calls of each key that connect or run; a key without any is not in it.
    running: Arc<Mutex<HashMap<String, u16>>>,
}

/// One call of a key; given back when dropped.
pub struct Place {
    key: String,
    running: Arc<Mutex<HashMap<String, u16>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut running = lock(&self.running);
        if let Some(calls) = running.get_mut(&self.key) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                running.remove(&self.key);
            }
        }
    }
}

impl Allowances {
    pub fn new(share: Share, meter: Arc<dyn Meter>) -> Self {
        Self { share, meter, running: Arc::default() }
    }

    /// A place for one more call of the key, if it has one left at `now`. Where it has none, `make_room` is asked to end a call of
    /// it that can be spared, and says whether it did.
    pub fn place(&self, grant: &Grant, now: SystemTime, make_room: impl Fn() -> bool) -> Result<Place, Refusal> {
        let minutes = grant.talk_minutes_per_day.unwrap_or(self.share.talk_minutes_per_day);
        let limit = Duration::from_secs(u64::from(minutes) * 60);
        if minutes > 0 && self.meter.talked(&grant.key, now) >= limit {
            let why = format!("this key has talked its {minutes} minutes of today (UTC)");
            return Err(Refusal::Quota { why, retry_after: until_tomorrow(now) });
        }
        let most = grant.calls.unwrap_or(self.share.calls);
        loop {
            let mut running = lock(&self.running);
            let calls = running.get(&grant.key).copied().unwrap_or_default();
            if most == 0 || calls < most {
                running.insert(grant.key.clone(), calls.saturating_add(1));
                return Ok(Place { key: grant.key.clone(), running: Arc::clone(&self.running) });
            }
            // A call that ends gives its place back through the same lock.
            drop(running);
            if !make_room() {
                let why = format!("this key has {calls} calls up already, and may have {most} at once");
                return Err(Refusal::Quota { why, retry_after: RETRY_AFTER });
            }
        }
    }

    /// Charges the key for as long as `call` runs, even if it panics.
    pub fn charged<F: Future<Output = ()> + Send + 'static>(
        &self,
        key: String,
        call: F,
    ) -> impl Future<Output = ()> + Send + use<F> {
        let mut talk = Talk { key, meter: Arc::clone(&self.meter), since: Instant::now() };
        async move {
            let mut call = std::pin::pin!(call);
            let mut due = interval_at(talk.since + CHARGED_EVERY, CHARGED_EVERY);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = &mut call => break,
                    _ = due.tick() => talk.charge(),
                }
            }
        }
    }
}

/// A call that is being charged.
struct Talk {
    key: String,
    meter: Arc<dyn Meter>,
    since: Instant,
}

impl Talk {
    fn charge(&mut self) {
        let now = Instant::now();
        self.meter.add_talk(&self.key, SystemTime::now(), now - self.since);
        self.since = now;
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.charge();
    }
}

fn lock(running: &Mutex<HashMap<String, u16>>) -> MutexGuard<'_, HashMap<String, u16>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn until_tomorrow(now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Duration::from_secs(DAY - since % DAY)
}
