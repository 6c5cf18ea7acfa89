//! Engines that are somewhere else: any server with OpenAI's interface, for language, speech to text and text to speech.
//!
//! Owns the way there: addresses, keys, connections, time limits, repetition, and a breaker a server that leaves it alone while it
//! is down. Promises the contracts of [`crate::llm`], [`crate::stt`] and [`crate::tts`]: what is dropped is cancelled, and its
//! connection closed; nothing that was passed on is passed on again; nothing a server sends is kept without bound; and no key is
//! shown. Refuses to follow redirects and to go through proxies. What happens when a server fails is [`crate::fallback`]'s.
//!
//! Every server is an `Arc<Server>` of its own, on the one thread of [`IoThread`].

mod address;
mod breaker;
mod completion;
mod failure;
mod llm;
mod network;
mod pcm;
mod server;
mod sse;
mod stt;
mod transcript;
mod tts;

use std::sync::{Arc, Weak};
use std::time::Duration;

pub use address::{AddressError, ServerAddress};
pub use breaker::{Breaker, BreakerSettings, BreakerState, Outcome, Pass};
pub use llm::{RemoteLlm, RemoteLlmSettings};
pub use network::{IoThread, Network, NetworkSettings};
pub use server::{ServerSettings, bearer};
pub use stt::{RemoteStt, RemoteSttSettings};
pub use tts::{Encoding, RemoteTts, RemoteTtsSettings};

use crate::error::EngineError;
use server::Server;

/// Requests to a server in flight at once; one more is refused. A call has at most a handful.
const IN_FLIGHT_MAX: usize = 64;

/// How a remote engine fares, for those who watch over it.
#[derive(Clone)]
pub struct Standing(Weak<Server>);

impl Standing {
    fn of(server: &Arc<Server>) -> Self {
        Self(Arc::downgrade(server))
    }

    /// Why the server isn't asked, while its breaker is open.
    pub fn trouble(&self) -> Option<String> {
        self.0.upgrade()?.trouble()
    }
}

impl std::fmt::Debug for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Standing").field(&self.trouble()).finish()
    }
}

/// Asks a server for the names of its models, as `doctor` does. Takes some seconds at most; not for a task of an async runtime.
pub fn list_models(
    network: &Arc<Network>,
    section: &'static str,
    settings: ServerSettings,
) -> Result<Vec<String>, EngineError> {
    let server = Server::silent(Arc::clone(network), section, settings);
    let asked = Arc::clone(&server);
    let models = network.io().wait(async move { asked.models().await });
    models.unwrap_or_else(|| Ok(Vec::new())).map_err(|failure| server.error(&failure))
}

/// The earlier of two limits, counted from now.
fn deadline(limit: Duration) -> tokio::time::Instant {
    tokio::time::Instant::now() + limit
}

#[cfg(test)]
mod tests;
