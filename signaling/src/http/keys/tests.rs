#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use axum::http::HeaderValue;

use super::*;

/// Keys that were given out: the text is also the id.
#[derive(Debug, Default)]
pub struct Book {
    keys: Mutex<Vec<(String, bool)>>,
    broken: bool,
}

impl Book {
    pub fn with(keys: &[&str]) -> Self {
        Self { keys: Mutex::new(keys.iter().map(|key| ((*key).to_owned(), true)).collect()), broken: false }
    }

    pub fn revoke(&self, key: &str) {
        self.keys.lock().unwrap().iter_mut().filter(|(known, _)| known == key).for_each(|(_, valid)| *valid = false);
    }
}

impl KeyBook for Book {
    fn has_keys(&self) -> Result<bool, BookError> {
        Ok(!self.keys.lock().unwrap().is_empty())
    }

    fn find(&self, token: &str, now: SystemTime) -> Result<Option<Grant>, BookError> {
        self.grant(token, now)
    }

    fn grant(&self, key: &str, _: SystemTime) -> Result<Option<Grant>, BookError> {
        if self.broken {
            return Err(BookError("the disk is gone".to_owned()));
        }
        let valid = self.keys.lock().unwrap().iter().any(|(known, valid)| known == key && *valid);
        Ok(valid.then(|| Grant { key: key.to_owned(), ..Grant::default() }))
    }
}

fn with_token(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn spoken_as(voice: &str) -> SessionPatch {
    SessionPatch { voice: Some(voice.to_owned()), ..SessionPatch::default() }
}

fn given(key: &str) -> Holder {
    Holder::Given(Grant { key: key.to_owned(), ..Grant::default() })
}

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

#[test]
fn a_server_without_keys_lets_everybody_in() {
    let keys = Keys::new([Secret::new("  ")]).with_book(Arc::new(Book::default()));
    assert_eq!(keys.holder(&HeaderMap::new(), NOW).unwrap(), Holder::Anyone);
    assert_eq!(keys.holder(&with_token("whatever"), NOW).unwrap(), Holder::Anyone);
}

#[test]
fn a_server_with_keys_refuses_prefixes_extensions_and_strangers() {
    let keys = Keys::new([Secret::new("sk-one"), Secret::new("sk-two")]);
    assert_eq!(keys.holder(&with_token("sk-one"), NOW).unwrap(), Holder::Owner);
    assert_eq!(keys.holder(&with_token("sk-two"), NOW).unwrap(), Holder::Owner);
    for wrong in ["sk-on", "sk-one1", "SK-ONE", "sk-oneX", "ek_", "x"] {
        assert_eq!(keys.holder(&with_token(wrong), NOW).unwrap_err().code, "invalid_api_key", "{wrong}");
    }
    assert_eq!(keys.holder(&HeaderMap::new(), NOW).unwrap_err().code, "missing_api_key");
}

#[test]
fn a_server_whose_only_key_was_revoked_does_not_open_again() {
    let book = Arc::new(Book::with(&["sk-given"]));
    let keys = Keys::new([]).with_book(book.clone());
    assert_eq!(keys.holder(&with_token("sk-given"), NOW).unwrap(), given("sk-given"));
    book.revoke("sk-given");
    assert_eq!(keys.holder(&with_token("sk-given"), NOW).unwrap_err().code, "invalid_api_key");
    assert_eq!(keys.holder(&HeaderMap::new(), NOW).unwrap_err().code, "missing_api_key");
}

#[test]
fn when_keys_cannot_be_looked_up_the_servers_own_open_and_nobody_elses() {
    let book = Book { broken: true, ..Book::with(&["sk-given"]) };
    let keys = Keys::new([Secret::new("sk-mine")]).with_book(Arc::new(book));
    assert_eq!(keys.holder(&with_token("sk-mine"), NOW).unwrap(), Holder::Owner);
    let refused = keys.holder(&with_token("sk-given"), NOW).unwrap_err();
    assert_eq!((refused.status, refused.code), (StatusCode::SERVICE_UNAVAILABLE, "keys_unavailable"));
    assert!(!refused.message.contains("disk"), "{}", refused.message);
}

#[test]
fn a_browser_may_say_its_key_as_a_subprotocol_of_a_websocket() {
    let keys = Keys::new([Secret::new("sk-one")]);
    for (offered, is_let_in) in [
        ("realtime, openai-insecure-api-key.sk-one", true),
        ("avatar-key.sk-one", true),
        ("avatar-key.sk-two, realtime", false),
        ("avatar-key.", false),
        ("sk-one", false),
    ] {
        let value = HeaderValue::from_str(offered).unwrap();
        let headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, value)]);
        assert_eq!(keys.holder(&headers, NOW).is_ok(), is_let_in, "{offered}");
    }
}

#[test]
fn a_client_secret_opens_until_it_expires_and_no_longer() {
    let keys = Keys::new([Secret::new("sk-one")]);
    let secret = keys.mint(&Holder::Owner, spoken_as("slt"), Duration::from_secs(10), NOW).unwrap();
    let headers = with_token(secret.value.reveal());
    let just_before = NOW + Duration::from_millis(9_999);
    let client = Holder::Client { session: spoken_as("slt"), grant: None };
    assert_eq!(keys.holder(&headers, just_before).unwrap(), client);
    assert!(!client.may_touch(Some("sk-one")));
    assert!(keys.holder(&headers, NOW + Duration::from_secs(10)).is_err());
}

#[test]
fn a_client_secret_dies_with_the_key_that_minted_it() {
    let book = Arc::new(Book::with(&["sk-given"]));
    let keys = Keys::new([Secret::new("sk-one")]).with_book(book.clone());
    let minted = keys.mint(&given("sk-given"), SessionPatch::default(), Duration::from_secs(60), NOW).unwrap();
    let headers = with_token(minted.value.reveal());
    assert_eq!(keys.holder(&headers, NOW).unwrap().owner(), Some("sk-given"));
    book.revoke("sk-given");
    assert_eq!(keys.holder(&headers, NOW).unwrap_err().code, "invalid_api_key");
}

#[test]
fn client_secrets_are_bounded_and_expired_ones_make_room() {
    let keys = Keys::new([]);
    let valid = Duration::from_secs(60);
    let mint = |holder: &Holder, now| keys.mint(holder, SessionPatch::default(), valid, now);
    for _ in 0..SECRETS_OF_ONE_KEY {
        mint(&given("greedy"), NOW).unwrap();
    }
    assert_eq!(mint(&given("greedy"), NOW).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
    for _ in SECRETS_OF_ONE_KEY..SECRETS_BOUND {
        mint(&Holder::Anyone, NOW).unwrap();
    }
    let refused = mint(&Holder::Anyone, NOW + Duration::from_secs(20)).unwrap_err();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(mint(&Holder::Anyone, NOW + valid).is_ok());
}

#[test]
fn a_key_is_never_shown_by_debug() {
    let keys = Keys::new([Secret::new("sk-visible")]);
    let secret = keys.mint(&Holder::Owner, SessionPatch::default(), Duration::from_secs(60), NOW).unwrap();
    let shown = format!("{keys:?} {secret:?}");
    assert!(!shown.contains("sk-visible") && !shown.contains("ek_"), "{shown}");
}
