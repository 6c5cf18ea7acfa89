//! Every door a call comes in by. A door translates between its protocol and a [`line::Line`]; it decides nothing.

pub mod caller;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod grant;
pub mod http;
pub mod line;
pub mod negotiate;
pub mod peer;
pub mod protocol;
pub mod realtime;
pub mod secret;
pub mod switchboard;
pub mod whip;
pub mod ws_chat;
