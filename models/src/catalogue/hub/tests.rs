use super::*;

#[test]
fn waiting_doubles_up_to_half_a_minute_and_is_spread() {
    let millis = |failures, jitter| backoff(failures, jitter).as_millis();
    assert_eq!([millis(1, 1.0), millis(2, 1.0), millis(3, 1.0), millis(4, 1.0)], [500, 1000, 2000, 4000]);
    assert_eq!([millis(1, 0.0), millis(2, 0.0)], [250, 500]);
    assert_eq!(millis(40, 1.0), 32_000);
}

#[test]
fn redirects_resolve_as_http_says() {
    let from = "https://hub.example:8443/o/n/resolve/main/f?x";
    let cases = [
        ("https://cdn.example/f", Some("https://cdn.example/f")),
        ("/o2/n2/resolve/main/f", Some("https://hub.example:8443/o2/n2/resolve/main/f")),
        ("//cdn.example/f", Some("https://cdn.example/f")),
        ("file:///etc/passwd", None),
        ("", None),
    ];
    for (location, expected) in cases {
        assert_eq!(resolve(from, location).as_deref(), expected, "{location}");
    }
    assert_eq!(origin("http://h"), "http://h");
}
