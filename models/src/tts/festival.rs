//! Festival's HTS voice: clearer than Flite, whole sentences of 32 kHz from a warm process.
//!
//! Each [`Festival`] owns one `festival --pipe` with the voice loaded, so a pool is several of them behind one
//! [`super::service::SpeechService`]. Text is data, never code: it is plain ASCII without quotes or backslashes by the time it stands in a Scheme
//! string. A process that hangs, dies or answers out of turn is killed, reaped and replaced; one that is dropped is killed and reaped.

mod folder;

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use audio::pcm::{self, Pcm, SampleRate};

use self::folder::PrivateFolder;
use super::{Synthesizer, Voice, english, voices};
use crate::error::EngineError;

pub const ENGINE: &str = "festival";
const VOICE: &str = "festival/slt-hts";
const PROGRAM: &str = "festival";
const RATE: SampleRate = match SampleRate::new(32_000) {
    Some(rate) => rate,
    None => SampleRate::HZ_16000,
};
/// Loading the voice takes a third of a second; a machine under load may take much longer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// A piece of a text takes under a tenth of a second.
const SPEAK_LIMIT: Duration = Duration::from_secs(10);
/// Lines of answer that may wait; there is one a piece. When full, Festival's output waits.
const LINES_BOUND: usize = 16;
const CHUNK: Duration = Duration::from_millis(20);
/// Longest audio of one piece that is believed: a minute.
const PIECE_SECONDS_MAX: usize = 60;

/// A warm Festival process with the voice `slt-hts`.
pub struct Festival {
    program: PathBuf,
    folder: PrivateFolder,
    speak_limit: Duration,
    process: Option<Process>,
    /// Counts requests, so that a late answer is not taken for another's.
    requests: u64,
}

impl Festival {
    /// Starts the process and loads the voice; [`EngineError::NotInstalled`] if either is not there.
    pub fn open() -> Result<Self, EngineError> {
        Self::open_with(Path::new(PROGRAM), SPEAK_LIMIT)
    }

    fn open_with(program: &Path, speak_limit: Duration) -> Result<Self, EngineError> {
        let folder = PrivateFolder::make().map_err(|error| failed(format!("no temporary folder: {error}")))?;
        let mut festival = Self { program: program.into(), folder, speak_limit, process: None, requests: 0 };
        festival.process = Some(Process::start(program)?);
        // The first sentence is slow; let it be this one.
        festival.piece("Ready.")?;
        Ok(festival)
    }

    /// The samples of one piece of plain text.
    fn piece(&mut self, plain: &str) -> Result<Vec<i16>, EngineError> {
        let mut process = match self.process.take() {
            Some(process) => process,
            None => Process::start(&self.program)?,
        };
        self.requests += 1;
        let output = self.folder.path().join(folder::SOUND);
        let _ = std::fs::remove_file(&output);
        let (text, path, number) = (scheme_string(plain), scheme_string(&output.to_string_lossy()), self.requests);
        // If the first form fails, the second still answers.
        let request = format!(
            "(set! spoken nil) (begin (set! spoken (utt.synth (Utterance Text {text}))) \
             (utt.save.wave spoken {path} 'raw) (format t \"spoken {number} %d\\n\" (cadr (assoc 'sample_rate (wave.info (utt.wave spoken))))))\n\
             (format t \"end {number}\\n\") (fflush nil)\n"
        );
        let hertz = process.ask(&request, number, self.speak_limit)?;
        let bytes = std::fs::read(&output).map_err(|error| failed(format!("its audio is not there: {error}")))?;
        if hertz != RATE.hertz() || bytes.len() > PIECE_SECONDS_MAX * RATE.hertz() as usize * 2 {
            return Err(failed(format!("it gave {} bytes of audio at {hertz} Hz", bytes.len())));
        }
        // Only a process that answered as it should is used again.
        self.process = Some(process);
        let (pairs, _) = bytes.as_chunks::<2>();
        Ok(pairs.iter().map(|pair| i16::from_ne_bytes(*pair)).collect())
    }

    #[cfg(test)]
    fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.child.id())
    }
}

impl Synthesizer for Festival {
    fn name(&self) -> String {
        "Festival HTS".into()
    }

    fn voices(&self) -> Vec<Voice> {
        let name = "SLT, woman, American, clearer (Festival HTS)".into();
        vec![Voice { id: VOICE.into(), name, language: "en-US", rate: RATE }]
    }

    fn synthesize(
        &mut self,
        text: &str,
        voice: &str,
        sink: &mut dyn FnMut(Pcm) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        if voice != VOICE {
            return Err(voices::unknown(voice, &self.voices()));
        }
        let plain = english::plain(text, voice)?;
        for piece in english::pieces(&plain) {
            let samples = self.piece(piece)?;
            for chunk in samples.chunks(RATE.samples_in(CHUNK)) {
                if sink(Pcm::new(RATE, chunk.iter().map(|s| pcm::from_i16(*s)).collect())).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A running `festival --pipe`; killed and reaped when dropped.
struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Process {
    fn start(program: &Path) -> Result<Self, EngineError> {
        let mut command = Command::new(program);
        command.arg("--pipe").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| EngineError::NotInstalled {
            what: format!("Festival ({}: {error})", program.display()),
            hint: "install it: apt-get install festival festvox-us-slt-hts".into(),
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("its pipes are missing".into()));
        };
        let (sender, lines) = sync_channel(LINES_BOUND);
        // From here on a drop kills the child, which ends the reader.
        let mut process = Self { child, input, lines };
        std::thread::Builder::new()
            .name("tts-festival-reader".into())
            .spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            })
            .map_err(|error| failed(format!("no thread for its answers: {error}")))?;
        let load = "(voice_cmu_us_slt_arctic_hts) (format t \"spoken 0 0\\n\")\n(format t \"end 0\\n\") (fflush nil)\n";
        match process.ask(load, 0, START_LIMIT) {
            Ok(_) => Ok(process),
            Err(EngineError::Failed { reason, .. }) if reason == REFUSED => Err(EngineError::NotInstalled {
                what: "Festival's voice cmu_us_slt_arctic_hts".into(),
                hint: "install it: apt-get install festvox-us-slt-hts".into(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Writes a request and waits for its answer: the sample rate that it told.
    fn ask(&mut self, request: &str, number: u64, limit: Duration) -> Result<u32, EngineError> {
        let until = Instant::now() + limit;
        let written = self.input.write_all(request.as_bytes()).and_then(|()| self.input.flush());
        written.map_err(|error| failed(format!("its process is gone: {error}")))?;
        let mut told = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|error| match error {
                RecvTimeoutError::Timeout => failed(format!("no answer for {limit:?}; its process is replaced")),
                RecvTimeoutError::Disconnected => failed("its process ended; it is replaced".into()),
            })?;
            let mut words = line.split_whitespace();
            match (words.next(), words.next().and_then(|n| n.parse::<u64>().ok())) {
                (Some("spoken"), Some(n)) if n == number => told = words.next().and_then(|hertz| hertz.parse().ok()),
                (Some("end"), Some(n)) if n == number => return told.ok_or_else(|| failed(REFUSED.into())),
                _ => {}
            }
        }
    }
}

/// Festival could not evaluate the request.
const REFUSED: &str = "it could not do what it was asked";

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `text` as a Scheme string that evaluates to it.
fn scheme_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn failed(reason: String) -> EngineError {
    EngineError::Failed { engine: ENGINE, reason }
}

#[cfg(test)]
mod tests;
