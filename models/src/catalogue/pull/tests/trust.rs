//! Whose hash a file is held to where the catalogue pins none.

use super::*;

#[test]
fn an_unpinned_model_takes_the_hubs_hash_and_holds_it_to_it() {
    let bench = Bench::new();
    bench.mirror.put(LOOSE, b"first weights", &[]);
    bench.pull(&["loose"]).unwrap();
    assert!(bench.events.borrow().last().unwrap().contains("trust: Hub"));

    // The same bytes again are welcome, others are not.
    fs::remove_file(bench.path("loose", "loose.gguf")).unwrap();
    bench.pull(&["loose"]).unwrap();
    fs::remove_file(bench.path("loose", "loose.gguf")).unwrap();
    bench.mirror.put(LOOSE, b"other weights", &[]);
    let error = bench.pull(&["loose"]).unwrap_err().to_string();
    assert!(error.contains("models.lock") && error.contains("remove loose/loose.gguf"), "{error}");
}

#[test]
fn bytes_that_do_not_match_the_hubs_own_hash_are_refused() {
    let bench = Bench::new();
    bench.mirror.put(LOOSE, &weights(), &[Fault::Garbled; 9]);
    assert!(bench.pull(&["loose"]).is_err());
    assert_eq!(bench.state("loose"), State::Absent);
}

#[test]
fn a_mirror_that_states_nothing_is_believed_once_and_said_so() {
    let bench = Bench::new();
    let file = HubFile { bytes: weights(), ..HubFile::default() };
    bench.mirror.put_file(LOOSE, file.clone());
    bench.pull(&["loose"]).unwrap();
    assert!(bench.events.borrow().last().unwrap().contains("trust: FirstUse"));
    fs::remove_file(bench.path("loose", "loose.gguf")).unwrap();
    bench.mirror.put_file(LOOSE, HubFile { bytes: b"changed".into(), ..file });
    assert!(bench.pull(&["loose"]).is_err());
}

#[test]
fn a_mirror_that_states_nothing_is_never_continued_from_an_unknown_beginning() {
    let bench = Bench::new();
    bench.mirror.put_file(LOOSE, HubFile { bytes: weights(), ..HubFile::default() });
    fs::create_dir_all(bench.path("loose", "")).unwrap();
    fs::write(bench.path("loose", "loose.gguf.partial"), b"of an older version").unwrap();
    bench.pull(&["loose"]).unwrap();
    assert_eq!(fs::read(bench.path("loose", "loose.gguf")).unwrap(), weights());
}

#[test]
fn a_hand_placed_unpinned_file_is_adopted_if_the_hub_has_the_same_and_kept_if_the_hub_is_away() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("loose", "")).unwrap();
    fs::write(bench.path("loose", "loose.gguf"), weights()).unwrap();
    assert!(bench.pull(&["loose"]).is_err(), "nobody could say whether it is right");
    assert_eq!(bench.state("loose"), State::Present { verified: false });

    bench.mirror.put(LOOSE, &weights(), &[]);
    bench.pull(&["loose"]).unwrap();
    assert_eq!(bench.state("loose"), VERIFIED);
}
