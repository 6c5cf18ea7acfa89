//! A GGUF file, all the way to the first pass through the network. The loader opens files, so the input becomes one, in memory.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = if cfg!(target_os = "linux") { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    folder.join(format!("avatar-fuzz-{}.gguf", std::process::id()))
});

fuzz_target!(|bytes: &[u8]| {
    if std::fs::write(&*FILE, bytes).is_ok() {
        models::untrusted::gguf(&FILE);
    }
});
