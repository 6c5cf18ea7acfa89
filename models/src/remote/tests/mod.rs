//! Remote engines against a server that does what a script says, over real connections on this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod breaking;
mod language;
mod scripted;
mod speech;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use scripted::Scripted;

/// Long enough for a machine under load to answer, short enough to be waited for where nothing comes.
const FIRST: Duration = Duration::from_millis(1_500);

fn network() -> Arc<Network> {
    let settings = NetworkSettings { connect: Duration::from_secs(2), ca_file: None };
    Network::new(IoThread::start().unwrap(), &settings).unwrap()
}

fn settings(address: &str) -> ServerSettings {
    ServerSettings {
        address: address.parse().unwrap(),
        authorization: bearer("hunter2-hunter2"),
        model: "m".into(),
        first: FIRST,
        pause: FIRST,
        total: Duration::from_secs(20),
        retries: 1,
        breaker: BreakerSettings { failures: 100, ..BreakerSettings::default() },
    }
}

/// Waits until it is so; the runner's own limit ends a wait in vain.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
