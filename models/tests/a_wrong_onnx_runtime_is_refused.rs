//! Loading the wrong ONNX Runtime says what is wrong and leaves the process whole; the right one still loads after that.
//! A test program of its own: a process can load only one, so nothing else may have loaded it before.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};

use models::error::EngineError;
use models::onnx::OnnxRuntime;

fn library() -> PathBuf {
    let root = std::env::var_os("AVATAR_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/models"), PathBuf::from);
    let path = root.join("onnxruntime/libonnxruntime.so");
    assert!(path.exists(), "{} is missing: run `make models`, or set AVATAR_MODELS", path.display());
    path
}

#[test]
fn a_wrong_library_is_named_and_the_right_one_still_loads() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent.so");
    let refused = OnnxRuntime::load(&absent).unwrap_err();
    assert!(matches!(&refused, EngineError::Missing { path, .. } if *path == absent), "{refused}");
    assert!(refused.to_string().contains("make models"), "{refused}");

    let whole = std::fs::read(library()).unwrap();
    let mut other_machine = whole[..100_000].to_vec();
    other_machine[4] = 1;
    let damaged: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("text", b"not found, sorry"),
        ("header alone", &whole[..64]),
        ("half", &whole[..whole.len() / 2]),
        ("most", &whole[..whole.len() * 9 / 10]),
        ("32-bit", &other_machine),
    ];
    for (name, bytes) in damaged {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let refused = OnnxRuntime::load(&path).unwrap_err();
        assert!(
            matches!(&refused, EngineError::Corrupt { path: named, .. } if named.ends_with(name)),
            "{name}: {refused}"
        );
    }
    assert!(matches!(OnnxRuntime::load(folder.path()), Err(EngineError::Corrupt { .. })), "a folder is no library");

    // A whole library, but another one.
    let other = std::env::current_exe().unwrap();
    assert!(matches!(OnnxRuntime::load(&other), Err(EngineError::Corrupt { .. })));

    let runtime = OnnxRuntime::load(&library()).unwrap();
    let again = OnnxRuntime::load(&library()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&runtime, &again), "one a process");

    for (name, bytes) in [("empty.onnx", &b""[..]), ("text.onnx", b"not found, sorry"), ("elf.ort", &whole[..50_000])] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let refused = runtime.session(&path, 1).unwrap_err();
        assert!(
            matches!(&refused, EngineError::Corrupt { path: named, .. } if named.ends_with(name)),
            "{name}: {refused}"
        );
    }
}
