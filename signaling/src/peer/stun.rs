//! Who may send to a call: reading and checking the STUN binding requests that open a path.
//!
//! Owns the first look at a datagram from an unknown address. Promises that nothing but a binding request whose
//! MESSAGE-INTEGRITY was made with the call's own password passes. Answers nothing itself; the ICE agent does.

use rtc::crypto::RTCCrypto;
use rtc::stun::attributes::ATTR_USERNAME;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, Message, is_stun_message};

/// A binding request as received; nothing in it is trusted before [`BindingRequest::is_signed_with`].
pub(super) struct BindingRequest {
    message: Message,
    local_ufrag: String,
}

impl BindingRequest {
    /// `None` for everything that is not a binding request with a user name (RFC 8445 section 7.2.2:
    /// `<receiver's ufrag>:<sender's ufrag>`).
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        if !is_stun_message(datagram) {
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(datagram).ok()?;
        if message.typ != BINDING_REQUEST {
            return None;
        }
        let username = String::from_utf8(message.get(ATTR_USERNAME).ok()?).ok()?;
        let (local_ufrag, _) = username.split_once(':')?;
        let local_ufrag = local_ufrag.to_owned();
        Some(Self { message, local_ufrag })
    }

    /// The ufrag of the call this request is for.
    pub(super) fn local_ufrag(&self) -> &str {
        &self.local_ufrag
    }

    /// Whether its MESSAGE-INTEGRITY (RFC 8489 section 14.5) was made with `password`.
    pub(super) fn is_signed_with(&mut self, password: &str, crypto: &dyn RTCCrypto) -> bool {
        MessageIntegrity::check(&mut self.message, password.as_bytes(), crypto).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use rtc::crypto::default_provider;
    use rtc::stun::message::{BINDING_SUCCESS, Setter, TransactionId};
    use rtc::stun::textattrs::TextAttribute;

    use super::*;

    fn request(username: &str, password: &str) -> Vec<u8> {
        let provider = default_provider().unwrap();
        let setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, username.to_owned())),
            Box::new(MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), provider.crypto())),
        ];
        let mut message = Message::new();
        message.build(&setters).unwrap();
        message.raw
    }

    #[test]
    fn the_right_password_opens_a_path() {
        let provider = default_provider().unwrap();
        let mut parsed = BindingRequest::parse(&request("ours:theirs", "secret")).unwrap();
        assert_eq!(parsed.local_ufrag(), "ours");
        assert!(parsed.is_signed_with("secret", provider.crypto()));
    }

    #[test]
    fn a_guessed_password_does_not() {
        let provider = default_provider().unwrap();
        let mut parsed = BindingRequest::parse(&request("ours:theirs", "guess")).unwrap();
        assert!(!parsed.is_signed_with("secret", provider.crypto()));
    }

    #[test]
    fn a_request_changed_on_the_way_does_not() {
        let provider = default_provider().unwrap();
        let mut raw = request("ours:theirs", "secret");
        raw[10] ^= 1;
        let mut parsed = BindingRequest::parse(&raw).unwrap();
        assert!(!parsed.is_signed_with("secret", provider.crypto()));
    }

    #[test]
    fn answers_media_and_noise_are_not_requests() {
        let mut success = Message::new();
        let setters: Vec<Box<dyn Setter>> = vec![Box::new(BINDING_SUCCESS), Box::new(TransactionId::new())];
        success.build(&setters).unwrap();
        assert!(BindingRequest::parse(&success.raw).is_none());
        assert!(BindingRequest::parse(&[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).is_none());
        assert!(BindingRequest::parse(&[]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_the_check_panic(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), cookie in proptest::prelude::any::<bool>()) {
            let provider = default_provider().unwrap();
            if cookie && bytes.len() >= 20 {
                let length = (bytes.len() - 20) as u16;
                bytes[0..2].copy_from_slice(&[0, 1]);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&0x2112_A442_u32.to_be_bytes());
            }
            if let Some(mut parsed) = BindingRequest::parse(&bytes) {
                parsed.is_signed_with("secret", provider.crypto());
            }
        }
    }
}
