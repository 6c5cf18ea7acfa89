//! Calls that another line may take over, and the tokens by which it is let; how a call is ended that has no line.
//!
//! A token is told to the client alone; here and in the history there is only its hash. It is good once: the line that takes a
//! call over is told another. It opens nothing to the holder of another key than the call came in with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sha2::{Digest, Sha256};
use signaling::line::{CallId, HangUp, Line};
use signaling::secret::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::place::Place;

/// What is kept of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn of(token: &Secret) -> Self {
        Self(Sha256::digest(token.reveal().as_bytes()).into())
    }

    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A new token, of 244 random bits.
pub fn fresh_token() -> Secret {
    Secret::new(format!("rt_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}

/// A line that takes a call over, and the token by which the next one may.
pub struct Attach {
    pub line: Line,
    pub token: Secret,
}

struct Entry {
    id: Uuid,
    hash: TokenHash,
    owner: Option<String>,
    lines: mpsc::Sender<Attach>,
    /// Lines that are being connected for it.
    claims: usize,
    /// The line that it has, or had last.
    line: CallId,
    /// Since when it has had none.
    waiting: Option<Instant>,
    place: Place,
    /// Why it does not wait any longer.
    ending: watch::Sender<Option<HangUp>>,
}

impl Entry {
    /// Since when it has waited for a line that nobody brings yet.
    fn idle(&self) -> Option<Instant> {
        let none_comes = self.claims == 0 && self.lines.capacity() == self.lines.max_capacity();
        self.waiting.filter(|_| none_comes)
    }
}

/// The calls that can be taken over; as many as there are places for calls.
#[derive(Clone, Default)]
pub struct Resumptions(Arc<Mutex<Vec<Entry>>>);

impl Resumptions {
    /// Lists a call, which `line` has brought, under its first token. Lines that take it over come from the first receiver, one at
    /// a time; the second becomes why it is ended without its line's doing.
    pub fn list(
        &self,
        token: &Secret,
        line: CallId,
        owner: Option<String>,
        place: Place,
    ) -> (Listed, mpsc::Receiver<Attach>, watch::Receiver<Option<HangUp>>) {
        let (lines, attached) = mpsc::channel(1);
        let (ending, ended) = watch::channel(None);
        let (id, hash) = (Uuid::new_v4(), TokenHash::of(token));
        self.lock().push(Entry { id, hash, owner, lines, claims: 0, line, waiting: None, place, ending });
        (Listed { registry: self.clone(), id }, attached, ended)
    }

    /// Whose the call with that line is.
    pub fn owner(&self, line: &CallId) -> Option<Option<String>> {
        self.lock().iter().find(|entry| entry.line == *line).map(|entry| entry.owner.clone())
    }

    /// Its caller has hung up: the call ends as soon as it has no line, and its token is good for nothing any more.
    pub fn hang_up(&self, line: &CallId) -> bool {
        let mut entries = self.lock();
        let Some(at) = entries.iter().position(|entry| entry.line == *line) else { return false };
        let entry = entries.swap_remove(at);
        entry.ending.send_replace(Some(HangUp::ByCaller));
        true
    }

    /// Ends the call, of that owner if one is named, that has waited longest for a line, if it has done so since `since` and
    /// nobody brings one yet. Its place is free at once. `false`: there is none.
    pub fn make_room(&self, since: Instant, owner: Option<&str>) -> bool {
        let mut entries = self.lock();
        let of = |entry: &Entry| owner.is_none_or(|owner| entry.owner.as_deref() == Some(owner));
        let waiting = entries.iter().enumerate().filter(|(_, entry)| of(entry));
        let waiting = waiting.filter_map(|(at, entry)| Some((entry.idle().filter(|idle| *idle <= since)?, at)));
        let Some((_, at)) = waiting.min() else { return false };
        let entry = entries.swap_remove(at);
        entry.place.give_up();
        entry.ending.send_replace(Some(HangUp::Vanished));
        tracing::info!(call = %entry.line, "a call without a line makes room for another");
        true
    }

    /// Keeps the call of that token from giving up while a line is connected for it.
    pub fn claim(&self, token: &Secret, owner: Option<&str>) -> Option<Claim> {
        let mut entries = self.lock();
        let entry = find(&mut entries, token, owner)?;
        entry.claims += 1;
        Some(Claim { registry: self.clone(), id: entry.id })
    }

    /// Hands a line to the call that its token names; gives it back where no call takes it.
    pub fn attach(&self, line: Line) -> Option<Line> {
        let Some(token) = line.session.resume.clone() else { return Some(line) };
        let mut entries = self.lock();
        let Some(entry) = find(&mut entries, &token, line.owner.as_deref()) else { return Some(line) };
        let token = fresh_token();
        let (hash, id) = (TokenHash::of(&token), line.call.clone());
        match entry.lines.try_send(Attach { line, token }) {
            Ok(()) => {
                (entry.hash, entry.line) = (hash, id);
                None
            }
            Err(mpsc::error::TrySendError::Full(attach) | mpsc::error::TrySendError::Closed(attach)) => {
                Some(attach.line)
            }
        }
    }

    fn change(&self, id: Uuid, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().iter_mut().find(|entry| entry.id == id) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compares with every entry, so that the time does not tell which one came close.
fn find<'a>(entries: &'a mut [Entry], token: &Secret, owner: Option<&str>) -> Option<&'a mut Entry> {
    let hash = TokenHash::of(token);
    let matching =
        entries.iter_mut().fold(None, |found, entry| if entry.hash.matches(&hash) { Some(entry) } else { found });
    matching.filter(|entry| entry.owner.as_deref() == owner)
}

/// A call's place in the list, until it is dropped.
pub struct Listed {
    registry: Resumptions,
    id: Uuid,
}

impl Listed {
    /// Takes the call off the list, unless a line is being connected for it.
    pub fn leave(&self) -> bool {
        let mut entries = self.registry.lock();
        entries.retain(|entry| entry.id != self.id || entry.claims > 0);
        entries.iter().all(|entry| entry.id != self.id)
    }

    /// Since when the call has had no line; `None`: it has one.
    pub fn set_waiting(&self, since: Option<Instant>) {
        self.registry.change(self.id, |entry| entry.waiting = since);
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.registry.lock().retain(|entry| entry.id != self.id);
    }
}

/// A line on its way to a call that waits for it.
pub struct Claim {
    registry: Resumptions,
    id: Uuid,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.registry.change(self.id, |entry| entry.claims = entry.claims.saturating_sub(1));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use signaling::line::SessionPatch;
    use tokio::sync::Semaphore;

    use super::*;

    fn place() -> Place {
        Place::new(Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(), None)
    }

    fn line(token: &Secret, owner: Option<&str>) -> Line {
        let session = SessionPatch { resume: Some(token.clone()), ..SessionPatch::default() };
        Line::new(CallId::fresh(), "test", session, owner.map(str::to_owned)).0
    }

    #[test]
    fn a_token_is_good_once_and_the_next_one_takes_its_place() {
        let calls = Resumptions::default();
        let token = fresh_token();
        let (_listed, mut lines, _) = calls.list(&token, CallId::fresh(), None, place());
        assert!(calls.attach(line(&token, None)).is_none());
        let next = lines.try_recv().unwrap().token;
        assert!(calls.claim(&token, None).is_none() && calls.attach(line(&token, None)).is_some());
        assert!(calls.claim(&next, None).is_some());
    }

    #[test]
    fn a_token_opens_nothing_to_the_holder_of_another_key() {
        let calls = Resumptions::default();
        let token = fresh_token();
        let (_listed, _lines, _) = calls.list(&token, CallId::fresh(), Some("ada".to_owned()), place());
        for stranger in [None, Some("bob"), Some("")] {
            assert!(calls.claim(&token, stranger).is_none(), "{stranger:?}");
            assert!(calls.attach(line(&token, stranger)).is_some(), "{stranger:?}");
        }
        assert!(calls.claim(&token, Some("ada")).is_some());
        for wrong in ["", "rt_", &token.reveal()[..66], &format!("{}0", token.reveal())] {
            assert!(calls.claim(&Secret::new(wrong), Some("ada")).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_call_does_not_give_up_while_a_line_is_connected_for_it() {
        let calls = Resumptions::default();
        let token = fresh_token();
        let (listed, _lines, _) = calls.list(&token, CallId::fresh(), None, place());
        let claim = calls.claim(&token, None);
        assert!(!listed.leave());
        drop(claim);
        assert!(listed.leave());
        assert!(calls.claim(&token, None).is_none());
    }

    #[test]
    fn no_two_tokens_are_alike_and_none_is_shown() {
        let tokens: std::collections::HashSet<_> = (0..1_000).map(|_| fresh_token().reveal().to_owned()).collect();
        assert_eq!(tokens.len(), 1_000);
        assert!(
            tokens
                .iter()
                .all(|token| token.len() == 67 && !format!("{:?}", TokenHash::of(&Secret::new(token))).contains(token))
        );
    }
}
