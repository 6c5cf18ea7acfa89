//! The list of conversations, one of them, and its audio.

use super::*;
use crate::data_folder::DataKey;
use crate::history::Side;

#[tokio::test]
async fn a_client_of_the_contract_finds_id_turns_and_created_at_in_the_list() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.get("/api/conversations").await;
    assert_eq!(told.status, StatusCode::OK);
    let expected = json!([{
        "id": kept.conversation.as_str(),
        "turns": 1,
        "created_at": "1970-01-01T00:16:40Z",
        "updated_at": "1970-01-01T00:16:40Z",
        "preview": "Question of second 1000?",
        "title": null,
        // A second of each, and 412 ms between them.
        "duration_ms": 2412,
        "door": "webrtc",
        "voice": "flite/slt",
        "hq": { "pending": 0, "ready": 0, "failed": 0 },
    }]);
    assert_eq!(told.json(), expected);
}

#[tokio::test]
async fn an_empty_history_is_an_empty_list() {
    let told = Api::new().get("/api/conversations").await;
    assert_eq!((told.status, told.json()), (StatusCode::OK, json!([])));
}

#[tokio::test]
async fn pages_show_every_conversation_once_newest_first() {
    let api = Api::new();
    let mut expected = Vec::new();
    for second in 1..=5 {
        expected.insert(0, api.keep(second).await.conversation.as_str().to_owned());
    }
    let (mut seen, mut lengths, mut before) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/api/conversations?limit=2{before}")).await.json();
        let ids: Vec<_> = page.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
        lengths.push(ids.len());
        before = format!("&before={}", ids.last().unwrap());
        seen.extend(ids);
        if lengths.last() < Some(&2) {
            break;
        }
    }
    assert_eq!((seen, lengths), (expected, vec![2, 2, 1]));
}

#[tokio::test]
async fn a_page_is_twenty_unless_asked_otherwise() {
    let api = Api::new();
    for second in 0..21 {
        let bare = TurnRecord { question: None, answer: None, ..turn(second) };
        api.history.keep(bare).await.unwrap();
    }
    assert_eq!(api.get("/api/conversations").await.json().as_array().unwrap().len(), 20);
    assert_eq!(api.get("/api/conversations?limit=100").await.json().as_array().unwrap().len(), 21);
    assert_eq!(api.get("/api/conversations?limit=1").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_limit_that_is_none_is_refused_with_its_name() {
    let api = Api::new();
    for limit in ["0", "101", "abc", "-1", "", "1.5", "99999999999999999999999"] {
        let told = api.get(&format!("/api/conversations?limit={limit}")).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{limit}");
        assert_eq!(told.error_code(), "invalid_value", "{limit}");
        assert_eq!(told.json()["error"]["param"], "limit", "{limit}");
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_in_the_same_words() {
    let told = Api::new().get("/api/conversations?limit=1&limit=2").await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::BAD_REQUEST, "invalid_value"));
}

#[tokio::test]
async fn a_conversation_shows_both_texts_and_where_their_audio_is() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let told = api.get(&format!("/api/conversations/{}", kept.conversation)).await.json();
    let turn = &told["turns"][0];
    assert_eq!(told["id"], kept.conversation.as_str());
    assert_eq!(turn["index"], 0);
    assert_eq!(turn["door"], "webrtc");
    assert_eq!(turn["user"]["text"], "Question of second 1000?");
    assert_eq!(turn["assistant"]["text"], "It is sunny today.");
    assert_eq!(turn["assistant"]["interrupted"], false);
    assert_eq!(turn["timings"]["first_packet_ms"], 412.0);
    assert_eq!((&turn["voice"], &turn["model"]), (&json!("flite/slt"), &json!("smollm2")));
    for side in ["user", "assistant"] {
        assert_eq!(turn[side]["duration_ms"], 1_000);
        let audio = api.get(turn[side]["audio"].as_str().unwrap()).await;
        assert_eq!((audio.status, audio.header("content-type")), (StatusCode::OK, "audio/ogg"), "{side}");
        let heard = audio::ogg::read(&audio.body[..]).unwrap();
        assert!((heard.duration().as_secs_f64() - 1.0).abs() < 0.03, "{side}: {:?}", heard.duration());
    }
}

#[tokio::test]
async fn what_was_heard_is_shown_of_a_cut_reply_alone() {
    let api = Api::new();
    let mut cut = turn(1_000);
    let answer = cut.answer.as_mut().unwrap();
    (answer.heard, answer.interrupted) = ("It is".to_owned(), true);
    let whole = TurnRecord { conversation: cut.conversation.clone(), ..turn(1_001) };
    let path = format!("/api/conversations/{}", cut.conversation);
    api.history.keep(cut).await.unwrap();
    api.history.keep(whole).await.unwrap();
    let turns = &api.get(&path).await.json()["turns"];
    assert_eq!(
        (&turns[0]["assistant"]["heard"], &turns[0]["assistant"]["interrupted"]),
        (&json!("It is"), &json!(true))
    );
    assert_eq!(turns[0]["assistant"]["text"], "It is sunny today.");
    assert!(turns[1]["assistant"].get("heard").is_none());
}

#[tokio::test]
async fn a_player_that_seeks_gets_the_part_it_asks_for() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let path = format!("/api/conversations/{}/turns/1/audio/user", kept.conversation);
    let whole = api.get(&path).await;
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let part = api.get_with(&path, "range", "bytes=100-299").await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.header("content-range"), format!("bytes 100-299/{}", whole.body.len()));
    assert_eq!(part.body, whole.body.slice(100..300));
    let beyond = api.get_with(&path, "range", "bytes=99999999-").await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    // The same of one that lies encrypted.
    let key = api.folder.path().join("key");
    DataKey::create(&key).unwrap();
    let encrypted = Api::in_folder(|folder| DataFolder::open(folder, Some(&key)).unwrap());
    let kept = encrypted.keep(1_000).await;
    let path = format!("/api/conversations/{}/turns/1/audio/user", kept.conversation);
    let same = encrypted.get_with(&path, "range", "bytes=100-299").await;
    assert_eq!((same.status, same.body.len()), (StatusCode::PARTIAL_CONTENT, 200));
    let whole = encrypted.get(&path).await;
    assert_eq!(whole.body.slice(..4), &b"OggS"[..]);
    assert_eq!(same.body, whole.body.slice(100..300));
    let stored =
        encrypted.history.audio(&Viewer::Everyone, kept.conversation.as_str(), 1, Side::User).unwrap().unwrap();
    let on_disk = std::fs::read(encrypted.history.audio_path(&stored)).unwrap();
    assert!(on_disk.starts_with(b"age-encryption.org/v1"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_says_what() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let conversation = format!("/api/conversations/{}", kept.conversation);
    let paths = [
        "/api/conversations/conv_none".to_owned(),
        "/api/conversations/conv_none/turns/1/audio/user".to_owned(),
        format!("{conversation}/turns/2/audio/user"),
        format!("{conversation}/turns/one/audio/user"),
        format!("{conversation}/turns/-1/audio/user"),
        format!("{conversation}/turns/1/audio/both"),
    ];
    for path in paths {
        let told = api.get(&path).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(told.error_code(), "not_found", "{path}");
    }
}

#[tokio::test]
async fn a_turn_of_one_conversation_is_not_served_as_anothers() {
    let api = Api::new();
    let (first, second) = (api.keep(1_000).await, api.keep(1_001).await);
    let path =
        |conversation: &ConversationId, turn: u32| format!("/api/conversations/{conversation}/turns/{turn}/audio/user");
    assert_eq!(api.get(&path(&first.conversation, 1)).await.status, StatusCode::OK);
    assert_eq!(api.get(&path(&second.conversation, 1)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn audio_that_was_deleted_by_hand_is_not_found_and_the_texts_stay() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    std::fs::remove_dir_all(api.folder.path().join("audio")).unwrap();
    let told = api.get(&format!("/api/conversations/{}/turns/1/audio/user", kept.conversation)).await;
    assert_eq!((told.status, told.error_code().as_str()), (StatusCode::NOT_FOUND, "not_found"));
    let shown = api.get(&format!("/api/conversations/{}", kept.conversation)).await;
    assert_eq!(shown.json()["turns"][0]["user"]["text"], "Question of second 1000?");
}

#[tokio::test]
async fn no_id_leads_out_of_the_history() {
    let api = Api::new();
    let kept = api.keep(1_000).await;
    let long = "x".repeat(20_000);
    let ids = [
        "..%2F..%2Fhistory.sqlite3",
        "%2e%2e",
        "..%5c..%5cx",
        "'%20OR%201=1--",
        "%00",
        "%FF%FE",
        "%F0%9F%90%9F",
        &long,
    ];
    for id in ids {
        for path in [
            format!("/api/conversations/{id}"),
            format!("/api/conversations/{id}/turns/1/audio/user"),
            format!("/api/conversations/{}/turns/{id}/audio/user", kept.conversation),
            format!("/api/conversations/{}/turns/1/audio/{id}", kept.conversation),
        ] {
            let told = api.get(&path).await;
            assert!(matches!(told.status.as_u16(), 400 | 404), "{}: {}", told.status, &path[..path.len().min(80)]);
            told.error_code();
            assert!(told.body.len() < 1_000, "what was asked for comes back whole");
        }
    }
    assert_eq!(api.get("/api/conversations").await.json().as_array().unwrap().len(), 1);
}
