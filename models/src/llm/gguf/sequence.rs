//! A reply in the making: what has been read and written, and what its listener is still to get.

use std::collections::VecDeque;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::ENGINE;
use super::cache::KvCache;
use super::outlet::Outlet;
use super::sampler::Sampler;
use super::tokens::{Spelling, Tokens};
use crate::cancel::Cancelled;
use crate::error::EngineError;
use crate::llm::{Piece, StopReason, TokenUsage};

pub(super) struct Sequence {
    pub conversation: String,
    /// `None` until it is let in, and once it has gone back to the store.
    pub cache: Option<KvCache>,
    /// Prompt and what was generated; the cache holds a beginning of it.
    pub tokens: Vec<u32>,
    pub usage: TokenUsage,
    /// Tokens that may be generated.
    pub limit: usize,
    pub sampler: Sampler,
    pub spelling: Spelling,
    pub outlet: Outlet,
    pub pieces: Sender<Result<Piece, EngineError>>,
    /// What the consumer had no room for: at most a text and the end.
    pub unsent: VecDeque<Result<Piece, EngineError>>,
    pub cancelled: Cancelled,
    /// Stands still while others, who cannot wait, are answered.
    pub yields: bool,
    /// Its conversation was forgotten meanwhile.
    pub forgotten: bool,
}

impl Sequence {
    pub fn is_running(&self) -> bool {
        self.cache.is_some() && self.unsent.is_empty()
    }

    pub fn unread(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| self.tokens.len() - cache.len().min(self.tokens.len()))
    }

    /// The most tokens its cache may come to hold.
    pub fn most_tokens(&self) -> usize {
        self.usage.prompt_tokens as usize + self.limit
    }

    /// Sends what the consumer has room for. `false`: the consumer has gone.
    pub fn flush(&mut self) -> bool {
        while let Some(piece) = self.unsent.pop_front() {
            match self.pieces.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full(piece)) => {
                    self.unsent.push_front(piece);
                    break;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        true
    }

    /// Chooses the next token and queues its text. `true`: this was the end, and it is queued too.
    pub fn advance(&mut self, mut logits: Vec<f32>, tokens: &Tokens) -> Result<bool, EngineError> {
        let reply = self.usage.prompt_tokens as usize;
        let chosen = self.sampler.choose(&mut logits, &self.tokens, reply, |token| tokens.is_control(token));
        let token = chosen.ok_or_else(not_a_number)?;
        let mut reason = None;
        if tokens.ends_turn(token) {
            reason = Some(StopReason::EndOfTurn);
        } else {
            self.tokens.push(token);
            self.usage.generated_tokens += 1;
            let spelled = self.spelling.push(tokens, token);
            if self.let_out(|outlet| outlet.push(&spelled)) {
                reason = Some(StopReason::StopString);
            } else if self.usage.generated_tokens as usize >= self.limit {
                reason = Some(StopReason::Length);
            }
        }
        let Some(mut reason) = reason else { return Ok(false) };
        if reason != StopReason::StopString && self.let_out(Outlet::finish) {
            reason = StopReason::StopString;
        }
        self.unsent.push_back(Ok(Piece::Done { reason, usage: self.usage }));
        Ok(true)
    }

    /// Queues what the outlet releases; gives whether a stop string has come.
    fn let_out(&mut self, release: impl FnOnce(&mut Outlet) -> (String, bool)) -> bool {
        let (text, stopped) = release(&mut self.outlet);
        match self.unsent.back_mut() {
            Some(Ok(Piece::Text(queued))) => queued.push_str(&text),
            _ if text.is_empty() => {}
            _ => self.unsent.push_back(Ok(Piece::Text(text))),
        }
        stopped
    }
}

/// The network's scores are not finite: weights that are no numbers, or that overflow.
pub(super) fn not_a_number() -> EngineError {
    EngineError::Failed {
        engine: ENGINE,
        reason: "its scores are not numbers, so the weights are damaged; fetch them again with `avatar models pull`"
            .into(),
    }
}
