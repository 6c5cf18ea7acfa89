//! A history whose folder is encrypted, and folders that are converted.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;

use super::*;
use crate::data_folder::convert::{ConvertError, convert};
use crate::data_folder::{DataKey, KeyError};
use crate::history::check;

const SAID: &str = "Transfer it to my brother's account.";

struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        if !file.exists() {
            DataKey::create(&file).unwrap();
        }
        file
    }

    fn key(&self, name: &str) -> DataKey {
        DataKey::read(&self.file(name)).unwrap()
    }

    fn open(&self, folder: &Path, name: &str) -> DataFolder {
        DataFolder::open(folder, Some(&self.file(name))).unwrap()
    }
}

/// When no file is so young any more that its row may just be being written.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(86_400)
}

/// Every file under `folder`.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found
}

/// What can be read in the folder by whoever has the disk.
fn betrayed(folder: &Path) -> Vec<String> {
    let signs: [&[u8]; 5] = [b"OggS", b"RIFF", b"SQLite format 3", b"brother", b"sunny"];
    let shows = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        signs.iter().any(|sign| bytes.windows(sign.len()).any(|window| window == *sign))
    };
    files_in(folder).iter().filter(|path| shows(path)).map(|path| path.display().to_string()).collect()
}

/// A folder with a voice's sample and a talk of two turns with sound; the talk's id.
async fn filled(folder: DataFolder) -> String {
    let history = History::open(&folder).unwrap();
    let conversation = ConversationId::fresh();
    for n in 0..2 {
        history.keep(turn(&conversation, SAID, 1_000 + 10 * n)).await.unwrap();
    }
    let samples = folder.path().join("voices");
    fs::create_dir_all(&samples).unwrap();
    let sample = Pcm::new(SampleRate::HZ_16000, vec![0.1; 16_000]);
    folder.write(&samples.join("voice.wav"), |out| audio::wav::write(&sample, out)).unwrap();
    // Nothing is to be left in a log that is not looked at.
    drop(history);
    conversation.as_str().to_owned()
}

/// Whether all of it can be listened to, read and found.
fn is_whole(folder: DataFolder, conversation: &str) -> bool {
    let history = History::open(&folder).unwrap();
    let stored = history.conversation(&Viewer::Everyone, conversation).unwrap().unwrap();
    let found = history.search(&Viewer::Everyone, &Query::read("brother"), 10, None).unwrap();
    let sounds = stored.turns.iter().all(|turn| {
        [&turn.user, &turn.assistant].into_iter().all(|side| {
            let name = side.as_ref().unwrap().audio.as_ref().unwrap();
            let pcm = audio::ogg::read(history.open_audio(name).unwrap()).unwrap();
            (pcm.duration().as_secs_f64() - 1.0).abs() < 0.03
        })
    });
    let sample = audio::wav::read(folder.read(&folder.path().join("voices/voice.wav")).unwrap()).unwrap();
    drop(history);
    let examined = check::examine(&folder, later()).unwrap().unwrap();
    sounds
        && stored.turns.len() == 2
        && stored.turns[0].user.as_ref().unwrap().text == SAID
        && found.len() == 1
        && sample.samples.len() == 16_000
        && examined.is_sound()
}

#[tokio::test]
async fn an_encrypted_folder_betrays_nothing_to_who_has_the_disk() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let opened = keys.open(folder.path(), "key");
    let history = History::open(&opened).unwrap();
    history.keep(turn(&ConversationId::fresh(), SAID, 1_000)).await.unwrap();
    // While it runs: the write-ahead log is there.
    assert!(folder.path().join("history.sqlite3-wal").exists());
    assert_eq!(betrayed(folder.path()), Vec::<String>::new());
    drop(history);
    let closed = tempfile::tempdir().unwrap();
    let opened = keys.open(closed.path(), "key");
    let talk = filled(opened.clone()).await;
    assert_eq!(betrayed(closed.path()), Vec::<String>::new());
    assert!(is_whole(opened, &talk));
    let readable = tempfile::tempdir().unwrap();
    filled(readable.path().into()).await;
    assert!(betrayed(readable.path()).len() >= 4, "the signs that are looked for are such");
}

#[tokio::test]
async fn a_recording_that_was_tampered_with_is_refused_and_not_played() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let opened = keys.open(folder.path(), "key");
    let talk = filled(opened.clone()).await;
    let history = History::open(&opened).unwrap();
    let name = history.audio(&Viewer::Everyone, &talk, 1, Side::User).unwrap().unwrap();
    let path = history.audio_path(&name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(opened.read_at_most(&path, 1 << 20).is_err());
    bytes.truncate(middle);
    fs::write(&path, &bytes).unwrap();
    assert!(opened.read_at_most(&path, 1 << 20).is_err(), "a recording that was cut short");
}

#[tokio::test]
async fn a_folder_is_not_opened_without_its_key_or_with_another() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    filled(keys.open(folder.path(), "key")).await;
    let before: Vec<_> = files_in(folder.path()).iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let refused =
        |key: Option<&str>| DataFolder::open(folder.path(), key.map(|name| keys.file(name)).as_deref()).unwrap_err();
    assert!(matches!(refused(None), KeyError::Missing { .. }));
    assert!(matches!(refused(Some("another")), KeyError::Wrong { .. }));
    assert!(refused(None).to_string().contains(&keys.key("key").recipient()));
    // Nor is it taken for damaged, and mended away, by who does not ask for the key at all.
    assert!(History::open(folder.path()).is_err());
    for (path, bytes) in before {
        assert_eq!(fs::read(&path).unwrap(), bytes, "{}", path.display());
    }
    // The other way round.
    let readable = tempfile::tempdir().unwrap();
    filled(readable.path().into()).await;
    let refused = DataFolder::open(readable.path(), Some(&keys.file("key"))).unwrap_err();
    assert!(matches!(refused, KeyError::NotEncrypted { .. }));
}

#[test]
fn a_key_file_that_others_may_read_or_that_is_none_is_refused() {
    let keys = Keys::new();
    let file = keys.file("key");
    assert!(matches!(DataKey::create(&file), Err(KeyError::NotWritten { .. })), "never written over");
    let secret = fs::read_to_string(&file).unwrap();
    let line = secret.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).unwrap();
    assert!(!format!("{:?}", keys.key("key")).contains(line));
    for text in
        ["", "# nothing", "AGE-SECRET-KEY-1", "hunter2", &format!("{line}\n{line}"), &secret.replace("QP", "PQ")[..40]]
    {
        fs::write(&file, text).unwrap();
        let told = DataKey::read(&file).unwrap_err().to_string();
        assert!(told.contains("new-key") && !told.contains(line), "{told}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::write(&file, secret).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(DataKey::read(&file), Err(KeyError::Exposed { .. })));
    }
    assert!(matches!(DataKey::read(&file.with_extension("none")), Err(KeyError::Unreadable { .. })));
}

#[tokio::test]
async fn a_folder_is_encrypted_given_another_key_and_decrypted_with_nothing_lost() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let talk = filled(path.into()).await;
    let (one, other) = (keys.key("one"), keys.key("other"));
    let mut told = Vec::new();
    // Four recordings, the sample, the database.
    let converted = convert(path, None, Some(&one), &mut |done, of| told.push((done, of))).unwrap();
    assert_eq!((converted.changed, converted.damaged.len()), (6, 0));
    assert_eq!(told.last(), Some(&(5, 5)));
    assert_eq!(betrayed(path), Vec::<String>::new());
    assert!(is_whole(keys.open(path, "one"), &talk));
    assert_eq!(convert(path, None, Some(&one), &mut |_, _| ()).unwrap().changed, 0, "it is done");

    assert_eq!(convert(path, Some(&one), Some(&other), &mut |_, _| ()).unwrap().changed, 6);
    assert!(matches!(DataFolder::open(path, Some(&keys.file("one"))), Err(KeyError::Wrong { .. })));
    assert!(is_whole(keys.open(path, "other"), &talk));

    assert_eq!(convert(path, Some(&other), None, &mut |_, _| ()).unwrap().changed, 6);
    assert!(is_whole(path.into(), &talk));
    assert!(DataFolder::open(path, None).is_ok());
}

#[tokio::test]
async fn a_conversion_that_was_stopped_is_told_and_goes_on() {
    let keys = Keys::new();
    let (one, other) = (keys.key("one"), keys.key("other"));
    for (from, to) in [(None, Some(&one)), (Some(&one), None), (Some(&one), Some(&other))] {
        // Before the first file, and between two.
        for stop in [0, 3] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            let talk = filled(path.into()).await;
            if from.is_some() {
                convert(path, None, from, &mut |_, _| ()).unwrap();
            }
            let stopped =
                std::panic::catch_unwind(|| convert(path, from, to, &mut |done, _| assert!(done < stop, "killed")));
            assert!(stopped.is_err());
            // Nobody begins a new history over it, or takes it for damaged.
            for name in [None, Some("one"), Some("other")] {
                let opened = DataFolder::open(path, name.map(|name| keys.file(name)).as_deref());
                assert!(matches!(opened, Err(KeyError::HalfWay { .. })), "with {name:?}");
            }
            convert(path, from, to, &mut |_, _| ()).unwrap();
            let name = to.map(|to| if to.recipient() == one.recipient() { "one" } else { "other" });
            let opened = DataFolder::open(path, name.map(|name| keys.file(name)).as_deref());
            assert!(is_whole(opened.unwrap(), &talk), "stopped after {stop}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_in_use_or_has_a_third_key_is_not_converted() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let talk = filled(path.into()).await;
    let (one, other, third) = (keys.key("one"), keys.key("other"), keys.key("third"));
    let open = History::open(path).unwrap();
    assert!(matches!(convert(path, None, Some(&one), &mut |_, _| ()), Err(ConvertError::InUse)));
    drop(open);
    convert(path, None, Some(&one), &mut |_, _| ()).unwrap();
    let refused = convert(path, Some(&other), Some(&third), &mut |_, _| ()).unwrap_err();
    assert!(matches!(refused, ConvertError::NoKeyFits | ConvertError::Key(KeyError::Wrong { .. })));
    assert!(convert(path, Some(&other), None, &mut |_, _| ()).is_err());
    assert!(is_whole(keys.open(path, "one"), &talk));
}

#[tokio::test]
async fn a_damaged_recording_does_not_keep_the_rest_from_another_key() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let opened = keys.open(path, "one");
    let talk = filled(opened.clone()).await;
    let name = History::open(&opened).unwrap().audio(&Viewer::Everyone, &talk, 2, Side::Assistant).unwrap().unwrap();
    let damaged = path.join("audio").join(name);
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() - 1]).unwrap();
    let converted = convert(path, Some(&keys.key("one")), Some(&keys.key("other")), &mut |_, _| ()).unwrap();
    assert_eq!((converted.changed, converted.damaged), (5, vec![damaged.clone()]));
    assert_eq!(fs::read(&damaged).unwrap().len(), bytes.len() - 1, "left as it was");
    // A recording that another key opens is none that may be thrown away.
    let folder = keys.open(path, "other");
    assert!(check::examine(&folder, later()).unwrap().unwrap().broken.is_empty());
    check::repair(&folder, later()).unwrap();
    assert!(damaged.exists());
}

#[tokio::test]
async fn a_damaged_encrypted_database_is_mended_and_stays_encrypted() {
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let path = folder.path();
    let opened = keys.open(path, "key");
    let talk = filled(opened.clone()).await;
    let database = opened.connect(&opened.database(), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    database
        .execute_batch("PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'turns_by_conversation'")
        .unwrap();
    drop(database);
    assert!(!check::examine(&opened, later()).unwrap().unwrap().is_sound());
    assert!(check::repair(&opened, later()).unwrap().is_sound());
    assert_eq!(betrayed(path), Vec::<String>::new());
    assert!(History::open(&opened).unwrap().conversation(&Viewer::Everyone, &talk).unwrap().is_some());
}
