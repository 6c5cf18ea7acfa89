//! Calls that another line may take over, and the tokens by which it is let.
//!
//! A token is told to the client alone; here and in the history there is only its hash. It is good once: the line that takes a
//! call over is told another. It opens nothing to the holder of another key than the call came in with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use signaling::line::Line;
use signaling::secret::Secret;
use subtle::ConstantTimeEq;
use tokio::sync::mpsc;
use uuid::Uuid;

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
}

/// The calls that can be taken over; as many as there are places for calls.
#[derive(Clone, Default)]
pub struct Resumptions(Arc<Mutex<Vec<Entry>>>);

impl Resumptions {
    /// Lists a call under its first token. Lines that take it over come from the receiver, one at a time.
    pub fn list(&self, token: &Secret, owner: Option<String>) -> (Listed, mpsc::Receiver<Attach>) {
        let (lines, attached) = mpsc::channel(1);
        let id = Uuid::new_v4();
        self.lock().push(Entry { id, hash: TokenHash::of(token), owner, lines, claims: 0 });
        (Listed { registry: self.clone(), id }, attached)
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
        let hash = TokenHash::of(&token);
        match entry.lines.try_send(Attach { line, token }) {
            Ok(()) => {
                entry.hash = hash;
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
        let before = entries.len();
        entries.retain(|entry| entry.id != self.id || entry.claims > 0);
        entries.len() < before
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
    use signaling::line::{CallId, SessionPatch};

    use super::*;

    fn line(token: &Secret, owner: Option<&str>) -> Line {
        let session = SessionPatch { resume: Some(token.clone()), ..SessionPatch::default() };
        Line::new(CallId::fresh(), "test", session, owner.map(str::to_owned)).0
    }

    #[test]
    fn a_token_is_good_once_and_the_next_one_takes_its_place() {
        let calls = Resumptions::default();
        let token = fresh_token();
        let (_listed, mut lines) = calls.list(&token, None);
        assert!(calls.attach(line(&token, None)).is_none());
        let next = lines.try_recv().unwrap().token;
        assert!(calls.claim(&token, None).is_none() && calls.attach(line(&token, None)).is_some());
        assert!(calls.claim(&next, None).is_some());
    }

    #[test]
    fn a_token_opens_nothing_to_the_holder_of_another_key() {
        let calls = Resumptions::default();
        let token = fresh_token();
        let (_listed, _lines) = calls.list(&token, Some("ada".to_owned()));
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
        let (listed, _lines) = calls.list(&token, None);
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
