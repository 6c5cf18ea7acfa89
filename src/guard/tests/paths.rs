//! Whatever stands in a path, the file system is not asked for it.

use proptest::prelude::*;

use super::*;

/// What must not come out: a file beside the data folder, and the database in it.
const CANARY: &str = "the canary in the coal mine";

/// Pieces that lead up, down, to the root, or to a file's end, plain and encoded.
fn piece() -> impl Strategy<Value = String> {
    let steps = [
        "..",
        ".",
        "%2e%2e",
        "%2E%2E",
        "..%2f",
        "%2f",
        "%5c",
        "..%5c",
        "%00",
        "~",
        "C:",
        "canary",
        "canary.txt",
        "data",
        "history.sqlite3",
        "history.sqlite3-wal",
        "audio",
        "etc",
        "passwd",
        "proc",
        "self",
        "environ",
        "%c0%ae%c0%ae",
        "%ff",
        "index.html",
        "Cargo.toml",
        "src",
        "dist",
        "web",
    ];
    prop_oneof![
        6 => prop::sample::select(steps.to_vec()).prop_map(str::to_owned),
        1 => "[a-z0-9_.~-]{0,12}",
    ]
}

/// A path of any route, with something hostile in each of its places; or one that no route has.
fn path(routes: Vec<String>) -> impl Strategy<Value = String> {
    let ids = prop::collection::vec(prop::collection::vec(piece(), 1..8), 3);
    (prop::sample::select(routes), ids, prop::sample::select(vec!["/", "%2f", "%5c", ""])).prop_map(
        |(route, ids, glue)| {
            let mut ids = ids.into_iter().map(|pieces| pieces.join(glue)).cycle();
            let filled =
                route.split('/').map(|part| if part.starts_with('{') { ids.next().unwrap() } else { part.to_owned() });
            filled.collect::<Vec<_>>().join("/")
        },
    )
}

/// Every file below, with its content.
fn files(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else if !entry.path().to_string_lossy().contains("history.sqlite3") {
            found.push((entry.path(), std::fs::read(entry.path()).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_id_in_any_path_reaches_the_file_system() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async { Server::closed() });
    std::fs::write(server.folder.path().join("canary.txt"), CANARY).unwrap();
    std::fs::write(server.folder.path().join("data/canary.txt"), CANARY).unwrap();
    std::fs::write(server.folder.path().join("data/audio/canary.ogg"), CANARY).unwrap();
    let before = files(server.folder.path());
    let mut routes: Vec<_> = runtime.block_on(routes::of(&server)).into_iter().collect();
    routes.push(("GET".to_owned(), "/{page}".to_owned()));
    routes.push(("GET".to_owned(), "/assets/{page}".to_owned()));
    let methods: Vec<_> = routes.iter().map(|(method, _)| method.clone()).collect();
    let strategy = (prop::sample::select(methods), path(routes.into_iter().map(|(_, path)| path).collect()));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1_500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let ran = runner.run(&strategy, |(method, path)| {
        let Ok(request) = Request::builder()
            .method(method.as_str())
            .uri(&path)
            .header("authorization", format!("Bearer {OWN}"))
            .body(Body::empty())
        else {
            return Ok(());
        };
        let told = runtime.block_on(server.ask(request));
        prop_assert!(
            !told.status.is_server_error() || told.status == StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            told.status
        );
        let text = told.text();
        for leaked in [CANARY, "SQLite format", "root:", "[package]"] {
            prop_assert!(!text.contains(leaked), "{method} {path}: {text}");
        }
        Ok(())
    });
    ran.unwrap();
    assert_eq!(files(server.folder.path()), before);
}
