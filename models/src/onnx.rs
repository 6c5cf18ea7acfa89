//! ONNX Runtime: the shared library that runs the voice activity, turn and Moonshine models.
//!
//! Owns: finding, checking and loading the library, once a process, and opening models with it. Promises: a file that is absent,
//! cut short or something else altogether is an [`EngineError`], never a panic and never a signal (mapping a library that is
//! shorter than its headers say would raise one). Refuses: a second library beside the first. The library reports nothing to
//! anybody (telemetry is off) and logs only its errors, through `tracing`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use crate::error::EngineError;

const HINT: &str = "run `make models` to fetch the starter models again";

static LOADED: Mutex<Option<Arc<OnnxRuntime>>> = Mutex::new(None);

/// The loaded library.
#[derive(Debug)]
pub struct OnnxRuntime {
    environment: Environment,
    path: PathBuf,
}

impl OnnxRuntime {
    /// Loads the shared library at `path`. Once it is loaded, further calls answer with it; a call with another path checks
    /// that file, warns, and answers with the library that is loaded, since a process can have only one.
    pub fn load(path: &Path) -> Result<Arc<Self>, EngineError> {
        let path = readable(path, "the ONNX Runtime library")?;
        if cfg!(target_os = "linux") {
            let file = File::open(&path).map_err(|error| corrupt(&path, error))?;
            check_elf(file).map_err(|reason| corrupt(&path, reason))?;
        }
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            if runtime.path != path {
                tracing::warn!(loaded = %runtime.path.display(), asked = %path.display(), "onnx runtime is already loaded");
            }
            return Ok(Arc::clone(runtime));
        }
        let environment = ort::init_from(&path)
            .map_err(|error| corrupt(&path, error))?
            .with_name("avatar")
            .with_telemetry(false)
            .with_logger(Arc::new(|_, category, _, location, message| {
                tracing::warn!(target: "onnxruntime", category, location, "{message}");
            }))
            .build()
            .map_err(|error| corrupt(&path, error))?;
        environment.set_log_level(LogLevel::Error);
        tracing::debug!(path = %path.display(), build = ort::info(), "onnx runtime loaded");
        let runtime = Arc::new(Self { environment, path });
        *loaded = Some(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// Opens the model at `model` to run on `intra_threads` threads (1 is the calling thread alone).
    ///
    /// Threads do not spin while idle, and memory is not planned ahead for each input shape: speech has a new length every
    /// time, and the plans of all lengths would pile up.
    pub fn session(&self, model: &Path, intra_threads: usize) -> Result<Session, EngineError> {
        let model = readable(model, "the model")?;
        let open = || -> ort::Result<Session> {
            Session::builder(&self.environment)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(intra_threads.max(1))?
                .with_inter_threads(1)?
                .with_intra_op_spinning(false)?
                .with_memory_pattern(false)?
                .commit_from_file(&model)
        };
        open().map_err(|error| corrupt(&model, error))
    }
}

/// Refuses a model whose inputs or outputs are not named as its engine needs them, so that the wrong file is found out at
/// start and not in a call.
pub(crate) fn expect_names(
    session: &Session,
    path: &Path,
    inputs: &[&str],
    outputs: &[&str],
) -> Result<(), EngineError> {
    let lacks = |wanted: &[&str], present: &[ort::value::Outlet]| {
        wanted.iter().find(|name| !present.iter().any(|outlet| outlet.name() == **name)).map(|name| (*name).to_owned())
    };
    let missing = lacks(inputs, session.inputs()).or_else(|| lacks(outputs, session.outputs()));
    missing.map_or(Ok(()), |name| Err(corrupt(path, format!("it is another model: it has no `{name}`"))))
}

pub(crate) fn corrupt(path: &Path, reason: impl ToString) -> EngineError {
    EngineError::Corrupt { path: path.to_path_buf(), reason: reason.to_string(), hint: HINT.to_owned() }
}

/// The canonical path of a regular file.
pub(crate) fn readable(path: &Path, what: &str) -> Result<PathBuf, EngineError> {
    match path.canonicalize() {
        Ok(found) if found.is_file() => Ok(found),
        Ok(found) => Err(corrupt(&found, "it is not a file")),
        Err(_) => Err(EngineError::Missing {
            what: what.to_owned(),
            path: path.to_path_buf(),
            hint: HINT.replace(" again", ""),
        }),
    }
}

/// Whether the file is an ELF library that is as long as its program headers say (System V ABI, chapter 4 and 5).
fn check_elf(mut file: impl Read + Seek) -> Result<(), String> {
    const HEADER: usize = 64;
    const PROGRAM_HEADER: usize = 56;
    let length = file.seek(SeekFrom::End(0)).map_err(|error| error.to_string())?;
    let mut at = |offset: u64, bytes: &mut [u8]| {
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(bytes))
            .map_err(|_| "it is not a shared library, or it is cut short".to_owned())
    };
    let mut header = [0_u8; HEADER];
    at(0, &mut header)?;
    if !header.starts_with(b"\x7fELF") {
        return Err("it is not a shared library".to_owned());
    }
    // 64-bit, little-endian: what every platform is that the library is published for.
    if header[4] != 2 || header[5] != 1 {
        return Err("it is a library for another kind of machine".to_owned());
    }
    let (program_headers, count) = (u64_at(&header, 32), u16_at(&header, 56));
    for index in 0..u64::from(count) {
        let mut program_header = [0_u8; PROGRAM_HEADER];
        at(program_headers.saturating_add(index * PROGRAM_HEADER as u64), &mut program_header)?;
        let end = u64_at(&program_header, 8).checked_add(u64_at(&program_header, 32));
        if end.is_none_or(|end| end > length) {
            return Err(format!("it is cut short: it is only {length} bytes long"));
        }
    }
    Ok(())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_le_bytes(*chunk))
}
