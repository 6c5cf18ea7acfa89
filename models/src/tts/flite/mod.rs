//! Flite in the process: small English voices of 16 kHz whose first 20 ms are there within 15 ms.
//!
//! Loaded at run time from Debian's `libflite1`; nothing of it is needed to build. One utterance at a time in the whole process (Flite
//! is not thread safe), each a few milliseconds a word, stopped within one chunk.

mod ffi;

use std::ffi::{CStr, CString};
use std::ops::ControlFlow;

use audio::pcm::{self, Pcm, SampleRate};

use self::ffi::FliteVoice;
use super::{Synthesizer, Voice, english, voices};
use crate::error::EngineError;

pub const ENGINE: &str = "flite";

/// 20 ms at 16 kHz.
const CHUNK: u16 = 320;

/// A voice that Debian's package has: its id, its library, and the function that makes it. The first is the default.
const KNOWN: &[(&str, &str, &str, &CStr)] = &[
    ("flite/slt", "SLT, woman, American (Flite)", "libflite_cmu_us_slt.so.1", c"register_cmu_us_slt"),
    ("flite/rms", "RMS, man, American (Flite)", "libflite_cmu_us_rms.so.1", c"register_cmu_us_rms"),
    ("flite/awb", "AWB, man, Scottish (Flite)", "libflite_cmu_us_awb.so.1", c"register_cmu_us_awb"),
    ("flite/kal16", "KAL, man, American (Flite)", "libflite_cmu_us_kal16.so.1", c"register_cmu_us_kal16"),
];

/// Flite and those of its voices that are installed.
pub struct Flite {
    voices: Vec<(Voice, FliteVoice)>,
}

impl Flite {
    /// Loads all voices that are installed; [`EngineError::NotInstalled`] if there is none.
    pub fn open() -> Result<Self, EngineError> {
        Self::open_from(KNOWN)
    }

    fn open_from(known: &[(&str, &str, &str, &CStr)]) -> Result<Self, EngineError> {
        let mut voices = Vec::new();
        let mut problem = String::new();
        for (id, name, library, register) in known {
            match FliteVoice::load(library, register) {
                Ok(loaded) => {
                    let language = if *id == "flite/awb" { "en-GB" } else { "en-US" };
                    let voice = Voice { id: (*id).into(), name: (*name).into(), language, rate: SampleRate::HZ_16000 };
                    voices.push((voice, loaded));
                }
                Err(error) => {
                    tracing::debug!(voice = id, %error, "flite voice not loaded");
                    problem = error.to_string();
                }
            }
        }
        if voices.is_empty() {
            return Err(EngineError::NotInstalled {
                what: format!("Flite ({problem})"),
                hint: "install it: apt-get install libflite1".into(),
            });
        }
        Ok(Self { voices })
    }
}

impl Synthesizer for Flite {
    fn name(&self) -> String {
        "Flite 2.2".into()
    }

    fn voices(&self) -> Vec<Voice> {
        self.voices.iter().map(|(voice, _)| voice.clone()).collect()
    }

    fn synthesize(
        &mut self,
        text: &str,
        voice: &str,
        sink: &mut dyn FnMut(Pcm) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let found = self.voices.iter_mut().find(|(known, _)| known.id == voice);
        let Some((_, speaker)) = found else { return Err(voices::unknown(voice, &self.voices())) };
        let plain = english::plain(text, voice)?;
        let mut stopped = false;
        for piece in english::pieces(&plain) {
            let Ok(piece) = CString::new(piece) else { continue };
            let mut bad_rate = None;
            let spoken = speaker.speak(&piece, CHUNK, &mut |hertz, samples| {
                let Some(rate) = SampleRate::new(hertz) else {
                    bad_rate = Some(hertz);
                    return ControlFlow::Break(());
                };
                let flow = sink(Pcm::new(rate, samples.iter().map(|s| pcm::from_i16(*s)).collect()));
                stopped = flow.is_break();
                flow
            });
            if stopped {
                return Ok(());
            }
            if let Some(hertz) = bad_rate {
                return Err(failed(format!("its voice has a sample rate of {hertz} Hz")));
            }
            spoken.map_err(|_| failed("no utterance was made".into()))?;
        }
        Ok(())
    }
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason }
}

#[cfg(test)]
mod tests;
