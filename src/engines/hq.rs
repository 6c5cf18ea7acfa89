//! The better voice of the history: what calls have open is shared, and only what they lack is opened.

use std::sync::Arc;

use models::catalogue::Kind;
use models::tts::TextToSpeech;
use models::tts::pocket::{PocketTts, Precision};

use super::remote::Rows;
use super::shelf::{Shelf, festival, pocket_release};
use super::{EngineReport, EngineState, Tell};
use crate::config::{Config, REMOTE};
use crate::hq::voices::HqVoices;
use crate::readiness::HQ;

const POCKET: &str = "pocket-tts";
const FESTIVAL: &str = "festival";
const FLITE: &str = "flite";
/// The best first.
const AUTO: [&str; 3] = [POCKET, REMOTE, FESTIVAL];
const KNOWN: [&str; 4] = [POCKET, REMOTE, FESTIVAL, FLITE];

/// Opens what renders, the best first; `live` is what calls speak with. Why there is none, and what to do, if there is none. May take seconds: not for a tokio worker.
pub fn open_hq(config: &Config, live: Option<Arc<dyn TextToSpeech>>, tell: Tell<'_>) -> Result<HqVoices, String> {
    let wanted = config.hq.engine.as_str();
    let engines: Vec<&'static str> = match wanted {
        "auto" => AUTO.into(),
        // Ids of the catalogue begin with the engine's name, as `festival-slt-hts`.
        id => KNOWN.into_iter().filter(|known| id.starts_with(known)).collect(),
    };
    if engines.is_empty() {
        return Err(format!("hq.engine is '{wanted}'; use auto, off, or one of {}", KNOWN.join(", ")));
    }
    let shelf = Shelf::of(config).map_err(|error| error.to_string())?;
    let mut why = Vec::new();
    let mut found: Vec<(&'static str, Arc<dyn TextToSpeech>)> = Vec::new();
    for (at, engine) in engines.iter().enumerate() {
        let percent = (at * 100 / engines.len()) as u8;
        tell(EngineReport { kind: HQ, name: wanted.to_owned(), state: EngineState::Loading { percent } });
        let shared = live.as_ref().filter(|live| speaks(live.as_ref(), engine));
        match shared.map_or_else(|| open(&shelf, config, engine, !found.is_empty()), |live| Ok(Some(Arc::clone(live))))
        {
            Ok(Some(speaks)) => found.push((engine, speaks)),
            Ok(None) => {}
            Err(error) => why.push(error),
        }
    }
    if found.is_empty() {
        let hint =
            "install Festival (apt-get install festival festvox-us-slt-hts), or run `avatar models pull pocket-tts`";
        why.push(hint.to_owned());
        return Err(why.join("; "));
    }
    Ok(HqVoices::new(found))
}

fn speaks(live: &dyn TextToSpeech, engine: &str) -> bool {
    live.voices().iter().any(|voice| voice.id.split_once('/').is_some_and(|(of, _)| of == engine))
}

/// What calls have not opened. `Ok(None)` if it is not there, or not worth its memory beside a better one (`is_second`).
fn open(
    shelf: &Shelf,
    config: &Config,
    engine: &str,
    is_second: bool,
) -> Result<Option<Arc<dyn TextToSpeech>>, String> {
    match engine {
        POCKET => {
            let models = shelf.catalogue.of_kind(Kind::Tts).into_iter();
            let ready = models.filter(|model| shelf.catalogue.is_ready(model, &shelf.store));
            let Some((model, release)) = ready.filter_map(|model| Some((model, pocket_release(model)?))).next() else {
                return Ok(None);
            };
            let opened = PocketTts::open(&shelf.folder(model), release, Precision::default());
            opened.map(|(voice, _)| Some(Arc::new(voice) as _)).map_err(|error| error.to_string())
        }
        REMOTE if config.remote.tts.url.is_some() => {
            Rows::new(shelf, config).remote_tts().map(|(voice, _)| Some(voice)).map_err(|(_, hint)| hint)
        }
        FESTIVAL if !is_second => festival().map(Some).map_err(|error| error.to_string()),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::sync::Mutex;

    use models::tts::festival::Festival;
    use models::tts::service::SpeechService;

    use super::*;
    use crate::config::Hq;

    fn config(engine: &str) -> Config {
        let hq = Hq { engine: engine.to_owned(), ..Hq::default() };
        let models_dir = Some(std::env::temp_dir().join("avatar-without-models"));
        Config { models_dir, hq, ..Config::default() }
    }

    #[test]
    fn an_engine_nobody_knows_is_refused_with_those_there_are() {
        let error = open_hq(&config("gramophone"), None, &|_| {}).err().unwrap();
        assert!(error.contains("gramophone") && error.contains("festival"), "{error}");
    }

    #[test]
    fn what_calls_speak_with_is_shared_and_not_opened_a_second_time() {
        let festival = Festival::open().unwrap_or_else(|error| panic!("{error}"));
        let service = SpeechService::start("festival", vec![Box::new(festival)]).unwrap();
        let live: Arc<dyn TextToSpeech> = Arc::new(service);
        let told = Mutex::new(Vec::new());
        let tell = |report: EngineReport| told.lock().unwrap().push((report.kind, report.state));
        let voices = open_hq(&config("auto"), Some(Arc::clone(&live)), &tell).unwrap();
        assert!(Arc::ptr_eq(&voices.candidates("Hello.", "")[0].speaks, &live));
        let loading = |percent| (HQ, EngineState::Loading { percent });
        assert_eq!(told.into_inner().unwrap(), [loading(0), loading(33), loading(66)]);
    }
}
