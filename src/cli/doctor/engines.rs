//! Whether the models and voices that the configuration names are there, and load.

use models::catalogue::{Catalogue, Kind, Model, State, Store, library};
use models::memory::{Plan, Role};

use super::{Check, remote};
use crate::config::{Config, REMOTE};

/// The models the configuration would take.
pub(super) struct Chosen<'a> {
    store: &'a Store,
    engines: Vec<(Kind, Result<Option<&'a Model>, Check>)>,
}

impl<'a> Chosen<'a> {
    pub fn new(config: &Config, catalogue: &'a Catalogue, store: &'a Store, plan: &Plan) -> Self {
        let names = &config.engines;
        let names = [
            (Kind::Vad, &names.vad, "off"),
            (Kind::Turn, &names.turn, "off"),
            (Kind::Stt, &names.stt, &names.stt_fallback),
            (Kind::Llm, &names.llm, &names.llm_fallback),
            (Kind::Tts, &names.tts, &names.tts_fallback),
        ];
        let chosen = |kind, name| choose(kind, name, catalogue, store, plan);
        let engines = names.into_iter().filter_map(|(kind, name, fallback)| match (name.as_str(), fallback) {
            (REMOTE, "off") => None,
            // Without its fallback a remote engine can do its work.
            (REMOTE, fallback) => Some((kind, chosen(kind, fallback).map_err(remote::as_fallback))),
            (name, _) => Some((kind, chosen(kind, name))),
        });
        let engines = engines.collect();
        Self { store, engines }
    }

    pub fn models(&self) -> impl Iterator<Item = &'a Model> {
        self.engines.iter().filter_map(|(_, chosen)| *chosen.as_ref().ok()?)
    }

    pub fn checks(&self) -> Vec<Check> {
        let check = |(kind, chosen): &(Kind, Result<Option<&Model>, Check>)| {
            let name = label(*kind);
            match chosen {
                Err(check) => check.clone(),
                Ok(None) => Check::ok(name, "off: turns end by silence alone"),
                Ok(Some(model)) => match self.store.state(model) {
                    State::Present { verified: true } => Check::ok(name, format!("{} ({})", model.id, model.name)),
                    _ => Check::warn(
                        name,
                        format!("{} is there, but its hash was not checked since it last changed", model.id),
                        format!("run `avatar models verify {}`", model.id),
                    ),
                },
            }
        };
        self.engines.iter().map(check).collect()
    }
}

/// The model for a kind, `None` where the configuration turns it off, or why there is none.
fn choose<'a>(
    kind: Kind,
    name: &str,
    catalogue: &'a Catalogue,
    store: &Store,
    plan: &Plan,
) -> Result<Option<&'a Model>, Check> {
    let label = label(kind);
    if kind == Kind::Turn && name == "off" {
        return Ok(None);
    }
    if name == "auto" {
        // What the plan has room for, which need not be the best that is there.
        let planned = role(kind).and_then(|role| plan.of(role)).and_then(|placed| catalogue.get(&placed.model).ok());
        if let Some(model) = planned.or_else(|| catalogue.best_present(kind, store)) {
            return Ok(Some(model));
        }
        let fetched = catalogue.starters().find(|model| model.kind == kind);
        let fix = match fetched.or_else(|| catalogue.of_kind(kind).last().copied()) {
            Some(model) => remedy(model, &store.state(model)),
            None => "name one in the configuration".into(),
        };
        let found = format!("no {kind} model is present in {}", store.dir().display());
        // The server can talk without a turn model, though it cuts people off more.
        return Err(if kind == Kind::Turn { Check::warn(label, found, fix) } else { Check::fail(label, found, fix) });
    }
    let model = catalogue.get(name).map_err(|error| {
        Check::fail(label, format!("engines.{kind} = \"{name}\": {error}"), "choose with `avatar models list`")
    })?;
    if model.kind != kind {
        let found = format!("engines.{kind} = \"{name}\", which is a {} model", model.kind);
        return Err(Check::fail(label, found, "choose with `avatar models list`"));
    }
    match store.state(model) {
        State::Present { .. } => Ok(Some(model)),
        state => Err(Check::fail(label, format!("{} is {}", model.id, state.word()), remedy(model, &state))),
    }
}

fn role(kind: Kind) -> Option<Role> {
    match kind {
        Kind::Llm => Some(Role::LanguageModel),
        Kind::Stt => Some(Role::SpeechToText),
        Kind::Tts => Some(Role::Voice),
        _ => None,
    }
}

fn remedy(model: &Model, state: &State) -> String {
    match (model.system_package(), state) {
        (Some(package), _) => format!("run `{}`", package.install_command()),
        (None, State::Corrupt { reason, .. }) => format!("{reason}; run `avatar models pull {}`", model.id),
        (None, _) => format!("run `avatar models pull {}`", model.id),
    }
}

const fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Runtime => "onnx runtime",
        Kind::Vad => "voice activity",
        Kind::Turn => "turn ends",
        Kind::Stt => "speech to text",
        Kind::Llm => "language model",
        Kind::Tts => "voice",
        Kind::SpeechSamples => "speech samples",
    }
}

pub(super) fn onnx_runtime(catalogue: &Catalogue, store: &Store, chosen: &Chosen<'_>) -> Check {
    let name = label(Kind::Runtime);
    let needed = chosen.models().any(|model| model.needs.iter().any(|need| need == "onnxruntime"));
    let Ok(model) = catalogue.get("onnxruntime") else {
        let found = format!("there is no package of it for {}", catalogue.target());
        return Check::fail(
            name,
            found,
            "build ONNX Runtime 1.23 or newer and put its library in <models dir>/onnxruntime",
        );
    };
    let state = store.state(model);
    if !state.is_present() {
        let (found, fix) = (format!("{} is {}", model.id, state.word()), remedy(model, &state));
        return if needed { Check::fail(name, found, fix) } else { Check::warn(name, found, fix) };
    }
    let Some(file) = model.files.first() else { return Check::fail(name, "it has no file", "install Avatar again") };
    let path = store.path(model, &file.name);
    match library::probe(&path, Some("OrtGetApiBase")) {
        Ok(()) => Check::ok(name, format!("{} loads", model.name)),
        Err(error) => Check::fail(
            name,
            format!("{} does not load: {error}", path.display()),
            "run `avatar models verify onnxruntime`; its build needs glibc 2.28 or newer",
        ),
    }
}

/// Every voice of the system's packages, those that nobody chose as a warning at most.
pub(super) fn voices(catalogue: &Catalogue, store: &Store) -> Vec<Check> {
    let of_system = catalogue.of_kind(Kind::Tts).into_iter().filter_map(|model| Some((model, model.system_package()?)));
    of_system
        .map(|(model, package)| match store.state(model) {
            State::Present { .. } => Check::ok(&model.id, model.name.clone()),
            _ => Check::warn(
                &model.id,
                format!("{} is not installed", model.name),
                format!("run `{}` for this voice", package.install_command()),
            ),
        })
        .collect()
}
