//! Progress, and what is refused meanwhile.

use super::*;

fn report(kind: &'static str, state: EngineState) -> EngineReport {
    EngineReport { kind, name: format!("{kind}-model"), state }
}

fn failing() -> EngineState {
    EngineState::Failing { reason: "it has no voice".to_owned(), needed: true }
}

#[test]
fn progress_begins_at_nothing_and_ends_at_all() {
    let all = |state: EngineState| percent(&["vad", "stt", "llm"].map(|kind| report(kind, state.clone())));
    assert_eq!(all(EngineState::Loading { percent: 0 }), 0);
    assert_eq!(all(EngineState::Loading { percent: 100 }), LOADED);
    assert_eq!(all(EngineState::WarmingUp), LOADED);
    assert_eq!(all(EngineState::Ready), 100);
    assert_eq!(percent(&[]), 0);
}

#[test]
fn the_better_voice_of_the_history_is_not_waited_for_nor_made_to_run_with_the_others() {
    let loading = report(HQ, EngineState::Loading { percent: 0 });
    assert_eq!(percent(&[report("llm", EngineState::Ready), loading.clone()]), 100);
    let readiness = Readiness::expecting(vec![report("llm", EngineState::WarmingUp), loading]);
    assert_eq!(readiness.due(), ["llm"]);
}

#[test]
fn progress_never_goes_back_while_an_engine_goes_its_way() {
    let way = (0..=100).map(|percent| EngineState::Loading { percent });
    let way: Vec<_> = way.chain([EngineState::WarmingUp, EngineState::Ready]).collect();
    let shown: Vec<_> = way.into_iter().map(|state| percent(&[report("llm", state)])).collect();
    assert!(shown.is_sorted(), "{shown:?}");
}

#[test]
fn a_call_before_the_first_run_is_refused_as_loading_and_not_as_missing() {
    let readiness = Readiness::expecting(vec![report("llm", EngineState::Loading { percent: 0 })]);
    readiness.tell(report("llm", EngineState::Loading { percent: 50 }));
    assert!(matches!(readiness.calls(), Err(Unready::Loading { percent: 45 })));
    readiness.tell(report("llm", EngineState::WarmingUp));
    assert!(matches!(readiness.calls(), Err(Unready::Loading { percent: LOADED })));
    assert!(matches!(readiness.llm().err(), Some(Unready::Loading { .. })));
}

#[test]
fn an_engine_that_fails_its_first_run_is_named_and_stays_due() {
    let readiness = Readiness::expecting(vec![report("tts", failing()), report("llm", EngineState::Ready)]);
    assert_eq!(readiness.due(), ["tts"]);
    let beside = Missing { what: "something else".to_owned(), hint: String::new() };
    readiness.settle(&Err(beside), &Parts::default());
    let Err(Unready::Missing(missing)) = readiness.calls() else { panic!("calls are taken") };
    assert!(missing.what.contains("tts-model") && missing.hint.contains("it has no voice"), "{missing:?}");
}

#[tokio::test]
async fn who_waits_is_told_when_it_is_known() {
    let readiness = Arc::new(Readiness::expecting(Vec::new()));
    let waiting = tokio::spawn({
        let readiness = readiness.clone();
        async move { readiness.known().await.err() }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let missing = Missing { what: "the voice".to_owned(), hint: "install one".to_owned() };
    readiness.settle(&Err(missing.clone()), &Parts::default());
    assert_eq!(waiting.await.ok().flatten(), Some(Unready::Missing(missing)));
}
