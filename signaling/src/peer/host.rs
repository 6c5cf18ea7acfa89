//! The server's peer: answers offers, knows the calls that run, ends them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use rtc::crypto::default_provider;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use webrtc::peer_connection::RTCIceCandidateInit;

use crate::line::{Asking, CallId, HangUp, Refusal, Seat, Switchboard};
use crate::negotiate::NegotiateError;
use crate::peer::answer::{addresses, candidates, credentials, may_send, with_candidates, with_directions};
use crate::peer::connection::{Handler, Peer, build};
use crate::peer::fragment::Fragment;
use crate::peer::mux::{Mux, Port, PortStats};
use crate::peer::offer;
use crate::peer::pump::Pump;
use crate::peer::route::{Route, lock};
use crate::peer::runtime::CallRuntime;
use crate::peer::settings::{AnswerOptions, PeerSettings};
use crate::peer::stats::{CallCounters, CallStats};

/// How long a client is told to wait before it calls a server that is going down.
const RETRY_AFTER_DRAIN: Duration = Duration::from_secs(5);

/// Why the server's peer could not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("cannot bind UDP {address}: {source}; choose another media address, or stop what uses it")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("no cryptography provider: {0}; this build is broken")]
    Crypto(String),
    #[error("the media peer must be made inside a tokio runtime")]
    NoRuntime,
}

/// An answer, and the call it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub call: CallId,
    /// The answer with all of the server's candidates.
    pub sdp: String,
    /// Names this ICE generation: the `ETag` of a WHIP resource (RFC 9725 section 4.3.1).
    pub ice_generation: String,
}

/// Answers WebRTC offers on one UDP port. One a server. Dropping it ends its calls.
pub struct PeerHost {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    settings: PeerSettings,
    mux: Mux,
    switchboard: Arc<dyn Switchboard>,
    handle: Handle,
    calls: Mutex<HashMap<CallId, Live>>,
    /// How many calls there are, for whoever waits for the last.
    count: watch::Sender<usize>,
    draining: AtomicBool,
}

/// What is known here of a call that connects or runs.
struct Live {
    peer: Arc<Peer>,
    route: Arc<Route>,
    counters: Arc<CallCounters>,
    /// Whose it is; see [`Line::owner`](crate::line::Line::owner).
    owner: Option<String>,
    end: watch::Sender<Option<HangUp>>,
}

/// A call's place in the list; leaves it when dropped.
pub(super) struct Listed {
    host: Weak<Inner>,
    call: CallId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(host) = self.host.upgrade() {
            let gone = lock(&host.calls).remove(&self.call);
            drop(gone);
            host.count.send_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

/// A call's claim on the shared port; forgotten when dropped.
pub(super) struct Registration {
    port: Arc<Port>,
    route: Arc<Route>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.port.forget(&self.route);
    }
}

impl PeerHost {
    /// Binds the port and starts its thread. Calls run on the tokio runtime this is called in.
    pub fn start(settings: PeerSettings, switchboard: Arc<dyn Switchboard>) -> Result<Self, HostError> {
        let handle = Handle::try_current().map_err(|_| HostError::NoRuntime)?;
        let crypto = default_provider().map_err(|error| HostError::Crypto(error.to_string()))?;
        let mux =
            Mux::bind(settings.bind, crypto).map_err(|source| HostError::Bind { address: settings.bind, source })?;
        let inner = Inner {
            settings,
            mux,
            switchboard,
            handle,
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            draining: AtomicBool::new(false),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the port is bound.
    pub fn local_address(&self) -> SocketAddr {
        self.inner.mux.port().local()
    }

    /// Where clients are told to reach it.
    pub fn advertised(&self) -> Vec<SocketAddr> {
        self.inner.advertised()
    }

    /// Answers an offer. The call reaches the switchboard when its client has connected; if that does not happen within
    /// [`crate::peer::Patience::connect`], everything made for it, and its seat, is given back.
    pub async fn answer(&self, offer_sdp: &str, options: AnswerOptions) -> Result<Answered, NegotiateError> {
        if self.inner.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining { retry_after: RETRY_AFTER_DRAIN }.into());
        }
        offer::check(offer_sdp)?;
        let asking = Asking { grant: options.grant.as_ref(), session: &options.session };
        let seat = self.inner.switchboard.admit(asking)?;
        let (inner, offer) = (Arc::clone(&self.inner), offer_sdp.to_owned());
        // On a task of its own: a request that is dropped half-way must not leave a half-made connection, and the call it
        // would have begun has no client.
        let (answered, answer) = oneshot::channel();
        self.inner.handle.spawn(async move {
            let result = Arc::clone(&inner).begin(&offer, options, seat).await;
            if let Err(Ok(unwanted)) = answered.send(result) {
                inner.end(&unwanted.call);
            }
        });
        answer.await.unwrap_or_else(|_| Err(broken_off()))
    }

    /// Answers a later offer of the same client, such as an ICE restart after a change of network.
    pub async fn restart(&self, call: &CallId, offer_sdp: &str) -> Result<Answered, NegotiateError> {
        offer::check(offer_sdp)?;
        let (peer, route) = self.inner.find(call)?;
        let (inner, offer, call) = (Arc::clone(&self.inner), offer_sdp.to_owned(), call.clone());
        self.inner.run(async move { inner.begin_again(call, &peer, &route, &offer).await }).await
    }

    /// Takes the body of a WHIP `PATCH` (RFC 8840 fragment): candidates, or with a new ufrag and password an ICE
    /// restart, which is answered with a fragment and the new generation.
    pub async fn patch(&self, call: &CallId, fragment: &str) -> Result<Option<(String, String)>, NegotiateError> {
        let (peer, route) = self.inner.find(call)?;
        let fragment = Fragment::parse(fragment)?;
        let current = peer.remote_sdp().await.ok_or_else(|| NegotiateError::UnknownCall(call.clone()))?;
        if !fragment.restarts(&current) {
            for candidate in fragment.candidates {
                peer.add_candidate(candidate).await?;
            }
            return Ok(None);
        }
        let offer = fragment.as_offer(&current);
        offer::check(&offer)?;
        let (inner, call) = (Arc::clone(&self.inner), call.clone());
        let answered = self.inner.run(async move { inner.begin_again(call, &peer, &route, &offer).await }).await?;
        let (ufrag, password) = credentials(&answered.sdp).unwrap_or_default();
        let mut text = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n");
        for candidate in candidates(&self.inner.advertised()) {
            text.push_str(&format!("a={candidate}\r\n"));
        }
        text.push_str("a=end-of-candidates\r\n");
        Ok(Some((text, answered.ice_generation)))
    }

    /// Takes a candidate the client found after its offer: the text after `a=`; an empty one marks the end.
    pub async fn add_candidate(&self, call: &CallId, candidate: &str, mid: Option<&str>) -> Result<(), NegotiateError> {
        let (peer, _) = self.inner.find(call)?;
        let candidate = RTCIceCandidateInit {
            candidate: candidate.trim().to_owned(),
            sdp_mid: mid.map(str::to_owned),
            ..Default::default()
        };
        peer.add_candidate(candidate).await
    }

    /// Whose a call is: the id of the key it came in with, `Some(None)` for one of the server's own; `None` if there is no such
    /// call, with or without a connection.
    pub fn owner(&self, call: &CallId) -> Option<Option<String>> {
        let connected = lock(&self.inner.calls).get(call).map(|live| live.owner.clone());
        connected.or_else(|| self.inner.switchboard.owner(call))
    }

    /// Ends a call as its client may, be it that its connection is lost; `false` if there is no such call.
    pub fn hang_up(&self, call: &CallId) -> bool {
        // The call first: a connection that closes just now must find out that nobody comes back.
        let known = self.inner.switchboard.hang_up(call);
        self.inner.end(call) || known
    }

    /// Takes no more offers, ends all calls, and returns when the last is gone or `grace` is over.
    pub async fn shutdown(&self, grace: Duration) {
        self.inner.draining.store(true, Ordering::Release);
        for live in lock(&self.inner.calls).values() {
            live.end.send_replace(Some(HangUp::ByServer));
        }
        let mut count = self.inner.count.subscribe();
        let gone = tokio::time::timeout(grace, count.wait_for(|count| *count == 0)).await;
        if gone.is_err() {
            tracing::warn!(calls = lock(&self.inner.calls).len(), "calls are still running after the grace period");
        }
    }

    /// Calls that connect or run.
    pub fn calls(&self) -> Vec<CallStats> {
        lock(&self.inner.calls).iter().map(|(call, live)| live.counters.snapshot(call)).collect()
    }

    pub fn call_stats(&self, call: &CallId) -> Option<CallStats> {
        lock(&self.inner.calls).get(call).map(|live| live.counters.snapshot(call))
    }

    pub fn port_stats(&self) -> PortStats {
        self.inner.mux.port().stats()
    }
}

impl Inner {
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, NegotiateError>> + Send + 'static,
    ) -> Result<T, NegotiateError> {
        self.handle.spawn(work).await.unwrap_or_else(|_| Err(broken_off()))
    }

    fn end(&self, call: &CallId) -> bool {
        let calls = lock(&self.calls);
        calls.get(call).is_some_and(|live| live.end.send_replace(Some(HangUp::ByCaller)).is_none())
    }

    fn advertised(&self) -> Vec<SocketAddr> {
        addresses(self.mux.port().local(), &self.settings.public)
    }

    fn find(&self, call: &CallId) -> Result<(Arc<Peer>, Arc<Route>), NegotiateError> {
        let calls = lock(&self.calls);
        let live = calls.get(call).ok_or_else(|| NegotiateError::UnknownCall(call.clone()))?;
        Ok((Arc::clone(&live.peer), Arc::clone(&live.route)))
    }

    async fn begin(
        self: Arc<Self>,
        offer: &str,
        options: AnswerOptions,
        seat: Seat,
    ) -> Result<Answered, NegotiateError> {
        let call = CallId::fresh();
        let port = Arc::clone(self.mux.port());
        let route = Arc::new(Route::new(call.clone()));
        let registration = Registration { port: Arc::clone(&port), route: Arc::clone(&route) };
        let runtime = CallRuntime { handle: self.handle.clone(), port: Arc::clone(&port), route: Arc::clone(&route) };
        let (handler, happenings, _) = Handler::new();
        let patience = self.settings.patience;
        let guarded = build(Arc::new(runtime), handler, stand_ins(port.local()), patience, &self.handle)
            .await
            .map_err(|error| NegotiateError::Internal { why: error.to_string() })?;
        let peer = Arc::new(Peer::new(guarded));
        let (sdp, payload_type) = peer.answer(offer).await?;
        let sdp = with_directions(&sdp, offer);
        let answered = self.publish(call.clone(), &route, &sdp)?;

        let (end, ending) = watch::channel(None);
        let counters = Arc::new(CallCounters::default());
        let owner = options.grant.as_ref().map(|grant| grant.key.clone());
        let live =
            Live { peer: Arc::clone(&peer), route: Arc::clone(&route), counters: Arc::clone(&counters), owner, end };
        self.count.send_modify(|count| *count += 1);
        lock(&self.calls).insert(call.clone(), live);
        let listed = Listed { host: Arc::downgrade(&self), call: call.clone() };
        if self.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining { retry_after: RETRY_AFTER_DRAIN }.into());
        }
        let pump = Pump {
            call,
            options,
            peer,
            payload_type,
            mute: !may_send(&sdp),
            route,
            happenings,
            ending,
            counters,
            patience,
            switchboard: Arc::clone(&self.switchboard),
            seat,
            held: (registration, listed),
        };
        self.handle.spawn(pump.run());
        Ok(answered)
    }

    async fn begin_again(
        self: Arc<Self>,
        call: CallId,
        peer: &Peer,
        route: &Arc<Route>,
        offer: &str,
    ) -> Result<Answered, NegotiateError> {
        let sdp = with_directions(&peer.answer_again(offer).await?, offer);
        let answered = self.publish(call.clone(), route, &sdp)?;
        // The call may have ended meanwhile, and with it what it had registered.
        if self.find(&call).is_err() {
            self.mux.port().forget(route);
            return Err(NegotiateError::UnknownCall(call));
        }
        Ok(answered)
    }

    /// Opens the port to the answer's credentials and words the answer for the outside.
    fn publish(&self, call: CallId, route: &Arc<Route>, sdp: &str) -> Result<Answered, NegotiateError> {
        let (ufrag, password) = credentials(sdp)
            .ok_or_else(|| NegotiateError::Internal { why: "the answer has no ICE credentials".to_owned() })?;
        self.mux.port().register(ufrag.clone(), password, route);
        Ok(Answered { call, sdp: with_candidates(sdp, &self.advertised()), ice_generation: ufrag })
    }
}

fn broken_off() -> NegotiateError {
    NegotiateError::Internal { why: "the negotiation was broken off".to_owned() }
}

/// Addresses for the library to name its sockets by, one for each family the shared port serves.
fn stand_ins(local: SocketAddr) -> Vec<SocketAddr> {
    let mut stand_ins = Vec::new();
    if local.is_ipv4() || local.ip().is_unspecified() {
        stand_ins.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
    }
    if local.is_ipv6() {
        stand_ins.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0));
    }
    stand_ins
}
