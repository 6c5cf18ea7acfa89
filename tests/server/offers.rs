//! A thousand offers that come to nothing leave the process as it was.

use std::io::Write;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::server::{Server, offer};

/// Places of callers who never come are given back after 15 s; a slow machine gets four times that.
const PATIENCE: Duration = Duration::from_secs(60);
/// A leaked connection has some 120 KiB, and some 400 are begun here. An allocator's own slack stays far below (1 MiB, measured).
const SLACK_KIB: u64 = 8 * 1_024;

struct Footprint {
    descriptors: usize,
    resident_kib: u64,
}

fn footprint(server: &Server) -> Footprint {
    let process = format!("/proc/{}", server.pid());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Footprint {
        descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
        resident_kib: resident.split_whitespace().next().unwrap().parse().unwrap(),
    }
}

/// Sends an offer and hangs up without waiting for the answer.
fn abandon(server: &Server, offer: &str) {
    let address = server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /whip HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/sdp\r\ncontent-length: {}\r\n\r\n",
        offer.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(offer.as_bytes()).unwrap();
}

/// One offer that comes to nothing, the `n`th of a mixture; whether it was answered first.
fn in_vain(server: &Server, offer: &str, n: usize) -> bool {
    const SDP: &str = "application/sdp";
    let refused = |path: &str, kind: &str, body: &str, status: u16| {
        let (told, _) = server.post(path, kind, body.as_bytes());
        assert_eq!(told.status, status, "{}", String::from_utf8_lossy(&told.body));
        assert!(!told.error_code().is_empty());
        false
    };
    match n % 8 {
        0 => refused("/whip", SDP, "", 400),
        1 => refused("/whip", SDP, &offer[..offer.find("a=ice-ufrag").unwrap()], 400),
        2 => refused("/v1/realtime/calls", SDP, &offer.replace("opus/48000/2", "wombat/48000"), 400),
        3 => refused("/v1/realtime/calls", "application/json", r#"{"sdp": "v=0"#, 400),
        4 => refused("/whip", "text/plain", offer, 415),
        5 => refused("/whip", SDP, offer.split("m=").next().unwrap(), 400),
        // Answered, and ended before it connects; or refused, while earlier ones are still taking their leave.
        _ => {
            let (told, location) = server.post("/whip", SDP, offer.as_bytes());
            match &location {
                Some(location) => assert!(server.delete(location).status < 300),
                None => assert_eq!((told.status, told.error_code().as_str()), (503, "server_full")),
            }
            location.is_some()
        }
    }
}

/// Waits until every place is free again, and the descriptors are no more than `before`.
fn settle(server: &Server, before: Option<&Footprint>) -> Footprint {
    let started = Instant::now();
    loop {
        let taken = server.get("/health").json()["calls"]["active"].as_u64().unwrap();
        let found = footprint(server);
        if taken == 0 && before.is_none_or(|before| found.descriptors <= before.descriptors) {
            return found;
        }
        let kept = before.map(|before| before.descriptors);
        assert!(
            started.elapsed() < PATIENCE,
            "{taken} places taken; {} descriptors, {kept:?} before",
            found.descriptors
        );
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_thousand_offers_in_vain_leave_descriptors_and_memory_where_they_were() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), None, |command| {
        command.args(["--set", "log.level=error"]);
    });
    let offer = offer();
    // What is made once is made now.
    (0..160).for_each(|n| {
        in_vain(&server, &offer, n);
    });
    let before = settle(&server, None);
    let answered = (0..800).filter(|n| in_vain(&server, &offer, *n)).count();
    assert!(answered >= 100, "{answered} of 200 good offers were answered");
    (0..200).for_each(|_| abandon(&server, &offer));
    let after = settle(&server, Some(&before));
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < SLACK_KIB, "{grown} KiB more, of {} before", before.resident_kib);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(server.terminate().code(), Some(0));
}
