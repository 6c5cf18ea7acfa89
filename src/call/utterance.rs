//! What the caller says in one turn, from a little before the first word.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use audio::pcm::SampleRate;

/// Audio kept before speech is noticed: a soft first consonant is in it, and the time that confirming takes.
pub const PRE_ROLL: Duration = Duration::from_millis(300);

const RATE: SampleRate = SampleRate::HZ_16000;

/// Collects 16 kHz samples: the last [`PRE_ROLL`] while idle, everything while a turn is on.
#[derive(Debug, Default)]
pub struct Utterance {
    before: VecDeque<f32>,
    turn: Option<Vec<f32>>,
}

impl Utterance {
    pub fn hear(&mut self, samples: &[f32]) {
        if let Some(turn) = &mut self.turn {
            turn.extend_from_slice(samples);
            return;
        }
        self.before.extend(samples);
        // Confirming a start takes about 100 ms, which the pre-roll must not lose.
        let keep = RATE.samples_in(PRE_ROLL + Duration::from_millis(100));
        let surplus = self.before.len().saturating_sub(keep);
        self.before.drain(..surplus);
    }

    /// A turn has started; what was heard just before belongs to it.
    pub fn start(&mut self) {
        if self.turn.is_none() {
            self.turn = Some(self.before.drain(..).collect());
        }
    }

    /// The turn so far, 16 kHz mono.
    pub fn so_far(&self) -> Arc<[f32]> {
        self.turn.as_deref().unwrap_or_default().into()
    }

    pub fn duration(&self) -> Duration {
        RATE.duration_of(self.turn.as_ref().map_or(0, Vec::len))
    }

    /// Ends the turn and gives all of it.
    pub fn finish(&mut self) -> Vec<f32> {
        self.turn.take().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_keeps_what_came_before_it() {
        let mut utterance = Utterance::default();
        utterance.hear(&vec![0.25; 16_000]);
        utterance.start();
        utterance.hear(&[0.5; 320]);
        let heard = utterance.finish();
        assert_eq!(heard.len(), 6_400 + 320);
        assert_eq!(heard.first(), Some(&0.25));
        assert_eq!(heard.last(), Some(&0.5));
    }

    #[test]
    fn the_next_turn_does_not_repeat_the_last_one() {
        let mut utterance = Utterance::default();
        utterance.start();
        utterance.hear(&[1.0; 320]);
        assert_eq!(utterance.finish().len(), 320);
        utterance.hear(&[0.0; 320]);
        utterance.start();
        assert_eq!(&*utterance.so_far(), &[0.0; 320]);
    }
}
