//! What one call receives from the shared port: its two inboxes, one per address family, and when each packet came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;

use crate::line::CallId;

/// Datagrams a call may have waiting: about five seconds of audio. When full the newest is dropped and counted.
const INBOX_BOUND: usize = 256;
/// RTP packets whose arrival is remembered: five seconds of 20 ms packets.
const ARRIVALS: usize = 256;
/// Content type of a DTLS alert record (RFC 6347 section 4.1, RFC 5246 section 6.2.1).
const DTLS_ALERT: u8 = 21;

/// The lock's content even if a holder panicked: every critical section here leaves it consistent.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One call's end of the shared port.
pub(super) struct Route {
    pub(super) call: CallId,
    pub(super) v4: Inbox,
    pub(super) v6: Inbox,
    arrivals: Mutex<Arrivals>,
    seen: Mutex<Option<Instant>>,
    /// A DTLS alert came: a hint to look whether the client has closed, and no more than that, since it is unread here.
    pub(super) alert: Notify,
}

impl Route {
    pub(super) fn new(call: CallId) -> Self {
        Self {
            call,
            v4: Inbox::default(),
            v6: Inbox::default(),
            arrivals: Mutex::new(Arrivals::default()),
            seen: Mutex::new(None),
            alert: Notify::new(),
        }
    }

    /// Hands a datagram to the call's peer connection; `false` if its inbox was full.
    pub(super) fn deliver(&self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        *lock(&self.seen) = Some(now);
        if let Some(sequence) = rtp_sequence(datagram) {
            lock(&self.arrivals).note(sequence, now);
        }
        if datagram.first() == Some(&DTLS_ALERT) {
            self.alert.notify_one();
        }
        let inbox = if from.is_ipv4() { &self.v4 } else { &self.v6 };
        inbox.push(from, datagram)
    }

    /// When the last datagram came, of whatever kind.
    pub(super) fn seen(&self) -> Option<Instant> {
        *lock(&self.seen)
    }

    /// When the RTP packet with this sequence number came in at the socket, if that was within the last 256 packets.
    pub(super) fn arrival(&self, sequence: u16) -> Option<Instant> {
        lock(&self.arrivals).of(sequence)
    }
}

/// Sequence number of an RTP packet, read before decryption: SRTP leaves the header in the clear. RTCP shares the first
/// byte's range and is told apart by its packet type (RFC 5761 section 4).
fn rtp_sequence(datagram: &[u8]) -> Option<u16> {
    match datagram {
        [128..=191, kind, high, low, ..] if datagram.len() >= 12 && !(64..=95).contains(&(kind & 0x7f)) => {
            Some(u16::from_be_bytes([*high, *low]))
        }
        _ => None,
    }
}

struct Arrivals(Box<[Option<(u16, Instant)>]>);

impl Default for Arrivals {
    fn default() -> Self {
        Self(vec![None; ARRIVALS].into_boxed_slice())
    }
}

impl Arrivals {
    fn note(&mut self, sequence: u16, now: Instant) {
        if let Some(slot) = self.0.get_mut(usize::from(sequence) % ARRIVALS) {
            *slot = Some((sequence, now));
        }
    }

    fn of(&self, sequence: u16) -> Option<Instant> {
        let (noted, at) = (*self.0.get(usize::from(sequence) % ARRIVALS)?)?;
        (noted == sequence).then_some(at)
    }
}

/// Datagrams that wait for the peer connection's driver.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<(SocketAddr, Box<[u8]>)>,
    reader: Option<Waker>,
}

impl Inbox {
    fn push(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let reader = {
            let mut waiting = lock(&self.0);
            if waiting.datagrams.len() >= INBOX_BOUND {
                return false;
            }
            waiting.datagrams.push_back((from, datagram.into()));
            waiting.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    /// The next datagram; the last caller is woken when there is one.
    pub(super) fn poll(&self, context: &Context<'_>) -> Poll<(SocketAddr, Box<[u8]>)> {
        let mut waiting = lock(&self.0);
        match waiting.datagrams.pop_front() {
            Some(datagram) => Poll::Ready(datagram),
            None => {
                waiting.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rtp(sequence: u16) -> Vec<u8> {
        let mut packet = vec![0x80, 111];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&[0; 20]);
        packet
    }

    #[test]
    fn a_packet_is_heard_when_it_arrived_and_not_when_it_was_decrypted() {
        let route = Route::new(CallId::fresh());
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let start = Instant::now();
        assert!(route.deliver(start, from, &rtp(7)));
        assert!(route.deliver(start + Duration::from_millis(20), from, &rtp(8)));
        assert_eq!(route.arrival(7), Some(start));
        assert_eq!(route.arrival(8), Some(start + Duration::from_millis(20)));
        assert_eq!(route.arrival(9), None);
        assert_eq!(route.arrival(7 + 256), None, "an older packet in the same slot is not mistaken for it");
    }

    #[test]
    fn reports_and_handshakes_are_not_taken_for_audio() {
        assert_eq!(rtp_sequence(&[0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None, "sender report");
        assert_eq!(rtp_sequence(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None, "DTLS");
        assert_eq!(rtp_sequence(&[0x80, 111, 0, 1]), None, "shorter than a header");
    }

    #[test]
    fn a_stalled_call_holds_a_bounded_number_of_packets() {
        let route = Route::new(CallId::fresh());
        let from = SocketAddr::from(([127, 0, 0, 1], 9));
        let kept = (0..1_000_u16).filter(|n| route.deliver(Instant::now(), from, &rtp(*n))).count();
        assert_eq!(kept, INBOX_BOUND);
    }
}
