//! `avatar doctor`: looks at each thing the server needs, and says the fix for what is wrong.
//!
//! Starts no engine and changes nothing but a probe file in the data folder. A warning is something the server runs without; a
//! failure is something it does not.

mod remote;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use models::catalogue::pull::free_space;
use models::catalogue::{Catalogue, Kind, Model, State, Store, library};
use serde::Serialize;
use time::OffsetDateTime;

use crate::config::{Config, ConfigError, REMOTE, TlsMode};
use crate::tls;

/// Below this the history soon has no room: fail, and warn.
const LEAST_DISK: u64 = 200_000_000;
const LITTLE_DISK: u64 = 2_000_000_000;
/// Of the process itself, beside its models, MiB.
const OWN_MEMORY: u64 = 150;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; none when all is well.
    pub fix: Option<String>,
}

impl Check {
    fn ok(name: &str, found: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, found: found.into(), fix: None }
    }

    fn warn(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Warn, found: found.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Fail, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Looks at everything and writes one line each; code 1 if something fails. A configuration that cannot be read is one of the
/// things found, and the rest is then looked at with the defaults.
pub fn run(config: Result<Config, ConfigError>, json: bool, out: &mut dyn Write) -> io::Result<ExitCode> {
    let (config, first) = match config {
        Ok(config) => {
            let found = format!("listen {}, data in {}", config.listen, config.data_dir.display());
            (config, Check::ok("configuration", found))
        }
        Err(error) => {
            let message = error.to_string();
            let (found, fix) = message.split_once("\nhint: ").unwrap_or((&message, "see docs/configuration.md"));
            (Config::default(), Check::fail("configuration", found, fix))
        }
    };
    let checks: Vec<Check> = std::iter::once(first).chain(examine(&config)).collect();
    if json {
        serde_json::to_writer_pretty(&mut *out, &checks)?;
        writeln!(out)?;
    } else {
        write_lines(&checks, out)?;
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write_lines(checks: &[Check], out: &mut dyn Write) -> io::Result<()> {
    for check in checks {
        let word = match check.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let fix = check.fix.as_ref().map_or_else(String::new, |fix| format!(" -> {fix}"));
        // One line each, whatever the system's own messages look like.
        let found = check.found.split_whitespace().collect::<Vec<_>>().join(" ");
        writeln!(out, "{word}  {:<16} {found}{fix}", check.name)?;
    }
    Ok(())
}

/// Everything but the configuration itself.
pub fn examine(config: &Config) -> Vec<Check> {
    let store = Store::new(config.models_dir());
    let mut checks = Vec::new();
    match Catalogue::builtin() {
        Ok(catalogue) => {
            let engines = Chosen::new(config, &catalogue, &store);
            checks.extend(engines.checks());
            checks.extend(remote::servers(config));
            checks.push(onnx_runtime(&catalogue, &store, &engines));
            checks.extend(voices(&catalogue, &store));
            checks.push(memory(&engines));
        }
        Err(error) => checks.push(Check::fail("catalogue", error.to_string(), "install Avatar again")),
    }
    checks.push(data_folder(&config.data_dir));
    checks.push(disk(&config.data_dir));
    checks.push(tcp_port(config.listen));
    checks.push(udp_port(config.media_address(config.listen)));
    checks.push(certificate(config, OffsetDateTime::now_utc()));
    checks.push(cpu());
    checks.push(gpu());
    checks
}

/// The models the configuration would take.
struct Chosen<'a> {
    store: &'a Store,
    engines: Vec<(Kind, Result<Option<&'a Model>, Check>)>,
}

impl<'a> Chosen<'a> {
    fn new(config: &Config, catalogue: &'a Catalogue, store: &'a Store) -> Self {
        let names = &config.engines;
        let names = [
            (Kind::Vad, &names.vad, "off"),
            (Kind::Turn, &names.turn, "off"),
            (Kind::Stt, &names.stt, &names.stt_fallback),
            (Kind::Llm, &names.llm, &names.llm_fallback),
            (Kind::Tts, &names.tts, &names.tts_fallback),
        ];
        let engines = names.into_iter().filter_map(|(kind, name, fallback)| match (name.as_str(), fallback) {
            (REMOTE, "off") => None,
            // Without its fallback a remote engine can do its work.
            (REMOTE, fallback) => Some((kind, choose(kind, fallback, catalogue, store).map_err(remote::as_fallback))),
            (name, _) => Some((kind, choose(kind, name, catalogue, store))),
        });
        let engines = engines.collect();
        Self { store, engines }
    }

    fn models(&self) -> impl Iterator<Item = &'a Model> {
        self.engines.iter().filter_map(|(_, chosen)| *chosen.as_ref().ok()?)
    }

    fn checks(&self) -> Vec<Check> {
        let check = |(kind, chosen): &(Kind, Result<Option<&Model>, Check>)| {
            let name = label(*kind);
            match chosen {
                Err(check) => check.clone(),
                Ok(None) => Check::ok(name, "off: turns end by silence alone"),
                Ok(Some(model)) => match self.store.state(model) {
                    State::Present { verified: true } => Check::ok(name, format!("{} ({})", model.id, model.name)),
                    _ => Check::warn(
                        name,
                        format!("{} is there, but its hash was not checked since it last changed", model.id),
                        format!("run `avatar models verify {}`", model.id),
                    ),
                },
            }
        };
        self.engines.iter().map(check).collect()
    }
}

/// The model for a kind, `None` where the configuration turns it off, or why there is none.
fn choose<'a>(kind: Kind, name: &str, catalogue: &'a Catalogue, store: &Store) -> Result<Option<&'a Model>, Check> {
    let label = label(kind);
    if kind == Kind::Turn && name == "off" {
        return Ok(None);
    }
    if name == "auto" {
        if let Some(model) = catalogue.best_present(kind, store) {
            return Ok(Some(model));
        }
        let fetched = catalogue.starters().find(|model| model.kind == kind);
        let fix = match fetched.or_else(|| catalogue.of_kind(kind).last().copied()) {
            Some(model) => remedy(model, &store.state(model)),
            None => "name one in the configuration".into(),
        };
        let found = format!("no {kind} model is present in {}", store.dir().display());
        // The server can talk without a turn model, though it cuts people off more.
        return Err(if kind == Kind::Turn { Check::warn(label, found, fix) } else { Check::fail(label, found, fix) });
    }
    let model = catalogue.get(name).map_err(|error| {
        Check::fail(label, format!("engines.{kind} = \"{name}\": {error}"), "choose with `avatar models list`")
    })?;
    if model.kind != kind {
        let found = format!("engines.{kind} = \"{name}\", which is a {} model", model.kind);
        return Err(Check::fail(label, found, "choose with `avatar models list`"));
    }
    match store.state(model) {
        State::Present { .. } => Ok(Some(model)),
        state => Err(Check::fail(label, format!("{} is {}", model.id, state.word()), remedy(model, &state))),
    }
}

fn remedy(model: &Model, state: &State) -> String {
    match (model.system_package(), state) {
        (Some(package), _) => format!("run `{}`", package.install_command()),
        (None, State::Corrupt { reason, .. }) => format!("{reason}; run `avatar models pull {}`", model.id),
        (None, _) => format!("run `avatar models pull {}`", model.id),
    }
}

const fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Runtime => "onnx runtime",
        Kind::Vad => "voice activity",
        Kind::Turn => "turn ends",
        Kind::Stt => "speech to text",
        Kind::Llm => "language model",
        Kind::Tts => "voice",
        Kind::SpeechSamples => "speech samples",
    }
}

fn onnx_runtime(catalogue: &Catalogue, store: &Store, chosen: &Chosen<'_>) -> Check {
    let name = label(Kind::Runtime);
    let needed = chosen.models().any(|model| model.needs.iter().any(|need| need == "onnxruntime"));
    let Ok(model) = catalogue.get("onnxruntime") else {
        let found = format!("there is no package of it for {}", catalogue.target());
        return Check::fail(
            name,
            found,
            "build ONNX Runtime 1.23 or newer and put its library in <models dir>/onnxruntime",
        );
    };
    let state = store.state(model);
    if !state.is_present() {
        let (found, fix) = (format!("{} is {}", model.id, state.word()), remedy(model, &state));
        return if needed { Check::fail(name, found, fix) } else { Check::warn(name, found, fix) };
    }
    let Some(file) = model.files.first() else { return Check::fail(name, "it has no file", "install Avatar again") };
    let path = store.path(model, &file.name);
    match library::probe(&path, Some("OrtGetApiBase")) {
        Ok(()) => Check::ok(name, format!("{} loads", model.name)),
        Err(error) => Check::fail(
            name,
            format!("{} does not load: {error}", path.display()),
            "run `avatar models verify onnxruntime`; its build needs glibc 2.28 or newer",
        ),
    }
}

/// Every voice of the system's packages, those that nobody chose as a warning at most.
fn voices(catalogue: &Catalogue, store: &Store) -> Vec<Check> {
    let of_system = catalogue.of_kind(Kind::Tts).into_iter().filter_map(|model| Some((model, model.system_package()?)));
    of_system
        .map(|(model, package)| match store.state(model) {
            State::Present { .. } => Check::ok(&model.id, model.name.clone()),
            _ => Check::warn(
                &model.id,
                format!("{} is not installed", model.name),
                format!("run `{}` for this voice", package.install_command()),
            ),
        })
        .collect()
}

fn memory(chosen: &Chosen<'_>) -> Check {
    let need = OWN_MEMORY + chosen.models().map(|model| model.memory_mib).sum::<u64>();
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match available_mib(&text) {
        None => Check::ok("memory", format!("{need} MiB are needed; this system does not say how much is free")),
        Some(free) if free >= need => Check::ok("memory", format!("{free} MiB free, about {need} MiB are needed")),
        Some(free) => Check::warn(
            "memory",
            format!("{free} MiB free, about {need} MiB are needed"),
            "stop other programs, or choose smaller models in [engines]",
        ),
    }
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn data_folder(dir: &Path) -> Check {
    let probe = dir.join(format!(".doctor-{}", std::process::id()));
    let try_it = || -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        std::fs::write(&probe, b"x")?;
        std::fs::remove_file(&probe)
    };
    match try_it() {
        Ok(()) => Check::ok("data folder", format!("{} can be written", dir.display())),
        Err(error) => Check::fail(
            "data folder",
            format!("{} cannot be written: {error}", dir.display()),
            "give this user the folder (chown), or set --data-dir to another",
        ),
    }
}

fn disk(dir: &Path) -> Check {
    let free = match free_space(dir) {
        Ok(free) => free,
        Err(error) => return Check::warn("disk", format!("free space is unknown: {error}"), "look with `df -h`"),
    };
    let found = format!("{:.1} GB free", free as f64 / 1e9);
    match free {
        0..LEAST_DISK => Check::fail("disk", found, "free some; recordings take about 0.4 MB a minute"),
        LEAST_DISK..LITTLE_DISK => Check::warn("disk", found, "free some before long calls, or before pulling models"),
        _ => Check::ok("disk", found),
    }
}

fn tcp_port(address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("tcp port", format!("{address} is free")),
        Err(error) => port_problem("tcp port", address, &error, "listen", "ss -ltnp"),
    }
}

fn udp_port(address: SocketAddr) -> Check {
    match UdpSocket::bind(address) {
        Ok(_) => Check::ok("udp port", format!("{address} is free")),
        Err(error) => port_problem("udp port", address, &error, "udp_port", "ss -lunp"),
    }
}

fn port_problem(name: &str, address: SocketAddr, error: &io::Error, setting: &str, look: &str) -> Check {
    let fix = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "stop what uses it (`{look}` shows it; perhaps Avatar already runs), or set {setting} to another port"
            )
        }
        io::ErrorKind::PermissionDenied => format!("ports below 1024 need privileges; set {setting} to a higher one"),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address; use 127.0.0.1 or 0.0.0.0".into(),
        _ => format!("set {setting} to another"),
    };
    Check::fail(name, format!("{address} cannot be used: {error}"), fix)
}

fn certificate(config: &Config, now: OffsetDateTime) -> Check {
    let name = "certificate";
    match config.tls.mode {
        TlsMode::Off if !config.is_public() => Check::ok(name, "not needed: only this machine can connect"),
        TlsMode::Off => Check::warn(
            name,
            "none: browsers on other machines will not give the page a microphone",
            "set tls.mode = \"auto\", or serve through a proxy that does HTTPS",
        ),
        TlsMode::Auto => {
            let files = tls::self_signed_files(&config.tls.dir);
            match tls::expiry(&files.cert) {
                Ok(end) => Check::ok(name, format!("self-signed, until {}; made anew when it ends", end.date())),
                Err(_) => {
                    Check::ok(name, format!("self-signed, will be made in {} at start", config.tls.dir.display()))
                }
            }
        }
        TlsMode::Files => match tls::server_config(&config.tls, &tls::Subject::default(), now) {
            Ok(_) => {
                let path = config.tls.cert.clone().unwrap_or_default();
                let end = tls::expiry(&path).map_or_else(|_| "?".to_owned(), |end| end.date().to_string());
                Check::ok(name, format!("{}, until {end}", path.display()))
            }
            Err(error) => Check::fail(name, error.to_string(), "mend tls.cert and tls.key, or set tls.mode = \"auto\""),
        },
    }
}

fn cpu() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (features, fast) = cpu_features();
    let found = format!("{cores} cores, {features}");
    if !fast {
        let fix = "replies will be slow on this processor; use the smallest models";
        return Check::warn("cpu", found, fix);
    }
    if cores < 2 {
        return Check::warn("cpu", found, "give it two cores: recognition and language model run side by side");
    }
    Check::ok("cpu", found)
}

/// What the engines' kernels can use, and whether that is enough to talk in real time.
#[cfg(target_arch = "x86_64")]
fn cpu_features() -> (String, bool) {
    let all = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
    ];
    let has = all.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let fast = all.iter().filter(|(name, _)| *name != "avx512vnni").all(|(_, has)| *has);
    (if has.is_empty() { "no vector instructions beyond SSE".into() } else { has }, fast)
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> (String, bool) {
    (std::env::consts::ARCH.to_owned(), true)
}

fn gpu() -> Check {
    let nvidia = std::fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, Iterator::count);
    match nvidia {
        0 => Check::ok("gpu", "none; the CPU does everything"),
        count => Check::ok("gpu", format!("{count} NVIDIA; this build computes on the CPU")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn config_in(dir: &Path) -> Config {
        Config { data_dir: dir.to_owned(), listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() }
    }

    fn found<'a>(checks: &'a [Check], name: &str) -> &'a Check {
        checks.iter().find(|check| check.name == name).unwrap_or_else(|| panic!("{name} was not looked at"))
    }

    #[test]
    fn an_empty_machine_is_told_each_command_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let checks = examine(&config_in(dir.path()));
        for (name, fix) in [
            ("voice activity", "avatar models pull silero-vad"),
            ("speech to text", "avatar models pull moonshine-tiny-en"),
            ("language model", "avatar models pull smollm2-135m-instruct"),
        ] {
            let check = found(&checks, name);
            assert_eq!(check.verdict, Verdict::Fail, "{check:?}");
            assert!(check.fix.as_ref().unwrap().contains(fix), "{check:?}");
        }
        // Talking works without it.
        assert_eq!(found(&checks, "turn ends").verdict, Verdict::Warn);
        assert_eq!(found(&checks, "data folder").verdict, Verdict::Ok);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "the probe was left behind");
    }

    #[test]
    fn an_engine_that_does_not_exist_or_is_of_another_kind_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config_in(dir.path());
        config.engines.stt = "whisper-bas".into();
        config.engines.llm = "silero-vad".into();
        config.engines.turn = "off".into();
        let checks = examine(&config);
        let stt = found(&checks, "speech to text");
        assert!(stt.found.contains("whisper-base-q8_0"), "{stt:?}");
        assert!(found(&checks, "language model").found.contains("which is a vad model"));
        assert_eq!(found(&checks, "turn ends").verdict, Verdict::Ok);
    }

    #[test]
    fn a_port_in_use_is_named_with_the_setting_that_moves_it() {
        let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let check = tcp_port(tcp.local_addr().unwrap());
        assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("set listen to another port"));
        let check = udp_port(udp.local_addr().unwrap());
        assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("set udp_port to another port"));
    }

    #[test]
    fn a_data_folder_that_is_a_file_fails() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = data_folder(&file.path().join("data"));
        assert!(check.verdict == Verdict::Fail && check.fix.unwrap().contains("--data-dir"));
    }

    #[test]
    fn a_public_server_without_https_is_warned_of_the_microphone() {
        let mut config = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
        assert_eq!(certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Warn);
        config.tls.mode = TlsMode::Auto;
        assert_eq!(certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Ok);
        config.tls.mode = TlsMode::Files;
        config.tls.cert = Some("/nonexistent/cert.pem".into());
        assert_eq!(certificate(&config, OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Fail);
    }

    #[test]
    fn a_broken_configuration_is_a_finding_and_the_rest_is_still_looked_at() {
        let broken =
            ConfigError::Invalid { key: "max_calls", reason: "0 calls".into(), hint: "choose 1 to 1000".into() };
        let mut out = Vec::new();
        let code = run(Err(broken), false, &mut out).unwrap();
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
        let text = String::from_utf8(out).unwrap();
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("FAIL") && first.contains("0 calls") && first.ends_with("-> choose 1 to 1000"),
            "{text}"
        );
        assert!(text.lines().count() > 10, "{text}");
    }

    #[test]
    fn json_has_the_same_findings() {
        let mut out = Vec::new();
        run(Ok(Config::default()), true, &mut out).unwrap();
        let checks: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        assert!(checks.iter().all(|check| ["ok", "warn", "fail"].contains(&check["verdict"].as_str().unwrap())));
    }

    #[test]
    fn free_memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:   2097152 kB\n";
        assert_eq!(available_mib(text), Some(2048));
        assert_eq!(available_mib(""), None);
    }
}
