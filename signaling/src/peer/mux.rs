//! One UDP port for all calls, served by a thread of its own.
//!
//! Promises that a call receives only from addresses which proved, by a STUN binding request signed with that call's
//! password, that its client is there: before DTLS is up any address could otherwise inject an alert and end a call.
//! Everything else from unknown addresses is dropped and counted, unanswered. One port is also all a NAT or a firewall
//! has to open. The thread does nothing but packets, so that no engine or store can delay them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use rtc::crypto::RTCCryptoProvider;
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use crate::peer::route::{Route, lock};
use crate::peer::stun::BindingRequest;

/// The largest datagram taken in. Audio, DTLS and SCTP stay below the path's 1,500 bytes.
const DATAGRAM_BOUND: usize = 2_000;
/// Datagrams taken in before the thread looks whether it is to stop.
const BURST: usize = 1_024;
/// Addresses one call may be heard from. A roaming client collects a few; beyond the bound the one heard longest ago
/// goes.
const SOURCES_A_CALL: usize = 16;
/// Credentials one call may have: its first and those of its latest ICE restarts.
const CREDENTIALS_A_CALL: usize = 4;

/// The shared port. Dropping it stops the thread.
pub(super) struct Mux {
    port: Arc<Port>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Mux {
    /// Binds the port and starts its thread.
    pub(super) fn bind(address: SocketAddr, crypto: Arc<dyn RTCCryptoProvider>) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let (started, starting) = mpsc::sync_channel(1);
        let thread =
            std::thread::Builder::new().name("udp".to_owned()).spawn(move || serve(socket, crypto, &started))?;
        let port = starting.recv().map_err(|_| io::Error::other("the UDP thread ended before it began"))??;
        Ok(Self { port, thread: Some(thread) })
    }

    pub(super) fn port(&self) -> &Arc<Port> {
        &self.port
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.port.stop.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// The thread: a runtime of its own with the socket as its only customer.
fn serve(
    socket: std::net::UdpSocket,
    crypto: Arc<dyn RTCCryptoProvider>,
    started: &mpsc::SyncSender<io::Result<Arc<Port>>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_io().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _told = started.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let port = match Port::new(socket, crypto) {
            Ok(port) => Arc::new(port),
            Err(error) => {
                let _told = started.send(Err(error));
                return;
            }
        };
        if started.send(Ok(Arc::clone(&port))).is_ok() {
            port.receive().await;
        }
    });
}

/// What the thread and the calls share.
pub(super) struct Port {
    /// For the thread alone.
    socket: UdpSocket,
    /// The same socket for whoever sends: no call waits for another's turn in the reactor.
    sender: std::net::UdpSocket,
    local: SocketAddr,
    table: Mutex<Table>,
    crypto: Arc<dyn RTCCryptoProvider>,
    counters: Counters,
    stop: Notify,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    sent: AtomicU64,
    unknown_source: AtomicU64,
    oversize: AtomicU64,
    overflow: AtomicU64,
    unsent: AtomicU64,
}

/// What has passed the shared port so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct PortStats {
    /// Datagrams received, wanted or not.
    pub received: u64,
    pub sent: u64,
    /// Dropped: from an address no call knows.
    pub unknown_source: u64,
    /// Dropped: larger than 2,000 bytes.
    pub oversize: u64,
    /// Dropped: the call did not keep up.
    pub overflow: u64,
    /// Not sent: the socket was full or the destination unreachable.
    pub unsent: u64,
    /// Addresses that are known now.
    pub sources: usize,
    /// Ufrags that are known now.
    pub credentials: usize,
}

/// Who may reach which call.
#[derive(Default)]
struct Table {
    by_ufrag: HashMap<String, Credential>,
    by_source: HashMap<SocketAddr, Source>,
}

struct Credential {
    password: String,
    route: Arc<Route>,
    since: Instant,
}

struct Source {
    route: Arc<Route>,
    heard: Instant,
}

impl Table {
    fn admit(&mut self, now: Instant, from: SocketAddr, route: &Arc<Route>) {
        let of_call = self.by_source.iter().filter(|(_, source)| Arc::ptr_eq(&source.route, route));
        if of_call.clone().count() >= SOURCES_A_CALL
            && let Some(oldest) = of_call.min_by_key(|(_, source)| source.heard).map(|(address, _)| *address)
        {
            self.by_source.remove(&oldest);
        }
        self.by_source.insert(from, Source { route: Arc::clone(route), heard: now });
    }
}

impl Port {
    fn new(socket: std::net::UdpSocket, crypto: Arc<dyn RTCCryptoProvider>) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            sender: socket.try_clone()?,
            socket: UdpSocket::from_std(socket)?,
            local,
            table: Mutex::default(),
            crypto,
            counters: Counters::default(),
            stop: Notify::new(),
        })
    }

    /// Where it is bound.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    async fn receive(&self) {
        // One byte more than the bound, so that a truncated datagram is told from one that just fits.
        let mut buffer = [0_u8; DATAGRAM_BOUND + 1];
        loop {
            tokio::select! {
                () = self.stop.notified() => return,
                ready = self.socket.readable() => {
                    if let Err(error) = ready {
                        tracing::error!(%error, "the UDP port is gone; no call can be heard any more");
                        return;
                    }
                }
            }
            // Until it is empty, or a flood has had its share; or until an ICMP error of an earlier send, which says nothing about this port.
            let mut taken = 0;
            while taken < BURST
                && let Ok((length, from)) = self.socket.try_recv_from(&mut buffer)
            {
                taken += 1;
                if let Some(datagram) = buffer.get(..length) {
                    self.route(Instant::now(), from, datagram);
                }
            }
        }
    }

    fn route(&self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        if datagram.len() > DATAGRAM_BOUND {
            self.counters.oversize.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(route) = self.recipient(now, from, datagram) else {
            self.counters.unknown_source.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if !route.deliver(now, from, datagram) {
            self.counters.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The call a datagram is for, and its source admitted if it just proved itself.
    fn recipient(&self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Option<Arc<Route>> {
        let mut table = lock(&self.table);
        let known = table.by_source.get_mut(&from).map(|source| {
            source.heard = now;
            Arc::clone(&source.route)
        });
        // A binding request moves even a known address, if it proves itself: NATs give ports out again.
        if let Some(mut request) = BindingRequest::parse(datagram)
            && let Some(credential) = table.by_ufrag.get(request.local_ufrag())
            && !known.as_ref().is_some_and(|route| Arc::ptr_eq(route, &credential.route))
            && request.is_signed_with(&credential.password, self.crypto.crypto())
        {
            let route = Arc::clone(&credential.route);
            table.admit(now, from, &route);
            return Some(route);
        }
        known
    }

    /// Sends without waiting. What the socket does not take is lost, as on any other part of the way.
    pub(super) fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let to = match (self.local.ip(), to.ip()) {
            (IpAddr::V6(_), IpAddr::V4(address)) => SocketAddr::new(IpAddr::V6(address.to_ipv6_mapped()), to.port()),
            _ => to,
        };
        let counter = match self.sender.send_to(datagram, to) {
            Ok(_) => &self.counters.sent,
            Err(_) => &self.counters.unsent,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets whoever knows `password` for `ufrag` open paths to `route`.
    pub(super) fn register(&self, ufrag: String, password: String, route: &Arc<Route>) {
        let mut table = lock(&self.table);
        let of_call = table.by_ufrag.iter().filter(|(_, credential)| Arc::ptr_eq(&credential.route, route));
        if of_call.clone().count() >= CREDENTIALS_A_CALL
            && let Some(oldest) = of_call.min_by_key(|(_, credential)| credential.since).map(|(ufrag, _)| ufrag.clone())
        {
            table.by_ufrag.remove(&oldest);
        }
        table.by_ufrag.insert(ufrag, Credential { password, route: Arc::clone(route), since: Instant::now() });
    }

    /// Forgets a call: its ufrags and its addresses.
    pub(super) fn forget(&self, route: &Arc<Route>) {
        let mut table = lock(&self.table);
        table.by_ufrag.retain(|_, credential| !Arc::ptr_eq(&credential.route, route));
        table.by_source.retain(|_, source| !Arc::ptr_eq(&source.route, route));
    }

    pub(super) fn stats(&self) -> PortStats {
        let (sources, credentials) = {
            let table = lock(&self.table);
            (table.by_source.len(), table.by_ufrag.len())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PortStats {
            received: read(&self.counters.received),
            sent: read(&self.counters.sent),
            unknown_source: read(&self.counters.unknown_source),
            oversize: read(&self.counters.oversize),
            overflow: read(&self.counters.overflow),
            unsent: read(&self.counters.unsent),
            sources,
            credentials,
        }
    }
}
