//! What every answer says to browsers, and by which names and from which pages a server is asked.

use super::*;

const POLICIES: [&str; 8] = [
    "default-src 'self'",
    "script-src 'self';",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-src 'none'",
    "frame-ancestors 'none'",
    "connect-src 'self'",
];

#[tokio::test]
async fn every_answer_of_every_route_has_the_headers_that_keep_a_page_safe() {
    let server = Server::closed();
    let mut paths: Vec<_> =
        routes::of(&server).await.into_iter().map(|(method, path)| (method, routes::filled(&path))).collect();
    paths.extend(
        ["/", "/history/x", "/assets/nope.js", "/api/nope", "/%FF"].map(|path| ("GET".to_owned(), path.to_owned())),
    );
    for (method, path) in paths {
        for key in [None, Some(OWN)] {
            let told = server.send(method.parse().unwrap(), &path, key).await;
            let policy = format!("{};", told.header("content-security-policy"));
            for part in POLICIES {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            let script = policy.split("script-src").nth(1).unwrap().split(';').next().unwrap();
            assert!(!script.contains("unsafe"), "{path}: {policy}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-opener-policy", "same-origin"),
                ("cross-origin-resource-policy", "same-origin"),
                ("permissions-policy", "microphone=(self), camera=(), geolocation=()"),
                ("strict-transport-security", ""),
            ] {
                assert_eq!(told.header(name), value, "{method} {path}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_is_visited_by_https_alone() {
    use crate::config::TlsMode;
    for (mode, told) in [(TlsMode::Files, "max-age=31536000"), (TlsMode::Auto, ""), (TlsMode::Off, "")] {
        let server = Server::with(|config| config.tls.mode = mode);
        assert_eq!(server.get("/health", None).await.header("strict-transport-security"), told, "{mode:?}");
    }
}

#[tokio::test]
async fn a_server_without_keys_answers_to_this_computers_names_alone() {
    let server = Server::open();
    for path in ["/", "/health", "/api/conversations", "/v1/models"] {
        for host in ["localhost:8080", "127.0.0.1", "[::1]:8080"] {
            let told = server.ask(with(request(Method::GET, path, None, Body::empty()), "host", host)).await;
            assert_ne!(told.status, StatusCode::FORBIDDEN, "{path} {host}");
        }
        // A page of evil.example, which has given its own name this computer's address.
        for host in ["evil.example:8080", "127.0.0.1.evil.example", ""] {
            let told = server.ask(with(request(Method::GET, path, None, Body::empty()), "host", host)).await;
            assert_eq!(
                (told.status, told.code().as_str()),
                (StatusCode::FORBIDDEN, "host_not_allowed"),
                "{path} {host}"
            );
        }
    }
    let listed = Server::with(|config| config.security.hosts = vec!["avatar.example".to_owned()]);
    let asked = with(request(Method::GET, "/health", None, Body::empty()), "host", "avatar.example");
    assert_ne!(listed.ask(asked).await.status, StatusCode::FORBIDDEN);
    let closed = Server::closed();
    let asked = with(request(Method::GET, "/api/conversations", Some(OWN), Body::empty()), "host", "voice.example");
    assert_eq!(closed.ask(asked).await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_of_other_servers_are_refused_at_every_route_unless_they_are_listed() {
    let server = Server::with(|config| {
        config.api_keys = vec![Secret::new(OWN)];
        config.security.origins = vec!["https://shop.example".to_owned()];
    });
    for (method, path) in routes::of(&server).await {
        if path == "/health" {
            continue;
        }
        let ask = |key| request(method.parse().unwrap(), &routes::filled(&path), key, Body::empty());
        let told = server.ask(with(ask(Some(OWN)), "origin", "https://evil.example")).await;
        assert_eq!(
            (told.status, told.code().as_str()),
            (StatusCode::FORBIDDEN, "origin_not_allowed"),
            "{method} {path}"
        );
        assert_eq!(told.header("access-control-allow-origin"), "", "{method} {path}");
        // A listed page may read even that it needs a key.
        for key in [None, Some(OWN)] {
            let told = server.ask(with(ask(key), "origin", "https://shop.example")).await;
            assert_eq!(told.header("access-control-allow-origin"), "https://shop.example", "{method} {path}");
            assert_eq!(
                told.headers.get_all("vary").iter().filter(|vary| *vary == "Origin").count(),
                1,
                "{method} {path}"
            );
        }
        let preflight = request(Method::OPTIONS, &routes::filled(&path), None, Body::empty());
        let told = server.ask(with(preflight, "origin", "https://shop.example")).await;
        assert_eq!(told.status, StatusCode::NO_CONTENT, "{method} {path}");
        assert!(told.header("access-control-allow-methods").contains(&method), "{method} {path}");
        assert!(told.header("access-control-allow-headers").contains("X-Stainless-Lang"), "{method} {path}");
        assert_eq!(told.header("access-control-allow-credentials"), "");
    }
}
