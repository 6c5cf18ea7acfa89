//! Searching, and the links from page to page.

use super::*;

/// The address of the next page.
fn next(told: &Told) -> Option<String> {
    let link = told.header("link");
    let inside = link.strip_prefix('<')?.strip_suffix(">; rel=\"next\"")?;
    Some(inside.to_owned())
}

async fn walk(api: &Api, first: &str) -> (Vec<String>, usize) {
    let (mut seen, mut pages, mut address) = (Vec::new(), 0, Some(first.to_owned()));
    while let Some(at) = address {
        let told = api.get(&at).await;
        seen.extend(told.json().as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        pages += 1;
        address = next(&told);
    }
    (seen, pages)
}

#[tokio::test]
async fn links_lead_through_all_pages_and_end_with_the_last() {
    let api = Api::new();
    let mut expected = Vec::new();
    for second in 1..=6 {
        expected.insert(0, api.keep(second).await.conversation.as_str().to_owned());
    }
    assert_eq!(walk(&api, "/api/conversations?limit=2").await, (expected.clone(), 3));
    assert_eq!(walk(&api, "/api/conversations?limit=4").await, (expected.clone(), 2));
    assert_eq!(walk(&api, "/api/conversations?limit=2&q=Question%20of").await, (expected.clone(), 3));
    assert_eq!(walk(&api, "/api/conversations").await, (expected, 1));
}

#[tokio::test]
async fn a_link_carries_what_was_looked_for_whatever_it_was() {
    let api = Api::new();
    for second in 1..=3 {
        let mut record = turn(second);
        record.question.as_mut().unwrap().text = "50% & <天氣> #1".to_owned();
        api.history.keep(record).await.unwrap();
    }
    let (seen, pages) = walk(&api, "/api/conversations?limit=1&q=50%25%20%26%20%3C%E5%A4%A9%E6%B0%A3%3E%20%231").await;
    assert_eq!((seen.len(), pages), (3, 3));
}

#[tokio::test]
async fn a_hit_is_shown_with_its_place_and_what_was_looked_for() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.get("/api/conversations?q=sun").await.json();
    let expected = json!({
        "turn": 1,
        "side": "assistant",
        "pieces": [
            { "text": "It is ", "hit": false },
            { "text": "sunny", "hit": true },
            { "text": " today.", "hit": false },
        ],
    });
    assert_eq!((&told[0]["id"], &told[0]["match"]), (&json!(kept.conversation.as_str()), &expected));
    assert_eq!(api.get("/api/conversations?q=snow").await.json(), json!([]));
    // Nothing to look for: the list.
    assert!(api.get("/api/conversations?q=%20").await.json()[0].get("match").is_none());
    assert_eq!(api.get("/api/conversations?q=%F0%9F%98%80").await.json(), json!([]));
}

#[tokio::test]
async fn a_query_too_long_is_refused_and_odd_ones_are_not_errors() {
    let api = Api::new();
    api.keep(1_000).await;
    let told = api.get(&format!("/api/conversations?q={}", "x".repeat(201))).await;
    assert_eq!((told.status, &told.json()["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("q")));
    for q in ["%22", "*", "NEAR(", "a%00b", "shown:x", "%22%20OR%20%22", "-", "%E2%80%AE"] {
        let told = api.get(&format!("/api/conversations?q={q}")).await;
        assert_eq!(told.status, StatusCode::OK, "{q}");
    }
}
