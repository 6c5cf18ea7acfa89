#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::super::pull::tests::mirror::{catalogue, sha256_hex};
use super::*;

fn store_with(bytes: &[u8]) -> (tempfile::TempDir, Store, Model) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    let model = catalogue(b"the right bytes").get("pinned").unwrap().clone();
    fs::create_dir_all(store.folder(&model)).unwrap();
    fs::write(store.path(&model, "weights.bin"), bytes).unwrap();
    (dir, store, model)
}

#[test]
fn a_file_put_there_by_hand_is_present_but_not_verified_until_it_is_hashed() {
    let (_dir, store, model) = store_with(b"the right bytes");
    assert_eq!(store.state(&model), State::Present { verified: false });
    let lock = store.try_lock().unwrap().unwrap();
    assert_eq!(store.verify(&model, &lock).unwrap(), State::Present { verified: true });
    assert_eq!(store.state(&model), State::Present { verified: true });
}

#[test]
fn flipped_bits_of_the_right_length_are_found_by_verify() {
    let (_dir, store, model) = store_with(b"the wrong bytes");
    assert!(store.state(&model).is_present());
    let lock = store.try_lock().unwrap().unwrap();
    let State::Corrupt { file, reason } = store.verify(&model, &lock).unwrap() else { panic!("not noticed") };
    assert_eq!(file, "weights.bin");
    assert!(reason.contains(&sha256_hex(b"the right bytes")), "{reason}");
    assert!(matches!(store.state(&model), State::Corrupt { .. }), "a later listing forgot it");
}

#[test]
fn a_truncated_file_is_corrupt_without_hashing() {
    let (_dir, store, model) = store_with(b"the right");
    assert!(matches!(store.state(&model), State::Corrupt { .. }));
}

#[test]
fn a_file_that_changed_after_it_was_hashed_is_no_longer_verified() {
    let (_dir, store, model) = store_with(b"the right bytes");
    let lock = store.try_lock().unwrap().unwrap();
    store.verify(&model, &lock).unwrap();
    let path = store.path(&model, "weights.bin");
    fs::write(&path, b"the wrong bytes").unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(store.state(&model), State::Present { verified: false });
}

#[test]
fn a_garbled_lock_file_is_named_with_the_way_out_and_trusts_nothing() {
    let (dir, store, model) = store_with(b"the right bytes");
    fs::write(dir.path().join(LOCK_FILE), "= not toml").unwrap();
    assert_eq!(store.state(&model), State::Present { verified: false });
    let lock = store.try_lock().unwrap().unwrap();
    let error = store.verify(&model, &lock).unwrap_err().to_string();
    assert!(error.contains("models.lock") && error.contains("delete it"), "{error}");
}

#[test]
fn a_second_process_finds_the_folder_taken() {
    let (_dir, store, _) = store_with(b"");
    let lock = store.try_lock().unwrap().unwrap();
    assert!(store.try_lock().unwrap().is_none());
    drop(lock);
    assert!(store.try_lock().unwrap().is_some());
}
