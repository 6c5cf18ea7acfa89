//! Telling "no memory left" from other failures. The libraries report it in words, each in its own.

use std::fmt::Display;
use std::io::Read;

use crate::error::EngineError;

/// How CUDA's driver and cuBLAS, ggml, Metal and Rust's allocator say it.
const WORDS: [&str; 8] = [
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "cudaErrorMemoryAllocation",
    "out of memory",
    "OutOfMemory",
    "memory allocation of",
    "memory allocation failed",
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

/// Reads `length` bytes, asking for the memory first: where the system refuses it, the words are those [`says_so`] knows.
pub fn read(reader: &mut impl Read, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|error| format!("{error} ({} MiB)", length >> 20))?;
    // Not zeroed first: these are gigabytes.
    let read = reader.take(length as u64).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if read < length {
        return Err(format!("only {read} of {length} bytes are there"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::place::Place;
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
    fn weights_that_no_memory_holds_are_an_error_and_not_the_end() {
        let refused = read(&mut std::io::empty(), usize::MAX / 8).err().unwrap_or_default();
        assert!(says_so(&refused), "{refused}");
        assert_eq!(read(&mut &b"abc"[..], 3).as_deref(), Ok(&b"abc"[..]));
        assert!(read(&mut &b"abc"[..], 4).is_err_and(|reason| reason.contains("3 of 4") && !says_so(&reason)));
    }
}
