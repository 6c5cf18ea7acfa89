//! Models that are missing or damaged: the server comes up, says what and how to mend it, and refuses calls with the same words.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::command::models;
use super::server::{Server, offer};

/// Health as it is told, the refusal of an offer, and the log.
struct Found {
    health: Value,
    refusal: Value,
    log: String,
}

/// Starts a server with the models in `shelf`, which must be down for lack of an engine.
fn found(shelf: &Path, settings: &[&str]) -> Found {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), None, |command| {
        command.env("AVATAR_MODELS", shelf).args(settings.iter().flat_map(|setting| ["--set", *setting]));
    });
    let health = server.get("/health");
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["status"], "down");
    let offer = offer();
    let (refused, _) = server.post("/whip", "application/sdp", offer.as_bytes());
    assert_eq!((refused.status, refused.error_code().as_str()), (503, "engine_missing"));
    // The page and the history do not depend on engines.
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/api/conversations").status, 200);
    let found =
        Found { health: health.json()["models"].clone(), refusal: refused.json()["error"].clone(), log: server.log() };
    assert!(!found.log.contains("panicked"), "{}", found.log);
    assert_eq!(server.terminate().code(), Some(0));
    found
}

/// The starter models but for `without`.
fn shelf_without(without: &[&str]) -> TempDir {
    let shelf = TempDir::new().unwrap();
    for id in ["onnxruntime", "silero-vad", "smart-turn-v3", "moonshine-tiny-en", "smollm2-135m-instruct"] {
        if !without.contains(&id) {
            symlink(models().join(id), shelf.path().join(id)).unwrap();
        }
    }
    shelf
}

#[test]
fn without_models_the_server_comes_up_and_says_how_to_get_them() {
    let shelf = TempDir::new().unwrap();
    let found = found(shelf.path(), &[]);
    for kind in ["vad", "stt", "llm"] {
        assert_eq!(found.health[kind]["state"], "missing", "{kind}");
        let hint = found.health[kind]["hint"].as_str().unwrap();
        assert!(hint.contains("avatar models pull") && hint.contains("make models"), "{kind}: {hint}");
    }
    let message = found.refusal["message"].as_str().unwrap();
    assert!(message.contains("not available") && message.contains("make models"), "{message}");
    assert!(found.log.contains("stt MISSING") && found.log.contains("make models"), "{}", found.log);
}

#[test]
fn a_truncated_language_model_is_named_with_what_is_wrong() {
    const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
    // A listener would take a second to load and change nothing here.
    let shelf = shelf_without(&["smollm2-135m-instruct", "moonshine-tiny-en"]);
    let folder = shelf.path().join("smollm2-135m-instruct");
    fs::create_dir(&folder).unwrap();
    let whole = fs::read(models().join("smollm2-135m-instruct").join(FILE)).unwrap();
    fs::write(folder.join(FILE), &whole[..whole.len() / 3]).unwrap();
    let by_catalogue = found(shelf.path(), &[]);
    let hint = by_catalogue.health["llm"]["hint"].as_str().unwrap();
    assert!(hint.contains(FILE) && hint.contains("damaged") && hint.contains("avatar models pull smollm2"), "{hint}");
    // The same file by its path, which the catalogue knows nothing of: the engine itself has to notice.
    let path = format!("engines.llm={}", folder.join(FILE).display());
    let by_path = found(shelf.path(), &[&path]);
    let hint = by_path.health["llm"]["hint"].as_str().unwrap();
    assert!(hint.contains(FILE) && hint.contains("cut short"), "{hint}");
}

#[test]
fn garbage_in_place_of_an_onnx_model_is_refused_and_does_not_crash() {
    const FILE: &str = "encoder_model.ort";
    let shelf = shelf_without(&["moonshine-tiny-en", "smollm2-135m-instruct"]);
    let (whole, folder) = (models().join("moonshine-tiny-en"), shelf.path().join("moonshine-tiny-en"));
    fs::create_dir(&folder).unwrap();
    for file in ["decoder_model_merged.ort", "tokenizer.bin"] {
        symlink(whole.join(file), folder.join(file)).unwrap();
    }
    // Of the right length, so that only a look inside tells; the same bytes every time (a linear congruential generator).
    let length = fs::metadata(whole.join(FILE)).unwrap().len();
    let mut state = 1_u32;
    let garbage = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    fs::write(folder.join(FILE), garbage.take(length as usize).collect::<Vec<_>>()).unwrap();
    let found = found(shelf.path(), &[]);
    let hint = found.health["stt"]["hint"].as_str().unwrap();
    assert!(hint.contains(FILE) && hint.contains("make models"), "{hint}");
    let message = found.refusal["message"].as_str().unwrap();
    assert!(message.contains("speech to text"), "{message}");
}
