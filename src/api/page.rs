//! The page, embedded in the binary.

use axum::http::{Uri, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

use super::error::not_found;

/// What `npm run build` made of `web/`.
#[derive(RustEmbed)]
#[folder = "web/dist/"]
#[allow_missing = true]
struct Built;

const NOT_BUILT: &str = "<!doctype html><title>Avatar</title><p>The page is not part of this build. Build the server with \
                         <code>make build</code>. The interfaces work without it.";

/// A file of the page; the page itself for the addresses it routes.
pub async fn page(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let (name, file) = match Built::get(path) {
        Some(file) => (path, Some(file)),
        // An address with an extension, or of an interface, means a file, not a view of the page.
        None if path.contains('.') || path.starts_with("api/") || path.starts_with("v1/") => (path, None),
        None => ("index.html", Built::get("index.html")),
    };
    match file {
        Some(file) => {
            let hashed = name.starts_with("assets/");
            let caching = if hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
            let kind = file.metadata.mimetype().to_owned();
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, caching.to_owned())], file.data).into_response()
        }
        None if name == "index.html" => Html(NOT_BUILT).into_response(),
        None => not_found(&format!("page or file /{path}")).into_response(),
    }
}
