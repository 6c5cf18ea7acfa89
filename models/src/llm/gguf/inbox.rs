//! What calls leave for the thread that computes, and where it finds it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::Sender;

use super::ENGINE;
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::llm::{GenerateRequest, Piece};
use crate::queue::QueueDepth;

/// Requests that may wait to be started. When full, new ones are refused.
pub(super) const WAITING_BOUND: usize = 32;

/// A request on its way to the thread.
pub(super) struct Job {
    pub request: GenerateRequest,
    pub pieces: Sender<Result<Piece, EngineError>>,
    pub cancelled: Cancelled,
    /// Stands still while others are answered.
    pub yields: bool,
}

/// What calls leave for the thread.
#[derive(Default)]
pub(super) struct Inbox {
    post: Mutex<Post>,
    news: Condvar,
}

#[derive(Default)]
pub(super) struct Post {
    /// At most [`WAITING_BOUND`].
    pub jobs: VecDeque<Job>,
    /// Emptied at every step.
    pub forgotten: Vec<String>,
    pub closed: bool,
    /// What the thread has begun, and of that what waits for room, as of its last step.
    pub begun: usize,
    pub held_up: usize,
}

impl Inbox {
    pub fn submit(&self, job: Job) -> Result<(), EngineError> {
        let mut post = self.lock();
        if post.closed {
            return Err(EngineError::Stopped { engine: ENGINE });
        }
        post.jobs.retain(|waiting| !waiting.cancelled.is_set());
        if post.jobs.len() >= WAITING_BOUND {
            return Err(EngineError::Overloaded { engine: ENGINE, waiting: post.jobs.len() });
        }
        post.jobs.push_back(job);
        self.news.notify_one();
        Ok(())
    }

    pub fn queue(&self) -> QueueDepth {
        let post = self.lock();
        let waiting = post.jobs.iter().filter(|job| !job.cancelled.is_set()).count();
        QueueDepth { waiting: waiting + post.held_up, busy: post.begun.saturating_sub(post.held_up) }
    }

    pub fn forget(&self, conversation: &str) {
        let mut post = self.lock();
        if !post.closed && !post.forgotten.iter().any(|name| name == conversation) {
            post.forgotten.push(conversation.into());
            self.news.notify_one();
        }
    }

    /// The thread ends at its next step; what waits is dropped.
    pub fn close(&self) {
        let mut post = self.lock();
        post.closed = true;
        post.jobs.clear();
        self.news.notify_one();
    }

    pub fn lock(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for news, at most `patience` if there is one.
    pub fn wait<'a>(&self, post: MutexGuard<'a, Post>, patience: Option<Duration>) -> MutexGuard<'a, Post> {
        match patience {
            None => self.news.wait(post).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => self.news.wait_timeout(post, patience).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}
