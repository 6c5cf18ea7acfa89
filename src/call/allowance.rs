//! What each key that was given out may still use: calls at once, minutes of talk a day, and of each engine by itself so much a day.
//!
//! What has begun is not cut; the next is refused. It is counted once it was used, so that requests made at the same time may
//! together go beyond by what each of them asks. Days are UTC's. The server's own keys have no limits here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use signaling::grant::Grant;
use signaling::line::Refusal;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::config::Limits;

/// How often a call that goes on is charged: so much is forgotten at most when the process is killed.
const CHARGED_EVERY: Duration = Duration::from_secs(60);
/// When a key whose calls are all up may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
const DAY: u64 = 86_400;

/// What a key has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How long its calls were up.
    pub talk: Duration,
    /// Text that a voice said beside calls.
    pub speech_characters: u64,
    /// Recordings that were listened to.
    pub transcribed: Duration,
    /// Read and written by the language model beside calls.
    pub tokens: u64,
}

/// What is counted a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    Talk,
    Speech,
    Transcription,
    Tokens,
}

/// Where what each key uses is added up.
pub trait Meter: Send + Sync + 'static {
    /// What the key has used on the day of `now`. Must answer within a millisecond.
    fn used(&self, key: &str, now: SystemTime) -> Usage;
    /// Adds to that; takes no longer than a hand-over.
    fn add(&self, key: &str, now: SystemTime, usage: Usage);
}

/// What a key may use that says nothing else itself; zero: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pub calls: u16,
    pub talk_minutes_per_day: u32,
    pub speech_characters_per_day: u32,
    pub transcribed_minutes_per_day: u32,
    pub tokens_per_day: u32,
}

impl Share {
    pub fn of(limits: &Limits) -> Self {
        Self {
            calls: limits.calls,
            talk_minutes_per_day: limits.talk_minutes_per_day,
            speech_characters_per_day: limits.speech_characters_per_day,
            transcribed_minutes_per_day: limits.transcribed_minutes_per_day,
            tokens_per_day: limits.tokens_per_day,
        }
    }

    /// How much of it a key may use a day, in minutes, characters or tokens; zero: no limit.
    pub fn daily(&self, grant: &Grant, good: Good) -> u32 {
        match good {
            Good::Talk => grant.talk_minutes_per_day.unwrap_or(self.talk_minutes_per_day),
            Good::Speech => grant.speech_characters_per_day.unwrap_or(self.speech_characters_per_day),
            Good::Transcription => grant.transcribed_minutes_per_day.unwrap_or(self.transcribed_minutes_per_day),
            Good::Tokens => grant.tokens_per_day.unwrap_or(self.tokens_per_day),
        }
    }

    /// Refuses a key that has used its share of this day.
    fn check(&self, grant: &Grant, good: Good, used: Usage, now: SystemTime) -> Result<(), Refusal> {
        let most = self.daily(grant, good);
        let minutes = Duration::from_secs(u64::from(most) * 60);
        let (is_spent, what) = match good {
            Good::Talk => (used.talk >= minutes, format!("talked its {most} minutes")),
            Good::Speech => (used.speech_characters >= most.into(), format!("had its {most} characters said")),
            Good::Transcription => (used.transcribed >= minutes, format!("had its {most} minutes transcribed")),
            Good::Tokens => (used.tokens >= most.into(), format!("used its {most} tokens")),
        };
        if most == 0 || !is_spent {
            return Ok(());
        }
        let why = format!("this key has {what} of today (UTC)");
        Err(Refusal::Quota { why, retry_after: until_tomorrow(now) })
    }
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
        self.share.check(grant, Good::Talk, self.meter.used(&grant.key, now), now)?;
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

    /// Lets the key use more of that at `now`, if it has some left; what it uses is to be put on the bill.
    pub fn bill(&self, grant: &Grant, good: Good, now: SystemTime) -> Result<Bill, Refusal> {
        self.share.check(grant, good, self.meter.used(&grant.key, now), now)?;
        Ok(Bill { usage: Usage::default(), payer: Some((grant.key.clone(), Arc::clone(&self.meter))) })
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

/// What one request has used so far; charged when dropped, however the request ends. The default is nobody's.
#[derive(Default)]
pub struct Bill {
    pub usage: Usage,
    payer: Option<(String, Arc<dyn Meter>)>,
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some((key, meter)) = self.payer.take().filter(|_| self.usage != Usage::default()) {
            meter.add(&key, SystemTime::now(), self.usage);
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
        self.meter.add(&self.key, SystemTime::now(), Usage { talk: now - self.since, ..Usage::default() });
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
