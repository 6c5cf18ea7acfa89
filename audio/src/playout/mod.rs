//! The queue of reply audio on its way to the caller.
//!
//! Owns what is queued of each reply, at 48 kHz, and tells what came of it. Promises that every frame can be pulled at any
//! time (silence when there is nothing), that a reply is never dropped but on [`Playout::cut`], that no start, end, cut or
//! starvation makes a click (each is a short fade), and that no sample exceeds full scale. Generic over the reply's id.
//! Holds no clock: a frame is sent when it is pulled, and the notices that [`Playout::notice`] has afterwards belong to it.
//!
//! Replies play one after the other in the order of their first audio. A reply that ran dry but isn't finished gives way
//! to the next that has audio.

mod fade;
mod track;

use std::collections::VecDeque;
use std::time::Duration;

use ::opus::{Channels, SoftClip};

use crate::frames::SENT_FRAME;
use crate::level::AUDIBLE;
use crate::opus::RATE;
use crate::pcm::Pcm;
use crate::resample::ResampleError;
use fade::Outgoing;
use track::Track;

/// How much audio may be queued for one caller, all replies together: 23 MB. Beyond it [`Playout::speak`] refuses.
pub const QUEUE_BOUND: Duration = Duration::from_secs(120);
/// How many replies may be queued. Beyond it [`Playout::speak`] refuses.
pub const REPLIES_BOUND: usize = 64;
/// How often [`Notice::Position`] comes while a reply plays.
pub const POSITION_EVERY: Duration = Duration::from_millis(100);
/// How many replies that are over are remembered, to answer a late [`Playout::cut`].
const REMEMBERED: usize = 64;
/// How many notices may wait. When full the oldest is dropped; whoever takes them after each frame never has ten.
const NOTICES_BOUND: usize = 1_024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayoutError {
    #[error("{} s of reply audio are queued already; wait until some has been played", QUEUE_BOUND.as_secs())]
    Full,
    #[error("{REPLIES_BOUND} replies are queued already; finish or cut them first")]
    TooManyReplies,
    #[error("the reply was finished or cut already; its further audio is dropped, start a new reply instead")]
    Over,
    #[error("the reply's audio cannot be played: {0}")]
    Resample(#[from] ResampleError),
}

/// What came of a reply's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice<Id> {
    /// The frame pulled last has its first audible sample.
    Started { reply: Id },
    /// How much of it has been pulled. Every 100 ms while it plays, and once before `Drained` and `Cut`.
    Position { reply: Id, played: Duration },
    /// It ran dry though it is not finished; `Started` does not come again when it goes on.
    Starved { reply: Id },
    /// It was finished and all of it has been pulled.
    Drained { reply: Id, played: Duration },
    /// It was cut, has faded out, and what was queued of it is gone.
    Cut { reply: Id, played: Duration },
}

/// What [`Playout::next_frame`] put into the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Played {
    /// It has a sample of −60 dBFS or more.
    pub audible: bool,
}

#[derive(Debug)]
pub struct Playout<Id> {
    tracks: VecDeque<Track<Id>>,
    /// What fades away and the last samples given out.
    outgoing: Outgoing,
    /// A cut reply whose fade-out is on its way.
    cutting: Option<(Id, Duration)>,
    over: VecDeque<(Id, Duration)>,
    notices: VecDeque<Notice<Id>>,
    limiter: SoftClip,
}

impl<Id: Clone + Eq> Default for Playout<Id> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Id: Clone + Eq> Playout<Id> {
    pub fn new() -> Self {
        Self {
            tracks: VecDeque::new(),
            outgoing: Outgoing::default(),
            cutting: None,
            over: VecDeque::new(),
            notices: VecDeque::new(),
            limiter: SoftClip::new(Channels::Mono),
        }
    }

    /// Queues audio of a reply, at any rate. The first of a new reply follows what is queued of the one before.
    pub fn speak(&mut self, reply: Id, pcm: Pcm) -> Result<(), PlayoutError> {
        if self.is_over(&reply) {
            return Err(PlayoutError::Over);
        }
        if self.queued() + pcm.duration() > QUEUE_BOUND {
            return Err(PlayoutError::Full);
        }
        self.track(reply)?.speak(pcm)
    }

    /// The reply has no more audio: [`Notice::Drained`] follows when all of it has been pulled.
    pub fn finish(&mut self, reply: Id) {
        if self.is_over(&reply) {
            return;
        }
        match self.track(reply.clone()) {
            Ok(track) => track.finish(),
            Err(_) => self.end(Notice::Drained { reply, played: Duration::ZERO }),
        }
    }

    /// Fades the reply out and forgets what is queued of it: [`Notice::Cut`] follows with the frame that ends the fade, or
    /// at once if it was not sounding. Of a reply that is over or was never queued: with what was played of it, or zero.
    pub fn cut(&mut self, reply: Id) {
        if self.cutting.as_ref().is_some_and(|(cutting, _)| *cutting == reply) {
            return;
        }
        let Some(index) = self.tracks.iter().position(|track| track.id == reply) else {
            let played = self.over.iter().find(|(id, _)| *id == reply).map_or(Duration::ZERO, |(_, played)| *played);
            self.end(Notice::Cut { reply, played });
            return;
        };
        let Some(mut track) = self.tracks.remove(index) else { return };
        if index == 0 && track.sounding && self.cutting.is_none() {
            self.outgoing.fade_out(&mut track);
            self.cutting = Some((reply, track.played()));
        } else {
            self.end(Notice::Cut { reply, played: track.played() });
        }
    }

    /// Fills 20 ms of 48 kHz.
    pub fn next_frame(&mut self, frame: &mut [f32; SENT_FRAME]) -> Played {
        frame.fill(0.0);
        let mut filled = 0;
        while let Some(space) = frame.get_mut(filled..).filter(|space| !space.is_empty()) {
            if self.outgoing.fading() {
                filled += self.outgoing.drain(space);
                continue;
            }
            if let Some((reply, played)) = self.cutting.take() {
                self.end(Notice::Cut { reply, played });
            }
            if self.turn() {
                continue;
            }
            let Some(track) = self.tracks.front_mut().filter(|track| track.queued() > 0) else { break };
            let taken = track.take(space);
            let (started, position) = (track.first_heard(space.get(..taken).unwrap_or_default()), track.position_due());
            let (reply, played) = (track.id.clone(), track.played());
            self.outgoing.remember(space.get(..taken).unwrap_or_default());
            filled += taken;
            if started {
                self.notify(Notice::Started { reply: reply.clone() });
            }
            if position {
                self.notify(Notice::Position { reply, played });
            }
        }
        if let Some((reply, played)) = self.cutting.take_if(|_| !self.outgoing.fading()) {
            self.end(Notice::Cut { reply, played });
        }
        self.limiter.apply(frame);
        // Rounding in the limiter's curve must not put a sample past full scale either.
        for sample in frame.iter_mut() {
            *sample = sample.clamp(-1.0, 1.0);
        }
        Played { audible: frame.iter().any(|sample| sample.abs() >= AUDIBLE) }
    }

    /// What happened; take them all after each frame.
    pub fn notice(&mut self) -> Option<Notice<Id>> {
        self.notices.pop_front()
    }

    /// No audio waits to be pulled: the next frame would be silence.
    pub fn idle(&self) -> bool {
        !self.outgoing.fading() && self.tracks.iter().all(|track| track.queued() == 0 && !track.finished)
    }

    /// How much audio waits, all replies together.
    pub fn queued(&self) -> Duration {
        RATE.duration_of(self.tracks.iter().map(Track::queued).sum())
    }

    /// Settles whose turn it is when the front has no audio; answers whether anything changed.
    fn turn(&mut self) -> bool {
        let Some(front) = self.tracks.front_mut().filter(|track| track.queued() == 0) else { return false };
        if front.sounding {
            front.fall_silent();
            let starved = (!front.finished).then(|| front.id.clone());
            self.outgoing.trail_off();
            if let Some(reply) = starved {
                self.notify(Notice::Starved { reply });
            }
            return true;
        }
        if front.finished {
            if let Some(track) = self.tracks.pop_front() {
                let played = track.played();
                self.end(Notice::Drained { reply: track.id, played });
            }
            return true;
        }
        let ready = self.tracks.iter().position(|track| track.queued() > 0 || track.finished);
        let Some(track) = ready.and_then(|index| self.tracks.remove(index)) else { return false };
        self.tracks.push_front(track);
        true
    }

    fn track(&mut self, reply: Id) -> Result<&mut Track<Id>, PlayoutError> {
        if let Some(index) = self.tracks.iter().position(|track| track.id == reply) {
            return self.tracks.get_mut(index).ok_or(PlayoutError::TooManyReplies);
        }
        if self.tracks.len() >= REPLIES_BOUND {
            return Err(PlayoutError::TooManyReplies);
        }
        self.tracks.push_back(Track::new(reply));
        self.tracks.back_mut().ok_or(PlayoutError::TooManyReplies)
    }

    fn is_over(&self, reply: &Id) -> bool {
        self.cutting.as_ref().is_some_and(|(cutting, _)| cutting == reply)
            || self.over.iter().any(|(id, _)| id == reply)
            || self.tracks.iter().any(|track| track.id == *reply && track.finished)
    }

    /// The last notices of a reply, and its place in memory.
    fn end(&mut self, last: Notice<Id>) {
        let (Notice::Drained { reply, played } | Notice::Cut { reply, played }) = &last else { return };
        let (reply, played) = (reply.clone(), *played);
        if !self.over.iter().any(|(id, _)| *id == reply) {
            if self.over.len() >= REMEMBERED {
                self.over.pop_front();
            }
            self.over.push_back((reply.clone(), played));
        }
        self.notify(Notice::Position { reply, played });
        self.notify(last);
    }

    fn notify(&mut self, notice: Notice<Id>) {
        if self.notices.len() >= NOTICES_BOUND {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }
}

#[cfg(test)]
mod tests;
