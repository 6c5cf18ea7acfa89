//! Certificates: the user's own, or a self-signed one made at first need.
//!
//! Browsers give a page the microphone only over HTTPS (or on the machine itself), so a server that other machines talk to needs a
//! certificate. The self-signed one is for trying things out in one's own network: it names the machine, its addresses and
//! `localhost`, is valid for a year, and is made anew when it runs out or cannot be used. Its key is readable by its owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::{Duration, OffsetDateTime};

use crate::config::{Tls, TlsMode};

/// How long a self-signed certificate is valid; browsers refuse more than 398 days.
const VALID_FOR: Duration = Duration::days(365);
/// A certificate that ends within this time is made anew, so that a server that runs for long does not outlive it at once.
const RENEW_BEFORE: Duration = Duration::days(7);
const CERTIFICATE: &str = "self-signed.pem";
const KEY: &str = "self-signed-key.pem";

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is no usable {what}: {reason}", path.display())]
    Unusable { what: &'static str, path: PathBuf, reason: String },
    #[error("the certificate {} expired on {}; renew it, or set tls.mode = \"auto\"", path.display(), expired.date())]
    Expired { path: PathBuf, expired: OffsetDateTime },
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("the certificate {} and the key {} cannot be used together: {reason}", cert.display(), key.display())]
    Mismatch { cert: PathBuf, key: PathBuf, reason: String },
}

/// A certificate and its key on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Names and addresses a self-signed certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Subject {
    /// This machine: `localhost`, its name, its addresses, and the address it is reached at.
    pub fn this_machine(public: Option<IpAddr>) -> Self {
        let mut names = vec!["localhost".to_owned()];
        names.extend(host_name().filter(|name| name != "localhost"));
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for address in own_addresses().into_iter().chain(public) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Self { names, addresses }
    }
}

/// What the configuration asks for, ready for the server; `None` for plain HTTP.
pub fn server_config(tls: &Tls, subject: &Subject, now: OffsetDateTime) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    match (tls.mode, &tls.cert, &tls.key) {
        (TlsMode::Off, ..) => Ok(None),
        (TlsMode::Auto, ..) => load(&ensure_self_signed(&tls.dir, subject, now)?).map(Some),
        (TlsMode::Files, cert, key) => {
            let files = Files { cert: cert.clone().unwrap_or_default(), key: key.clone().unwrap_or_default() };
            let expired = expiry(&files.cert)?;
            if expired <= now {
                return Err(TlsError::Expired { path: files.cert, expired });
            }
            load(&files).map(Some)
        }
    }
}

/// The self-signed certificate in `dir`, made if there is none that will do.
pub fn ensure_self_signed(dir: &Path, subject: &Subject, now: OffsetDateTime) -> Result<Files, TlsError> {
    let files = self_signed_files(dir);
    let lasts = expiry(&files.cert).is_ok_and(|end| end > now + RENEW_BEFORE);
    if lasts && load(&files).is_ok() {
        // It may have been copied about.
        protect(&files.key)?;
        return Ok(files);
    }
    make_self_signed(dir, &files, subject, now)?;
    Ok(files)
}

/// Where the self-signed certificate lies, or will.
pub fn self_signed_files(dir: &Path) -> Files {
    Files { cert: dir.join(CERTIFICATE), key: dir.join(KEY) }
}

/// When the first certificate in a PEM file runs out.
pub fn expiry(path: &Path) -> Result<OffsetDateTime, TlsError> {
    let unusable = |reason: String| TlsError::Unusable { what: "certificate", path: path.to_owned(), reason };
    let pem = fs::read(path).map_err(|source| TlsError::Io { action: "read", path: path.to_owned(), source })?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|error| unusable(error.to_string()))?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| unusable(error.to_string()))?;
    OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp())
        .map_err(|error| unusable(error.to_string()))
}

/// Reads a certificate chain and its key, and sees that they belong together.
pub fn load(files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |what, path: &Path, reason: String| TlsError::Unusable { what, path: path.to_owned(), reason };
    let read =
        |path: &Path| fs::read(path).map_err(|source| TlsError::Io { action: "read", path: path.to_owned(), source });
    let chain = CertificateDer::pem_slice_iter(&read(&files.cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable("certificate", &files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable("certificate", &files.cert, "it holds no PEM certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|error| unusable("private key", &files.key, error.to_string()))?;
    let mismatch = |error: rustls::Error| TlsError::Mismatch {
        cert: files.cert.clone(),
        key: files.key.clone(),
        reason: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn make_self_signed(dir: &Path, files: &Files, subject: &Subject, now: OffsetDateTime) -> Result<(), TlsError> {
    fs::create_dir_all(dir).map_err(|source| TlsError::Io {
        action: "make the folder",
        path: dir.to_owned(),
        source,
    })?;
    let mut params = CertificateParams::new(subject.names.clone())?;
    params.subject_alt_names.extend(subject.addresses.iter().copied().map(SanType::IpAddress));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Avatar, self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // The clock of the other side may be behind.
    params.not_before = now - Duration::days(1);
    params.not_after = now + VALID_FOR;
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    // Key first: a certificate without its key would be tried and found wanting, a key without certificate is not looked at.
    write(&files.key, key.serialize_pem().as_bytes(), 0o600)?;
    write(&files.cert, certificate.pem().as_bytes(), 0o644)
}

/// Writes beside the file and renames, so that nobody reads half of it, and it never has wider permissions than `mode`.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let fresh = path.with_extension("new");
    let write = || -> io::Result<()> {
        // One left by a killed process may have another mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|source| TlsError::Io { action: "write", path: path.to_owned(), source })
}

fn protect(key: &Path) -> Result<(), TlsError> {
    let protect = || -> io::Result<()> {
        if fs::metadata(key)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(key, Permissions::from_mode(0o600))?;
        }
        Ok(())
    };
    protect().map_err(|source| TlsError::Io { action: "protect", path: key.to_owned(), source })
}

fn host_name() -> Option<String> {
    let from_kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = from_kernel.or_else(|| std::env::var("HOSTNAME").ok())?.trim().to_owned();
    // A name that a certificate can hold.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

/// The addresses this machine uses towards others. Connecting a UDP socket sends nothing; it only asks for the route.
fn own_addresses() -> Vec<IpAddr> {
    let routes: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let towards = |(from, to): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    routes.into_iter().filter_map(towards).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn subject() -> Subject {
        Subject {
            names: vec!["localhost".into(), "box.example".into()],
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST), "192.0.2.7".parse().unwrap()],
        }
    }

    /// A handshake in memory; whether the client accepts the server as `name`.
    fn handshake(server: Arc<ServerConfig>, cert: &Path, name: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn the_self_signed_certificate_serves_every_name_and_address_of_the_machine_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let files = ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        let server = load(&files).unwrap();
        for name in ["localhost", "box.example", "127.0.0.1", "192.0.2.7"] {
            handshake(Arc::clone(&server), &files.cert, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert!(handshake(server, &files.cert, "elsewhere.example").is_err());
    }

    #[test]
    fn only_its_owner_can_read_the_key_even_after_somebody_opened_it_up() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let files = ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        assert_eq!(mode(&files.key), 0o600);
        fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
        ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        assert_eq!(mode(&files.key), 0o600);
    }

    #[test]
    fn a_certificate_that_lasts_is_kept_and_one_that_runs_out_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let made = now();
        let files = ensure_self_signed(dir.path(), &subject(), made).unwrap();
        let first = fs::read(&files.cert).unwrap();
        ensure_self_signed(dir.path(), &subject(), made + Duration::days(300)).unwrap();
        assert_eq!(fs::read(&files.cert).unwrap(), first);
        ensure_self_signed(dir.path(), &subject(), made + Duration::days(360)).unwrap();
        assert_ne!(fs::read(&files.cert).unwrap(), first);
        assert!(expiry(&files.cert).unwrap() > made + Duration::days(700));
    }

    #[test]
    fn a_garbled_or_mismatched_pair_is_made_anew() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let files = ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        let stranger = ensure_self_signed(other.path(), &subject(), now()).unwrap();
        fs::copy(&stranger.key, &files.key).unwrap();
        assert!(matches!(load(&files), Err(TlsError::Mismatch { .. })));
        ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        load(&files).unwrap();
        fs::write(&files.cert, "garbage").unwrap();
        ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        load(&files).unwrap();
    }

    #[test]
    fn the_users_own_files_are_used_or_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let files = ensure_self_signed(dir.path(), &subject(), now()).unwrap();
        let own = |cert: &Path, key: &Path| Tls {
            mode: TlsMode::Files,
            cert: Some(cert.to_owned()),
            key: Some(key.to_owned()),
            ..Tls::default()
        };
        assert!(server_config(&own(&files.cert, &files.key), &subject(), now()).unwrap().is_some());
        let later = now() + Duration::days(400);
        let cases: [(Tls, OffsetDateTime, &str); 3] = [
            (own(&files.cert, &files.key), later, "expired on"),
            (own(&dir.path().join("gone.pem"), &files.key), now(), "gone.pem"),
            (own(&files.cert, &files.cert), now(), "private key"),
        ];
        for (tls, at, expected) in cases {
            let error = server_config(&tls, &subject(), at).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(server_config(&Tls::default(), &subject(), now()).unwrap().is_none());
    }

    #[test]
    fn this_machine_has_at_least_its_loopback_names() {
        let subject = Subject::this_machine(Some("203.0.113.9".parse().unwrap()));
        assert!(subject.names.contains(&"localhost".to_owned()));
        for address in ["127.0.0.1", "::1", "203.0.113.9"] {
            assert!(subject.addresses.contains(&address.parse().unwrap()), "{subject:?}");
        }
    }
}
