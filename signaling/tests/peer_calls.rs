//! Calls over the shared port, both ends real.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use audio::pcm::{Pcm, SampleRate};
use signaling::caller::{CallerEventKind, Recording};
use signaling::line::{Ask, FromCaller, HangUp, Line, Playout, ReplyId, SessionPatch, ToCaller};
use signaling::peer::{AnswerOptions, Patience};
use support::{Client, call, hear, hung_up, saying, server, share_of, soon, tone};

/// Says back what it hears until the caller hangs up.
async fn echo(mut line: Line) -> HangUp {
    let reply = ReplyId::fresh();
    loop {
        match line.incoming.recv().await.unwrap() {
            FromCaller::Audio(audio) => {
                let pcm = Pcm::new(SampleRate::HZ_16000, audio.samples);
                // Fails when the caller has hung up; the word of that is still to come.
                let _gone = line.outgoing.send(ToCaller::Speak { reply: reply.clone(), pcm }).await;
            }
            FromCaller::HungUp(why) => return why,
            FromCaller::Command(_) | FromCaller::Playout(_) => {}
        }
    }
}

/// Listens until `length` of tone has come back; the recording.
async fn listen(client: &mut Client, hertz: f32, length: Duration) -> Recording {
    let mut recording = Recording::default();
    let mut wanted = SampleRate::HZ_48000.samples_in(length);
    client
        .next(|event| {
            if let CallerEventKind::Audio { pcm, timestamp } = event.kind {
                recording.push(event.at, timestamp, &pcm.samples);
                if share_of(&pcm.samples, 48_000.0, hertz) > 0.8 {
                    wanted = wanted.saturating_sub(pcm.samples.len());
                }
            }
            (wanted == 0).then_some(())
        })
        .await;
    recording
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_caller_says_comes_back() {
    let mut server = server(1, Patience::default());
    let mut client = call(&server.host).await;
    let (line, seat) = server.line().await;
    let echoing = tokio::spawn(echo(line));
    let said = client.caller.play(tone(440.0, Duration::from_millis(600))).await.unwrap();
    let recording = listen(&mut client, 440.0, Duration::from_millis(400)).await;
    let last = soon(said.last_voiced()).await.unwrap();
    assert!(
        recording.first_audible(Instant::now() - Duration::from_secs(60)).unwrap() < last,
        "it echoes while the caller speaks"
    );
    assert!(recording.holes().is_empty(), "{:?}", recording.holes());
    assert!(recording.packets() > 20);
    client.caller.hang_up().await;
    assert_eq!(soon(echoing).await.unwrap(), HangUp::ByCaller);
    drop(seat);
    server.empty().await;
    let port = server.host.port_stats();
    assert_eq!((port.sources, port.credentials), (0, 0), "nothing of the call is left on the port");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_may_speak_first_and_hears_what_became_of_it() {
    let mut server = server(1, Patience::default());
    let mut client = call(&server.host).await;
    let (mut line, _seat) = server.line().await;
    let reply = ReplyId::fresh();
    let pcm = tone(700.0, Duration::from_millis(300));
    line.outgoing.send(ToCaller::Speak { reply: reply.clone(), pcm }).await.unwrap();
    line.outgoing.send(ToCaller::Finish { reply: reply.clone() }).await.unwrap();
    listen(&mut client, 700.0, Duration::from_millis(200)).await;
    let mut playout = Vec::new();
    hear(&mut line, |word| {
        if let FromCaller::Playout(notice) = word {
            playout.push(notice);
        }
        matches!(playout.last(), Some(Playout::Drained { .. })).then_some(())
    })
    .await;
    assert!(matches!(&playout[0], Playout::Started { reply: of, .. } if *of == reply), "{playout:?}");
    assert_eq!(playout.last(), Some(&Playout::Drained { reply, played: Duration::from_millis(300) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_and_commands_pass_the_data_channel_in_order() {
    let mut server = server(1, Patience::default());
    let mut client = call(&server.host).await;
    let (mut line, _seat) = server.line().await;
    // Before the channel can be open: kept, then sent.
    for text in ["one", "two", "三"] {
        line.outgoing.send(saying(text)).await.unwrap();
        client.caller.send(format!("re {text}")).await.unwrap();
    }
    for text in ["one", "two", "三"] {
        assert_eq!(client.message().await, text);
        let heard = hear(&mut line, |word| match word {
            FromCaller::Command(command) => Some(command),
            _ => None,
        });
        let command = heard.await;
        assert_eq!((command.event_id, command.ask), (Some(format!("re {text}")), Ask::CommitInput));
    }
    let long = "x".repeat(100_000);
    client.caller.send(long.clone()).await.unwrap();
    let heard = hear(&mut line, |word| match word {
        FromCaller::Command(command) => command.event_id,
        _ => None,
    });
    assert_eq!(heard.await.len(), long.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_is_heard_by_the_data_channel_and_not_by_a_timeout() {
    // Were it left to the path's timeouts, the test would be over first.
    let patient = Duration::from_secs(3_600);
    let mut server = server(1, Patience { disconnected: patient, failed: patient, ..Patience::default() });
    let mut client = call(&server.host).await;
    let (mut line, seat) = server.line().await;
    client.next(|event| matches!(event.kind, CallerEventKind::Open).then_some(())).await;
    client.caller.hang_up().await;
    assert_eq!(hung_up(&mut line).await, HangUp::ByCaller);
    assert!(soon(line.incoming.recv()).await.is_none(), "the hang-up is the last word");
    drop(seat);
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_of_a_client_that_may_come_back_is_a_lost_line_at_once_and_a_deletion_a_hang_up() {
    let patient = Duration::from_secs(3_600);
    let mut server = server(1, Patience { disconnected: patient, failed: patient, ..Patience::default() });
    let session = SessionPatch { keep_on_close: Some(true), ..SessionPatch::default() };
    for deleted in [false, true] {
        let options = AnswerOptions { session: session.clone(), ..support::options() };
        let mut client = support::call_for(&server.host, options, support::on_loopback()).await;
        let (mut line, seat) = server.line().await;
        client.next(|event| matches!(event.kind, CallerEventKind::Open).then_some(())).await;
        if deleted {
            assert!(server.host.hang_up(&client.answered.call));
        } else {
            client.caller.hang_up().await;
        }
        assert_eq!(hung_up(&mut line).await, if deleted { HangUp::ByCaller } else { HangUp::Vanished });
        drop((line, seat));
        server.empty().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_can_hang_up_and_its_last_words_arrive() {
    let mut server = server(1, Patience::default());
    let mut client = call(&server.host).await;
    let (mut line, seat) = server.line().await;
    client.next(|event| matches!(event.kind, CallerEventKind::Open).then_some(())).await;
    line.outgoing.send(saying("goodbye")).await.unwrap();
    line.outgoing.send(ToCaller::HangUp).await.unwrap();
    assert_eq!(client.message().await, "goodbye");
    client.closed().await;
    assert_eq!(hung_up(&mut line).await, HangUp::ByServer);
    drop(seat);
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_call_ends_and_an_unknown_one_is_not_found() {
    let mut server = server(1, Patience::default());
    let client = call(&server.host).await;
    let (mut line, seat) = server.line().await;
    assert!(server.host.hang_up(&client.answered.call));
    assert_eq!(hung_up(&mut line).await, HangUp::ByCaller);
    drop(seat);
    server.empty().await;
    assert!(!server.host.hang_up(&client.answered.call));
    assert_eq!(server.host.restart(&client.answered.call, OFFER).await.unwrap_err().code(), "call_not_found");
    assert!(server.host.add_candidate(&client.answered.call, "", None).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_vanishes_gives_its_seat_back() {
    let second = Duration::from_secs(1);
    let patience = Patience { disconnected: second, failed: second, keepalive: second / 4, ..Patience::default() };
    let mut server = server(1, patience);
    // Its own runtime, so that it can be stopped dead: no goodbye is sent.
    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (mut caller, offer) =
        elsewhere.spawn(signaling::caller::Caller::offer(Default::default())).await.unwrap().unwrap();
    let answered = server.host.answer(&offer, support::options()).await.unwrap();
    let caller = elsewhere
        .spawn(async move {
            caller.accept(&answered.sdp).await.unwrap();
            caller
        })
        .await
        .unwrap();
    let (mut line, seat) = server.line().await;
    hear(&mut line, |word| matches!(word, FromCaller::Audio(_)).then_some(())).await;
    elsewhere.shutdown_background();
    assert_eq!(hung_up(&mut line).await, HangUp::Vanished);
    drop((seat, caller));
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_calls_share_one_port_and_hear_only_themselves() {
    let mut server = server(5, Patience::default());
    let mut calls = Vec::new();
    for n in 0..5_u8 {
        let client = call(&server.host).await;
        let (line, seat) = server.line().await;
        assert_eq!(line.call, client.answered.call);
        calls.push((client, 300.0 + 200.0 * f32::from(n), tokio::spawn(echo(line)), seat));
    }
    let full = server.host.answer(OFFER, support::options()).await.unwrap_err();
    assert_eq!(full.code(), "server_full");
    for (client, hertz, ..) in &calls {
        client.caller.play(tone(*hertz, Duration::from_millis(800))).await.unwrap();
    }
    let listening = calls.into_iter().map(|(mut client, hertz, echoing, seat)| {
        tokio::spawn(async move {
            let recording = listen(&mut client, hertz, Duration::from_millis(400)).await;
            let heard = recording.pcm().samples;
            for other in (0..5_u8).map(|n| 300.0 + 200.0 * f32::from(n)).filter(|other| *other != hertz) {
                assert!(share_of(&heard, 48_000.0, other) < 0.05, "{hertz} Hz hears {other} Hz");
            }
            client.caller.hang_up().await;
            soon(echoing).await.unwrap();
            drop(seat);
        })
    });
    for done in listening.collect::<Vec<_>>() {
        done.await.unwrap();
    }
    server.empty().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_every_call_and_answers_no_more() {
    let mut server = server(2, Patience::default());
    let mut client = call(&server.host).await;
    let (mut line, seat) = server.line().await;
    let ended = tokio::spawn(async move {
        let why = hung_up(&mut line).await;
        drop(seat);
        why
    });
    server.host.shutdown(support::NEVER).await;
    assert_eq!(soon(ended).await.unwrap(), HangUp::ByServer);
    client.closed().await;
    assert_eq!(server.host.answer(OFFER, support::options()).await.unwrap_err().code(), "server_draining");
    server.empty().await;
}

/// Good enough to be admitted.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
    c=IN IP4 0.0.0.0\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n";
