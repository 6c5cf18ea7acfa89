//! What a call does: hears, decides, answers, remembers. Knows no WebRTC, no SQL and no engine by name.
//!
//! [`conversation::Conversation`] decides and is pure; [`driver`] is the one task a call has, which owns its clock and channels;
//! [`admission::Exchange`] lets calls in.

pub mod admission;
pub mod allowance;
pub mod attendance;
pub mod conversation;
pub mod dialogue;
pub mod driver;
pub mod floor;
mod place;
mod progress;
pub mod record;
pub mod reply;
pub mod resumption;
pub mod step;
mod tasks;
pub mod utterance;
pub mod wardrobe;
