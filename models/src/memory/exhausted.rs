//! Telling "no memory left" from other failures. The libraries report it in words, each in its own.

use std::fmt::Display;

use super::place::Place;
use crate::error::EngineError;

/// How CUDA's driver and cuBLAS, ggml, Metal and Rust's allocator say it.
const WORDS: [&str; 7] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "out of memory",
    "OutOfMemory",
    "memory allocation of",
    "failed to allocate",
];

/// Whether a library's message says that memory ran out.
pub fn says_so(reason: &str) -> bool {
    WORDS.iter().any(|words| reason.contains(words))
}

impl EngineError {
    /// This error, or [`EngineError::OutOfMemory`] where it says that memory ran out, which it then did in `place`. `engine` as
    /// errors call it.
    pub fn or_out_of_memory(self, engine: &'static str, place: impl Display) -> Self {
        let reason = match &self {
            Self::Corrupt { reason, .. } | Self::Failed { reason, .. } if says_so(reason) => {
                // Libraries add backtraces.
                reason.lines().next().unwrap_or_default().to_owned()
            }
            _ => return self,
        };
        Self::OutOfMemory { engine, place: place.to_string(), reason }
    }
}

/// An empty list with room for `length` values, or [`EngineError::OutOfMemory`]: for buffers large enough that the system may
/// refuse them.
pub fn reserve<T>(engine: &'static str, length: usize) -> Result<Vec<T>, EngineError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(length).map_err(|error| EngineError::OutOfMemory {
        engine,
        place: Place::Cpu.to_string(),
        reason: format!("{error} ({} MiB)", length.saturating_mul(size_of::<T>()) >> 20),
    })?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_card_is_told_apart_from_a_damaged_file() {
        let failed = |reason: &str| EngineError::Failed { engine: "whisper", reason: reason.to_owned() };
        for reason in [
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")\n   0: candle_core::error::Error::bt",
            "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 900.00 MiB on device 0: cudaMalloc failed: out of memory",
        ] {
            let error = failed(reason).or_out_of_memory("whisper", Place::Cuda(0));
            assert!(error.is_out_of_memory(), "{error}");
            let words = error.to_string();
            assert!(words.contains("cuda:0") && !words.contains('\n') && words.contains("avatar doctor"), "{words}");
        }
        let other = failed("CUDA_ERROR_ILLEGAL_ADDRESS").or_out_of_memory("whisper", Place::Cuda(0));
        assert!(!other.is_out_of_memory());
    }

    #[test]
    fn a_buffer_that_no_machine_has_is_an_error_and_not_the_end() {
        let refused = reserve::<f32>("the voice", usize::MAX / 8).err();
        assert!(refused.is_some_and(|error| error.is_out_of_memory()));
        assert!(reserve::<f32>("the voice", 16).is_ok_and(|buffer| buffer.capacity() >= 16));
    }
}
