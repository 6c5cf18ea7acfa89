//! The binding to Flite's shared libraries, loaded at run time: the only unsafe code of this engine.
//!
//! Written against Flite 2.2 (`flite.h`, `cst_audio.h`, `cst_wave.h`). Flite counts references without atomics and shares a
//! voice's features with each utterance, so one lock per process is held from an utterance's making to its end. A library, once
//! loaded, stays: its voices are static data in it.
//!
//! Flite ends the process on an internal error (`cst_error`) unless a `jmp_buf` is set, which Rust cannot do. Its causes are bugs in a
//! voice, not texts, as long as texts are plain ASCII; [`super`] gives it nothing else.
#![allow(unsafe_code)]

use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomPinned;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const STOP: c_int = -1;
const CONTINUE: c_int = 0;

/// `cst_wave`: 16-bit samples.
#[repr(C)]
struct Wave {
    kind: *const c_char,
    sample_rate: c_int,
    num_samples: c_int,
    num_channels: c_int,
    samples: *mut i16,
}

/// `cst_audio_streaming_info`.
#[repr(C)]
struct StreamingInfo {
    min_buffsize: c_int,
    asc: Option<StreamCallback>,
    utt: *const c_void,
    item: *const c_void,
    userdata: *mut c_void,
}

/// The beginning of `cst_utterance`; only made and freed by Flite.
#[repr(C)]
struct Utterance {
    features: *mut c_void,
    _rest: PhantomPinned,
}

type StreamCallback = unsafe extern "C" fn(*const Wave, c_int, c_int, c_int, *mut StreamingInfo) -> c_int;
type Synth = unsafe extern "C" fn(*mut Utterance) -> *mut Utterance;

/// Flite's functions, good for the life of the process.
#[derive(Clone, Copy)]
struct Functions {
    new_utterance: unsafe extern "C" fn() -> *mut Utterance,
    delete_utterance: unsafe extern "C" fn(*mut Utterance),
    set_input_text: unsafe extern "C" fn(*mut Utterance, *const c_char) -> c_int,
    do_synth: unsafe extern "C" fn(*mut Utterance, *mut c_void, Synth) -> *mut Utterance,
    synth: Synth,
    new_streaming_info: unsafe extern "C" fn() -> *mut StreamingInfo,
    streaming_info_value: unsafe extern "C" fn(*mut StreamingInfo) -> *mut c_void,
    set_feature: unsafe extern "C" fn(*mut c_void, *const c_char, *const c_void),
}

/// A voice of Flite's, ready to speak.
pub(super) struct FliteVoice {
    functions: Functions,
    voice: NonNull<c_void>,
}

// SAFETY: the voice is static data of a library that is never unloaded, and it is only touched in `speak`, under the
// process-wide lock, so it does not matter which thread does.
unsafe impl Send for FliteVoice {}

/// Why an utterance failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SynthesisFailed;

impl FliteVoice {
    /// Loads `library` (a file name that the system's loader finds) and makes the voice that its function `register` gives.
    pub fn load(library: &str, register: &CStr) -> Result<Self, libloading::Error> {
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: Flite's libraries run no code of consequence when loaded.
        let flite: &'static Library = Box::leak(Box::new(unsafe { Library::new("libflite.so.1") }?));
        // SAFETY: as above.
        let voice: &'static Library = Box::leak(Box::new(unsafe { Library::new(library) }?));
        // SAFETY: each type is that of the function's declaration in Flite 2.2's headers. The libraries are leaked, so that the copied
        // function pointers stay valid.
        let (init, register, functions) = unsafe {
            let init = *flite.get::<unsafe extern "C" fn() -> c_int>(c"flite_init")?;
            let register = *voice.get::<unsafe extern "C" fn(*const c_char) -> *mut c_void>(register)?;
            let functions = Functions {
                new_utterance: *flite.get(c"new_utterance")?,
                delete_utterance: *flite.get(c"delete_utterance")?,
                set_input_text: *flite.get(c"utt_set_input_text")?,
                do_synth: *flite.get(c"flite_do_synth")?,
                synth: *flite.get(c"utt_synth")?,
                new_streaming_info: *flite.get(c"new_audio_streaming_info")?,
                streaming_info_value: *flite.get(c"audio_streaming_info_val")?,
                set_feature: *flite.get(c"feat_set")?,
            };
            (init, register, functions)
        };
        // SAFETY: both may be called any number of times; the lock keeps them from running at once. A null directory is what Flite's own
        // programs pass for built-in voices.
        let registered = unsafe {
            init();
            register(ptr::null())
        };
        match NonNull::new(registered) {
            Some(voice) => Ok(Self { functions, voice }),
            None => Err(libloading::Error::DlSymUnknown),
        }
    }

    /// Says `text`, giving chunks of at least `chunk` samples (the last may be shorter) with their rate to `sink`, until it breaks.
    pub fn speak(
        &mut self,
        text: &CStr,
        chunk: u16,
        sink: &mut dyn FnMut(u32, &[i16]) -> ControlFlow<()>,
    ) -> Result<(), SynthesisFailed> {
        let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let f = &self.functions;
        let mut listener = Listener { sink, panic: None };
        // SAFETY: an utterance is made, used and freed here and on this thread, under the lock. The streaming info is made by Flite, since
        // the utterance, which owns it through the feature's value, frees it. `listener` outlives the synthesis, which is all over when
        // `do_synth` returns. On failure `do_synth` has freed the utterance itself and returns null.
        let spoken = unsafe {
            let utterance = (f.new_utterance)();
            let info = (f.new_streaming_info)();
            if utterance.is_null() || info.is_null() {
                return Err(SynthesisFailed);
            }
            (*info).min_buffsize = c_int::from(chunk);
            (*info).asc = Some(on_chunk);
            (*info).userdata = (&raw mut listener).cast();
            (f.set_input_text)(utterance, text.as_ptr());
            (f.set_feature)((*utterance).features, c"streaming_info".as_ptr(), (f.streaming_info_value)(info));
            let done = (f.do_synth)(utterance, self.voice.as_ptr(), f.synth);
            if !done.is_null() {
                (f.delete_utterance)(done);
            }
            !done.is_null()
        };
        if let Some(panic) = listener.panic {
            resume_unwind(panic);
        }
        if spoken { Ok(()) } else { Err(SynthesisFailed) }
    }
}

struct Listener<'a> {
    sink: &'a mut dyn FnMut(u32, &[i16]) -> ControlFlow<()>,
    panic: Option<Box<dyn Any + Send>>,
}

/// SAFETY: called by Flite only, from inside `do_synth`, with a wave whose samples `start..start + size` are written and the
/// streaming info that [`FliteVoice::speak`] set.
unsafe extern "C" fn on_chunk(
    wave: *const Wave,
    start: c_int,
    size: c_int,
    _last: c_int,
    info: *mut StreamingInfo,
) -> c_int {
    // SAFETY: see above; `userdata` points to the listener on the stack of `speak`, which nobody else uses meanwhile.
    let (listener, rate, samples) = unsafe {
        let listener = &mut *(*info).userdata.cast::<Listener<'_>>();
        let wave = &*wave;
        let (Ok(start), Ok(size), Ok(rate)) =
            (usize::try_from(start), usize::try_from(size), u32::try_from(wave.sample_rate))
        else {
            return STOP;
        };
        let samples = if size == 0 { &[] } else { std::slice::from_raw_parts(wave.samples.add(start), size) };
        (listener, rate, samples)
    };
    if samples.is_empty() {
        return CONTINUE;
    }
    // No panic may cross C's frames: it is carried round them.
    match catch_unwind(AssertUnwindSafe(|| (listener.sink)(rate, samples))) {
        Ok(ControlFlow::Continue(())) => CONTINUE,
        Ok(ControlFlow::Break(())) => STOP,
        Err(panic) => {
            listener.panic = Some(panic);
            STOP
        }
    }
}
