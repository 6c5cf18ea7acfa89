//! What things in a call are named by.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A fresh one, unique and ordered by time.
            pub fn fresh() -> Self {
                Self(format!(concat!($prefix, "{}"), Uuid::now_v7().simple()))
            }

            /// One that came from outside (a client's item id, a path).
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// One call, from answer to hang-up. Stands in `Location: /v1/realtime/calls/{id}`.
    CallId, "rtc_");
identifier!(
    /// One item of a conversation: what one side said in one turn.
    ItemId, "item_");
identifier!(
    /// One reply of the avatar, spoken or cut.
    ReplyId, "resp_");
identifier!(
    /// A talk with its memory; outlives a call.
    ConversationId, "conv_");

impl ItemId {
    /// As the item before another: that one is the first of the conversation.
    pub const ROOT: &str = "root";
}
