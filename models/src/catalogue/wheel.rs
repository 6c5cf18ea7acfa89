//! Files out of a Python wheel, fetched by pip itself: so the user's own index, proxy, certificates and cache settings hold.
//!
//! The wheel is chosen by the catalogue's tags, not by the machine's Python, and is never installed: its members are copied out by
//! their exact names, no longer than the catalogue says. Whether the bytes are right is the caller's to check.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::Wheel;
use super::store::hex;

/// How often a running pip is looked at.
const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, thiserror::Error)]
pub enum WheelError {
    #[error(
        "pip is not installed (tried {tried}); install Python 3 with pip, on Debian and Ubuntu `apt-get install python3-pip`"
    )]
    NoPip { tried: String },
    #[error("pip could not fetch {package} {version}: {reason}")]
    Pip { package: String, version: String, reason: String },
    #[error("pip fetched nothing of {package} for {} s and was stopped; check the network and the package index", stalled.as_secs())]
    Stalled { package: String, stalled: Duration },
    #[error("{package} is not a usable wheel: {reason}")]
    Unusable { package: String, reason: String },
    #[error("cannot write {}: {reason}", path.display())]
    Disk { path: PathBuf, reason: String },
}

/// How pip is called.
#[derive(Debug, Clone)]
pub struct Pip {
    /// Commands to try, first that runs wins.
    pub commands: Vec<Vec<OsString>>,
    /// The longest time without a new byte.
    pub stall_timeout: Duration,
}

impl Default for Pip {
    fn default() -> Self {
        let commands: [&[&str]; 3] = [&["python3", "-m", "pip"], &["pip3"], &["pip"]];
        Self {
            commands: commands.iter().map(|words| words.iter().map(OsString::from).collect()).collect(),
            stall_timeout: Duration::from_secs(120),
        }
    }
}

impl Pip {
    /// Fetches `wheel` into the empty folder `into` and gives its path. `tell` hears how many bytes have come.
    pub fn download(&self, wheel: &Wheel, into: &Path, tell: &mut dyn FnMut(u64)) -> Result<PathBuf, WheelError> {
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| WheelError::Disk { path, reason: error.to_string() }
        };
        let log = into.join("pip.log");
        // pip's own temporary files go here too: they are on the right disk, and their growth is the progress.
        let scratch = into.join("tmp");
        let target = into.join("wheel");
        for folder in [&scratch, &target] {
            fs::create_dir_all(folder).map_err(disk(folder))?;
        }
        let output = File::create(&log).map_err(disk(&log))?;
        let errors = output.try_clone().map_err(disk(&log))?;

        let mut command = self.command()?;
        command
            .args(["download", "--no-deps", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"])
            .args(["--only-binary=:all:", "--implementation", "cp", "--python-version", &wheel.python])
            .args(wheel.platforms.iter().flat_map(|tag| ["--platform", tag]))
            .arg("--dest")
            .arg(&target)
            .arg(format!("{}=={}", wheel.package, wheel.version))
            .env("TMPDIR", &scratch)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        let failed =
            |reason: String| WheelError::Pip { package: wheel.package.clone(), version: wheel.version.clone(), reason };
        let child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let succeeded = self.watch(Running(child), wheel, into, tell)?;
        if !succeeded {
            return Err(failed(last_words(&log)));
        }
        let mut wheels = fs::read_dir(&target).map_err(disk(&target))?.filter_map(Result::ok).map(|entry| entry.path());
        wheels.find(|path| path.extension().is_some_and(|end| end == "whl")).ok_or_else(|| WheelError::Unusable {
            package: wheel.package.clone(),
            reason: "pip brought no wheel".into(),
        })
    }

    /// The first command that answers.
    fn command(&self) -> Result<Command, WheelError> {
        let build = |words: &[OsString]| {
            let (program, arguments) = words.split_first()?;
            let mut command = Command::new(program);
            command.args(arguments);
            Some(command)
        };
        let answers = |words: &&Vec<OsString>| {
            let quiet = |mut command: Command| {
                command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
            };
            build(words).is_some_and(|command| quiet(command).is_ok_and(|status| status.success()))
        };
        self.commands.iter().find(answers).and_then(|words| build(words)).ok_or_else(|| {
            let words = |words: &Vec<OsString>| words.join(" ".as_ref()).to_string_lossy().into_owned();
            WheelError::NoPip { tried: self.commands.iter().map(words).collect::<Vec<_>>().join(", ") }
        })
    }

    /// Waits for pip; whether it succeeded.
    fn watch(
        &self,
        mut pip: Running,
        wheel: &Wheel,
        folder: &Path,
        tell: &mut dyn FnMut(u64),
    ) -> Result<bool, WheelError> {
        // The most that was shown: pip moves the wheel in the end, and for a moment less is there.
        let (mut bytes, mut idle, mut shown) = (0, Duration::ZERO, 0);
        loop {
            let status = pip.0.try_wait().map_err(|error| WheelError::Pip {
                package: wheel.package.clone(),
                version: wheel.version.clone(),
                reason: error.to_string(),
            })?;
            if let Some(status) = status {
                return Ok(status.success());
            }
            let now = size_of(folder);
            if now == bytes {
                idle += POLL;
            } else {
                (bytes, idle, shown) = (now, Duration::ZERO, now.min(wheel.size).max(shown));
                tell(shown);
            }
            if idle >= self.stall_timeout {
                return Err(WheelError::Stalled { package: wheel.package.clone(), stalled: idle });
            }
            std::thread::sleep(POLL);
        }
    }
}

/// A child that does not outlive us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies `member` of the wheel at `path` to `to`, if it has exactly `size` bytes; gives its sha256.
pub fn extract(wheel: &Wheel, path: &Path, member: &str, size: u64, to: &Path) -> Result<String, WheelError> {
    let unusable = |reason: String| WheelError::Unusable { package: wheel.package.clone(), reason };
    let disk = |error: io::Error| WheelError::Disk { path: to.to_owned(), reason: error.to_string() };
    let archive = File::open(path).map_err(|error| unusable(error.to_string()))?;
    let mut archive = ZipArchive::new(archive).map_err(|error| unusable(error.to_string()))?;
    let entry = archive.by_name(member).map_err(|error| unusable(format!("{member}: {error}")))?;
    // One byte more than allowed is enough to know; what the entry says of its own size is not believed.
    let mut entry = entry.take(size + 1);
    let mut file = File::create(to).map_err(disk)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut done = 0;
    loop {
        let read = entry.read(&mut buffer).map_err(|error| unusable(format!("{member}: {error}")))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        done += bytes.len() as u64;
        if done > size {
            break;
        }
        hasher.update(bytes);
        file.write_all(bytes).map_err(disk)?;
    }
    if done != size {
        let word = if done > size { "more than" } else { "only" };
        return Err(unusable(format!("{member} has {word} {} of {size} bytes", done.min(size))));
    }
    file.sync_all().map_err(disk)?;
    Ok(hex(&hasher.finalize()))
}

/// Bytes in a folder and below it; what vanishes meanwhile is not counted.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// The last lines pip wrote: its errors, without the addresses it tried.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let errors: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("ERROR: ")).collect();
    if errors.is_empty() {
        text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
    } else {
        errors.join("; ")
    }
}
