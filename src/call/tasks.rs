//! The engines' work for one call: each piece a small task that carries answers back, and ends when it is dropped.

use std::collections::HashMap;

use models::stt::Urgency;
use signaling::line::ReplyId;
use tokio::task::{AbortHandle, JoinSet};

use super::step::AskId;

/// Aborts its task when dropped, which drops the engine's handle in it, which cancels the work.
#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is being worked on.
#[derive(Debug, Default)]
pub struct Tasks {
    transcriptions: HashMap<AskId, (Urgency, AbortOnDrop)>,
    judgement: Option<AbortOnDrop>,
    /// Writing and speaking, by reply.
    replies: HashMap<ReplyId, Vec<AbortOnDrop>>,
    /// Writes to the history: never aborted, waited for when the call ends.
    keeping: JoinSet<()>,
}

impl Tasks {
    /// A final transcription makes the partial one worthless.
    pub fn transcribe(&mut self, ask: AskId, urgency: Urgency, work: impl Future<Output = ()> + Send + 'static) {
        self.transcriptions.retain(|_, (other, task)| !task.0.is_finished() && *other != Urgency::Partial);
        self.transcriptions.insert(ask, (urgency, spawn(work)));
    }

    /// A new pause makes the opinion of an earlier one worthless.
    pub fn judge(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.judgement = Some(spawn(work));
    }

    pub fn reply(&mut self, reply: &ReplyId, work: impl Future<Output = ()> + Send + 'static) {
        self.replies.retain(|_, tasks| tasks.iter().any(|task| !task.0.is_finished()));
        self.replies.entry(reply.clone()).or_default().push(spawn(work));
    }

    pub fn abandon(&mut self, reply: &ReplyId) {
        self.replies.remove(reply);
    }

    pub fn keep(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        while self.keeping.try_join_next().is_some() {}
        self.keeping.spawn(work);
    }

    /// Stops the engines and waits until the history has everything.
    pub async fn finish(mut self) {
        self.transcriptions.clear();
        self.judgement = None;
        self.replies.clear();
        while self.keeping.join_next().await.is_some() {}
    }
}

fn spawn(work: impl Future<Output = ()> + Send + 'static) -> AbortOnDrop {
    AbortOnDrop(tokio::spawn(work).abort_handle())
}
