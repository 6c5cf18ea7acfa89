//! Where a Festival leaves its sound: a folder that only this user can enter, removed when dropped.
//!
//! A process that is killed leaves its folders. The next one removes them: those that are named as these are, belong to the same user,
//! are locked by nobody, and whose process is gone. (The lock is for processes that share the folder for temporary files but not
//! their numbers, as containers may.) Nothing is removed but the one file that Festival writes, and what is then empty.

use std::fs::{DirBuilder, File};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = "avatar-festival-";
/// What Festival writes.
pub(super) const SOUND: &str = "speech.raw";
/// As many entries of the folder for temporary files are looked at.
const LOOKED_AT: usize = 10_000;

/// See the module.
pub(super) struct PrivateFolder {
    path: PathBuf,
    #[expect(dead_code, reason = "held for its drop, which ends the lock")]
    lock: File,
}

impl PrivateFolder {
    pub fn make() -> Result<Self> {
        // In memory, where the system has such a folder, and not on the disk.
        let (memory, disk) = (PathBuf::from("/dev/shm"), std::env::temp_dir());
        let made = Self::make_in(if memory.is_dir() { &memory } else { &disk })?;
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| [&memory, &disk].into_iter().for_each(|temporary| made.sweep(temporary, is_alive)));
        Ok(made)
    }

    fn make_in(temporary: &Path) -> Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let mut refused = None;
        for _ in 0..100 {
            let number = MADE.fetch_add(1, Ordering::Relaxed);
            let path = temporary.join(format!("{PREFIX}{}-{number}", std::process::id()));
            // Making fails if the name exists, so nobody can have prepared it.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    refused = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            // Somebody may have swept it away before it was locked.
            let locked = File::open(&path).and_then(|lock| Ok(lock.try_lock().map(|()| lock)?));
            match locked {
                Ok(lock) if path.is_dir() => return Ok(Self { path, lock }),
                Ok(_) => {}
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::from(ErrorKind::AlreadyExists)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what processes of this one's user that are gone have left in a folder.
    fn sweep(&self, temporary: &Path, is_alive: impl Fn(u32) -> bool) {
        let (Ok(own), Ok(entries)) = (self.path.symlink_metadata(), temporary.read_dir()) else { return };
        for entry in entries.take(LOOKED_AT).flatten() {
            let Some(process) = entry.file_name().to_str().and_then(process) else { continue };
            let is_ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == own.uid());
            if !is_ours || is_alive(process) {
                continue;
            }
            let path = entry.path();
            if File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
                let _ = std::fs::remove_file(path.join(SOUND));
                // Fails where there is anything else in it.
                let _ = std::fs::remove_dir(&path);
            }
        }
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Whose folder of that name it is; `None` if it is none of these.
fn process(name: &str) -> Option<u32> {
    let (process, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| process.parse().ok()).flatten()
}

/// Where that cannot be told, all are.
fn is_alive(process: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_killed_processes_left_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join(SOUND), b"precious").unwrap();
        for name in [
            "avatar-festival-7-0",
            "avatar-festival-7-1",
            "avatar-festival-8-0",
            "avatar-festival-7-locked",
            "avatar-festival-7-2",
            "avatar-festival-x-0",
            "avatar-7-0",
            "avatar-festival-9-3",
        ] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("avatar-festival-7-1").join(SOUND), b"sound").unwrap();
        std::fs::write(at("avatar-festival-9-3").join("letter.txt"), b"not ours").unwrap();
        std::fs::write(at("avatar-festival-7-4"), b"a file").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), at("avatar-festival-7-5")).unwrap();
        let held = File::open(at("avatar-festival-7-2")).unwrap();
        held.lock().unwrap();

        let own = PrivateFolder::make_in(temporary.path()).unwrap();
        own.sweep(temporary.path(), |process| process == 8 || process == std::process::id());
        let left: BTreeSet<String> = temporary
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let own_name = own.path().file_name().unwrap().to_str().unwrap().to_owned();
        let expected = [
            "avatar-7-0",
            "avatar-festival-7-2",
            "avatar-festival-7-4",
            "avatar-festival-7-5",
            "avatar-festival-7-locked",
            "avatar-festival-8-0",
            "avatar-festival-9-3",
            "avatar-festival-x-0",
            &own_name,
        ];
        assert_eq!(left, expected.map(str::to_owned).into());
        assert!(elsewhere.path().join(SOUND).exists(), "a link is not followed");
        drop(own);
        assert!(!at(&own_name).exists());
    }

    #[test]
    fn a_folder_that_is_in_use_is_not_swept_away_whatever_its_process_is_called() {
        let temporary = tempfile::tempdir().unwrap();
        let (first, second) =
            (PrivateFolder::make_in(temporary.path()).unwrap(), PrivateFolder::make_in(temporary.path()).unwrap());
        first.sweep(temporary.path(), |_| false);
        assert!(first.path().is_dir() && second.path().is_dir());
    }
}
