//! A client whose network changes in mid-call: its packets come from elsewhere, and what was sent to the old address is lost.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may panic, and say what it measured")]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use signaling::caller::{Caller, CallerEventKind, CallerSettings, Recording};
use signaling::line::{FromCaller, Playout, ReplyId, ToCaller};
use signaling::peer::Patience;
use support::{local, options, server, share_of, tone};

/// A router between client and server, with an address of its own towards the server that can be changed for another.
struct Router {
    inside: SocketAddr,
    outside: Arc<Mutex<Option<Arc<UdpSocket>>>>,
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(local(0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

impl Router {
    fn to(server: SocketAddr) -> Self {
        let inside = Arc::new(socket());
        let address = inside.local_addr().unwrap();
        let outside: Arc<Mutex<Option<Arc<UdpSocket>>>> = Arc::new(Mutex::new(Some(Arc::new(socket()))));
        let over = Arc::new(AtomicBool::new(false));
        let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let out = {
            let (inside, outside, over, client) = (inside.clone(), outside.clone(), over.clone(), client.clone());
            std::thread::spawn(move || {
                let mut datagram = [0; 2_048];
                while !over.load(Ordering::SeqCst) {
                    let Ok((length, from)) = inside.recv_from(&mut datagram) else { continue };
                    *client.lock().unwrap() = Some(from);
                    if let Some(outside) = outside.lock().unwrap().as_ref() {
                        let _lost = outside.send_to(&datagram[..length], server);
                    }
                }
            })
        };
        let back = {
            let (outside, over) = (outside.clone(), over.clone());
            std::thread::spawn(move || {
                let mut datagram = [0; 2_048];
                while !over.load(Ordering::SeqCst) {
                    let Some(socket) = outside.lock().unwrap().clone() else {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    };
                    let Ok((length, _)) = socket.recv_from(&mut datagram) else { continue };
                    let still_up = outside.lock().unwrap().as_ref().is_some_and(|up| Arc::ptr_eq(up, &socket));
                    if let (true, Some(client)) = (still_up, *client.lock().unwrap()) {
                        let _lost = inside.send_to(&datagram[..length], client);
                    }
                }
            })
        };
        Self { inside: address, outside, over, threads: vec![out, back] }
    }

    fn go_down(&self) {
        *self.outside.lock().unwrap() = None;
    }

    fn come_up_elsewhere(&self) {
        *self.outside.lock().unwrap() = Some(Arc::new(socket()));
    }

    /// An offer whose client can be reached through the router alone, and an answer that leads there.
    fn hide(sdp: &str) -> String {
        sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate:")).collect()
    }

    fn lead(&self, answer: &str, server: SocketAddr) -> String {
        answer.replace(
            &format!("{} {}", server.ip(), server.port()),
            &format!("{} {}", self.inside.ip(), self.inside.port()),
        )
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _over = thread.join();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_waits_while_the_network_is_away_and_goes_on_from_a_new_address() {
    // However slow the machine, nobody gives up here.
    let hour = Duration::from_secs(3_600);
    let patience = Patience { disconnected: hour, failed: hour, ..Patience::default() };
    let mut server = server(1, patience);
    let address = server.host.local_address();
    let router = Router::to(address);
    let (mut caller, offer) = Caller::offer(CallerSettings { bind: vec![local(0)], patience }).await.unwrap();
    let mut events = caller.events().unwrap();
    let answered = server.host.answer(&Router::hide(&offer), options()).await.unwrap();
    caller.accept(&router.lead(&answered.sdp, address)).await.unwrap();
    let (mut line, _seat) = server.line().await;

    // A reply of twenty seconds; how much has been played is told every 100 ms.
    let reply = ReplyId::fresh();
    let pcm = tone(600.0, Duration::from_secs(20));
    line.outgoing.send(ToCaller::Speak { reply, pcm }).await.unwrap();
    let played = Arc::new(Mutex::new(Duration::ZERO));
    let told = Arc::clone(&played);
    let listening = tokio::spawn(async move {
        loop {
            match line.incoming.recv().await {
                Some(FromCaller::Playout(Playout::Position { played, .. })) => *told.lock().unwrap() = played,
                Some(FromCaller::HungUp(_)) | None => return,
                Some(_) => {}
            }
        }
    });
    let mut recording = Recording::default();
    let mut tones = Vec::new();
    let mut listen = async |wanted: usize| {
        let begun = tones.len();
        while tones.len() < begun + wanted {
            let event = support::soon(events.recv()).await.unwrap();
            if let CallerEventKind::Audio { pcm, timestamp } = event.kind {
                recording.push(event.at, timestamp, &pcm.samples);
                if share_of(&pcm.samples, 48_000.0, 600.0) > 0.8 {
                    tones.push(event.at);
                }
            }
        }
    };
    listen(100).await;
    router.go_down();
    let down = Instant::now();
    // Until the call's task goes on for a second and a half, in which it makes up silence for the caller, and plays nothing.
    let heard = || server.host.call_stats(&answered.call).unwrap().frames_heard;
    loop {
        let (before, frames) = (*played.lock().unwrap(), heard());
        while heard() < frames + 75 {
            assert!(down.elapsed() < support::NEVER, "the reply plays to nobody");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if *played.lock().unwrap() == before {
            break;
        }
    }
    assert!(*played.lock().unwrap() < Duration::from_secs(15), "there was nothing left to wait with");

    router.come_up_elsewhere();
    let up = Instant::now();
    let offer = caller.restart().await.unwrap();
    let again = server.host.restart(&answered.call, &Router::hide(&offer)).await.unwrap();
    caller.accept_restart(&router.lead(&again.sdp, address)).await.unwrap();
    listen(100).await;
    let back = tones[100] - up;
    let lost = *played.lock().unwrap() - Duration::from_millis(20) * 200;
    eprintln!("heard again {back:?} after the network was back; {lost:?} of the reply were lost");
    caller.hang_up().await;
    support::soon(listening).await.unwrap();
}
