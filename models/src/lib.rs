//! What listens, thinks and speaks. Each kind of engine has one contract (the `mod.rs` of its folder) and one file or
//! folder an engine; the call core knows only the contracts.
//!
//! Every engine owns its threads behind a bounded queue and is shared by all calls. A request that is dropped is cancelled,
//! and the work stops within one step of the engine.

pub mod cancel;
pub mod catalogue;
pub mod error;
pub mod fallback;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod llm;
pub mod memory;
pub mod onnx;
pub mod queue;
pub mod remote;
pub mod stt;
pub mod text;
pub mod tts;
pub mod vad;
