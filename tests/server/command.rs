//! Runs the binary to its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than any command here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the starter models are.
pub fn models() -> PathBuf {
    let models = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models"), PathBuf::from);
    for id in ["onnxruntime", "silero-vad", "moonshine-tiny-en", "smollm2-135m-instruct", "speech-samples"] {
        let folder = models.join(id);
        assert!(folder.is_dir(), "{} is missing: run `make models`, or set AVATAR_MODELS", folder.display());
    }
    models
}

/// The binary in `folder`, with the starter models and nothing else of this process's settings.
pub fn avatar(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_avatar"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AVATAR_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder).env("AVATAR_MODELS", models()).stdin(Stdio::null());
    command
}

/// A command that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// It said no, in words for a person that hold all of `words`.
    pub fn refused_with(&self, words: &[&str]) {
        let Self { status, out, err } = self;
        assert_eq!(status.code(), Some(1), "out: {out}\nerr: {err}");
        for sign in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
            assert!(!err.contains(sign), "{err}");
        }
        // Flite and the like may warn before it.
        let error = err.split("error: ").nth(1).unwrap_or_else(|| panic!("no `error:` in: {err}"));
        for word in words {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
    }
}

pub fn run(command: &mut Command) -> Ended {
    let folder = TempDir::new().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut child = command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap()).spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} does not end; it said: {}", read(&err));
        }
        sleep(Duration::from_millis(10));
    };
    Ended { status, out: read(&out), err: read(&err) }
}

pub fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
