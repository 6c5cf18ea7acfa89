//! The way out: reply audio at any rate in, one Opus packet of 20 ms out, for ever.
//!
//! Composes playout queue and encoder. Promises a packet each time it is asked, silence included, so that RTP timestamps
//! are continuous and the receiver's jitter buffer never has to guess. Holds no clock: see [`crate::pacer`].

use crate::frames::SENT_FRAME;
use crate::opus::{Encoder, EncoderSettings, OpusError};
use crate::pcm::Pcm;
use crate::playout::{Notice, Playout, PlayoutError};

/// What each packet adds to the RTP timestamp.
pub const TIMESTAMP_STEP: u32 = SENT_FRAME as u32;

/// A full-band packet of 20 ms without content, which a receiver conceals (RFC 6716, 3.1 and 3.2.1).
const NOTHING: [u8; 1] = [31 << 3];

/// Packets of digital silence after which the encoder's memory has faded, and with it the decoder's: from then on the last packet
/// is sent again. Encoding silence would cost as much as encoding speech.
const SETTLED: u32 = 10;

/// One RTP payload; its timestamp is [`TIMESTAMP_STEP`] after that of the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutFrame {
    pub payload: Vec<u8>,
    /// It has audible reply audio.
    pub audible: bool,
}

/// One caller's way out.
#[derive(Debug)]
pub struct Outbound<Id> {
    playout: Playout<Id>,
    encoder: Encoder,
    /// Packets of digital silence in a row, and the last of them.
    silent: u32,
    silence: Vec<u8>,
}

impl<Id: Clone + Eq> Outbound<Id> {
    pub fn new(settings: EncoderSettings) -> Result<Self, OpusError> {
        Ok(Self { playout: Playout::new(), encoder: Encoder::new(settings)?, silent: 0, silence: NOTHING.to_vec() })
    }

    /// See [`Playout::speak`].
    pub fn speak(&mut self, reply: Id, pcm: Pcm) -> Result<(), PlayoutError> {
        self.playout.speak(reply, pcm)
    }

    /// See [`Playout::finish`].
    pub fn finish(&mut self, reply: Id) {
        self.playout.finish(reply);
    }

    /// See [`Playout::cut`].
    pub fn cut(&mut self, reply: Id) {
        self.playout.cut(reply);
    }

    /// The packet to send now. Then take the notices.
    pub fn next_frame(&mut self) -> OutFrame {
        let mut frame = [0.0; SENT_FRAME];
        let played = self.playout.next_frame(&mut frame);
        let is_silence = frame.iter().all(|sample| *sample == 0.0);
        self.silent = if is_silence { self.silent.saturating_add(1) } else { 0 };
        if self.silent <= SETTLED {
            // The encoder refuses only frames of another length. Were it ever to fail, the receiver conceals 20 ms.
            let payload = self.encoder.encode(&frame).unwrap_or_else(|_| NOTHING.to_vec());
            if self.silent == 0 {
                return OutFrame { payload, audible: played.audible };
            }
            self.silence = payload;
        }
        OutFrame { payload: self.silence.clone(), audible: played.audible }
    }

    /// What happened with the packet taken last, or at once on a command; take them all.
    pub fn notice(&mut self) -> Option<Notice<Id>> {
        self.playout.notice()
    }

    /// The next packet would be silence: a pacer that is behind may leave it out.
    pub fn idle(&self) -> bool {
        self.playout.idle()
    }

    /// What the receiver's reports say of the way out, in percent of packets.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.encoder.expect_loss(percent)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::level::{largest_step, peak, rms};
    use crate::opus::{Decoder, FRAME_SAMPLES, packet_samples};
    use crate::pcm::SampleRate;

    #[test]
    fn there_is_a_packet_for_every_20_ms_and_it_is_what_was_said() {
        let mut way_out = Outbound::new(EncoderSettings::default()).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut heard = Vec::new();
        let tone: Vec<f32> =
            (0..16_000).map(|n| 0.5 * (n as f32 * std::f32::consts::TAU * 250.0 / 16_000.0).sin()).collect();
        for slot in 0..150 {
            if slot == 50 {
                way_out.speak(1, Pcm::new(SampleRate::HZ_16000, tone.clone())).unwrap();
                way_out.finish(1);
            }
            assert_eq!(way_out.idle(), !(50..101).contains(&slot), "at {slot}");
            let frame = way_out.next_frame();
            assert_eq!(packet_samples(&frame.payload), Ok(FRAME_SAMPLES));
            assert_eq!(frame.audible, (50..101).contains(&slot), "at {slot}");
            decoder.decode(&frame.payload, &mut heard).unwrap();
        }
        assert!(matches!(way_out.notice(), Some(Notice::Started { reply: 1 })));
        assert!(peak(&heard[..49 * FRAME_SAMPLES]) < 0.001, "silence before");
        assert!(peak(&heard[103 * FRAME_SAMPLES..]) < 0.01, "silence after");
        assert!(peak(&heard[115 * FRAME_SAMPLES..]) < 0.0001, "long silence is silence");
        let level = rms(&heard[52 * FRAME_SAMPLES..98 * FRAME_SAMPLES]);
        assert!((level - 0.353).abs() < 0.03, "level {level}");
        assert!(largest_step(&heard) < 0.05, "{}", largest_step(&heard));
    }

    #[test]
    fn speech_after_a_minute_of_repeated_silence_begins_without_a_click() {
        let mut way_out = Outbound::new(EncoderSettings::default()).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut heard = Vec::new();
        let tone: Vec<f32> =
            (0..8_000).map(|n| 0.5 * (n as f32 * std::f32::consts::TAU * 250.0 / 16_000.0).sin()).collect();
        for slot in 0..6_100 {
            if slot == 20 || slot == 6_060 {
                way_out.speak(slot, Pcm::new(SampleRate::HZ_16000, tone.clone())).unwrap();
                way_out.finish(slot);
            }
            heard.clear();
            decoder.decode(&way_out.next_frame().payload, &mut heard).unwrap();
            match slot {
                70..6_060 => assert!(peak(&heard) < 0.0001, "at {slot}: {}", peak(&heard)),
                _ if slot > 6_055 => assert!(largest_step(&heard) < 0.05, "at {slot}: {}", largest_step(&heard)),
                _ => {}
            }
        }
    }
}
