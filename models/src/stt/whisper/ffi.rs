//! The one place that hands whisper.cpp a pointer: how a request that was given up stops its decoder.
//!
//! The binding's own safe setter casts its closure to the wrong type, which is undefined behaviour, and leaks it; so the raw
//! one is used.
#![allow(unsafe_code)]

use std::ffi::c_void;

use whisper_rs::{FullParams, WhisperError, WhisperState};

use crate::cancel::Cancelled;

/// Transcribes, looking at `cancelled` before each step of the decoder; the encoder can't be stopped.
pub fn full(
    state: &mut WhisperState,
    mut parameters: FullParams<'_, '_>,
    audio: &[f32],
    cancelled: &Cancelled,
) -> Result<(), WhisperError> {
    let pointer = std::ptr::from_ref(cancelled).cast_mut().cast::<c_void>();
    // SAFETY: whisper.cpp calls `is_cancelled` with `pointer` only while `full` below runs, for it takes both from the
    // parameters, which `full` consumes, and keeps neither in the state. `cancelled` is borrowed for as long, and `Cancelled`
    // is an atomic flag that may be read from any of whisper.cpp's threads. `is_cancelled` cannot unwind.
    unsafe {
        parameters.set_abort_callback(Some(is_cancelled));
        parameters.set_abort_callback_user_data(pointer);
    }
    state.full(parameters, audio)
}

/// SAFETY: `cancelled` must point to a [`Cancelled`].
unsafe extern "C" fn is_cancelled(cancelled: *mut c_void) -> bool {
    // SAFETY: as the function demands; it is only read.
    unsafe { &*cancelled.cast::<Cancelled>() }.is_set()
}
