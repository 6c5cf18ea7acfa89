//! Who has the floor: when the caller starts, pauses, goes on, and has finished.
//!
//! Pure. Time is counted in voice-activity windows of 32 ms on the caller's own audio clock, so that a jittery network
//! neither ends a turn nor prolongs it. Two opinions shorten or lengthen the wait for a turn's end, the words' (how it reads) and
//! the turn model's (how it sounded); neither decides alone, silence always has to confirm. The waits are measured: see
//! `docs/turn-ends.md`.

mod reads;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use signaling::line::TurnEnd;

pub use self::reads::Reads;

/// What one voice-activity window lasts: 512 samples at 16 kHz.
pub const WINDOW: Duration = Duration::from_millis(32);

/// What the floor is decided by.
#[derive(Debug, Clone, PartialEq)]
pub struct FloorSettings {
    pub turn_end: TurnEnd,
    /// Speech probability from which a window may start speech.
    pub start_probability: f32,
    /// Speech probability from which a window continues it. Lower: quiet word ends are not silence.
    pub stay_probability: f32,
    /// How many windows in a row confirm that speech has started. Three are 96 ms, which leaves room in the 150 ms that a
    /// caller who interrupts may have to wait.
    pub confirm_windows: u32,
    /// Silence after which the end is prepared for (transcript, turn model, reply), in the hope that it is one.
    pub pause: Duration,
    /// Longer speech than this is cut into turns.
    pub longest_turn: Duration,
}

impl Default for FloorSettings {
    fn default() -> Self {
        Self {
            turn_end: TurnEnd::Semantic,
            start_probability: 0.5,
            stay_probability: 0.35,
            confirm_windows: 3,
            pause: Duration::from_millis(96),
            longest_turn: Duration::from_secs(60),
        }
    }
}

/// What has changed on the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The caller has begun to speak.
    Started,
    /// The caller is silent, perhaps finished: prepare. Each pause has its own number, for [`Floor::judged`].
    Paused { pause: u64 },
    /// They had not finished: throw away what was prepared.
    Resumed,
    /// The turn is over.
    Over,
}

/// From this probability on, the turn model's opinion counts as "finished". It is unsteady by a tenth, so that little hangs on
/// it where the words are clear.
const SOUNDS_FINISHED: f32 = 0.5;

/// Evidence about one pause, as far as it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Opinions {
    /// The turn model's probability that the speaker has finished.
    sounds_finished: Option<f32>,
    /// What the transcript reads like.
    reads: Option<Reads>,
}

impl Opinions {
    /// How much silence confirms the end. The words weigh more than the sound, since that is how it was measured: after a full
    /// stop more than nine in ten pauses of a quarter of a second were ends however they sounded, and the turn model takes half
    /// of the plain questions for unfinished.
    fn required_silence(self) -> Duration {
        let sounds_finished = self.sounds_finished.is_some_and(|probability| probability >= SOUNDS_FINISHED);
        let milliseconds = match (self.reads, sounds_finished) {
            (Some(Reads::Question), _) => 256,
            (Some(Reads::Statement), true) => 288,
            (Some(Reads::Statement), false) => 320,
            (Some(Reads::Open), true) => 416,
            (Some(Reads::Open), false) => 800,
            (Some(Reads::LeadingOn), _) => 1_184,
            // No transcript yet: the sound alone may not be quick.
            (None, true) => 704,
            (None, false) => 800,
        };
        Duration::from_millis(milliseconds)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Quiet,
    /// Perhaps speech: `windows` in a row were voiced.
    Rising {
        windows: u32,
    },
    Speaking {
        windows: u32,
    },
    Pausing {
        windows: u32,
        silent: u32,
        announced: bool,
        opinions: Opinions,
    },
}

/// The floor of one call.
#[derive(Debug, Clone)]
pub struct Floor {
    settings: FloorSettings,
    state: State,
    pauses: u64,
    /// Voiced windows of the current turn.
    voiced: u32,
    /// Arrival of the last voiced window of the current or last turn.
    last_voice: Option<Instant>,
}

impl Floor {
    pub fn new(settings: FloorSettings) -> Self {
        Self { settings, state: State::Quiet, pauses: 0, voiced: 0, last_voice: None }
    }

    /// Changes how turns end, from the next window on.
    pub fn set_turn_end(&mut self, turn_end: TurnEnd) {
        self.settings.turn_end = turn_end;
    }

    /// The caller is in a turn, speaking or pausing.
    pub fn caller_has_it(&self) -> bool {
        matches!(self.state, State::Speaking { .. } | State::Pausing { .. })
    }

    /// The caller is audibly speaking now.
    pub fn caller_speaks(&self) -> bool {
        matches!(self.state, State::Speaking { .. })
    }

    /// How much of the current turn was voiced.
    pub fn voiced(&self) -> Duration {
        WINDOW * self.voiced
    }

    /// When the packet with the last voiced window arrived.
    pub fn voice_end(&self) -> Option<Instant> {
        self.last_voice
    }

    /// How long the caller has been silent within the turn.
    pub fn silence(&self) -> Duration {
        match self.state {
            State::Pausing { silent, .. } => WINDOW * silent,
            _ => Duration::ZERO,
        }
    }

    /// Hears the next window, which arrived at `arrived` and is speech with `probability`.
    pub fn hear(&mut self, arrived: Instant, probability: f32) -> Option<Change> {
        let threshold = match self.state {
            State::Quiet | State::Rising { .. } => self.settings.start_probability,
            State::Speaking { .. } | State::Pausing { .. } => self.settings.stay_probability,
        };
        if probability >= threshold { self.hear_voice(arrived) } else { self.hear_silence() }
    }

    fn hear_voice(&mut self, arrived: Instant) -> Option<Change> {
        let in_turn = self.caller_has_it();
        if in_turn {
            self.voiced += 1;
            self.last_voice = Some(arrived);
        }
        let (state, change) = match self.state {
            State::Quiet => (State::Rising { windows: 1 }, None),
            State::Rising { windows } if windows + 1 < self.settings.confirm_windows => {
                (State::Rising { windows: windows + 1 }, None)
            }
            State::Rising { windows } => {
                self.voiced = windows + 1;
                self.last_voice = Some(arrived);
                (State::Speaking { windows: windows + 1 }, Some(Change::Started))
            }
            State::Speaking { windows } => (State::Speaking { windows: windows + 1 }, None),
            State::Pausing { windows, silent, announced, .. } => {
                (State::Speaking { windows: windows + silent + 1 }, announced.then_some(Change::Resumed))
            }
        };
        self.state = state;
        change.or_else(|| self.end_overlong())
    }

    fn hear_silence(&mut self) -> Option<Change> {
        match self.state {
            State::Quiet => None,
            State::Rising { .. } => {
                self.state = State::Quiet;
                None
            }
            State::Speaking { windows } => {
                self.state = State::Pausing { windows, silent: 1, announced: false, opinions: Opinions::default() };
                self.announce_pause()
            }
            State::Pausing { windows, silent, announced, opinions } => {
                self.state = State::Pausing { windows, silent: silent + 1, announced, opinions };
                self.announce_pause().or_else(|| self.end_if_confirmed())
            }
        }
    }

    fn announce_pause(&mut self) -> Option<Change> {
        let State::Pausing { silent, announced: announced @ false, .. } = &mut self.state else { return None };
        if WINDOW * *silent < self.settings.pause {
            return None;
        }
        *announced = true;
        self.pauses += 1;
        Some(Change::Paused { pause: self.pauses })
    }

    /// The turn model's opinion of pause number `pause`; an answer about an earlier pause changes nothing.
    pub fn judged(&mut self, pause: u64, sounds_finished: f32) -> Option<Change> {
        self.opine(pause, |opinions| opinions.sounds_finished = Some(sounds_finished))
    }

    /// The words' opinion of pause number `pause`.
    pub fn read(&mut self, pause: u64, reads: Reads) -> Option<Change> {
        self.opine(pause, |opinions| opinions.reads = Some(reads))
    }

    fn opine(&mut self, pause: u64, set: impl FnOnce(&mut Opinions)) -> Option<Change> {
        let State::Pausing { opinions, announced: true, .. } = &mut self.state else { return None };
        if pause != self.pauses {
            return None;
        }
        set(opinions);
        self.end_if_confirmed()
    }

    fn end_if_confirmed(&mut self) -> Option<Change> {
        let State::Pausing { opinions, .. } = self.state else { return None };
        let required = match self.settings.turn_end {
            TurnEnd::Silence(silence) => silence.max(self.settings.pause),
            TurnEnd::Semantic => opinions.required_silence(),
            TurnEnd::Manual => return None,
        };
        (self.silence() >= required).then(|| self.end())
    }

    fn end_overlong(&mut self) -> Option<Change> {
        let State::Speaking { windows } = self.state else { return None };
        let overlong = WINDOW * windows >= self.settings.longest_turn && self.settings.turn_end != TurnEnd::Manual;
        overlong.then(|| self.end())
    }

    /// Ends the turn because the client says so; `None` if there is none.
    pub fn commit(&mut self) -> Option<Change> {
        self.caller_has_it().then(|| self.end())
    }

    /// Forgets the turn without ending it.
    pub fn clear(&mut self) {
        self.state = State::Quiet;
        self.voiced = 0;
    }

    fn end(&mut self) -> Change {
        self.state = State::Quiet;
        Change::Over
    }
}
