//! Which ICE session each WHIP call is in.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::HeaderValue;
use uuid::Uuid;

use crate::line::CallId;

/// How many calls are remembered, ended ones among them: a call that ends by itself is not told here. When that many
/// are, the oldest is forgotten, and can be hung up but not patched.
const BOUND: usize = 1024;

/// The current `ETag` of each call.
#[derive(Default)]
pub(super) struct Tags(Mutex<VecDeque<(CallId, String)>>);

/// How an `If-Match` compares with a call's tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    NoSuchCall,
    /// There is no `If-Match`.
    Missing,
    Same,
    /// `*`.
    Any,
    Other,
}

impl Tags {
    /// A fresh tag for a call whose ICE session is new.
    pub fn renew(&self, call: CallId) -> HeaderValue {
        let tag = format!("\"{}\"", Uuid::new_v4().simple());
        // Hexadecimal digits in quotes make a header value always.
        let value = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""));
        let mut tags = self.lock();
        tags.retain(|(known, _)| *known != call);
        tags.truncate(BOUND - 1);
        tags.push_front((call, tag));
        value
    }

    pub fn forget(&self, call: &CallId) {
        self.lock().retain(|(known, _)| known != call);
    }

    pub fn compare(&self, call: &CallId, wanted: Option<&HeaderValue>) -> Match {
        let tags = self.lock();
        let Some((_, tag)) = tags.iter().find(|(known, _)| known == call) else { return Match::NoSuchCall };
        let Some(wanted) = wanted else { return Match::Missing };
        match wanted.to_str().unwrap_or_default().trim() {
            "*" => Match::Any,
            list if list.split(',').any(|wanted| wanted.trim() == tag) => Match::Same,
            _ => Match::Other,
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(CallId, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
