//! Which model each engine is to run, where, and with how much context: gathers what could be run and lets the plan decide.
//!
//! Owns the reading of every candidate's size. What cannot be read is left out here and told by whoever opens it.

use std::path::Path;

use models::catalogue::{Catalogue, Kind, Model, Store};
use models::error::EngineError;
use models::llm::gguf;
use models::memory::{Candidate, Machine, Placement, Plan, Role, Wanted, Wish, cards, plan};
use models::stt::whisper;

use crate::config::{Config, REMOTE};
use crate::engines::RECOGNIZERS;

/// What a Festival or Flite voice, a recogniser of Moonshine and the like grow by with each call.
const SMALL_PER_CALL: u64 = 4 << 20;

/// Plans for this machine as it is now.
pub fn for_this_machine(config: &Config, catalogue: &Catalogue, store: &Store) -> Plan {
    let machine = cards::machine(config.device().unwrap_or(Wanted::At(models::memory::Place::Cpu)));
    for_machine(&machine, config, catalogue, store)
}

fn for_machine(machine: &Machine, config: &Config, catalogue: &Catalogue, store: &Store) -> Plan {
    let engines = &config.engines;
    let roles = [
        (Role::LanguageModel, Kind::Llm, local(&engines.llm, &engines.llm_fallback)),
        (Role::SpeechToText, Kind::Stt, local(&engines.stt, &engines.stt_fallback)),
        (Role::Voice, Kind::Tts, local(&engines.tts, &engines.tts_fallback)),
    ];
    let wishes: Vec<Wish> = roles
        .into_iter()
        .map(|(role, kind, wanted)| {
            let candidates = match wanted.ends_with(".gguf") {
                true => language_model(wanted, 50, Path::new(wanted)).into_iter().collect(),
                false => {
                    let understood = understood(could_run(kind, wanted, catalogue, store), kind, config);
                    understood.into_iter().filter_map(|model| candidate(model, store)).collect()
                }
            };
            Wish { role, candidates }
        })
        .collect();
    plan(machine, &wishes, config.max_calls)
}

/// What is to run here: of an engine on another server its fallback.
fn local<'a>(engine: &'a str, fallback: &'a str) -> &'a str {
    if engine == REMOTE { fallback } else { engine }
}

/// The model of that id, or all for `auto`, as far as they are ready; best first.
fn could_run<'a>(kind: Kind, wanted: &str, catalogue: &'a Catalogue, store: &Store) -> Vec<&'a Model> {
    let of_kind = catalogue.of_kind(kind).into_iter();
    of_kind.filter(|model| (wanted == "auto" || wanted == model.id) && catalogue.is_ready(model, store)).collect()
}

/// Those that understand the session's language; all, where none does.
fn understood<'a>(models: Vec<&'a Model>, kind: Kind, config: &Config) -> Vec<&'a Model> {
    let Some(language) = config.session.language.as_deref().filter(|_| kind == Kind::Stt) else { return models };
    let primary = language.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let fitting = |model: &&&Model| model.languages.is_empty() || model.languages.contains(&primary);
    let fitting: Vec<&Model> = models.iter().filter(fitting).copied().collect();
    if fitting.is_empty() { models } else { fitting }
}

fn candidate(model: &Model, store: &Store) -> Option<Candidate> {
    let file = model.files.first().map(|file| store.path(model, &file.name));
    match (model.kind, file) {
        (Kind::Llm, Some(file)) => language_model(&model.id, model.quality, &file),
        (Kind::Stt, Some(file)) if model.id.starts_with("whisper") => {
            let found = readable(&model.id, whisper::footprint(&file))?;
            Some(Candidate {
                weights: found.weights,
                working: found.per_recognizer.saturating_mul(RECOGNIZERS as u64),
                on_card: true,
                ..plain(model)
            })
        }
        _ => Some(plain(model)),
    }
}

/// A model whose engine computes on the processor, as large as the catalogue says.
fn plain(model: &Model) -> Candidate {
    Candidate {
        model: model.id.clone(),
        quality: model.quality,
        weights: model.memory_mib << 20,
        working: 0,
        per_call: SMALL_PER_CALL,
        per_token: 0,
        longest_context: 0,
        on_card: false,
    }
}

fn language_model(name: &str, quality: u8, file: &Path) -> Option<Candidate> {
    let found = readable(name, gguf::footprint(file))?;
    Some(Candidate {
        model: name.to_owned(),
        quality,
        weights: found.weights,
        working: found.working,
        per_call: 0,
        per_token: found.per_token,
        longest_context: found.trained_context,
        on_card: true,
    })
}

fn readable<T>(name: &str, found: Result<T, EngineError>) -> Option<T> {
    found.inspect_err(|error| tracing::debug!(name, %error, "left out of the memory plan")).ok()
}

/// Opens the first of `tries` that can be opened. On a card any failure passes on to the next, since the processor may do what the
/// driver does not; on the processor only a want of memory does.
pub fn open_first<T>(
    tries: &[&Placement],
    mut open: impl FnMut(&Placement) -> Result<T, EngineError>,
) -> Option<Result<T, EngineError>> {
    let mut last = None;
    for placement in tries {
        match open(placement) {
            Ok(engine) => return Some(Ok(engine)),
            Err(error) => {
                let goes_on = placement.place != models::memory::Place::Cpu || error.is_out_of_memory();
                if !goes_on {
                    return Some(Err(error));
                }
                tracing::warn!(model = placement.model, place = %placement.place, %error, "trying the next best");
                last = Some(Err(error));
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use models::memory::{Card, Place};

    use super::*;

    fn with_card() -> Plan {
        let candidate = Candidate {
            model: "tiny".to_owned(),
            quality: 50,
            weights: 1 << 20,
            working: 0,
            per_call: 0,
            per_token: 16,
            longest_context: 4096,
            on_card: true,
        };
        let card = Card { place: Place::Cuda(0), name: "card".into(), total: 1 << 34, free: 1 << 34 };
        let machine = Machine { cards: vec![card], memory: None };
        plan(&machine, &[Wish { role: Role::LanguageModel, candidates: vec![candidate] }], 5)
    }

    fn out_of_memory() -> EngineError {
        EngineError::OutOfMemory { engine: "the language model", place: "cuda:0".into(), reason: "full".into() }
    }

    #[test]
    fn an_engine_that_finds_the_card_full_opens_with_less_and_then_on_the_processor() {
        let plan = with_card();
        let mut tried = Vec::new();
        let opened = open_first(&plan.tries(Role::LanguageModel), |placement| {
            tried.push((placement.place, placement.context));
            if placement.place == Place::Cpu { Ok(placement.place) } else { Err(out_of_memory()) }
        });
        assert_eq!(opened.unwrap().unwrap(), Place::Cpu);
        let card = |context| (Place::Cuda(0), Some(context));
        assert_eq!(tried, [card(4096), card(2048), card(1024), (Place::Cpu, Some(4096))]);
    }

    #[test]
    fn a_damaged_model_is_told_at_once_and_not_tried_in_every_size() {
        let plan = with_card();
        let mut tried = 0;
        let opened = open_first(&plan.tries(Role::LanguageModel), |placement| {
            tried += usize::from(placement.place == Place::Cpu);
            Err::<(), _>(EngineError::Failed { engine: "the language model", reason: "damaged".into() })
        });
        assert!(matches!(opened, Some(Err(EngineError::Failed { .. }))));
        assert_eq!(tried, 1);
    }

    #[test]
    fn when_nothing_has_room_the_last_refusal_is_told() {
        let plan = with_card();
        let opened = open_first(&plan.tries(Role::LanguageModel), |_| Err::<(), _>(out_of_memory()));
        assert!(opened.unwrap().unwrap_err().is_out_of_memory());
        assert!(open_first(&[], |_| Ok(())).is_none());
    }

    #[test]
    fn ears_that_do_not_understand_the_callers_language_are_not_planned() {
        let catalogue = Catalogue::builtin().unwrap();
        let all = catalogue.of_kind(Kind::Stt);
        let mut config = Config::default();
        config.session.language = Some("zh-TW".into());
        let fitting = understood(all.clone(), Kind::Stt, &config);
        assert!(!fitting.is_empty() && fitting.len() < all.len());
        assert!(fitting.iter().all(|model| model.languages.is_empty() || model.languages.contains(&"zh".to_owned())));
        config.session.language = Some("tlh".into());
        let english = all.iter().copied().filter(|model| model.languages == ["en"]).collect::<Vec<_>>();
        assert_eq!(understood(english.clone(), Kind::Stt, &config).len(), english.len());
    }
}
