//! What is found by what was said.

use super::*;

/// Pieces of the newest hit, what was looked for in brackets.
fn shown(place: &Place, typed: &str) -> String {
    let found = place.history.search(&Viewer::Everyone, &Query::read(typed), 1, None).unwrap();
    let Some((_, Some(matched))) = found.into_iter().next() else { return String::new() };
    let piece = |piece: Piece| if piece.hit { format!("[{}]", piece.text) } else { piece.text };
    matched.pieces.into_iter().map(piece).collect()
}

#[tokio::test]
async fn a_conversation_is_found_by_a_word_of_either_side_and_by_the_beginning_of_the_last_word() {
    let place = Place::new();
    let weather = place.talk(&[("What's the weather like?", "It is sunny."), ("Thanks", "You are welcome.")]).await;
    let story = place.talk(&[("Tell me a story.", "Once upon a time there was weather.")]).await;
    assert_eq!(place.found("weather"), [story.as_str(), weather.as_str()], "newest first");
    assert_eq!(place.found("WEA"), [story.as_str(), weather.as_str()]);
    assert_eq!(place.found("wea the"), Vec::<String>::new(), "only the last word may go on");
    assert_eq!(place.found("the wea"), [weather.as_str()]);
    assert_eq!(place.found("sunny"), [weather.as_str()]);
    assert_eq!(place.found("story"), [story.as_str()]);
    assert_eq!(shown(&place, "upon"), "Once [upon] a time there was weather.");
    assert!(place.found("snow").is_empty());
}

#[tokio::test]
async fn chinese_is_found_by_one_character_and_by_two_in_order() {
    let place = Place::new();
    let weather = place.talk(&[("今天天氣怎麼樣？", "台北今天是晴天。")]).await;
    let train = place.talk(&[("火車幾點開？", "八點半，從台南開。")]).await;
    assert_eq!(place.found("台"), [train.as_str(), weather.as_str()]);
    assert_eq!(place.found("天氣"), [weather.as_str()]);
    assert!(place.found("氣天").is_empty());
    assert_eq!(place.found("台南"), [train.as_str()]);
    assert_eq!(place.found("今天 怎麼"), [weather.as_str()]);
    assert_eq!(shown(&place, "幾點"), "火車[幾點]開？");
    // The words of one side of one turn, not of the whole conversation.
    assert!(place.found("火車 台南").is_empty());
}

#[tokio::test]
async fn what_is_typed_never_reaches_the_syntax_of_the_index() {
    let place = Place::new();
    let id = place.talk(&[("or near and not", "shown original search")]).await;
    for typed in ["\"", "*", "(", "or", "NEAR(", "shown:x", "near and", "a\0b", "-x", "^", "{shown}", "AND", "'; DROP"]
    {
        // Any answer but an error.
        place.history.search(&Viewer::Everyone, &Query::read(typed), 10, None).unwrap();
    }
    assert_eq!(place.found("or"), [id.as_str()]);
    assert_eq!(place.found("NEAR AND NOT"), [id.as_str()]);
    assert!(place.found("shown:not").is_empty());
}

#[tokio::test]
async fn pages_of_results_lose_and_repeat_nothing() {
    let place = Place::new();
    let mut ids = Vec::new();
    for n in 0..7 {
        // Several hits a conversation count once.
        ids.insert(0, place.talk(&[("needle and needle", "needle"), ("needle", &format!("hay {n}"))]).await);
        place.talk(&[("hay", "hay")]).await;
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let query = Query::read("needle");
        let page = place.history.search(&Viewer::Everyone, &query, 3, before.as_deref()).unwrap();
        let Some((last, _)) = page.last() else { break };
        before = Some(last.id.clone());
        seen.extend(page.into_iter().map(|(summary, _)| summary.id));
    }
    assert_eq!(seen, ids);
    let nowhere = place.history.search(&Viewer::Everyone, &Query::read("needle"), 3, Some("conv_none")).unwrap();
    assert!(nowhere.is_empty());
}

#[tokio::test]
async fn an_edit_and_what_it_replaced_are_found_and_what_is_taken_back_is_not() {
    let place = Place::new();
    let id = place.talk(&[("I live in Tie Pay", "Nice.")]).await;
    let number = place.shown(&id).turns[0].number;
    let edit = |text: Option<&str>| {
        let text = Some(text.map(str::to_owned));
        place.history.edit(Viewer::Everyone, id.clone(), number, text, None)
    };
    edit(Some("I live in Taipei")).await.unwrap().unwrap();
    assert_eq!(place.found("taipei"), [id.as_str()]);
    assert_eq!(shown(&place, "taipei"), "I live in [Taipei]");
    assert_eq!(place.found("tie pay"), [id.as_str()]);
    assert_eq!(shown(&place, "tie"), "I live in [Tie] Pay");
    edit(None).await.unwrap().unwrap();
    assert!(place.found("taipei").is_empty());
    assert_eq!(place.found("tie pay"), [id.as_str()]);
}

#[tokio::test]
async fn a_conversation_is_found_by_its_title() {
    let place = Place::new();
    let id = place.talk(&[("hello", "hello")]).await;
    place.history.rename(Viewer::Everyone, id.clone(), Some("旅行 plans".to_owned())).await.unwrap();
    assert_eq!(place.found("旅行"), [id.as_str()]);
    let found = place.history.search(&Viewer::Everyone, &Query::read("plans"), 1, None).unwrap();
    assert!(found[0].1.is_none(), "no turn to show");
    place.history.rename(Viewer::Everyone, id.clone(), None).await.unwrap();
    assert!(place.found("plans").is_empty());
}

#[tokio::test]
async fn what_is_written_in_one_chinese_script_is_found_by_the_other_and_shown_as_it_was_written() {
    let place = Place::new();
    let traditional = place.talk(&[("我的電話號碼是多少？", "我不知道。")]).await;
    let simplified = place.talk(&[("他的电话号码呢？", "请等一下。")]).await;
    let titled = place.talk(&[("hello", "hello")]).await;
    place.history.rename(Viewer::Everyone, titled.clone(), Some("關於號碼".to_owned())).await.unwrap();
    for typed in ["電話", "电话", "電话", "電話號碼", "电话号码"] {
        assert_eq!(place.found(typed), [simplified.as_str(), traditional.as_str()], "{typed}");
    }
    assert_eq!(place.found("号码"), [titled.as_str(), simplified.as_str(), traditional.as_str()]);
    assert_eq!(shown(&place, "電話"), "他的[电话]号码呢？");
    let number = place.shown(&traditional).turns[0].number;
    place
        .history
        .edit(Viewer::Everyone, traditional.clone(), number, Some(Some("我的手機呢".to_owned())), None)
        .await
        .unwrap();
    assert_eq!(place.found("手机"), [traditional.as_str()]);
    assert_eq!(shown(&place, "手机"), "我的[手機]呢");
    assert!(place.found("话电").is_empty());
}
