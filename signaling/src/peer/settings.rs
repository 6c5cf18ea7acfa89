//! What a server's peer can be told: its port, its addresses as the world sees them, its patience.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::grant::Grant;
use crate::line::SessionPatch;
use crate::protocol::Protocol;

/// Settings of a [`crate::peer::PeerHost`].
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// The one UDP port of all calls. Default `0.0.0.0:0`, any free port; behind a NAT or a firewall name one and open
    /// it. `[::]:port` serves IPv6 and IPv4.
    pub bind: SocketAddr,
    /// The server's addresses as clients reach them, when they differ from its own (1:1 NAT, a container's published
    /// port). Default none. When given, answers carry these in place of the local addresses; the port is [`Self::bind`]'s.
    pub public: Vec<IpAddr>,
    pub patience: Patience,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
            public: Vec::new(),
            patience: Patience::default(),
        }
    }
}

/// How long the server waits for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From answer to connected; then the offer counts as abandoned and its seat is given back. Default 15 s. A client that
    /// is never heard of is given up after `disconnected` and `failed` already.
    pub connect: Duration,
    /// Nothing heard for so long: disconnected, and the call goes on. Default 4 s.
    pub disconnected: Duration,
    /// After disconnected, nothing heard for so much longer: the call is over. Default 6 s, so that a killed client
    /// gives its seat back within about 10 s, and a change of network survives.
    pub failed: Duration,
    /// How often the path is tested when nothing else is sent on it. Default 1 s; each test costs about 200 bytes.
    pub keepalive: Duration,
    /// How long a hang-up waits for the client to take what it was told last. Default 300 ms.
    pub farewell: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            disconnected: Duration::from_secs(4),
            failed: Duration::from_secs(6),
            keepalive: Duration::from_secs(1),
            farewell: Duration::from_millis(300),
        }
    }
}

/// What a door says about the call it wants answered.
pub struct AnswerOptions {
    /// Which door: `webrtc` or `whip`. For history and logs.
    pub door: &'static str,
    /// What the client asked for.
    pub session: SessionPatch,
    /// The key the caller holds, where that was given out.
    pub grant: Option<Grant>,
    /// How the client's data channel words events.
    pub protocol: Box<dyn Protocol>,
}
