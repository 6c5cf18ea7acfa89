//! The one place that touches whisper.cpp beyond its binding: stopping a pass, and reading a row of logits.
//!
//! whisper.cpp has no way to stop an encoder that runs: its abort callback is asked only between passes, and the state hides
//! the ggml backend that computes. The CPU backend itself can be stopped after any node of its graph, though, and every CPU
//! backend is made by one function of ggml's CPU device. [`watch_backends`] puts another in its place that notes what it has
//! made, and [`Backends::stoppable`] gives those backends the flag for the time of a pass. The device's layout is ggml's own
//! affair, so this is done only for the version it was read from; with another the passes still stop between the decoder's steps.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Once, OnceLock};

use whisper_rs::{FullParams, SamplingStrategy, WhisperError, WhisperState, WhisperSysContext, WhisperSysState};

use crate::cancel::Cancelled;

/// The version whose `ggml_backend_device` [`Device`] describes (ggml-backend-impl.h).
const KNOWN_VERSION: &str = "1.8.3";
/// `GGML_BACKEND_DEVICE_TYPE_CPU`.
const CPU: c_int = 0;

/// `ggml_backend`, which only ggml looks into.
#[repr(C)]
struct Backend {
    _opaque: [u8; 0],
}

type InitBackend = unsafe extern "C" fn(*mut Device, *const c_char) -> *mut Backend;
type Abort = unsafe extern "C" fn(*mut c_void) -> bool;

/// The beginning of `ggml_backend_device`: its name, description, memory, type and properties, and what makes a backend.
#[repr(C)]
struct Device {
    unused: [*const c_void; 5],
    init_backend: InitBackend,
}

unsafe extern "C" {
    fn ggml_backend_dev_by_type(kind: c_int) -> *mut Device;
    fn ggml_backend_is_cpu(backend: *mut Backend) -> bool;
    fn ggml_backend_cpu_set_abort_callback(backend: *mut Backend, callback: Option<Abort>, data: *mut c_void);
}

/// ggml's own function, known before [`make_and_note`] stands in its place.
static MAKE_BACKEND: OnceLock<InitBackend> = OnceLock::new();
static REPLACED: Once = Once::new();

thread_local! {
    /// What this thread has made since [`watch_backends`] began.
    static MADE: RefCell<Vec<*mut Backend>> = const { RefCell::new(Vec::new()) };
}

/// The CPU backends of one state.
pub struct Backends(Vec<*mut Backend>);

// SAFETY: the pointers are only used while their state is borrowed exclusively, by whichever thread has it.
unsafe impl Send for Backends {}

/// Makes a state, and notes the CPU backends made for it.
pub fn watch_backends<E>(make_state: impl FnOnce() -> Result<WhisperState, E>) -> Result<(WhisperState, Backends), E> {
    REPLACED.call_once(replace);
    MADE.take();
    let state = make_state()?;
    let mut made = MADE.take();
    // SAFETY: the state has been made, so the backends made for it live.
    made.retain(|backend| unsafe { ggml_backend_is_cpu(*backend) });
    Ok((state, Backends(made)))
}

fn replace() {
    if whisper_rs::WHISPER_CPP_VERSION != KNOWN_VERSION {
        return;
    }
    // SAFETY: the device is a static of ggml that lives as long as the process and is laid out as in `Device` (the version
    // above says so). Its function is read before and written after it is known to `make_and_note`, and a pointer is written
    // whole: a thread that makes a backend at the same time calls either function, and both make one.
    unsafe {
        let device = ggml_backend_dev_by_type(CPU);
        if !device.is_null() && MAKE_BACKEND.set((*device).init_backend).is_ok() {
            let place = (&raw mut (*device).init_backend).cast::<*mut c_void>();
            let function: InitBackend = make_and_note;
            AtomicPtr::from_ptr(place).store(function as *mut c_void, Ordering::Release);
        }
    }
}

/// SAFETY: called by ggml as the device's own function.
unsafe extern "C" fn make_and_note(device: *mut Device, parameters: *const c_char) -> *mut Backend {
    let Some(make) = MAKE_BACKEND.get() else { return std::ptr::null_mut() };
    // SAFETY: the function that stood in the device before, with what ggml gave for it.
    let backend = unsafe { make(device, parameters) };
    if !backend.is_null() {
        let _ = MADE.try_with(|made| made.borrow_mut().push(backend));
    }
    backend
}

impl Backends {
    /// Whether a pass can be stopped inside the encoder.
    pub fn can_stop(&self) -> bool {
        !self.0.is_empty()
    }

    /// Runs `pass` on `state`, whose backends these are; once `cancelled` is set it fails after the current node of its graph.
    pub fn stoppable<T>(
        &self,
        state: &mut WhisperState,
        cancelled: &Cancelled,
        pass: impl FnOnce(&mut WhisperState) -> T,
    ) -> T {
        /// Takes the flag away again, however the pass ends.
        struct Disarm<'a>(&'a Backends);
        impl Drop for Disarm<'_> {
            fn drop(&mut self) {
                self.0.arm(None, std::ptr::null_mut());
            }
        }
        self.arm(Some(is_cancelled), std::ptr::from_ref(cancelled).cast_mut().cast());
        let _disarm = Disarm(self);
        pass(state)
    }

    fn arm(&self, callback: Option<Abort>, data: *mut c_void) {
        for backend in &self.0 {
            // SAFETY: the backend lives as long as its state, which the caller of `stoppable` has borrowed exclusively, so
            // nothing computes on it now. `data` outlives the pass: `stoppable` takes it away before it returns.
            unsafe { ggml_backend_cpu_set_abort_callback(*backend, callback, data) };
        }
    }
}

/// SAFETY: `cancelled` must point to a [`Cancelled`], an atomic flag that any thread may read.
unsafe extern "C" fn is_cancelled(cancelled: *mut c_void) -> bool {
    // SAFETY: as the function demands; it is only read.
    unsafe { &*cancelled.cast::<Cancelled>() }.is_set()
}

/// Gives the state the speech: its mel spectrogram, and how many encoder frames the next pass looks at.
///
/// Only whisper.cpp's whole transcription sets the number of frames, so one is begun and ended before its encoder.
pub fn prepare(state: &mut WhisperState, audio: &[f32], frames: c_int, threads: c_int) -> Result<(), WhisperError> {
    let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    parameters.set_audio_ctx(frames);
    parameters.set_n_threads(threads);
    parameters.set_no_context(true);
    parameters.set_single_segment(true);
    parameters.set_print_progress(false);
    // SAFETY: `not_yet` fits the type, uses none of its arguments and cannot unwind.
    unsafe { parameters.set_start_encoder_callback(Some(not_yet)) };
    state.full(parameters, audio)
}

unsafe extern "C" fn not_yet(_: *mut WhisperSysContext, _: *mut WhisperSysState, _: *mut c_void) -> bool {
    false
}

/// Runs the decoder over `tokens`, which come after the `past` ones before; gives the logits after the last of them, one a token
/// of the vocabulary.
///
/// Tokens that the vocabulary or the decoder's window does not have are refused: whisper.cpp would end the process.
pub fn decode<'a>(
    state: &'a mut WhisperState,
    tokens: &[c_int],
    past: usize,
    window: usize,
    threads: usize,
) -> Result<&'a [f32], WhisperError> {
    let vocabulary = state.n_vocab();
    let Some(row) = tokens.len().checked_sub(1).filter(|_| past + tokens.len() <= window) else {
        return Err(WhisperError::InvalidText);
    };
    if !tokens.iter().all(|token| (0..vocabulary).contains(token)) {
        return Err(WhisperError::InvalidText);
    }
    state.decode(tokens, past, threads)?;
    // The binding gives the first row, which is written only when the first token is also the last.
    let first = state.get_logits()?;
    // SAFETY: after decoding so many tokens whisper.cpp's buffer has a row as long as `first` for each of them
    // (`whisper_decode_internal` resizes it), and it stays as it is while the state is borrowed.
    Ok(unsafe { std::slice::from_raw_parts(first.as_ptr().add(row * first.len()), first.len()) })
}
