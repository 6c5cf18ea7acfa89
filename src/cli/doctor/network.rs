//! Whether the ports can be had, and how HTTPS is done.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use time::OffsetDateTime;

use super::Check;
use crate::config::{Config, TlsMode};
use crate::tls;

pub(super) fn tcp_port(address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => Check::ok("tcp port", format!("{address} is free")),
        Err(error) => port_problem("tcp port", address, &error, "listen", "ss -ltnp"),
    }
}

pub(super) fn udp_port(address: SocketAddr) -> Check {
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

pub(super) fn certificate(config: &Config, now: OffsetDateTime) -> Check {
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
