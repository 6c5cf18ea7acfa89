//! Text to speech behind `/audio/speech`, streamed.

use std::sync::Arc;
use std::time::Duration;

use audio::pcm::{Pcm, SampleRate};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout_at;

use super::failure::Failure;
use super::network::Network;
use super::pcm::PcmReader;
use super::server::{Server, ServerSettings, Trial, next_chunk};
use super::{IN_FLIGHT_MAX, Standing, deadline};
use crate::error::EngineError;
use crate::tts::service::TEXT_MAX;
use crate::tts::trim::EdgeTrim;
use crate::tts::{SpeakRequest, Speech, TextToSpeech, Voice};

const SECTION: &str = "remote.tts";
/// Sound of one request: longer than any voice takes for [`TEXT_MAX`] characters.
const LONGEST: Duration = Duration::from_secs(900);

/// In what form speech is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// 16-bit little-endian mono at a rate that both sides must know.
    Pcm,
    /// With a header that says the rate.
    Wav,
}

/// How speech is asked for.
#[derive(Debug, Clone)]
pub struct RemoteTtsSettings {
    pub server: ServerSettings,
    /// As the server names them; the default first. Callers see `remote/NAME`. Empty: the server's own default, as `remote/default`.
    pub voices: Vec<String>,
    pub encoding: Encoding,
    /// Of raw PCM; what a WAV header or the answer's type says goes before it.
    pub rate: SampleRate,
}

/// See the module.
pub struct RemoteTts {
    server: Arc<Server>,
    names: Vec<String>,
    voices: Vec<Voice>,
    encoding: Encoding,
    rate: SampleRate,
}

impl RemoteTts {
    pub fn new(network: Arc<Network>, settings: RemoteTtsSettings) -> Self {
        let names = if settings.voices.is_empty() { vec![String::new()] } else { settings.voices };
        let voice = |name: &String| {
            let shown = if name.is_empty() { "default" } else { name };
            // Which languages it speaks only the server knows.
            Voice { id: format!("remote/{shown}"), name: shown.to_owned(), language: "mul", rate: settings.rate }
        };
        let voices = names.iter().map(voice).collect();
        let server = Server::new(network, SECTION, settings.server);
        Self { server, names, voices, encoding: settings.encoding, rate: settings.rate }
    }

    pub fn standing(&self) -> Standing {
        Standing::of(&self.server)
    }

    /// The server's name for a voice.
    fn voice(&self, wanted: &str) -> Result<String, EngineError> {
        let at = if wanted.is_empty() { Some(0) } else { self.voices.iter().position(|voice| voice.id == wanted) };
        let name = at.and_then(|at| self.names.get(at));
        name.cloned().ok_or_else(|| crate::tts::voices::unknown(wanted, &self.voices))
    }
}

impl TextToSpeech for RemoteTts {
    fn name(&self) -> String {
        self.server.name()
    }

    fn voices(&self) -> &[Voice] {
        &self.voices
    }

    fn speak(&self, request: SpeakRequest) -> Result<Speech, EngineError> {
        let voice = self.voice(&request.voice)?;
        crate::tts::check_text(&request.text, TEXT_MAX)?;
        let mut trial = self.server.admit(IN_FLIGHT_MAX)?;
        let (speech, chunks, _) = Speech::new();
        let asked = Asked { text: request.text, voice, encoding: self.encoding, rate: self.rate };
        let server = Arc::clone(&self.server);
        self.server.spawn(async move {
            let work = speak(&server, &asked, &chunks, &mut trial);
            let ended = tokio::select! {
                biased;
                () = chunks.closed() => return,
                ended = work => ended,
            };
            if let Err(failure) = ended {
                trial.failed(&failure);
                drop(trial);
                let _ = chunks.send(Err(server.error(&failure))).await;
            }
        });
        Ok(speech)
    }
}

struct Asked {
    text: String,
    voice: String,
    encoding: Encoding,
    rate: SampleRate,
}

/// Speech being read: what came first, and the rest.
struct Sound {
    body: Incoming,
    reader: PcmReader,
    first: Pcm,
}

async fn speak(
    server: &Arc<Server>,
    asked: &Asked,
    chunks: &Sender<Result<Pcm, EngineError>>,
    trial: &mut Trial,
) -> Result<(), Failure> {
    let settings = &server.settings;
    let end = deadline(settings.total);
    let first = deadline(settings.first).min(end);
    let Sound { mut body, mut reader, first } =
        server.persist(first, "the first sound", || open(server, asked)).await?;
    trial.answered();
    let mut trim = EdgeTrim::new();
    let (rate, mut heard) = (first.rate, first.duration());
    let mut audible = trim.push(&first);
    loop {
        if !audible.is_empty() && chunks.send(Ok(Pcm::new(rate, audible))).await.is_err() {
            return Ok(());
        }
        let pause = deadline(settings.pause).min(end);
        let chunk = timeout_at(pause, next_chunk(&mut body)).await;
        let chunk = chunk.map_err(|_| Failure::Silent { awaited: "more sound", after: settings.pause })??;
        let Some(chunk) = chunk else { break };
        audible = match reader.push(&chunk).map_err(|error| Failure::Nonsense(error.to_string()))? {
            Some(pcm) => {
                heard += pcm.duration();
                trim.push(&pcm)
            }
            None => Vec::new(),
        };
        if heard > LONGEST {
            return Err(Failure::TooMuch("sound"));
        }
    }
    let rest = trim.finish();
    if !rest.is_empty() {
        let _ = chunks.send(Ok(Pcm::new(rate, rest))).await;
    }
    Ok(())
}

/// Asks, and waits for the first samples: until then nothing has been passed on.
async fn open(server: &Arc<Server>, asked: &Asked) -> Result<Sound, Failure> {
    let model = server.model().await;
    let format = match asked.encoding {
        Encoding::Pcm => "pcm",
        Encoding::Wav => "wav",
    };
    let mut body = json!({"model": model, "input": asked.text, "response_format": format});
    if !asked.voice.is_empty() {
        body["voice"] = asked.voice.as_str().into();
    }
    let kind = HeaderValue::from_static("application/json");
    let response = server.post("audio/speech", &kind, body.to_string().into()).await?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") || kind.starts_with("text/") {
        return Err(Failure::Nonsense(format!("it answered with {kind} and not with sound")));
    }
    let mut reader = PcmReader::new(rate_of(kind).unwrap_or(asked.rate));
    let mut body = response.into_body();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if let Some(first) = reader.push(&chunk).map_err(|error| Failure::Nonsense(error.to_string()))? {
            return Ok(Sound { body, reader, first });
        }
    }
    Err(Failure::Broken("its answer ended before its first sound".into()))
}

/// The rate in a type such as `audio/L16; rate=24000` or `audio/pcm;rate=24000`.
fn rate_of(kind: &str) -> Option<SampleRate> {
    let rate = kind.split(';').find_map(|parameter| parameter.trim().strip_prefix("rate="))?;
    SampleRate::new(rate.trim_matches('"').parse().ok()?)
}
