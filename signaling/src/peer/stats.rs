//! What is counted of one call's media.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audio::inbound::InboundStats;

use crate::line::CallId;
use crate::peer::route::lock;

/// Counters of one call, written by its task and read by anyone.
#[derive(Debug, Default)]
pub(super) struct CallCounters {
    pub(super) packets_in: AtomicU64,
    pub(super) padding_in: AtomicU64,
    pub(super) foreign_payload: AtomicU64,
    pub(super) oversize_payload: AtomicU64,
    pub(super) frames_heard: AtomicU64,
    pub(super) frames_concealed: AtomicU64,
    pub(super) frames_dropped: AtomicU64,
    pub(super) packets_out: AtomicU64,
    pub(super) slots_skipped: AtomicU64,
    pub(super) messages_in: AtomicU64,
    pub(super) messages_refused: AtomicU64,
    pub(super) messages_out: AtomicU64,
    pub(super) messages_dropped: AtomicU64,
    inbound: Mutex<InboundStats>,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What has passed one call so far.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CallStats {
    pub call: CallId,
    /// Audio packets received and decrypted.
    pub packets_in: u64,
    /// Of these, without payload: padding for bandwidth probes.
    pub padding_in: u64,
    /// Of these, of a payload type that was not negotiated.
    pub foreign_payload: u64,
    /// Of these, larger than an Opus packet can be.
    pub oversize_payload: u64,
    /// 20 ms frames given to the call.
    pub frames_heard: u64,
    /// Of these, made up by concealment.
    pub frames_concealed: u64,
    /// Frames the call had no room for.
    pub frames_dropped: u64,
    /// Audio packets sent.
    pub packets_out: u64,
    /// 20 ms slots in which nothing could be sent because the server was late.
    pub slots_skipped: u64,
    pub messages_in: u64,
    /// Data channel messages that were binary or too large.
    pub messages_refused: u64,
    pub messages_out: u64,
    /// Data channel messages there was no room for.
    pub messages_dropped: u64,
    pub network: NetworkStats,
}

/// What the jitter buffer says of the way in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct NetworkStats {
    pub lost: u64,
    /// Of the lost, had from the next packet's redundancy.
    pub recovered: u64,
    pub late: u64,
    pub duplicate: u64,
    /// Arrived and could not be decoded.
    pub corrupt: u64,
    pub concealed: Duration,
    /// Interarrival jitter (RFC 3550 section 6.4.1).
    pub jitter: Duration,
    /// How long a gap is waited for now.
    pub target: Duration,
}

impl CallCounters {
    pub(super) fn note(&self, inbound: InboundStats) {
        *lock(&self.inbound) = inbound;
    }

    pub(super) fn snapshot(&self, call: &CallId) -> CallStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let InboundStats { network, corrupt } = *lock(&self.inbound);
        CallStats {
            call: call.clone(),
            packets_in: read(&self.packets_in),
            padding_in: read(&self.padding_in),
            foreign_payload: read(&self.foreign_payload),
            oversize_payload: read(&self.oversize_payload),
            frames_heard: read(&self.frames_heard),
            frames_concealed: read(&self.frames_concealed),
            frames_dropped: read(&self.frames_dropped),
            packets_out: read(&self.packets_out),
            slots_skipped: read(&self.slots_skipped),
            messages_in: read(&self.messages_in),
            messages_refused: read(&self.messages_refused),
            messages_out: read(&self.messages_out),
            messages_dropped: read(&self.messages_dropped),
            network: NetworkStats {
                lost: network.lost,
                recovered: network.recovered,
                late: network.late,
                duplicate: network.duplicate,
                corrupt,
                concealed: network.concealed,
                jitter: network.jitter,
                target: network.target,
            },
        }
    }
}
