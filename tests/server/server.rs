//! A running server: started on a free port with its own data, ended by its process id whatever becomes of the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use signaling::caller::{Caller, CallerSettings};

use super::command::{avatar, read};

/// Models load before the server answers; a slow machine under load takes its time.
const START: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    child: Child,
    pub url: String,
    folder: PathBuf,
    agent: ureq::Agent,
    pub key: Option<&'static str>,
}

/// What an HTTP request came to.
#[derive(Debug, Clone)]
pub struct Told {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Server {
    /// With its data in `folder`, and what it says in `log` and `out` beside it.
    pub fn start(folder: &Path, key: Option<&'static str>, adjust: impl FnOnce(&mut Command)) -> Self {
        // The system chooses the port, and the server says which it is.
        let mut command = avatar(folder, &["serve", "--listen", "127.0.0.1:0", "--data-dir", "kept"]);
        if let Some(key) = key {
            command.env("AVATAR_API_KEYS", key);
        }
        adjust(&mut command);
        let log = File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let child = command.stdout(File::create(folder.join("out")).unwrap()).stderr(log).spawn().unwrap();
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let mut server = Self { child, url: String::new(), folder: folder.to_owned(), agent: config.into(), key };
        let started = Instant::now();
        while server.url.is_empty() {
            let said = read(&folder.join("out"));
            // The line that comes once the models are loaded, or are known to be missing.
            if let Some(at) = said.find("open http://").filter(|_| said.ends_with('\n')) {
                server.url = said[at..].trim_start_matches("open ").trim_end().to_owned();
            }
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended ({ended:?}): {}", server.log());
            assert!(started.elapsed() < START, "the server does not start: {}", server.log());
            sleep(Duration::from_millis(20));
        }
        server
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        read(&self.folder.join("log"))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn get(&self, path: &str) -> Told {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(key) = self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        told(request.call())
    }

    pub fn delete(&self, path: &str) -> Told {
        told(self.agent.delete(format!("{}{path}", self.url)).call())
    }

    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> (Told, Option<String>) {
        let answer = self.agent.post(format!("{}{path}", self.url)).header("content-type", kind).send(body);
        let location = answer.as_ref().ok().and_then(|answer| answer.headers().get("location").cloned());
        (told(answer), location.map(|location| location.to_str().unwrap().to_owned()))
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as an administrator would.
    pub fn terminate(mut self) -> ExitStatus {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(told.success());
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(asked.elapsed() < PATIENCE, "the server does not stop: {}", self.log());
            sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn told(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Told {
    let mut answer = answer.unwrap();
    Told { status: answer.status().as_u16(), body: answer.body_mut().read_to_vec().unwrap() }
}

/// A good offer, of a caller who will not come.
pub fn offer() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (caller, offer) = Caller::offer(CallerSettings::default()).await.unwrap();
        caller.hang_up().await;
        offer
    })
}
