//! By which names a server without keys may be asked.
//!
//! A page somewhere can give its own name the address 127.0.0.1 ("DNS rebinding"): to the browser this server is then a part of that
//! page, which may read everything. What the page cannot change is the name that the browser sends along in `Host`. A proxy in front
//! sends the name it was asked by, or 127.0.0.1; see `security.hosts`.

use std::net::{IpAddr, Ipv6Addr};

/// The names of this computer, and those that are listed.
pub struct Hosts(Vec<String>);

impl Hosts {
    pub fn new(listed: &[String]) -> Self {
        Self(listed.iter().map(|host| host.trim().trim_end_matches('.').to_ascii_lowercase()).collect())
    }

    /// `named` is what a request says in `Host`: a name or an address, with a port or without.
    pub fn are_ours(&self, named: &str) -> bool {
        let name = without_port(named).trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name) {
            return true;
        }
        let unbracketed = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        match unbracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback()),
            None => name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        }
    }
}

fn without_port(named: &str) -> &str {
    match named.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // The colons of a bare IPv6 address are no port's.
            if name.contains(':') && !name.ends_with(']') { named } else { name }
        }
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_answers_to_its_own_names() {
        let hosts = Hosts::new(&["Avatar.Example.".to_owned()]);
        for ours in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:80",
            "localhost.",
            "avatar.localhost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.8.9.1",
            "[::1]",
            "[::1]:8080",
            "[::ffff:127.0.0.1]:1",
            "avatar.example:8443",
        ] {
            assert!(hosts.are_ours(ours), "{ours}");
        }
    }

    #[test]
    fn a_name_that_was_bent_to_this_computer_is_not_answered() {
        let hosts = Hosts::new(&[]);
        for strange in [
            "",
            ":8080",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "notlocalhost",
            "0.0.0.0:8080",
            "192.168.0.7:8080",
            "[::]:8080",
            "[::1",
            "avatar.example",
            "127.0.0.1@evil.example",
            "évil",
        ] {
            assert!(!hosts.are_ours(strange), "{strange}");
        }
    }
}
