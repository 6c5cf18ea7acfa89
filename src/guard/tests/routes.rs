//! Which routes there are: as the router has them, and as the document says.

use std::collections::BTreeSet;

use super::*;

/// All routes of the router, but the page's fallback. `OPTIONS` and `HEAD` come with the others.
pub async fn of(server: &Server) -> BTreeSet<(String, String)> {
    let mut routes = BTreeSet::new();
    for path in paths(&server.router) {
        // No route has this method, so that each answers with those it has.
        let told = server.send(Method::from_bytes(b"NONE").unwrap(), &filled(&path), Some(OWN)).await;
        assert_eq!(told.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = told.header("allow").split(',').map(|method| method.trim().to_owned());
        routes
            .extend(allowed.filter(|method| !matches!(method.as_str(), "OPTIONS" | "HEAD")).map(|m| (m, path.clone())));
    }
    routes
}

/// The paths of the router, which tells them only by `Debug`.
fn paths(router: &Router) -> Vec<String> {
    let shown = format!("{router:?}");
    // The page is what is there where nothing else is.
    let is_route = |text: &&str| text.starts_with('/') && *text != "/" && !text.contains("__private");
    let mut paths: Vec<_> = shown.split('"').filter(is_route).map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// The path with something in each of its parameters' places.
pub fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{turn}" => "1",
        "{side}" => "user",
        part if part.starts_with('{') => "some-id",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

pub async fn documented(server: &Server) -> BTreeSet<(String, String)> {
    let document = server.get("/api/openapi.json", Some(OWN)).await.json();
    let mut routes = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        routes.extend(operations.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    routes
}

#[tokio::test]
async fn every_route_is_in_the_document_and_nothing_else() {
    let server = Server::closed();
    let (routes, documented) = (of(&server).await, documented(&server).await);
    assert!(routes.len() >= 18, "{routes:?}");
    let missing: Vec<_> = routes.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&routes).collect();
    assert!(missing.is_empty(), "describe these in src/api/openapi: {missing:?}");
    assert!(invented.is_empty(), "no route is there for {invented:?}");
}

#[tokio::test]
async fn the_document_is_whole_and_names_no_secret() {
    let server = Server::closed();
    let told = server.get("/api/openapi.json", Some(OWN)).await;
    let document = told.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    // Every reference leads somewhere.
    for reference in told.text().split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", reference.split('"').next().unwrap());
        assert!(document.pointer(&pointer).is_some(), "{pointer}");
    }
    assert!(!told.text().contains(OWN));
}
