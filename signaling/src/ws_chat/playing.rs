//! Reply audio on its way to a client that only takes files: cut into pieces, sent a little ahead of when they are heard.
//!
//! Pure; time is an argument. The client has no clock that could be asked, so how much of a reply has been heard is reckoned: a
//! piece plays from when it was sent, or from the end of the one before. Never more than [`AHEAD`] beyond that is sent, so that
//! a reply which is cut is mostly still here, and is dropped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use audio::level::{AUDIBLE, peak};
use audio::pcm::{Pcm, SampleRate};
use audio::resample::resample;

use crate::line::{Playout, ReplyId};

/// How much audio the client is given beyond what it has played.
pub const AHEAD: Duration = Duration::from_secs(1);
/// Audio that may wait here; beyond it the call waits.
pub const QUEUE_BOUND: Duration = Duration::from_secs(60);
/// The first piece is short, so that the reply begins at once.
const FIRST_PIECE: Duration = Duration::from_millis(400);
const LONGEST_PIECE: Duration = Duration::from_secs(1);
/// Pieces are not made shorter, unless the client would fall silent or the reply ends.
const SHORTEST_PIECE: Duration = Duration::from_millis(300);
const SHORTEST_FIRST: Duration = Duration::from_millis(100);
/// With no more than this left to play, any piece is better than none.
const RUNNING_DRY: Duration = Duration::from_millis(150);
/// Always kept back while a reply goes on, so that its last piece can be marked as the last.
const KEPT_BACK: Duration = Duration::from_millis(20);
const POSITION_EVERY: Duration = Duration::from_millis(100);
/// How many replies that are over are remembered, to answer a late cut.
const REMEMBERED: usize = 64;

/// A part of a reply, to be sent now.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub reply: ReplyId,
    /// Counts the pieces of this reply, from 0.
    pub seq: u32,
    pub is_last: bool,
    pub pcm: Pcm,
}

#[derive(Debug)]
struct Track {
    reply: ReplyId,
    rate: SampleRate,
    queued: VecDeque<f32>,
    finished: bool,
    /// Pieces sent.
    pieces: u32,
    sent: Duration,
    /// As of `clock`, which runs while the client has something to play.
    played: Duration,
    clock: Option<Instant>,
    reported: Duration,
    started: bool,
}

impl Track {
    fn new(reply: ReplyId, rate: SampleRate) -> Self {
        let (sent, played, reported) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let (queued, finished, pieces, clock, started) = (VecDeque::new(), false, 0, None, false);
        Self { reply, rate, queued, finished, pieces, sent, played, clock, reported, started }
    }

    fn left(&self) -> Duration {
        self.sent.saturating_sub(self.played)
    }

    /// How many samples the next piece has, if one is to be sent.
    fn next_piece(&self) -> Option<usize> {
        let first = self.pieces == 0;
        let kept_back = if self.finished { 0 } else { self.rate.samples_in(KEPT_BACK) };
        let ready = self.queued.len().saturating_sub(kept_back);
        let dry = !first && self.left() <= RUNNING_DRY;
        let shortest = if first { SHORTEST_FIRST } else { SHORTEST_PIECE };
        let enough = self.finished || dry || self.rate.duration_of(ready) >= shortest;
        let longest = self.rate.samples_in(if first { FIRST_PIECE } else { LONGEST_PIECE });
        // A tail too short to be a piece of its own goes with the one before.
        let whole = self.finished && ready <= longest + self.rate.samples_in(SHORTEST_PIECE);
        let samples = if whole { ready } else { ready.min(longest) };
        (samples > 0 && enough && self.left() < AHEAD).then_some(samples)
    }
}

/// One client's way out.
#[derive(Debug, Default)]
pub struct Playing {
    /// The first one plays.
    tracks: VecDeque<Track>,
    over: VecDeque<(ReplyId, Duration)>,
    notices: VecDeque<Playout>,
}

impl Playing {
    /// Whether the call may hand over more.
    pub fn has_room(&self) -> bool {
        let queued: Duration = self.tracks.iter().map(|track| track.rate.duration_of(track.queued.len())).sum();
        queued < QUEUE_BOUND
    }

    /// Queues audio of a reply, after what is queued of the ones before.
    pub fn speak(&mut self, reply: ReplyId, pcm: Pcm) {
        if self.over.iter().any(|(id, _)| *id == reply) {
            return;
        }
        let track = self.track(reply, pcm.rate);
        // A fallback voice may have another rate than the one that broke off.
        let pcm = if pcm.rate == track.rate { Ok(pcm) } else { resample(&pcm, track.rate) };
        match pcm {
            Ok(pcm) => track.queued.extend(pcm.samples),
            Err(error) => tracing::error!(%error, "reply audio was dropped"),
        }
    }

    /// The reply has no more audio.
    pub fn finish(&mut self, reply: ReplyId) {
        if !self.over.iter().any(|(id, _)| *id == reply) {
            self.track(reply, SampleRate::HZ_16000).finished = true;
        }
    }

    /// Forgets what has not been sent.
    pub fn cut(&mut self, now: Instant, reply: ReplyId) {
        self.advance(now);
        let track = self.tracks.iter().position(|track| track.reply == reply).and_then(|at| self.tracks.remove(at));
        let known = self.over.iter().find(|(id, _)| *id == reply).map(|(_, played)| *played);
        let played = track.map(|track| track.played).or(known).unwrap_or_default();
        self.end(Playout::Cut { reply, played });
    }

    /// The piece to send now; ask again until `None`.
    pub fn piece(&mut self, now: Instant) -> Option<Piece> {
        self.advance(now);
        self.give_way();
        let track = self.tracks.front_mut()?;
        let samples: Vec<f32> = track.queued.drain(..track.next_piece()?).collect();
        let pcm = Pcm::new(track.rate, samples);
        let piece = Piece {
            reply: track.reply.clone(),
            seq: track.pieces,
            is_last: track.finished && track.queued.is_empty(),
            pcm,
        };
        track.pieces += 1;
        track.sent += piece.pcm.duration();
        track.clock.get_or_insert(now);
        if !track.started && peak(&piece.pcm.samples) >= AUDIBLE {
            track.started = true;
            self.notices.push_back(Playout::Started { reply: piece.reply.clone(), at: now });
        }
        Some(piece)
    }

    /// What became of replies; take them all after each step.
    pub fn notice(&mut self) -> Option<Playout> {
        self.notices.pop_front()
    }

    /// When there is something to do.
    pub fn next_wake(&self, now: Instant) -> Option<Instant> {
        let track = self.tracks.front()?;
        if track.clock.is_none() {
            return (track.finished || track.next_piece().is_some()).then_some(now);
        }
        Some(now + POSITION_EVERY.min(track.left()))
    }

    /// Lets the clock run up to `now`.
    fn advance(&mut self, now: Instant) {
        while let Some(track) = self.tracks.front_mut() {
            if let Some(clock) = track.clock {
                track.played = (track.played + now.saturating_duration_since(clock)).min(track.sent);
                track.clock = Some(clock.max(now));
            }
            let reply = track.reply.clone();
            if track.left().is_zero() && track.queued.is_empty() && track.finished {
                let played = track.played;
                self.tracks.pop_front();
                self.end(Playout::Drained { reply, played });
                continue;
            }
            if track.played >= track.reported + POSITION_EVERY {
                track.reported = track.played;
                self.notices.push_back(Playout::Position { reply: reply.clone(), played: track.played });
            }
            if track.clock.is_some() && track.left().is_zero() {
                track.clock = None;
                self.notices.push_back(Playout::Starved { reply });
            }
            return;
        }
    }

    /// A reply that ran dry and isn't finished lets the next one that has audio go first.
    fn give_way(&mut self) {
        let waits = self.tracks.front().is_some_and(|track| track.clock.is_none() && track.next_piece().is_none());
        let ready = self.tracks.iter().position(|track| track.next_piece().is_some());
        if let Some(track) = ready.filter(|_| waits).and_then(|at| self.tracks.remove(at)) {
            self.tracks.push_front(track);
        }
    }

    fn track(&mut self, reply: ReplyId, rate: SampleRate) -> &mut Track {
        let known = self.tracks.iter().position(|track| track.reply == reply);
        let at = known.unwrap_or_else(|| {
            self.tracks.push_back(Track::new(reply, rate));
            self.tracks.len() - 1
        });
        &mut self.tracks[at]
    }

    fn end(&mut self, last: Playout) {
        let (Playout::Drained { reply, played } | Playout::Cut { reply, played }) = &last else { return };
        let (reply, played) = (reply.clone(), *played);
        if !self.over.iter().any(|(id, _)| *id == reply) {
            if self.over.len() >= REMEMBERED {
                self.over.pop_front();
            }
            self.over.push_back((reply.clone(), played));
        }
        self.notices.push_back(Playout::Position { reply, played });
        self.notices.push_back(last);
    }
}
