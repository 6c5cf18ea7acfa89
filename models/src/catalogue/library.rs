//! Whether a shared library can be loaded on this machine: the one honest test of its presence, architecture and dependencies.
#![allow(unsafe_code)]

use std::ffi::OsStr;

#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("{0}")]
    NotLoaded(String),
    #[error("it has no symbol {0}: it is another library, or too old")]
    NoSymbol(String),
}

/// Loads the library (a path, or a name for the system's search), looks for `symbol` if one is given, and lets it go again.
pub fn probe(library: impl AsRef<OsStr>, symbol: Option<&str>) -> Result<(), LibraryError> {
    // SAFETY: loading runs the library's initialisers. Only the two libraries that Avatar runs on anyway are probed (ONNX
    // Runtime, whose file's hash the catalogue pins, and the system's Flite); neither has initialisers with preconditions.
    let loaded = unsafe { libloading::Library::new(library.as_ref()) }.map_err(|error| {
        // The loader's own words are in the source; the outer error only says "failed".
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        LibraryError::NotLoaded(reason)
    })?;
    if let Some(symbol) = symbol {
        // SAFETY: the address is only compared with null by `get`, never called or read.
        unsafe { loaded.get::<*const ()>(symbol.as_bytes()) }.map_err(|_| LibraryError::NoSymbol(symbol.to_owned()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_missing_library_says_which() {
        let error = probe("libnothing-at-all.so.9", None).unwrap_err().to_string();
        assert!(error.contains("libnothing-at-all"), "{error}");
    }

    #[test]
    fn a_file_that_is_no_library_is_refused() {
        let file = tempfile::NamedTempFile::with_suffix(".so").unwrap();
        std::fs::write(file.path(), b"not a library").unwrap();
        assert!(matches!(probe(file.path(), None), Err(LibraryError::NotLoaded(_))));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_library_under_the_right_name_is_noticed() {
        probe("libc.so.6", Some("malloc")).unwrap();
        assert!(matches!(probe("libc.so.6", Some("OrtGetApiBase")), Err(LibraryError::NoSymbol(_))));
    }
}
