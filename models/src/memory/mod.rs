//! How much memory there is, what the models take of it, and what therefore goes where.
//!
//! [`machine`](cards::machine) looks at the cards and at main memory without linking a driver; [`llm::gguf::footprint`] and
//! [`stt::whisper::footprint`] read what a model will take from the head of its file; [`plan`] decides, and is pure. What was
//! planned can still fail, since other programs take memory too: [`exhausted`] recognises that failure, and [`Plan::tries`] says
//! what to try next.
//!
//! [`llm::gguf::footprint`]: crate::llm::gguf::footprint
//! [`stt::whisper::footprint`]: crate::stt::whisper::footprint

pub mod cards;
pub mod exhausted;
mod nvml;
mod place;
mod plan;
mod table;

pub use place::{Place, Wanted};
pub use plan::{CARD_OVERHEAD, Candidate, Card, Machine, Placement, Plan, Role, Room, Wish, plan};
