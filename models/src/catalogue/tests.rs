//! The catalogue that comes with Avatar, and entries that are wrong.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use super::*;

#[test]
fn the_embedded_catalogue_is_valid_on_every_target_it_names() {
    for target in ["x86_64-linux", "aarch64-linux", "aarch64-macos"] {
        let catalogue = Catalogue::parse(BUILTIN, target).unwrap();
        let runtime = catalogue.get("onnxruntime").unwrap();
        assert_eq!(runtime.target.as_deref(), Some(target));
        for kind in [Kind::Runtime, Kind::Vad, Kind::Turn, Kind::Stt, Kind::Llm, Kind::SpeechSamples] {
            assert!(catalogue.starters().any(|model| model.kind == kind), "no starter {kind} on {target}");
        }
        // A starter must come without a hub.
        for model in catalogue.starters() {
            assert!(model.sources.iter().any(|source| matches!(source, Source::Wheel(_))), "{}", model.id);
        }
    }
}

#[test]
fn a_machine_without_an_onnx_runtime_build_is_told_so_and_not_given_another_machines() {
    let catalogue = Catalogue::parse(BUILTIN, "riscv64-linux").unwrap();
    assert!(catalogue.get("onnxruntime").is_err());
    let error = catalogue.with_needs(&["silero-vad"]).unwrap_err().to_string();
    assert!(error.contains("riscv64-linux") && error.contains("build ONNX Runtime"), "{error}");
}

#[test]
fn what_is_needed_comes_first_and_once() {
    let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
    let chosen = catalogue.with_needs(&["silero-vad", "smart-turn-v3", "silero-vad"]).unwrap();
    let ids: Vec<_> = chosen.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["onnxruntime", "silero-vad", "smart-turn-v3"]);
}

#[test]
fn an_unknown_model_is_answered_with_its_neighbours() {
    let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
    let error = catalogue.get("silero").unwrap_err().to_string();
    assert_eq!(error, "there is no model 'silero'; did you mean 'silero-vad'?");
    let error = catalogue.get("zzz").unwrap_err().to_string();
    assert!(error.contains("avatar models list"), "{error}");
}

#[test]
fn best_of_a_kind_is_first() {
    let catalogue = Catalogue::parse(BUILTIN, "x86_64-linux").unwrap();
    let ranks: Vec<_> = catalogue.of_kind(Kind::Stt).iter().map(|model| model.quality).collect();
    assert!(ranks.len() > 5 && ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
}

const GOOD: &str = r#"
    [[model]]
    id = "tiny"
    kind = "llm"
    name = "Tiny"
    languages = []
    licence = "MIT"
    quality = 1
    memory_mib = 1
    files = [{ name = "a.bin", size = 3, sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" }]
    sources = [{ from = "wheel", package = "tiny", version = "1.0", python = "3.11", platforms = ["any"], size = 9, members = { "a.bin" = "t/a.bin" } }]
"#;

#[test]
fn a_wrong_entry_is_refused() {
    assert!(Catalogue::parse(GOOD, "x").is_ok());
    let cases = [
        ("id = \"tiny\"", "id = \"../tiny\"", "id must be"),
        ("name = \"a.bin\"", "name = \"../../a.bin\"", "no plain file name"),
        ("name = \"a.bin\"", "name = \"/etc/passwd\"", "no plain file name"),
        ("name = \"a.bin\"", "name = \".hidden\"", "no plain file name"),
        ("size = 3", "size = 0", "no size"),
        ("ba7816bf", "BA7816BF", "64 lower-case"),
        ("quality = 1", "quality = 101", "over 100"),
        ("\"a.bin\" = \"t/a.bin\"", "\"b.bin\" = \"t/b.bin\"", "each file, and no other"),
        ("package = \"tiny\"", "package = \"--index-url\"", "strange name"),
        ("memory_mib = 1", "memory_mib = 1\nneeds = [\"gone\"]", "not in the catalogue"),
        (", sha256 = \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"", "", "must have a sha256"),
        (
            "sources = [{ from = \"wheel\"",
            "sources = [{ from = \"hub\", repo = \"a/../b\", revision = \"main\" }, { from = \"wheel\"",
            "no plain path",
        ),
        ("memory_mib = 1", "memory_mib = 1\nlicense = \"MIT\"", "unknown field"),
    ];
    for (from, to, expected) in cases {
        assert!(GOOD.contains(from), "the case '{from}' changes nothing");
        let error = Catalogue::parse(&GOOD.replace(from, to), "x").unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }
    let twice = format!("{GOOD}{GOOD}");
    assert!(Catalogue::parse(&twice, "x").unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_hub_url_has_the_hugging_face_layout() {
    let hub = HubRepo { repo: "o/n".into(), revision: "main".into(), paths: BTreeMap::new() };
    assert_eq!(hub.url("https://hub.example/", "f.bin"), "https://hub.example/o/n/resolve/main/f.bin");
}
