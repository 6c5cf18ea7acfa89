//! Downloads from a hub with the Hugging Face layout, or a mirror of one.
//!
//! A request for a file is answered by the hub itself (with what it knows of the file: `X-Linked-ETag` is the sha256,
//! `X-Linked-Size` the length, `X-Repo-Commit` the commit) and usually a redirect to where the bytes are. What the hub states is
//! compared with what is expected before any byte is fetched; the bytes go to a partial file, which a later attempt goes on with
//! by `Range`, and are hashed on the way.
//!
//! Refuses a redirect from HTTPS to HTTP, more bytes than were announced, and a file of which neither hash nor length is known.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, Response};

use super::store::{Trust, hex, read_into};

/// Where models come from unless a mirror is configured.
pub const DEFAULT_HUB: &str = "https://huggingface.co";
/// Hub to storage is one hop; renamed repositories add one or two.
const MAX_HOPS: usize = 6;
/// A server may ask us to wait; not for longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, thiserror::Error)]
pub enum HubError {
    /// No connection at all: another file from there will not come either.
    #[error("{host} cannot be reached ({reason}); check the network, or name a mirror with AVATAR_HUB")]
    Unreachable { host: String, reason: String },
    #[error("{url} is not there (HTTP {status}){}", refusal(*status))]
    NotThere { url: String, status: u16 },
    /// What is there is another file than the one expected.
    #[error("{url} is not the expected file: {reason}")]
    Different { url: String, reason: String },
    /// The connection broke, stalled, or the server failed; worth another try.
    #[error("{url}: {reason}")]
    Interrupted { url: String, reason: String, retry_after: Option<Duration> },
    #[error("cannot write {path}: {reason}")]
    Disk { path: String, reason: String },
}

fn refusal(status: u16) -> &'static str {
    match status {
        401 | 403 => "; the hub wants a login for it: fetch it by hand into the model's folder",
        _ => "",
    }
}

/// A hub and how patiently it is asked.
#[derive(Debug, Clone)]
pub struct Hub {
    pub base: String,
    /// To resolve, connect and greet.
    pub connect_timeout: Duration,
    /// The longest silence in an answer or a body.
    pub stall_timeout: Duration,
    /// Tries of a file without a byte of progress before giving up.
    pub attempts: u32,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            base: DEFAULT_HUB.into(),
            connect_timeout: Duration::from_secs(8),
            stall_timeout: Duration::from_secs(30),
            attempts: 5,
        }
    }
}

/// One file to download.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub url: &'a str,
    /// Where the bytes go until they are whole; may hold the beginning of the file already.
    pub partial: &'a Path,
    /// What it must hash to, where that is known beforehand.
    pub sha256: Option<&'a str>,
    /// Bytes it must have, likewise.
    pub size: Option<u64>,
}

/// A file that is whole and right, in its partial file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    pub sha256: String,
    /// Who said that this is the right hash.
    pub trust: Trust,
    /// The hub's commit.
    pub commit: Option<String>,
}

/// What happens during a download.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<'a> {
    /// `done` of `of` bytes are there. Also told before the first byte of an attempt is written.
    Bytes {
        done: u64,
        of: u64,
    },
    Retrying {
        attempt: u32,
        after: Duration,
        reason: &'a str,
    },
}

/// How long to wait before attempt `failures + 1`: doubling from half a second, and by `jitter` (0.0 to 1.0) anything between
/// half of that and all of it, so that many machines do not come back at the same moment.
pub fn backoff(failures: u32, jitter: f64) -> Duration {
    let ceiling = Duration::from_millis(500).saturating_mul(1 << failures.saturating_sub(1).min(6)).min(LONGEST_WAIT);
    ceiling.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

impl Hub {
    /// Downloads `wanted`, going on where an earlier attempt stopped. `pause` waits; `tell` hears of progress and may refuse by
    /// an error (no space).
    pub fn download(
        &self,
        wanted: Wanted<'_>,
        pause: &dyn Fn(Duration),
        tell: &mut dyn FnMut(Step<'_>) -> Result<(), HubError>,
    ) -> Result<Downloaded, HubError> {
        let agent = self.agent();
        let (mut failures, mut mismatches, mut furthest) = (0, 0, 0);
        loop {
            let mut answered = false;
            let error = match self.attempt(&agent, wanted, &mut answered, tell) {
                Ok(downloaded) => return Ok(downloaded),
                Err(error) => error,
            };
            let retry_after = match &error {
                HubError::Interrupted { retry_after, .. } => *retry_after,
                // Answered before, so this is an interruption too.
                HubError::Unreachable { .. } if furthest > 0 => None,
                // The bytes came and were wrong: once may be the way, twice is the file.
                HubError::Different { .. } if answered && mismatches == 0 => {
                    mismatches += 1;
                    None
                }
                _ => return Err(error),
            };
            let reached = length_of(wanted.partial);
            if reached > furthest {
                (failures, furthest) = (0, reached);
            }
            failures += 1;
            if failures >= self.attempts {
                return Err(error);
            }
            let after = backoff(failures, rand::random()).max(retry_after.unwrap_or_default().min(LONGEST_WAIT));
            tell(Step::Retrying { attempt: failures + 1, after, reason: &error.to_string() })?;
            pause(after);
        }
    }

    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder()
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_recv_response(Some(self.stall_timeout))
            .timeout_per_read(Some(self.stall_timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("avatar/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// One try. `body_came` is set when a whole body was received.
    fn attempt(
        &self,
        agent: &ureq::Agent,
        wanted: Wanted<'_>,
        body_came: &mut bool,
        tell: &mut dyn FnMut(Step<'_>) -> Result<(), HubError>,
    ) -> Result<Downloaded, HubError> {
        let mut offset = length_of(wanted.partial);
        if wanted.size.is_some_and(|size| offset > size) {
            remove(wanted.partial)?;
            offset = 0;
        }
        // The whole file without its last byte, so that a partial file that is complete needs no special case: the server is
        // asked for one byte, and the hash tells the rest.
        let start = if wanted.size == Some(offset) { offset.saturating_sub(1) } else { offset };
        let (response, stated) = self.request(agent, &wanted, start)?;
        let different = |reason: String| HubError::Different { url: wanted.url.to_owned(), reason };

        let expected = match (wanted.sha256, &stated.sha256) {
            (Some(expected), _) => Some((expected.to_owned(), Trust::Catalogue)),
            (None, Some(stated)) => Some((stated.clone(), Trust::Hub)),
            (None, None) => None,
        };
        let start = match response.status().as_u16() {
            200 => 0,
            206 if expected.is_none() => {
                // The beginning may be of another version, and no hash would show it.
                remove(wanted.partial)?;
                return Err(interrupted(wanted.url, "the file has no stated hash, so it cannot be continued"));
            }
            206 if range_start(response.headers()) == Some(start) => start,
            206 => {
                remove(wanted.partial)?;
                return Err(interrupted(wanted.url, "the server sent another part than was asked for"));
            }
            416 => {
                remove(wanted.partial)?;
                return Err(interrupted(wanted.url, "the partial file is longer than the file; starting over"));
            }
            status @ (408 | 425 | 429 | 500..=599) => {
                let retry_after = header(response.headers(), "retry-after").and_then(|text| text.parse().ok());
                return Err(HubError::Interrupted {
                    url: wanted.url.to_owned(),
                    reason: format!("HTTP {status}"),
                    retry_after: retry_after.map(Duration::from_secs),
                });
            }
            status => return Err(HubError::NotThere { url: wanted.url.to_owned(), status }),
        };
        let announced =
            header(response.headers(), "content-length").and_then(|text| text.parse::<u64>().ok()).map(|n| n + start);
        let sizes = [wanted.size, stated.size, announced];
        let Some(size) = sizes.into_iter().flatten().next() else {
            return Err(different("it has neither a stated hash nor a length, so nothing could be checked".into()));
        };
        if let Some(other) = sizes.into_iter().flatten().find(|other| *other != size) {
            return Err(different(format!("it has {other} bytes, expected are {size}")));
        }

        let found = receive(response, wanted, start, size, tell)?;
        *body_came = true;
        match expected {
            Some((expected, _)) if expected != found => {
                remove(wanted.partial)?;
                Err(different(format!("its bytes have sha256 {found}, expected is {expected}")))
            }
            Some((sha256, trust)) => Ok(Downloaded { sha256, trust, commit: stated.commit }),
            None => Ok(Downloaded { sha256: found, trust: Trust::FirstUse, commit: stated.commit }),
        }
    }

    /// Asks for the file from `start`, follows redirects, and keeps what the hub itself states on the way. Goes no further when
    /// that is not what is wanted.
    fn request(
        &self,
        agent: &ureq::Agent,
        wanted: &Wanted<'_>,
        start: u64,
    ) -> Result<(Response<ureq::Body>, Stated), HubError> {
        let hub = origin(wanted.url);
        let mut at = wanted.url.to_owned();
        let mut stated = Stated::default();
        for _ in 0..MAX_HOPS {
            let mut request = agent.get(&at).header("accept-encoding", "identity");
            if start > 0 {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|error| classify(error, &at))?;
            // Storage behind the hub is not asked what the file should be.
            if origin(&at) == hub {
                stated.read(response.headers());
                if let (Some(expected), Some(stated)) = (wanted.sha256, &stated.sha256)
                    && expected != stated
                {
                    let reason = format!("the hub states sha256 {stated}, expected is {expected}");
                    return Err(HubError::Different { url: at, reason });
                }
            }
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((response, stated));
            }
            let location = header(response.headers(), "location").unwrap_or_default();
            let next = resolve(&at, location).ok_or_else(|| HubError::Different {
                url: at.clone(),
                reason: format!("it redirects to '{location}', which is no HTTP address"),
            })?;
            if at.starts_with("https:") && next.starts_with("http:") {
                let reason = "it redirects from HTTPS to plain HTTP".into();
                return Err(HubError::Different { url: at, reason });
            }
            at = next;
        }
        Err(HubError::Different {
            url: wanted.url.to_owned(),
            reason: format!("it redirects more than {MAX_HOPS} times"),
        })
    }
}

/// What the hub says of a file.
#[derive(Debug, Default)]
struct Stated {
    sha256: Option<String>,
    size: Option<u64>,
    commit: Option<String>,
}

impl Stated {
    fn read(&mut self, headers: &HeaderMap) {
        // Of a file in large-file storage the ETag is its sha256; of any other it is a Git hash of 40 digits.
        let etag = |name| {
            let value = header(headers, name)?;
            let value = value.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
            super::is_sha256(&value).then_some(value)
        };
        self.sha256 = self.sha256.take().or_else(|| etag("x-linked-etag"));
        self.size = self.size.take().or_else(|| header(headers, "x-linked-size").and_then(|text| text.parse().ok()));
        let commit = header(headers, "x-repo-commit").filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        self.commit = self.commit.take().or_else(|| commit.map(str::to_owned));
    }
}

/// Writes the body behind the first `start` bytes of the partial file; gives the hash of the whole.
fn receive(
    mut response: Response<ureq::Body>,
    wanted: Wanted<'_>,
    start: u64,
    size: u64,
    tell: &mut dyn FnMut(Step<'_>) -> Result<(), HubError>,
) -> Result<String, HubError> {
    let disk = |error: io::Error| disk(wanted.partial, &error);
    tell(Step::Bytes { done: start, of: size })?;
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(wanted.partial).map_err(disk)?;
    file.set_len(start).map_err(disk)?;
    let mut hasher = Sha256::new();
    read_into(&mut hasher, wanted.partial).map_err(disk)?;
    file.seek(SeekFrom::Start(start)).map_err(disk)?;

    let mut body = response.body_mut().as_reader().take(size - start + 1);
    let mut buffer = vec![0; 256 * 1024];
    let mut done = start;
    loop {
        let read = body.read(&mut buffer).map_err(|error| interrupted(wanted.url, &error.to_string()))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        done += bytes.len() as u64;
        if done > size {
            drop(file);
            remove(wanted.partial)?;
            let reason = format!("it goes on after its {size} bytes");
            return Err(HubError::Different { url: wanted.url.to_owned(), reason });
        }
        file.write_all(bytes).map_err(disk)?;
        hasher.update(bytes);
        tell(Step::Bytes { done, of: size })?;
    }
    if done < size {
        return Err(interrupted(wanted.url, &format!("the connection ended after {done} of {size} bytes")));
    }
    file.sync_all().map_err(disk)?;
    Ok(hex(&hasher.finalize()))
}

fn classify(error: ureq::Error, url: &str) -> HubError {
    let reason = match &error {
        ureq::Error::HostNotFound => "its name is unknown".to_owned(),
        ureq::Error::Timeout(timeout) => format!("no answer in time: {timeout}"),
        other => other.to_string(),
    };
    // What breaks a connection that stood. Everything else (an unknown name, a refusal, no route, a wrong certificate) means that
    // there was none; the system's word for an unknown name has no stable kind of its own.
    let broken = |kind| {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, UnexpectedEof};
        matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | Interrupted | TimedOut | UnexpectedEof)
    };
    let connecting = match &error {
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Tls(_) | ureq::Error::Rustls(_) => {
            true
        }
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => true,
        ureq::Error::Io(io) => !broken(io.kind()),
        _ => false,
    };
    if connecting { HubError::Unreachable { host: origin(url).to_owned(), reason } } else { interrupted(url, &reason) }
}

fn interrupted(url: &str, reason: &str) -> HubError {
    HubError::Interrupted { url: url.to_owned(), reason: reason.to_owned(), retry_after: None }
}

fn disk(path: &Path, error: &io::Error) -> HubError {
    HubError::Disk { path: path.display().to_string(), reason: error.to_string() }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path, &error)),
        _ => Ok(()),
    }
}

fn length_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// First byte of `Content-Range: bytes 5-9/10`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// `scheme://host:port` of an address.
fn origin(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end =
        url.get(after_scheme..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| after_scheme + at);
    url.get(..end).unwrap_or(url)
}

/// Where a `Location` leads from `url`; `None` if that is not HTTP.
fn resolve(url: &str, location: &str) -> Option<String> {
    if location.starts_with("https://") || location.starts_with("http://") {
        return Some(location.to_owned());
    }
    if let Some(host) = location.strip_prefix("//") {
        let scheme = url.split("//").next()?;
        return Some(format!("{scheme}//{host}"));
    }
    location.starts_with('/').then(|| format!("{}{location}", origin(url)))
}

#[cfg(test)]
mod tests;
