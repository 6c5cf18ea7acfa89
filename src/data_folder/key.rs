//! The key that a data folder is encrypted with: an age identity (X25519) in a file of its own, of which the database's key is
//! derived (HKDF-SHA256's extraction).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::path::Path;

use age::secrecy::{ExposeSecret, SecretString};
use age::stream::StreamWriter;
use age::x25519;
use hkdf::Hkdf;
use rusqlite::Connection;
use sha2::Sha256;

use super::KeyError;

/// Longest key file: one key and remarks.
const LONGEST_FILE: usize = 64 * 1024;

/// What opens a data folder. Shows its public half only.
pub struct DataKey {
    identity: x25519::Identity,
    /// As SQLCipher takes a raw key.
    database: SecretString,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("DataKey").field(&self.recipient()).finish()
    }
}

impl DataKey {
    fn of(identity: x25519::Identity) -> Self {
        let secret = identity.to_string();
        let (raw, _) = Hkdf::<Sha256>::extract(Some(b"avatar: key of the database"), secret.expose_secret().as_bytes());
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { identity, database: SecretString::from(format!("x'{hex}'")) }
    }

    /// The key in a file as `age-keygen` and [`DataKey::create`] write them.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { path: path.to_owned() });
            }
        }
        let bytes = fs::read(path).map_err(unreadable)?;
        let text = SecretString::from(String::from_utf8(bytes).unwrap_or_default());
        let text = text.expose_secret();
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let only = lines().next().filter(|_| text.len() <= LONGEST_FILE && lines().count() == 1);
        let identity = only.and_then(|line| line.parse().ok());
        identity.map(Self::of).ok_or_else(|| KeyError::NotAKey { path: path.to_owned() })
    }

    /// Makes a key and writes it into a new file that only this user may read.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let not_written = |source| KeyError::NotWritten { path: path.to_owned(), source };
        let key = Self::of(x25519::Identity::generate());
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(not_written)?;
        let secret = key.identity.to_string();
        let text = format!(
            "# Opens an Avatar data folder. Without it nobody reads what is in there: keep a copy, and not beside the folder.\n\
             # public key: {}\n{}\n",
            key.recipient(),
            secret.expose_secret()
        );
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(not_written)?;
        Ok(key)
    }

    /// The public half: what is encrypted to it, only the key opens.
    pub fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    pub(super) fn identity(&self) -> &dyn age::Identity {
        &self.identity
    }

    /// Encrypts what is written into `out`.
    pub(super) fn seal<W: Write>(&self, out: W) -> io::Result<StreamWriter<W>> {
        let recipient = self.identity.to_public();
        let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient));
        encryptor.map_err(io::Error::other)?.wrap_output(out)
    }

    /// Lets a connection that has just been opened read and write.
    pub(super) fn unlock(&self, connection: &Connection) -> rusqlite::Result<()> {
        // What goes wrong is told as an error; SQLCipher would tell it a second time, on standard error.
        connection.pragma_update(None, "cipher_log_level", "NONE")?;
        connection.pragma_update(None, "key", self.database.expose_secret())
    }

    /// What an attached database is opened with.
    pub(super) fn of_database(&self) -> &str {
        self.database.expose_secret()
    }
}
