//! What a bad client, a bad network and a bad neighbour can do to the server: nothing that lasts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod support;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use signaling::caller::{Caller, CallerEventKind, CallerSettings};
use signaling::line::{FromCaller, HangUp};
use signaling::peer::Patience;
use support::{call, hear, hung_up, local, options, saying, server, share_of, soon, tone};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn resident_kilobytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// An offer as a client makes it, without the client.
async fn an_offer() -> String {
    let (caller, offer) = Caller::offer(CallerSettings { bind: vec![local(0)], ..Default::default() }).await.unwrap();
    caller.hang_up().await;
    offer
}

/// Answered and never connected, or refused half-way: `rounds` of 100.
async fn pester(server: &support::Server, offer: &str, rounds: usize) {
    // Admitted, its connection made, and only then found to be useless.
    let rejected: String =
        offer.lines().filter(|line| !line.starts_with("a=fingerprint")).flat_map(|line| [line, "\r\n"]).collect();
    for _ in 0..rounds {
        for n in 0..100 {
            if n % 2 == 0 {
                server.host.answer(offer, options()).await.unwrap();
            } else {
                server.host.answer(&rejected, options()).await.unwrap_err();
            }
        }
        server.empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_abandoned_and_rejected_offers_leave_nothing_behind() {
    let server = server(200, Patience { connect: Duration::from_millis(50), ..Patience::default() });
    let offer = an_offer().await;
    pester(&server, &offer, 2).await;
    let (files, memory) = (descriptors(), resident_kilobytes());
    pester(&server, &offer, 8).await;
    let (files_after, memory_after) = (descriptors(), resident_kilobytes());
    assert!(files_after <= files + 4, "{files} descriptors before, {files_after} after");
    assert!(memory_after < memory + 16_000, "{memory} kB before, {memory_after} kB after");
    let port = server.host.port_stats();
    assert_eq!((port.sources, port.credentials), (0, 0));
    assert_eq!(server.taken.load(Ordering::SeqCst), 0);
}

// On one thread, where the server cannot have answered before the request is forgotten.
#[tokio::test]
async fn a_request_that_is_dropped_half_way_leaves_nothing_behind() {
    // Left to the connect timeout the test would be over first.
    let server = server(200, Patience { connect: Duration::from_secs(3_600), ..Patience::default() });
    let offer = an_offer().await;
    let files = descriptors();
    for _ in 0..50 {
        // Polled once, then forgotten, as a closed HTTP connection does.
        assert!(server.host.answer(&offer, options()).now_or_never().is_none());
    }
    server.empty().await;
    soon(async {
        while descriptors() > files + 4 || server.host.port_stats().credentials > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_from_strangers_neither_reach_a_call_nor_disturb_it() {
    let mut server = server(1, Patience::default());
    let port = server.host.local_address();
    // From before the client connects, when an alert would be believed, until after.
    let over = Arc::new(AtomicBool::new(false));
    let flooding = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
            // A DTLS fatal alert, a close_notify, RTP, RTCP, a binding request without integrity, noise, an oversize one.
            let mut binding = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
            binding.extend([7; 12]);
            let strange: [&[u8]; 7] = [
                &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
                &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0],
                &[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
                &[0x80, 203, 0, 1, 0, 0, 0, 0],
                &binding,
                &[255; 1_200],
                &[0; 9_000],
            ];
            while !over.load(Ordering::SeqCst) {
                for packet in strange {
                    stranger.send_to(packet, port).unwrap();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    };
    let mut client = call(&server.host).await;
    let (mut line, _seat) = server.line().await;
    client.caller.play(tone(500.0, Duration::from_millis(200))).await.unwrap();
    hear(&mut line, |word| match word {
        FromCaller::Audio(audio) => (share_of(&audio.samples, 16_000.0, 500.0) > 0.8).then_some(()),
        FromCaller::HungUp(why) => panic!("{why:?}"),
        _ => None,
    })
    .await;
    line.outgoing.send(saying("still here")).await.unwrap();
    assert_eq!(client.message().await, "still here");
    over.store(true, Ordering::SeqCst);
    flooding.join().unwrap();
    let port = server.host.port_stats();
    assert_eq!(port.sources, 1, "only the client itself is known");
    assert!(port.unknown_source > 0 && port.oversize > 0, "{port:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_a_change_of_network_by_an_ice_restart() {
    let mut server = server(1, Patience::default());
    let mut client = call(&server.host).await;
    let (mut line, _seat) = server.line().await;
    client.next(|event| matches!(event.kind, CallerEventKind::Open).then_some(())).await;
    let offer = client.caller.restart().await.unwrap();
    let again = server.host.restart(&client.answered.call, &offer).await.unwrap();
    assert_eq!(again.call, client.answered.call);
    assert_ne!(again.ice_generation, client.answered.ice_generation);
    client.caller.accept_restart(&again.sdp).await.unwrap();
    client.caller.play(tone(900.0, Duration::from_millis(400))).await.unwrap();
    hear(&mut line, |word| match word {
        FromCaller::Audio(audio) => (share_of(&audio.samples, 16_000.0, 900.0) > 0.8).then_some(()),
        FromCaller::HungUp(why) => panic!("{why:?}"),
        _ => None,
    })
    .await;
    line.outgoing.send(saying("welcome back")).await.unwrap();
    assert_eq!(client.message().await, "welcome back");
    client.caller.hang_up().await;
    assert_eq!(hung_up(&mut line).await, HangUp::ByCaller);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dual_stack_port_serves_both_families() {
    // Where the machine has no IPv6 at all, the other half still has to work.
    let (bind, addresses): (_, &[&str]) = match UdpSocket::bind("[::1]:0") {
        Ok(_) => ("[::]:0", &["127.0.0.1", "::1"]),
        Err(_) => ("0.0.0.0:0", &["127.0.0.1"]),
    };
    let mut server = support::server_at(bind.parse().unwrap(), 2, Patience::default());
    let port = server.host.local_address().port();
    for address in addresses {
        let bind = vec![std::net::SocketAddr::new(address.parse().unwrap(), 0)];
        let (mut caller, offer) = Caller::offer(CallerSettings { bind, ..Default::default() }).await.unwrap();
        let mut answered = server.host.answer(&offer, options()).await.unwrap();
        // The machine's own addresses are offered, loopback is not: call there all the same.
        let first = answered.sdp.lines().find(|line| line.starts_with("a=candidate:")).unwrap();
        let loopback = format!("a=candidate:1 1 udp 2130706431 {address} {port} typ host");
        answered.sdp = answered.sdp.replace(first, &loopback);
        caller.accept(&answered.sdp).await.unwrap();
        let (mut line, _seat) = server.line().await;
        hear(&mut line, |word| matches!(word, FromCaller::Audio(_)).then_some(())).await;
        caller.hang_up().await;
        assert_eq!(hung_up(&mut line).await, HangUp::ByCaller, "{address}");
    }
}
