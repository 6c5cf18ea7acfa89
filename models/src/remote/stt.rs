//! Speech to text behind `/audio/transcriptions`.
//!
//! While a caller speaks, the growing utterance is sent again and again, as the contract has it; here that costs the server's
//! time and perhaps money, so it is done sparingly: [`RemoteSttSettings::partial_spacing`] lies between any two, and few are under
//! way at once. A call has one at a time by itself. What is over its time is given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use http::HeaderValue;

use super::failure::Failure;
use super::network::Network;
use super::server::{Server, ServerSettings, Trial, read_all};
use super::transcript::{self, Field};
use super::{IN_FLIGHT_MAX, Standing, deadline};
use crate::error::EngineError;
use crate::stt::gate::{self, Evidence};
use crate::stt::pieces::{Cutting, pieces};
use crate::stt::script::Script;
use crate::stt::{Recognized, SpeechToText, TranscribeRequest, Transcript, Transcription, Urgency};

const SECTION: &str = "remote.stt";
/// Partials under way at once; one more is refused, and the next one of that call will say more.
const PARTIALS_MAX: usize = 4;
/// A transcript is not longer, whatever was said.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// Servers take files of 25 MB; ten minutes are 19.
const CUTTING: Cutting = Cutting { shortest: Duration::from_secs(300), longest: Duration::from_secs(600) };

/// How speech is sent.
#[derive(Debug, Clone)]
pub struct RemoteSttSettings {
    pub server: ServerSettings,
    /// Between the starts of two partials, of whichever calls; `None` sends none.
    pub partial_spacing: Option<Duration>,
}

/// See the module.
pub struct RemoteStt {
    server: Arc<Server>,
    partial_spacing: Option<Duration>,
    script: Script,
    last_partial: Mutex<Option<Instant>>,
    partials: Arc<AtomicUsize>,
    /// The server does not know `verbose_json`.
    is_plain: Arc<AtomicBool>,
}

impl RemoteStt {
    /// `script`: the characters of Chinese.
    pub fn new(network: Arc<Network>, settings: RemoteSttSettings, script: Script) -> Self {
        Self {
            server: Server::new(network, SECTION, settings.server),
            partial_spacing: settings.partial_spacing,
            script,
            last_partial: Mutex::default(),
            partials: Arc::default(),
            is_plain: Arc::default(),
        }
    }

    pub fn standing(&self) -> Standing {
        Standing::of(&self.server)
    }

    /// A place for a partial, or that there is none.
    fn partial(&self) -> Result<Partial, EngineError> {
        let waiting = self.partials.fetch_add(1, Ordering::Relaxed);
        let place = Partial(Arc::clone(&self.partials));
        let refused = EngineError::Overloaded { engine: SECTION, waiting };
        let Some(spacing) = self.partial_spacing.filter(|_| waiting < PARTIALS_MAX) else { return Err(refused) };
        let now = Instant::now();
        let mut last = self.last_partial.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| now.saturating_duration_since(last) < spacing) {
            return Err(refused);
        }
        *last = Some(now);
        Ok(place)
    }
}

/// A partial under way.
struct Partial(Arc<AtomicUsize>);

impl Drop for Partial {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SpeechToText for RemoteStt {
    fn name(&self) -> String {
        self.server.name()
    }

    fn languages(&self) -> &[&'static str] {
        &[]
    }

    fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription, EngineError> {
        let partial = (request.urgency == Urgency::Partial).then(|| self.partial()).transpose()?;
        let mut trial = self.server.admit(IN_FLIGHT_MAX)?;
        let (transcription, mut answer, _) = Transcription::new();
        let (server, is_plain, script) = (Arc::clone(&self.server), Arc::clone(&self.is_plain), self.script);
        self.server.spawn(async move {
            let _partial = partial;
            let work = transcribe(&server, &is_plain, script, &request, &mut trial);
            let ended = tokio::select! {
                biased;
                () = answer.closed() => return,
                ended = work => ended,
            };
            let ended = ended.map_err(|failure| {
                trial.failed(&failure);
                server.error(&failure)
            });
            drop(trial);
            // A caller who has gone needs no answer.
            let _ = answer.send(ended);
        });
        Ok(transcription)
    }
}

async fn transcribe(
    server: &Arc<Server>,
    is_plain: &AtomicBool,
    script: Script,
    request: &TranscribeRequest,
    trial: &mut Trial,
) -> Result<Transcript, Failure> {
    let began = Instant::now();
    let limit = if request.urgency == Urgency::Background { server.settings.total } else { server.settings.first };
    let mut heard: Option<Recognized> = None;
    for range in pieces(&request.audio, CUTTING) {
        let samples = request.audio.get(range).unwrap_or_default();
        let wav = wav(samples)?;
        let attempt = || ask(server, is_plain, request.language.as_deref(), &wav);
        let piece = server.persist(deadline(limit), "the transcript", attempt).await?;
        trial.answered();
        heard = Some(match heard {
            None => piece,
            Some(before) => Recognized {
                text: format!("{} {}", before.text.trim_end(), piece.text.trim_start()),
                language: before.language.or(piece.language),
                mean_log_probability: before.mean_log_probability.min(piece.mean_log_probability),
                tokens: before.tokens.saturating_add(piece.tokens),
                no_speech_probability: before.no_speech_probability.or(piece.no_speech_probability),
            },
        });
    }
    let silence = || Recognized {
        text: String::new(),
        language: None,
        mean_log_probability: 0.0,
        tokens: 0,
        no_speech_probability: None,
    };
    let heard = heard.unwrap_or_else(silence);
    let refused = gate::refuse(&Evidence::of(&heard, request.speech));
    if let Some(reason) = refused {
        // The text itself is the caller's and stays out of the log.
        tracing::debug!(?reason, log_probability = heard.mean_log_probability, "transcript refused");
    }
    let written = |text: &str| script.write(text, request.language.as_deref(), heard.language.as_deref());
    let text = if refused.is_some() { String::new() } else { written(heard.text.trim()) };
    Ok(Transcript {
        text,
        language: heard.language,
        mean_log_probability: heard.mean_log_probability,
        refused,
        queued: Duration::ZERO,
        computed: began.elapsed(),
    })
}

async fn ask(
    server: &Arc<Server>,
    is_plain: &AtomicBool,
    language: Option<&str>,
    wav: &[u8],
) -> Result<Recognized, Failure> {
    let model = server.model().await;
    // Servers know languages, not regions.
    let language = language.and_then(|tag| tag.split('-').next()).filter(|language| !language.is_empty());
    loop {
        let plain = is_plain.load(Ordering::Relaxed);
        let format = if plain { "json" } else { "verbose_json" };
        let mut fields = vec![Field::Text("response_format", format), Field::Text("temperature", "0")];
        fields.extend((!model.is_empty()).then_some(Field::Text("model", &model)));
        fields.extend(language.map(|language| Field::Text("language", language)));
        fields.push(Field::Wav("file", "speech.wav", wav));
        let boundary = format!("avatar-{:032x}", rand::random::<u128>());
        let kind = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
            .map_err(|error| Failure::Nonsense(error.to_string()))?;
        let body = transcript::form(&fields, &boundary);
        let response = match server.post("audio/transcriptions", &kind, body.into()).await {
            Err(Failure::Status { code: 400 | 422, message, .. }) if !plain && knows_no_probabilities(&message) => {
                tracing::info!(engine = SECTION, message, "the server tells no probabilities; going on without");
                is_plain.store(true, Ordering::Relaxed);
                continue;
            }
            other => other?,
        };
        let body = read_all(response.into_body(), ANSWER_MAX, "a transcript").await?;
        let heard = transcript::read(&body);
        return heard.ok_or_else(|| Failure::Nonsense("its answer is not one to a transcription".into()));
    }
}

fn knows_no_probabilities(message: &str) -> bool {
    message.contains("verbose_json") || message.contains("response_format")
}

fn wav(samples: &[f32]) -> Result<Vec<u8>, Failure> {
    let mut wav = Vec::with_capacity(samples.len() * 2 + 64);
    audio::wav::write(&Pcm::new(SampleRate::HZ_16000, samples.to_vec()), &mut wav)
        .map_err(|error| Failure::Nonsense(error.to_string()))?;
    Ok(wav)
}
