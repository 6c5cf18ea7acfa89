//! For tests: a hub on 127.0.0.1 with the Hugging Face layout and storage behind it, that fails in every way a hub can; a pip
//! that copies a wheel; and a small catalogue for both.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::catalogue::Catalogue;
use crate::catalogue::hub::Hub;
use crate::catalogue::store::hex;
use crate::catalogue::wheel::Pip;

pub(in crate::catalogue) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What goes wrong with one answer that would have carried bytes; without one it goes right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::catalogue) enum Fault {
    /// The connection ends after so many bytes of the body.
    CutAfter(usize),
    /// As many bytes, but other ones.
    Garbled,
    /// Headers, and then silence.
    Stall,
    Status(u16),
    /// The whole file though a part was asked for.
    IgnoreRange,
    /// More bytes than the hub stated.
    TooLong,
}

/// A file of the hub.
#[derive(Debug, Clone, Default)]
pub(in crate::catalogue) struct HubFile {
    pub bytes: Vec<u8>,
    /// States hash, size and commit, as the real hub does.
    pub stated: bool,
    /// Sends the client on to the storage, as the real hub does.
    pub redirect: Option<String>,
    pub faults: VecDeque<Fault>,
}

/// What was asked: path and `Range`.
pub(in crate::catalogue) type Asked = (String, Option<String>);

#[derive(Default)]
struct Shared {
    files: Mutex<HashMap<String, HubFile>>,
    asked: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

pub(in crate::catalogue) struct Mirror {
    pub base: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let (thread, own) = (Arc::clone(&shared), base.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, base) = (Arc::clone(&thread), own.clone());
                // Ends when the client hangs up.
                std::thread::spawn(move || answer(stream.unwrap(), &shared, &base));
            }
        });
        Self { base, shared, thread: Some(thread) }
    }

    /// Puts a file there as the real hub has it, failing in turn by `faults`.
    pub fn put(&self, path: &str, bytes: &[u8], faults: &[Fault]) {
        let file = HubFile {
            bytes: bytes.to_vec(),
            stated: true,
            redirect: Some(format!("/storage{path}")),
            faults: faults.iter().copied().collect(),
        };
        self.put_file(path, file);
    }

    pub fn put_file(&self, path: &str, file: HubFile) {
        self.shared.files.lock().unwrap().insert(path.into(), file);
    }

    /// The requests that were answered with bytes, or should have been.
    pub fn fetches(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|(path, _)| path.starts_with("/storage")).collect()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub fn hub(&self) -> Hub {
        Hub {
            base: self.base.clone(),
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_millis(300),
            attempts: 4,
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.base.trim_start_matches("http://")));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn answer(mut stream: TcpStream, shared: &Shared, base: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(path) = lines.next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)) else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = headers.iter().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: ").map(str::to_owned));
    shared.asked.lock().unwrap().push((path.clone(), range.clone()));

    let key = path.strip_prefix("/storage").unwrap_or(&path);
    let (file, fault) = {
        let mut files = shared.files.lock().unwrap();
        let Some(file) = files.get_mut(key) else {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        };
        let carries_bytes = path.starts_with("/storage") || file.redirect.is_none();
        let fault = if carries_bytes { file.faults.pop_front() } else { None };
        (file.clone(), fault)
    };
    let mut head = String::new();
    if file.stated && !path.starts_with("/storage") {
        head += &format!("x-linked-etag: \"{}\"\r\nx-linked-size: {}\r\n", sha256_hex(&file.bytes), file.bytes.len());
        head += &format!("x-repo-commit: {COMMIT}\r\n");
    }
    if let (Some(to), false) = (&file.redirect, path.starts_with("/storage")) {
        // Another origin than the hub's, as storage is: the same server under its other name.
        let to =
            if to.starts_with('/') { format!("{}{to}", base.replace("127.0.0.1", "localhost")) } else { to.clone() };
        let _ = write!(
            stream,
            "HTTP/1.1 302 Found\r\n{head}location: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        return;
    }
    let total = file.bytes.len();
    let start = range.and_then(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().ok());
    let start = start.filter(|_| fault != Some(Fault::IgnoreRange));
    let (status, from) = match start {
        Some(from) if from < total => (206, from),
        Some(_) => (416, total),
        None => (200, 0),
    };
    let status = if let Some(Fault::Status(status)) = fault { status } else { status };
    let mut body = if matches!(status, 200 | 206) { file.bytes[from..].to_vec() } else { Vec::new() };
    match fault {
        Some(Fault::Garbled) => body.iter_mut().for_each(|byte| *byte ^= 0x55),
        Some(Fault::TooLong) => body.extend_from_slice(b"and more"),
        _ => {}
    }
    if status == 206 {
        head += &format!("content-range: bytes {from}-{}/{total}\r\n", total - 1);
    }
    if fault != Some(Fault::TooLong) {
        head += &format!("content-length: {}\r\n", body.len());
    }
    let _ = write!(stream, "HTTP/1.1 {status} X\r\n{head}connection: close\r\n\r\n");
    match fault {
        Some(Fault::CutAfter(bytes)) => drop(stream.write_all(&body[..bytes.min(body.len())])),
        // Until the client gives up.
        Some(Fault::Stall) => drop(stream.read(&mut [0])),
        _ => drop(stream.write_all(&body)),
    }
}

pub(in crate::catalogue) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Where `catalogue`'s model `pinned` has its file on the hub.
pub(in crate::catalogue) const PINNED: &str = "/owner/pinned/resolve/main/weights.bin";
pub(in crate::catalogue) const LOOSE: &str = "/owner/loose/resolve/main/loose.gguf";

/// `pinned` (hub, then wheel), `sibling` (the same wheel only, needs `pinned`), `loose` (hub only, no hash known). All have
/// `bytes`.
pub(in crate::catalogue) fn catalogue(bytes: &[u8]) -> Catalogue {
    let common = "languages = []\nlicence = \"MIT\"\nquality = 1\nmemory_mib = 1";
    let pin = format!("size = {}, sha256 = \"{}\"", bytes.len(), sha256_hex(bytes));
    let wheel = |name| {
        format!(
            "{{ from = \"wheel\", package = \"toy\", version = \"1.2\", python = \"3.11\", platforms = [\"any\"], size = 1000, \
             members = {{ \"{name}\" = \"toy/data/{name}\" }} }}"
        )
    };
    let text = format!(
        r#"
        [[model]]
        id = "pinned"
        kind = "vad"
        name = "Pinned"
        {common}
        files = [{{ name = "weights.bin", {pin} }}]
        sources = [{{ from = "hub", repo = "owner/pinned", revision = "main" }}, {}]

        [[model]]
        id = "sibling"
        kind = "turn"
        name = "Sibling"
        {common}
        needs = ["pinned"]
        files = [{{ name = "other.bin", {pin} }}]
        sources = [{}]

        [[model]]
        id = "loose"
        kind = "llm"
        name = "Loose"
        {common}
        files = [{{ name = "loose.gguf", size = 5000 }}]
        sources = [{{ from = "hub", repo = "owner/loose", revision = "main" }}]

        [[model]]
        id = "system"
        kind = "tts"
        name = "System"
        {common}
        sources = [{{ from = "apt", packages = ["libtoy1"], libraries = ["libtoy-is-not-there.so.1"] }}]
        "#,
        wheel("weights.bin"),
        wheel("other.bin"),
    );
    Catalogue::parse(&text, "x").unwrap()
}

/// A pip that "downloads" a wheel with these members, and writes its arguments to `pip-calls` in `dir`.
pub(in crate::catalogue) fn pip_with(dir: &Path, members: &[(&str, &[u8])]) -> Pip {
    let wheel = dir.join("toy-1.2-py3-none-any.whl");
    let mut zip = ZipWriter::new(fs::File::create(&wheel).unwrap());
    for (name, bytes) in members {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    pip_script(
        dir,
        &format!(
            "echo \"$*\" >> '{calls}'\n\
             while [ $# -gt 0 ]; do [ \"$1\" = --dest ] && dest=$2; shift; done\n\
             cp '{wheel}' \"$dest/\"\n",
            calls = dir.join("pip-calls").display(),
            wheel = wheel.display(),
        ),
    )
}

/// A pip that is this shell script, and answers `--version`.
pub(in crate::catalogue) fn pip_script(dir: &Path, script: &str) -> Pip {
    let path = dir.join("pip.sh");
    fs::write(&path, format!("[ \"$*\" = --version ] && exit 0\n{script}")).unwrap();
    Pip { commands: vec![vec!["sh".into(), path.into()]], stall_timeout: Duration::from_secs(20) }
}
