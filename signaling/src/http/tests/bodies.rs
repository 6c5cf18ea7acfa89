//! Bodies that do not end, break off, or are too long.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let endless = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    let reply = Server::new().send(offer("/whip", endless)).await;
    reply.refused(StatusCode::REQUEST_TIMEOUT, "timeout");
}

#[tokio::test]
async fn a_body_that_breaks_off_or_floods_is_refused() {
    let broken = Body::from_stream(stream::iter([Ok(Bytes::from("v=0")), Err(std::io::Error::other("reset"))]));
    let reply = Server::new().send(offer("/whip", broken)).await;
    reply.refused(StatusCode::BAD_REQUEST, "incomplete_body");

    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    let flood = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
    let reply = Server::new().send(offer("/whip", Body::from_stream(flood))).await;
    reply.refused(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
}
