//! A stored recording as an answer: whole or a range of it, decrypted on the way if it lies encrypted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_range_header::parse_range_header;
use signaling::http::error::ApiError;

use super::error::internal;
use crate::data_folder::DataFolder;

/// Largest recording that is served, bytes, since it is held in memory: five hours at the bit rate of a call.
const LARGEST: usize = 64 << 20;

/// The Ogg Opus file at `path`; `None` if there is none.
pub async fn serve(folder: &DataFolder, path: PathBuf, asked: &HeaderMap) -> Result<Option<Response>, ApiError> {
    let folder = folder.clone();
    let read = move || {
        let content = folder.read_at_most(&path, LARGEST)?;
        Ok::<_, io::Error>(content.map(|content| (tag(&content), Bytes::from(content))))
    };
    // Decrypting and hashing megabytes is not for a thread that answers others too.
    let (tag, content) = match tokio::task::spawn_blocking(read).await.map_err(internal)? {
        Ok(Some(read)) => read,
        Ok(None) => return Err(internal("the recording is too large to be served")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(internal(format!("the recording cannot be read: {error}; `avatar doctor` tells more")));
        }
    };
    Ok(Some(answer(content, tag, asked)))
}

/// So that who asks for the rest of a recording that was replaced meanwhile does not put two together.
fn tag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

fn answer(content: Bytes, tag: String, asked: &HeaderMap) -> Response {
    const WHAT: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("audio/ogg")),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    let length = content.len() as u64;
    let is_of_another = asked.get(header::IF_RANGE).is_some_and(|of| of.as_bytes() != tag.as_bytes());
    let range = asked.get(header::RANGE).filter(|_| !is_of_another).map(|range| {
        let parsed = range.to_str().ok().and_then(|range| parse_range_header(range).ok());
        // Several ranges at once are refused: no player asks for them.
        parsed.and_then(|ranges| ranges.validate(length).ok()).filter(|ranges| ranges.len() == 1)?.pop()
    });
    let tagged = [(header::ETAG, tag)];
    match range {
        None => (WHAT, tagged, content).into_response(),
        Some(Some(range)) => {
            let (first, last) = (*range.start(), *range.end());
            let of_whole = format!("bytes {first}-{last}/{length}");
            // Validated: both are within the content, whose length is one of memory.
            let part = content.slice(first as usize..=last as usize);
            (StatusCode::PARTIAL_CONTENT, WHAT, tagged, [(header::CONTENT_RANGE, of_whole)], part).into_response()
        }
        Some(None) => {
            let of_whole = format!("bytes */{length}");
            (StatusCode::RANGE_NOT_SATISFIABLE, WHAT, [(header::CONTENT_RANGE, of_whole)]).into_response()
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Response {
        let parsed = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let content = Bytes::from_static(b"0123456789");
        let tag = tag(&content);
        answer(content, tag, &parsed.collect())
    }

    #[tokio::test]
    async fn a_player_that_asks_for_any_range_gets_it_or_is_told_how_much_there_is() {
        for (range, status, of_whole, body) in [
            ("bytes=0-3", 206, "bytes 0-3/10", "0123"),
            ("bytes=4-", 206, "bytes 4-9/10", "456789"),
            ("bytes=-3", 206, "bytes 7-9/10", "789"),
            ("bytes=9-9", 206, "bytes 9-9/10", "9"),
            ("bytes=0-99", 206, "bytes 0-9/10", "0123456789"),
            ("bytes=10-", 416, "bytes */10", ""),
            ("bytes=0-1,4-5", 416, "bytes */10", ""),
            ("bytes=-0", 416, "bytes */10", ""),
            ("bytes=5-2", 416, "bytes */10", ""),
            ("bytes=99999999999999999999-", 416, "bytes */10", ""),
            ("seconds=1-2", 416, "bytes */10", ""),
        ] {
            let response = asked(&[("range", range)]);
            assert_eq!(response.status().as_u16(), status, "{range}");
            assert_eq!(response.headers()["content-range"], of_whole, "{range}");
            let got = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(got, body.as_bytes(), "{range}");
        }
    }

    #[tokio::test]
    async fn the_rest_of_a_recording_that_was_replaced_is_the_whole_new_one() {
        let tag = asked(&[]).headers()["etag"].to_str().unwrap().to_owned();
        assert_eq!(asked(&[("range", "bytes=4-"), ("if-range", &tag)]).status(), 206);
        assert_eq!(asked(&[("range", "bytes=4-"), ("if-range", "\"another\"")]).status(), 200);
    }
}
