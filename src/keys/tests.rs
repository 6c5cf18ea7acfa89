#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use signaling::http::keys::{Holder, Keys};
use signaling::line::SessionPatch;
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn store() -> (KeyStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (KeyStore::open(folder.path()).unwrap(), folder)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

fn talk(seconds: u64) -> Usage {
    Usage { talk: Duration::from_secs(seconds), ..Usage::default() }
}

fn wanted(name: &str) -> Wanted {
    Wanted { name: name.to_owned(), ..Wanted::default() }
}

#[test]
fn a_key_opens_until_it_expires() {
    let (keys, _folder) = store();
    let asked = Wanted { valid: Some(DAY), calls: Some(3), requests_per_minute: Some(7), ..wanted("ann") };
    let (id, key) = keys.create(&asked, at(0)).unwrap();
    let grant = Grant { key: id, calls: Some(3), requests_per_minute: Some(7), ..Grant::default() };
    assert_eq!(keys.find(key.reveal(), at(0)).unwrap(), Some(grant.clone()));
    assert_eq!(keys.find(key.reveal(), at(86_399)).unwrap(), Some(grant.clone()));
    assert_eq!(keys.find(key.reveal(), at(86_400)).unwrap(), None);
    assert_eq!(keys.grant(&grant.key, at(1)).unwrap().as_ref(), Some(&grant));
    assert_eq!(keys.grant(&grant.key, at(86_400)).unwrap(), None);
}

#[test]
fn a_key_that_another_process_makes_or_revokes_counts_at_once() {
    let (keys, folder) = store();
    assert!(!keys.has_keys().unwrap());
    let elsewhere = KeyStore::open(folder.path()).unwrap();
    let (id, key) = elsewhere.create(&wanted("ann"), at(0)).unwrap();
    assert!(keys.has_keys().unwrap());
    assert!(keys.find(key.reveal(), at(1)).unwrap().is_some());
    elsewhere.revoke(&id, at(2)).unwrap();
    assert_eq!(keys.find(key.reveal(), at(3)).unwrap(), None);
    assert_eq!(keys.grant(&id, at(3)).unwrap(), None);
    assert!(keys.has_keys().unwrap(), "it would be open again");
}

#[test]
fn a_key_that_is_nearly_right_is_wrong() {
    let (keys, _folder) = store();
    let (id, key) = keys.create(&wanted("ann"), at(0)).unwrap();
    let (_, other) = keys.create(&wanted("bob"), at(0)).unwrap();
    let key = key.reveal();
    let secret_of_bob = other.reveal().rsplit_once('-').unwrap().1;
    let last = if key.ends_with('0') { "1" } else { "0" };
    for wrong in [
        "",
        PREFIX,
        &id,
        &format!("{PREFIX}{id}"),
        &format!("{PREFIX}{id}-"),
        &format!("{PREFIX}{id}-{secret_of_bob}"),
        &format!("{key} "),
        &format!("{key}0"),
        &key[..key.len() - 1],
        &format!("{}{last}", &key[..key.len() - 1]),
        &key.to_uppercase(),
        &format!("{PREFIX}' OR 1=1 --"),
        &format!("{PREFIX}%-{secret_of_bob}"),
    ] {
        assert_eq!(keys.find(wrong, at(1)).unwrap(), None, "{wrong}");
    }
}

#[test]
fn no_key_is_in_the_data_folder() {
    let (keys, folder) = store();
    let (_, key) = keys.create(&wanted("ann"), at(0)).unwrap();
    keys.find(key.reveal(), at(1)).unwrap();
    drop(keys);
    let secret = key.reveal().rsplit_once('-').unwrap().1.as_bytes();
    let mut files = 0;
    for file in std::fs::read_dir(folder.path()).unwrap().flatten().filter(|file| file.path().is_file()) {
        let content = std::fs::read(file.path()).unwrap();
        assert!(!content.windows(secret.len()).any(|window| window == secret), "{:?}", file.path());
        files += 1;
    }
    assert!(files > 0);
}

#[test]
fn the_last_use_is_noted_and_survives() {
    let (keys, folder) = store();
    let (id, key) = keys.create(&wanted("ann"), at(0)).unwrap();
    keys.find(key.reveal(), at(100)).unwrap();
    keys.find(key.reveal(), at(130)).unwrap();
    drop(keys);
    let listed = KeyStore::open(folder.path()).unwrap().list().unwrap();
    assert_eq!((listed[0].grant.key.as_str(), listed[0].name.as_str()), (id.as_str(), "ann"));
    // Within a minute it is not written again.
    assert_eq!(listed[0].last_used_at, Some(milliseconds(at(100))));
    assert!(listed[0].is_valid(at(200)));
}

#[test]
fn talk_is_added_up_by_day_and_survives() {
    let (keys, folder) = store();
    let (id, _) = keys.create(&wanted("ann"), at(0)).unwrap();
    let midnight = SystemTime::UNIX_EPOCH + 20_000 * DAY;
    keys.add(&id, midnight, talk(60));
    keys.add(&id, midnight + DAY / 2, talk(30));
    keys.add(&id, midnight + DAY, talk(5));
    drop(keys);
    let keys = KeyStore::open(folder.path()).unwrap();
    assert_eq!(keys.used(&id, midnight + DAY / 3), talk(90));
    assert_eq!(keys.used(&id, midnight + DAY), talk(5));
    assert_eq!(keys.used("nobody", midnight), Usage::default());
}

#[test]
fn a_time_beyond_the_calendar_is_refused() {
    let (keys, _folder) = store();
    for valid in [Duration::MAX, Duration::from_secs(1_000_000_000_000)] {
        assert!(matches!(keys.create(&Wanted { valid: Some(valid), ..wanted("x") }, at(0)), Err(KeysError::Expiry)));
    }
}

#[test]
fn a_client_secret_dies_with_the_key_that_made_it() {
    let (store, _folder) = store();
    let store = Arc::new(store);
    let (id, key) = store.create(&Wanted { valid: Some(DAY), ..wanted("ann") }, at(0)).unwrap();
    let keys = Keys::new([]).with_book(store.clone());
    let with_token = |token: &str| {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
    };
    let holder = keys.holder(&with_token(key.reveal()), at(0)).unwrap();
    let secret = keys.mint(&holder, SessionPatch::default(), 2 * DAY, at(0)).unwrap();
    let secret = with_token(secret.value.reveal());
    let client = keys.holder(&secret, at(1)).unwrap();
    assert!(matches!(client, Holder::Client { .. }) && client.owner() == Some(id.as_str()), "{client:?}");
    assert_eq!(keys.holder(&secret, at(86_400)).unwrap_err().code, "invalid_api_key");
    store.revoke(&id, at(2)).unwrap();
    assert_eq!(keys.holder(&secret, at(3)).unwrap_err().code, "invalid_api_key");
}

#[test]
fn turns_and_keys_are_written_side_by_side() {
    use crate::history::History;

    let folder = tempfile::tempdir().unwrap();
    let history = History::open(folder.path()).unwrap();
    let keys = KeyStore::open(folder.path()).unwrap();
    let elsewhere = KeyStore::open(folder.path()).unwrap();
    let (id, key) = keys.create(&wanted("ann"), at(0)).unwrap();
    std::thread::scope(|scope| {
        for store in [&keys, &elsewhere] {
            let (id, key) = (&id, &key);
            scope.spawn(move || {
                for minute in 0..40 {
                    store.add(id, at(60 * minute), talk(1));
                    store.find(key.reveal(), at(60 * minute)).unwrap();
                    store.create(&wanted("another"), at(minute)).unwrap();
                }
            });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Renaming reads before it writes.
        for _ in 0..40 {
            let renamed =
                history.rename(crate::history::Viewer::Everyone, "conv_none".to_owned(), Some("x".to_owned()));
            assert!(runtime.block_on(renamed).unwrap().is_none());
        }
    });
    drop((keys, elsewhere));
    let keys = KeyStore::open(folder.path()).unwrap();
    assert_eq!(keys.list().unwrap().len(), 81);
    assert_eq!(keys.used(&id, at(0)), talk(80));
}

#[test]
fn what_a_key_used_is_added_up_by_the_day_and_its_limits_are_its_own() {
    let (keys, folder) = store();
    let asked = Wanted {
        speech_characters_per_day: Some(1_000),
        transcribed_minutes_per_day: Some(20),
        tokens_per_day: Some(300),
        ..wanted("ann")
    };
    let (id, key) = keys.create(&asked, at(0)).unwrap();
    let grant = keys.find(key.reveal(), at(0)).unwrap().unwrap();
    let limits = (grant.speech_characters_per_day, grant.transcribed_minutes_per_day, grant.tokens_per_day);
    assert_eq!(limits, (Some(1_000), Some(20), Some(300)));
    let (other, _) = keys.create(&wanted("bob"), at(0)).unwrap();
    let some =
        Usage { talk: Duration::from_secs(1), speech_characters: 2, transcribed: Duration::from_millis(3), tokens: 4 };
    for _ in 0..3 {
        keys.add(&id, at(0), some);
    }
    keys.add(&id, at(86_400), some);
    keys.add(&other, at(0), talk(9));
    // Written when it is closed.
    drop(keys);
    let keys = KeyStore::open(folder.path()).unwrap();
    let thrice =
        Usage { talk: Duration::from_secs(3), speech_characters: 6, transcribed: Duration::from_millis(9), tokens: 12 };
    assert_eq!([keys.used(&id, at(0)), keys.used(&id, at(86_400)), keys.used(&other, at(0))], [thrice, some, talk(9)]);
    assert_eq!(keys.used(&id, at(2 * 86_400)), Usage::default());
}

#[test]
fn a_key_of_which_nothing_could_be_used_is_not_made() {
    let (keys, _folder) = store();
    for useless in [
        Wanted { speech_characters_per_day: Some(0), ..wanted("x") },
        Wanted { transcribed_minutes_per_day: Some(0), ..wanted("x") },
        Wanted { tokens_per_day: Some(0), ..wanted("x") },
    ] {
        assert!(matches!(keys.create(&useless, at(0)), Err(KeysError::Zero(_))));
    }
}
