//! Headers that keep a page safe; on every answer of every door.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use tower_http::set_header::SetResponseHeaderLayer;

/// What a page of this server may load and be put into. Styles may stand in the page, as its components set them; scripts may not.
const POLICY: &str = "default-src 'self'; script-src 'self'; connect-src 'self'; media-src 'self' blob: mediastream:; \
                      img-src 'self' data:; style-src 'self' 'unsafe-inline'; font-src 'self'; worker-src 'self' blob:; \
                      object-src 'none'; base-uri 'none'; form-action 'self'; frame-src 'none'; frame-ancestors 'none'";

fn set(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
}

pub fn with_safe_headers(router: Router) -> Router {
    router
        .layer(set(header::CONTENT_SECURITY_POLICY, POLICY))
        .layer(set(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(set(header::X_FRAME_OPTIONS, "DENY"))
        .layer(set(header::REFERRER_POLICY, "no-referrer"))
        .layer(set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        // Pages that are listed ask with CORS, which this does not touch.
        .layer(set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .layer(set(HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"))
}

/// Tells browsers to come by HTTPS alone from now on. Only for a server with a certificate that they believe: with a self-signed
/// one they heed it not, and for `localhost` it would close every other server there.
pub fn with_strict_transport(router: Router) -> Router {
    router.layer(set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"))
}
